"""Pictures of many images and layers into files, a batch at a time where the rule allows it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from .drawing import draw, first_class, needs_target
from .errors import BadOption
from .featuremap import FeatureMap
from .images import collect, is_image, stream
from .maps import Maps
from .picture import Picture
from .rules import combined, rule_named, target_of_capture
from .scope import Scope

TOGETHER = 16


class Job:
    """Layers of a model for images, as files. `skipped` fills up with (id, reason) while it runs.

    `output` is a `.png` for one picture, or a folder; `None` writes into the current folder. `values` is an `.npz` for
    one layer; with several layers each gets its own, `OUT-<layer>.npz`. `channels` is a list of numbers, or a condition by
    which each sheet chooses its tiles. `tiles` are options that only a sheet has. `screen` is shown each picture; then only
    an `output` that is given is written.
    """

    def __init__(
        self,
        scope: Scope,
        layers: Sequence[str],
        *,
        images: Any,
        combine: str | None = None,
        target: Any = None,
        overlay: bool = False,
        channels: Sequence[int] | str | None = None,
        columns: int | None = None,
        scale: Any = None,
        colors: str | None = None,
        clip: tuple[float, float] | None = None,
        sort: str = "index",
        theme: str = "light",
        dpi: float | None = None,
        tiles: Mapping[str, Any] | None = None,
        output: Path | None = None,
        values: Path | None = None,
        screen: Callable[[Picture], object] | None = None,
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
        self.drawing = {
            "overlay": overlay,
            "columns": columns,
            "scale": scale,
            "colors": colors,
            "clip": clip,
            "sort": sort,
        }
        self.tiles = {**(tiles or {}), **({"channels": channels} if condition else {})}
        self.theme, self.dpi, self.screen = theme, dpi, screen
        self.skipped: list[tuple[str, str]] = []
        self._names: dict[str, str] = {}
        # What needs all images at once: one range, one PCA basis, one file of values.
        self.together = (
            scale == "images" or values is not None or (combine is not None and rule_named(combine).together)
        )
        # No target given: each image is looked at for the model's own first class in it, so one by one.
        self.own_class = target is None and needs_target(combine)
        # Maps of a stream don't know their model.
        self.one_by_one = self.own_class or (combine is not None and rule_named(combine).model)

    def count(self) -> int:
        """How many images there are."""
        return len(collect(self.images))

    def run(self, step: Callable[[str], None]) -> Iterator[Path]:
        """Write everything, yielding each path as it is written; `step` hears the id of each image done."""
        single = self.output is not None and self.output.suffix.lower() == ".png"
        if single and self.count() > 1:
            raise BadOption(f"-o {self.output}: several images make several pictures, so give a folder")
        for maps in self._maps():
            self.skipped += maps.skipped
            if single and len(maps) > 1:
                raise BadOption(f"-o {self.output}: {len(maps)} layers make several pictures, so give a folder")
            if self.values is not None:
                yield from self._write_values(maps)
            made = {path: combined(fm, self.combine, self.target) for path, fm in maps.items()}
            for at in range(max((len(fm.ids) for fm in made.values()), default=0)):
                for path, fm in made.items():
                    # A layer whose rows are not images may have fewer of them.
                    if at < len(fm.ids):
                        yield from self._write(path, fm, at)
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

    def _write(self, path: str, fm: FeatureMap, at: int) -> Iterator[Path]:
        picture = draw(fm, image=at, **self.drawing, **self.tiles)
        for page in range(picture.pages):
            if page:
                picture = draw(fm, image=at, page=page, **self.drawing, **self.tiles)
            yield from self._out(picture, path, fm.ids[at], page)
        prefix = fm.prefix()
        if prefix is not None:
            yield from self._out(draw(prefix, image=at), path, fm.ids[at], 0, "-tokens")

    def _out(self, picture: Picture, path: str, id: str, page: int, more: str = "") -> Iterator[Path]:
        """Onto the screen, into a file, or both."""
        picture = picture.themed(self.theme)
        if self.screen is not None:
            self.screen(picture)
            if self.output is None:
                return
        target = self._place(path, id, page, picture.pages)
        yield picture.save(target.with_name(f"{target.stem}{more}{target.suffix}"), self.dpi)

    def _place(self, path: str, id: str, page: int, pages: int) -> Path:
        output = self.output
        suffix = f"-p{page + 1}" if pages > 1 else ""
        if output is not None and output.suffix.lower() == ".png":
            output.parent.mkdir(parents=True, exist_ok=True)
            return output.with_name(f"{output.stem}{suffix}.png")
        folder = output or Path()
        folder.mkdir(parents=True, exist_ok=True)
        rule = f"-{safe(self.combine.partition(':')[0])}" if self.combine else ""
        rule += "-overlay" if self.drawing["overlay"] else ""
        return folder / f"{self._name(id)}-{self._name(path or 'output')}{rule}{suffix}.png"

    def _name(self, given: str) -> str:
        """A part of a file name for an image or a layer; numbered where another one has that name already."""
        short = safe(str(Path(given).with_suffix("")) if is_image(given) else given)
        name, number = short, 2
        while self._names.setdefault(name, given) != given:
            name, number = f"{short}-{number}", number + 1
        return name

    def _write_values(self, maps: Maps) -> Iterator[Path]:
        assert self.values is not None
        self.values.parent.mkdir(parents=True, exist_ok=True)
        for path, fm in maps.items():
            name = (
                self.values
                if len(maps) == 1
                else self.values.with_name(f"{self.values.stem}-{self._name(path or 'output')}.npz")
            )
            yield fm.save(name)


def safe(text: str) -> str:
    """A part of a file name: what is special on any system becomes `_`.

    >>> safe("vgg16/block1_conv2:1")
    'vgg16_block1_conv2_1'
    """
    return re.sub(r"[^\w.\-]+", "_", text).strip(".") or "image"
