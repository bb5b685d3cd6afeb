"""Pictures of many images and layers into files, a batch at a time where the rule allows it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..combinations.registry import combined, rule_named, target_of_capture
from ..core.feature_map import FeatureMap
from ..errors import BadOption
from ..inputs.images import collect, is_image, stream
from ..picture.picture import Picture
from ..picture.scale_rules import shared_scale
from ..scope.capture import Maps
from ..scope.scope import Scope
from .show import asks_model, draw, first_class, needs_target

TOGETHER = 16


FILES = (".png", ".svg", ".pdf", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".gif")


class Job:
    """Layers of a model for images, as files. `skipped` fills up with (id, reason) while it runs.

    `output` is a file (`.png`, `.svg`, `.pdf`, `.jpg` …) for one picture, or a folder; `None` writes into the current folder.
    `values` is an `.npz` for one layer; with several layers each gets its own, `OUT-<layer>.npz`, and so does each image
    where they aren't captured together, `OUT-<image>.npz`. `channels` is a list of numbers, or a condition by
    which each sheet chooses its tiles. `screen` is shown each picture; then only an `output` that is given is written.
    `drawing` are the options of `draw`.
    """

    def __init__(
        self,
        scope: Scope,
        layers: Sequence[str],
        *,
        images: Any,
        combine: str | None = None,
        target: Any = None,
        channels: Sequence[int] | str | None = None,
        output: Path | None = None,
        values: Path | None = None,
        theme: str = "light",
        dpi: float | None = None,
        screen: Callable[[Picture], object] | None = None,
        **drawing: Any,
    ) -> None:
        if values is not None and values.suffix != ".npz":
            raise BadOption(f"--values {values}: values are saved as .npz")
        condition = isinstance(channels, str)
        if condition and combine is not None:
            raise BadOption(
                f"--channels {channels!r} chooses tiles of each sheet: with --combine, give channel numbers"
            )
        self.scope, self.layers, self.images, self.channels = scope, layers, images, None if condition else channels
        self.combine, self.values, self.output, self.target = combine, values, output, target
        self.drawing = {**drawing, **({"channels": channels} if condition else {})}
        self.theme, self.dpi, self.screen = theme, dpi, screen
        self.skipped: list[tuple[str, str]] = []
        self._images: dict[str, str] = {}
        self._layers: dict[str, str] = {}
        # What needs all images at once: one range, one PCA basis, one file of values.
        self.together = (
            drawing.get("scale") == "images"
            or values is not None
            or (combine is not None and rule_named(combine).together)
        )
        # No target given: each image is looked at for the model's own first class in it, so one by one.
        self.own_class = target is None and needs_target(combine)
        # Maps of a stream don't know their model.
        self.one_by_one = self.own_class or (asks_model(combine) and (target is None or not self.together))

    def count(self) -> int:
        """How many images there are."""
        return len(collect(self.images))

    def run(self, step: Callable[[str], None]) -> Iterator[Path]:
        """Write everything, yielding each path as it is written; `step` hears the id of each image done."""
        single, several = self._is_file(), self.count() > 1
        if single and several:
            raise BadOption(f"-o {self.output}: several images make several pictures, so give a folder")
        if single and self._overwrites():
            raise BadOption(f"-o {self.output}: that is the image itself, which would be lost: give another name")
        waiting: list[dict[str, FeatureMap]] = []
        for maps in self._maps():
            self.skipped += maps.skipped
            if single and len(maps) > 1:
                raise BadOption(f"-o {self.output}: {len(maps)} layers make several pictures, so give a folder")
            if self.values is not None:
                yield from self._write_values(maps, several and self.one_by_one)
            made = {path: combined(fm, self.combine, self.target) for path, fm in maps.items()}
            if self.one_by_one and self.drawing.get("scale") == "images":
                waiting.append(made)
            else:
                yield from self._write_all(made, step)
        shared = self._shared(waiting)
        for made in waiting:
            yield from self._write_all(made, step, shared)

    def _shared(self, waiting: Sequence[Mapping[str, FeatureMap]]) -> dict[str, dict[str, Any]]:
        """For each layer the drawing with one range over images that were captured one by one."""
        clip, colors = self.drawing.get("clip"), self.drawing.get("colors")
        found = {}
        for path in waiting[0] if waiting else ():
            scale = replace(shared_scale(*(made[path] for made in waiting), clip=clip, colors=colors), per="images")
            found[path] = {"scale": scale, "clip": None, "colors": None}
        return found

    def _write_all(
        self,
        made: Mapping[str, FeatureMap],
        step: Callable[[str], None],
        drawing: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> Iterator[Path]:
        for at in range(max((len(fm.ids) for fm in made.values()), default=0)):
            for path, fm in made.items():
                # A layer whose rows are not images may have fewer of them.
                if at < len(fm.ids):
                    yield from self._write(path, fm, at, (drawing or {}).get(path, {}))
            step(next(iter(made.values())).ids[at])

    def _maps(self) -> Iterator[Maps]:
        options = {"channels": self.channels, "target": target_of_capture(self.combine, self.target)}
        if self.one_by_one:
            for photos in stream(self.images, TOGETHER, skipped=self.skipped):
                for photo in photos:
                    if self.own_class:
                        options["target"] = first_class(self.scope, photo)
                    yield self.scope.capture(photo, self.layers, **options)
        elif self.together:
            yield self.scope.capture(self.images, self.layers, **options)
        else:
            yield from self.scope.stream(self.images, self.layers, batch=TOGETHER, **options)

    def _write(self, path: str, fm: FeatureMap, at: int, drawing: Mapping[str, Any]) -> Iterator[Path]:
        options = {**self.drawing, **drawing}
        picture = draw(fm, image=at, **options)
        for page in range(picture.pages):
            if page:
                picture = draw(fm, image=at, page=page, **options)
            yield from self._out(picture, path, fm.ids[at], page)
        prefix = fm.prefix()
        if prefix is not None:
            yield from self._out(
                draw(prefix, image=at, text=self.drawing.get("text", 1)), path, fm.ids[at], 0, "-tokens"
            )

    def _out(self, picture: Picture, path: str, id: str, page: int, more: str = "") -> Iterator[Path]:
        """Onto the screen, into a file, or both."""
        picture = picture.themed(self.theme)
        if self.screen is not None:
            self.screen(picture)
            if self.output is None:
                return
        target = self._place(path, id, page, picture.pages)
        yield picture.save(target.with_name(f"{target.stem}{more}{target.suffix}"), self.dpi)

    def _is_file(self) -> bool:
        """Whether `output` is the one picture, not a folder."""
        return self.output is not None and self.output.suffix.lower() in FILES and not self.output.is_dir()

    def _overwrites(self) -> bool:
        """Whether `output` is the file of an image."""
        output = self.output
        if output is None or not output.exists():
            return False
        paths = (Path(each.item) for each in collect(self.images) if isinstance(each.item, str | os.PathLike))
        return any(each.exists() and output.samefile(each) for each in paths)

    def _place(self, path: str, id: str, page: int, pages: int) -> Path:
        output = self.output
        suffix = f"-p{page + 1}" if pages > 1 else ""
        if output is not None and self._is_file():
            _made(output.parent)
            return output.with_name(f"{output.stem}{suffix}{output.suffix}")
        folder = _made(output or Path())
        name, _, given = (self.combine or "").partition(":")
        rule = f"-{safe(name)}" if name else ""
        rule += f"-{safe(Path(given).stem)}" if given else ""
        rule += "-overlay" if self.drawing.get("overlay") else ""
        return folder / f"{self._image(id)}-{self._layer(path)}{rule}{suffix}.png"

    def _image(self, id: str) -> str:
        return _named(self._images, str(Path(id).with_suffix("")) if is_image(id) else id, id)

    def _layer(self, path: str) -> str:
        return _named(self._layers, path or "output", path)

    def _write_values(self, maps: Maps, each_image: bool) -> Iterator[Path]:
        assert self.values is not None
        _made(self.values.parent)
        for path, fm in maps.items():
            parts = [self._image(fm.ids[0])] if each_image else []
            parts += [self._layer(path)] if len(maps) > 1 else []
            yield fm.save(self.values.with_name("-".join((self.values.stem, *parts)) + ".npz"))


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadOption(f"can't make the folder {folder}: {error.strerror or error}") from error
    return folder


def _named(taken: dict[str, str], text: str, given: str) -> str:
    """A part of a file name; numbered where another image (or another layer) has that name already."""
    short = safe(text)
    name, number = short, 2
    while taken.setdefault(name, given) != given:
        name, number = f"{short}-{number}", number + 1
    return name


def safe(text: str) -> str:
    """A part of a file name: what is special on any system becomes `_`.

    >>> safe("vgg16/block1_conv2:1")
    'vgg16_block1_conv2_1'
    """
    return re.sub(r"[^\w.\-]+", "_", text).strip(".") or "image"
