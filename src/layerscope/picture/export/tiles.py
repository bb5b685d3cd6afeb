"""Tiles of a picture alone: as pictures of their own, and one file for each."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...core.progress import work
from ...errors import BadOption
from ...writing import make_folder
from ..shapes import Cell
from .rasters import pixels_of

if TYPE_CHECKING:
    from ..picture import Picture

LISTED = 16


def tile(picture: Picture, channel: int, image: int | None) -> Picture:
    """The one tile of a channel; the rules stand at `Picture.tile`."""
    found = [cell for cell in picture.cells if cell.channel == channel and (image is None or cell.image == image)]
    if not found:
        where = "" if image is None else f" of image {image}"
        numbers = sorted({cell.channel for cell in picture.cells})
        shown = ", ".join(map(str, numbers[:LISTED])) + (", …" if len(numbers) > LISTED else "")
        raise BadOption(f"channel {channel!r}{where} is not on this page: it shows {shown}")
    if len(found) > 1:
        raise BadOption(
            f"this picture shows channel {channel} {len(found)} times: give image=, or draw what you want alone"
        )
    return alone(picture, found[0])


def save_tiles(picture: Picture, folder: str | Path, suffix: str, **size: Any) -> list[Path]:
    """A file for each tile; the rules stand at `Picture.save_tiles`."""
    path, names = make_folder(folder), _names(picture)
    saved = []
    with work(len(names), "files") as step:
        for cell, name in zip(picture.cells, names, strict=True):
            saved.append(alone(picture, cell).save(path / f"{name}{suffix}", **size))
            step(1)
    return saved


def alone(picture: Picture, cell: Cell) -> Picture:
    """One cell without what is around it, with its own range."""
    own = picture.scale
    if own is not None and not own.single:
        limits = (cell.low, cell.high) if cell.low <= cell.high else (0.0, 0.0)
        own = own.alone(limits)
    frame = picture.frame
    return replace(
        picture,
        title=_title(picture, cell),
        pixels=pixels_of(picture, cell).copy(),
        cells=(cell._replace(x=0, y=0),),
        scale=own,
        bar=None,
        zoom=picture.zooms[picture.cells.index(cell)] if picture.zooms else picture.zoom,
        zooms=(),
        tall=picture.talls[picture.cells.index(cell)] if picture.talls else picture.tall,
        talls=(),
        frame=None if frame is None else frame[cell.y : cell.y + cell.height, cell.x : cell.x + cell.width].copy(),
        drawing=None,
    )


def _title(picture: Picture, cell: Cell) -> str:
    """The title with what tells the tile from the others: its name, or its channel."""
    if len(picture.cells) == 1:
        return picture.title
    path, about = str(picture.provenance.get("layer") or ""), picture.provenance
    names = [path if path and path in picture.title and not about.get("combination") else picture.title]
    if cell.channel >= 0 and not about.get("combination"):
        names.append(f"channel {cell.channel}")
    if sum(other.channel == cell.channel for other in picture.cells) > 1 or cell.channel < 0:
        names.append(cell.note)
    return " · ".join(filter(None, names))


def _names(picture: Picture) -> list[str]:
    """By the channel, with as many digits as the last one of the layer; by the place where several show the same."""
    cells = picture.cells
    last = max(picture.provenance.get("layer_channels", 0) - 1, *(cell.channel for cell in cells))
    digits = len(str(last))
    several = Counter(cell.channel for cell in cells)
    places = len(str(len(cells) - 1))
    return [
        f"channel-{cell.channel:0{digits}d}"
        if several[cell.channel] == 1 and cell.channel >= 0
        else f"tile-{index:0{places}d}"
        for index, cell in enumerate(cells)
    ]
