"""Pictures of many images and layers into files, a batch at a time where the combination allows it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any, Literal

from ..channels.query import needs_values
from ..combinations.registry import combined_maps, rule_named, target_of_capture
from ..core.feature_map import FeatureMap
from ..core.note import kind_of
from ..errors import BadOption, ImageNotReadable
from ..inputs.images import check_files, collect, is_stream, stream
from ..inputs.recipe import READY
from ..picture.picture import Picture
from ..picture.scale_rules import shared_scale
from ..safe_text import counted
from ..scope.batches import count_images, read_batches
from ..scope.capture import Maps
from ..scope.objects import by_path
from ..scope.run import provenance
from ..scope.scope import Scope
from ..surface import option
from .batch_writer import Writer
from .file_names import NUMBERS, ROW, Namer, Paths, check_ending, describe_rule, files_of
from .options import DrawOptions
from .resume import Marks
from .show import PLAIN, asks_model, check_for_overlay, first_class, needs_target, one_channel

TOGETHER = 16
Capturing = Literal["stream", "together", "singly"]
ABOUT_PHOTOS = ("frame", "bands", "range", "clipped", "whole-numbers", "photos")  # kinds of notes


def _named(maps: Maps, image: str) -> Maps:
    """The maps of one image by its id; rows that are no images have it too."""
    named = {
        path: replace(
            fm, ids=(image,) if fm.rows == "image" else tuple(f"{image} row {row}" for row in range(len(fm.ids)))
        )
        for path, fm in maps.items()
    }
    return Maps(named, maps.skipped, (image,))


def _check_single(namer: Namer, maps: Maps) -> None:
    """Raises `BadOption` where maps of one image give more pictures than the one file that is named."""
    pictures = sum(len(fm.ids) for fm in maps.values())
    if namer.single and pictures > 1:
        names = ", ".join(map(repr, list(maps)[:4])) + (" …" if len(maps) > 4 else "")
        what = f"{len(maps)} maps ({names})" if len(maps) > 1 else f"{names} with {pictures} rows"
        plural = "give" if len(maps) > 1 else "gives"
        raise BadOption(f"-o {namer.output}: {what} {plural} several pictures: choose one, or name a folder")


def _ignore(*_: str) -> None:
    """For those who don't want to hear of images."""


@dataclass(frozen=True, eq=False)
class Job:
    """Layers of a model for images, as files.

    Without a `scope` a job can only be checked. `batch` is how many images the model gets at a time.
    `output` is a file (`.png`, `.svg`, `.pdf`, `.jpg` …) for one picture, or a folder; `None` writes into the current folder.
    As an `.npz`, `.npy` or `.csv` it gets what would be drawn as numbers. `values` is such a file for the layer's own numbers
    beside the pictures. Several layers get a file each, `OUT-<layer>.npz`, and so does each image where they aren't captured
    together, `OUT-<image>.npz`. `options.channels` is a list of numbers, or a condition by which each sheet chooses its tiles.
    `figure` draws a figure of each layer by `FigureOptions`, `tiles` writes a folder with a file for each tile of a picture.
    `screen` is shown each picture; then only an `output` that is given is written. `resume` leaves out images whose pictures
    are all in the folder, whole and as this job would make them. `sources` are the files of the model and what belongs to it:
    neither they nor the images are ever written over. `names` are those of the images of a ready batch, which has none.
    """

    scope: Scope | None
    layers: Sequence[str]
    images: Any
    combine: str | None = None
    target: Any = None
    options: DrawOptions = PLAIN
    overlay: bool = False
    figure: bool = False
    tiles: bool = False
    output: Path | None = None
    values: Path | None = None
    dpi: float | None = None
    width_mm: float | None = None
    screen: Callable[[Picture], object] | None = None
    resume: bool = False
    sources: Sequence[str | PathLike[str]] = ()
    names: Sequence[str] = ()
    batch: int | None = None

    def __post_init__(self) -> None:
        if self.values is not None and self.values.suffix.lower() not in NUMBERS:
            raise BadOption(f"--values {self.values}: the file name must end in {', '.join(NUMBERS)}")
        if self.values is not None and self.values == self.output:
            raise BadOption(f"-o {self.output} --values {self.values}: one file can't hold both: give another name")
        if not self.figure:
            check_for_overlay(self.options, self.overlay)
        if self.output is not None:
            check_ending(self.output)
        if self.numbers is not None:
            self._check_numbers(self.numbers)
        if self.figure and (self.overlay or self.joint):
            wrong = "--overlay" if self.overlay else "--combine"
            raise BadOption(f"--figure has an overlay of one layer: leave {wrong} out")
        if needs_values(self.options.channels) and (self.combine is not None or self.overlay) and not self.figure:
            raise BadOption(
                f"--channels {self.options.channels!r} is a condition on each sheet's own values: with --combine or --overlay,"
                " give channel numbers"
            )
        if self.combine is not None:
            rule_named(self.combine)
        if self.tiles and (self.resume or self.numbers):
            raise BadOption("--tiles is for pictures in a folder: leave --resume and numbers as -o out")
        if self.resume and (self.values or self.numbers or self.screen):
            raise BadOption("--resume is for pictures in files: leave --values, numbers as -o and --terminal out")

    def _check_numbers(self, file: Path) -> None:
        """Raises `BadOption` for what only a picture has, where numbers are written."""
        if self.options.statistics and file.suffix.lower() != ".csv":
            raise BadOption(f"-o {file} --statistics: the table of statistics is a .csv: name one")
        top = getattr(self.options, "top", None)
        if top is not None and self.screen is None:
            raise BadOption(f"{option('top', top)} is for pictures: leave it out, or choose {option('channels')}")

    @property
    def own_class(self) -> bool:
        """Whether each image has the target that is its top-1 class, as none is given."""
        return self.target is None and needs_target(self.combine)

    @property
    def joint(self) -> bool:
        """Whether one map is made of those of all layers."""
        return self.combine is not None and rule_named(self.combine).joint

    @property
    def capturing(self) -> Capturing:
        """How images are captured: in batches, all at once, or one by one.

        All at once for one range, one basis or one file of values. One by one where each image has its own target, and
        for a combination that runs the model, which the maps of a stream don't know.
        """
        together = (
            self.options.scale == "images"
            or self.values is not None
            or self.numbers is not None
            or (self.combine is not None and rule_named(self.combine).together)
        )
        if self.own_class or (asks_model(self.combine) and (self.target is None or not together)):
            return "singly"
        return "together" if together else "stream"

    @property
    def numbers(self) -> Path | None:
        """The `output` that holds numbers in place of pictures."""
        return self.output if self.output is not None and self.output.suffix.lower() in NUMBERS else None

    @property
    def opened(self) -> Scope:
        """The scope of a job that runs."""
        assert self.scope is not None
        return self.scope

    def count(self) -> int:
        """How many images there are."""
        return count_images(self.images, self.opened.preprocess, self.opened.facts.inputs) or 0

    def check(self) -> None:
        """Raises what is wrong with the names of photos and outputs, which needs no model."""
        self._namer(len(check_files(self.images)) > 1)

    def run(
        self,
        step: Callable[[str], None] = _ignore,
        skip: Callable[[str, str], None] = _ignore,
        say: Callable[[str], None] = _ignore,
    ) -> Iterator[Path]:
        """Write everything, yielding each path as it is written.

        `step` hears the id of each image done, `skip` the id of each image that can't be read, and why, `say` what must be
        said of a photo.
        """
        several = self.count() > 1
        namer = self._namer(several)
        marks = self._marks(namer)
        job = self._remaining(marks, namer, step, say) if self.resume else self
        if self.resume and not job.images:
            return
        try:
            yield from job._write_all(Writer(job, namer, several, marks), step, skip, say)
        except ImageNotReadable as error:
            if not (self.resume and marks and error.unread and len(job.images) < len(marks.sources)):
                raise
            for id, reason in error.unread:  # those that were read are complete
                skip(id, reason)

    def _write_all(
        self,
        writer: Writer,
        step: Callable[[str], None],
        skip: Callable[[str, str], None],
        say: Callable[[str], None],
    ) -> Iterator[Path]:
        waiting: list[Maps] = []
        said: set[str] = set()
        for maps in map(self._by_name, self._capture(skip)):
            for note in [note for fm in maps.values() for note in fm.notes if kind_of(note) in ABOUT_PHOTOS]:
                if note not in said:
                    say(note)
                said.add(note)
            if not self.joint:
                _check_single(writer.namer, maps)
            alone = writer.several and self.capturing == "singly"
            yield from writer.write_values(maps, self.values, alone)
            combined = combined_maps(maps, self.combine, self.target)
            if self.overlay:
                combined = {path: one_channel(fm) for path, fm in combined.items()}
            ready = Maps(combined, (), maps.images)
            yield from writer.write_values(ready, self.numbers, alone)
            if self.numbers is not None and self.screen is None:
                for id in maps.images:
                    step(id)
            elif self.capturing == "singly" and self.options.scale == "images":
                waiting.append(maps if self.figure else ready)
            else:
                yield from writer.write_pictures(maps if self.figure else ready, step, {})
        shared = self._shared_options(waiting)
        for ready in waiting:
            yield from writer.write_pictures(ready, step, shared)

    def _by_name(self, maps: Maps) -> Maps:
        """The maps with the names of images in place of their numbers."""
        if len(self.names) != self.count() or not self.names:
            return maps
        names = {f"image {number}": name for number, name in enumerate(self.names)}

        def renamed(id: str) -> str:
            row = ROW.fullmatch(id)
            return f"{names.get(row[1], row[1])}{row[2]}" if row else names.get(id, id)

        named = {path: replace(fm, ids=tuple(map(renamed, fm.ids))) for path, fm in maps.items()}
        return Maps(named, maps.skipped, tuple(map(renamed, maps.images)))

    def _marks(self, namer: Namer) -> Marks | None:
        """The marks of the pictures in a folder; `None` for a single file, for generators and for what isn't photos."""
        if self.tiles or namer.single or self.opened.preprocess == READY or is_stream(self.images):
            return None
        settings = [
            self.layers,
            self.combine,
            self.target,
            self.options.to_dict(),
            self.overlay,
            self.figure,
            self.dpi,
            self.width_mm,
        ]
        sources = collect(self.images)
        if self._dependent:
            settings.append([source.id for source in sources])
        return Marks.of([*settings, provenance(self.opened)], sources, [Path(self._weights)] if self._weights else ())

    @property
    def _dependent(self) -> bool:
        """Whether the pictures of one image depend on all others."""
        return self.capturing == "together" or self.options.scale == "images"

    def _remaining(
        self, marks: Marks | None, namer: Namer, step: Callable[[str], None], say: Callable[[str], None]
    ) -> Job:
        """The job without the images that are complete, whose pictures keep their names; of those that depend, all or none."""
        if marks is None:
            raise BadOption("--resume is for photos whose pictures go into a folder: name one with -o")
        folder = namer.output or Path()
        complete = marks.complete(folder) if folder.is_dir() else {}
        if self._dependent and len(complete) < len(marks.sources):
            complete = {}
        remaining = []
        for id, source in marks.sources.items():
            namer.image(id)
            if id not in complete:
                remaining.append(source)
                continue
            step(id)
            for path in complete[id]:
                namer.paths.hold(path)
        say(f"{len(complete)} of {counted(len(marks.sources), 'image')} complete already")
        return replace(self, images=remaining)

    @property
    def _weights(self) -> str:
        """The file of weights of the combination, `""` for none."""
        return (self.combine or "").partition(":")[2] if (self.combine or "").startswith("weights:") else ""

    def _namer(self, several: bool) -> Namer:
        """Names the files. Raises `BadOption` where one file can't hold what there is, or is one of those that are read."""
        paths = Paths([*files_of(self.images), *self.sources, self._weights])
        kind = "figure" if self.figure else "overlay" if self.overlay else ""
        namer = Namer(None if self.numbers else self.output, describe_rule(self.combine, kind), paths)
        if namer.single and self.tiles:
            raise BadOption(f"-o {self.output}: --tiles writes a file for each tile: name a folder")
        if namer.single and several:
            raise BadOption(f"-o {self.output}: several images give several pictures: name a folder")
        for flag, file in (
            ("-o", self.numbers or (self.output if namer.single else None)),
            ("--values", self.values),
        ):
            if file is not None and paths.is_input(file):
                raise BadOption(f"{flag} {file}: that is an input, which would be overwritten: give another name")
        return namer

    def _capture(self, skip: Callable[[str, str], None]) -> Iterator[Maps]:
        own = self.figure or needs_values(self.options.channels)  # the picture itself chooses
        capturing = {
            "channels": None if own else self.options.channels,
            "target": target_of_capture(self.combine, self.target),
        }
        if self.capturing == "singly":
            yield from self._capture_singly(capturing, skip)
            return
        if self.capturing == "together":
            alone = self.batch if self.batch or not self._has_rows() else 1
            batches = iter([self.opened.capture(self.images, self.layers, batch=alone, **capturing)])
        else:
            size = self.batch or (1 if self._has_rows() else TOGETHER)
            batches = self.opened.stream(self.images, self.layers, batch=size, **capturing)
        for maps in batches:
            for id, reason in maps.skipped:
                skip(id, reason)
            yield _named(maps, maps.images[0]) if len(maps.images) == 1 else maps

    def _has_rows(self) -> bool:
        """Whether a layer has rows that are no images (boxes, windows): of several images at once, nobody knows whose they are.

        The dry run that tells is the one that the captures need anyway.
        """
        if self.count() == 1:
            return False
        chosen = self.opened.layers(self.images).choose(by_path(self.opened, self.layers))
        return any("b" in layer.axes and layer.shape and layer.shape[layer.axes.index("b")] != 1 for layer in chosen)

    def _capture_singly(self, capturing: Mapping[str, Any], skip: Callable[[str, str], None]) -> Iterator[Maps]:
        skipped: list[tuple[str, str]] = []
        for id, image in self._single_images(skipped):
            target = first_class(self.opened, image) if self.own_class else capturing["target"]
            maps = self.opened.capture(image, self.layers, **{**capturing, "target": target})
            yield _named(maps, id)
        for id, reason in skipped:
            skip(id, reason)

    def _single_images(self, skipped: list[tuple[str, str]]) -> Iterator[tuple[str, Any]]:
        """(id, what the scope captures) of each image."""
        recipe = self.opened.preprocess
        if recipe == READY:
            for batch in read_batches(
                self.images, 1, recipe, self.opened.plan, skipped=skipped, inputs=self.opened.facts.inputs
            ):
                yield batch.ids[0], batch.array
            return
        for photos in stream(self.images, TOGETHER, skipped=skipped, range=recipe.range):
            yield from ((photo.id, photo) for photo in photos)

    def _shared_options(self, waiting: Sequence[Mapping[str, FeatureMap]]) -> dict[str, DrawOptions]:
        """For each layer the options with one range over images that were captured one by one."""
        shared = {}
        for path in waiting[0] if waiting else ():
            maps = [ready[path] for ready in waiting]
            options = self.options
            scale = shared_scale(*maps, clip=options.clip, colors=options.colors, norm=options.norm or "linear")
            shared[path] = replace(self.options, scale=replace(scale, per="images"), clip=None, colors=None)
        return shared
