"""What a job has captured, drawn and written: pictures of each image and layer, values, tables of statistics."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..channels.query import find_channels, needs_values
from ..channels.statistics import statistics
from ..errors import BadOption
from ..picture.picture import Picture
from ..scope.capture import Maps
from .figure import FigureOptions, draw_figure
from .file_names import Namer
from .options import DrawOptions
from .resume import NAME as MARK
from .resume import Marks
from .show import draw

if TYPE_CHECKING:
    from .batch_job import Job


class Drawn(NamedTuple):
    """A picture with the layer and the image (or row) that it shows, and which part of it."""

    picture: Picture
    layer: str
    id: str
    part: str


@dataclass(frozen=True, eq=False)
class Writer:
    """Draws the maps of a job, and puts pictures and values where they belong."""

    job: Job
    namer: Namer
    several: bool
    marks: Marks | None = None

    def write_values(self, maps: Maps, file: Path | None, each_image: bool) -> Iterator[Path]:
        """The numbers of what was captured, or made of it, where a file is named for them."""
        if file is None:
            return
        condition: Any = self.job.options.channels if file == self.job.numbers else None
        for path, fm in maps.items():
            if needs_values(condition):
                fm = fm.select(find_channels(fm, condition))
            several = len(maps) > 1
            name = self.namer.values(file, path if several else None, maps.images[0] if each_image else None)
            as_table = self.job.options.statistics and file == self.job.numbers
            yield statistics(fm).to_csv(name) if as_table else fm.save(name)

    def write_pictures(
        self, maps: Maps, step: Callable[[str], None], shared: Mapping[str, DrawOptions]
    ) -> Iterator[Path]:
        """The pictures of every image and layer; `shared` are the options of layers that have their own."""
        count = max((len(fm.ids) for fm in maps.values()), default=0)
        alone = len(maps.images) == 1  # then all rows are of that image
        for rows in [range(count)] if alone else [[row] for row in range(count)]:
            number = 0 if alone else rows[0]
            image = maps.images[number] if number < len(maps.images) else None
            yield from self._deliver(image, (drawn for row in rows for drawn in self._drawn(maps, row, shared)))
            if image is not None:
                step(image)
        for id in maps.images[1 if alone else count :]:
            step(id)

    def _drawn(self, maps: Maps, row: int, shared: Mapping[str, DrawOptions]) -> Iterator[Drawn]:
        """The pictures of one row of the maps: each page of each layer, and its prefix tokens."""
        for path, fm in maps.items():
            if row >= len(fm.ids):  # a layer whose rows are not images may have more or fewer of them
                continue
            options = replace(shared.get(path, self.job.options), image=row)
            if isinstance(options, FigureOptions):
                yield Drawn(draw_figure(fm, self.job.combine, self.job.target, options), path, fm.ids[row], "")
                continue
            if not needs_values(options.channels):
                options = replace(options, channels=None)  # captured alone
            picture = draw(fm, options, overlay=self.job.overlay)
            for page in range(picture.pages):
                if page:
                    picture = draw(fm, replace(options, page=page), overlay=self.job.overlay)
                yield Drawn(picture, path, fm.ids[row], f"-p{page + 1}" if picture.pages > 1 else "")
            prefix = fm.prefix()
            if prefix is not None:
                tokens = draw(
                    prefix,
                    DrawOptions(
                        image=row, text=options.text, theme=options.theme, caption=options.caption, bar=options.bar
                    ),
                )
                yield Drawn(tokens, path, fm.ids[row], "-tokens")

    def _deliver(self, image: str | None, pictures: Iterator[Drawn]) -> Iterator[Path]:
        """The pictures of one image onto the screen, into files, or both."""
        job = self.job
        number, drawn = 0, next(pictures, None)
        while drawn is not None:
            following = next(pictures, None)
            picture = drawn.picture
            if job.screen is not None:
                job.screen(picture)
            if job.screen is None or (job.output is not None and job.numbers is None):
                if self.marks is not None and image is not None:
                    mark = self.marks.mark(image, number, last=following is None)
                    picture = replace(picture, provenance={**picture.provenance, MARK: mark})
                path = self.namer.picture(drawn.layer, drawn.id, drawn.part)
                save = self._save_tiles if job.tiles else self._save
                yield from save(picture, path)
            number, drawn = number + 1, following

    def _save(self, picture: Picture, path: Path) -> Sequence[Path]:
        return [picture.save(path, self.job.dpi, width_mm=self.job.width_mm)]

    def _save_tiles(self, picture: Picture, path: Path) -> Sequence[Path]:
        """A file for each tile, in a folder of the name that the picture would have."""
        folder = path.with_suffix("")
        for file in folder.glob("*"):
            if self.namer.paths.is_input(file):
                raise BadOption(f"--tiles would write into {folder}, where {file.name} is an input: give another -o")
        return picture.save_tiles(folder, path.suffix, self.job.dpi, width_mm=self.job.width_mm)
