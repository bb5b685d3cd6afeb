"""A picture as a file: the format by its suffix, the size on paper by dots per inch or by its width."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Mapping
from math import ceil, floor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...checks import file_path, real
from ...core.note import kind_of
from ...core.progress import watched
from ...errors import BadOption, LayerscopeWarning, caller_level, first_line
from ...safe_text import json_text, printable
from ...surface import by_surface, option
from ...writing import write

if TYPE_CHECKING:
    from ..picture import Picture

MM_PER_INCH, POINTS = 25.4, 72
# Points: what journals ask for at least, and what can hardly be read.
READABLE, UNREADABLE = 5, 4
FORMATS: Mapping[str, Callable[[Picture, float | None], bytes]] = {
    ".png": lambda picture, dpi: picture.png(dpi),
    ".svg": lambda picture, dpi: picture.svg(dpi).encode(),
    ".pdf": lambda picture, dpi: picture.pdf(dpi),
}


# Half of the time of Pillow's own choice, and a third, for files that are 1 % and 8 % larger.
QUICK: Mapping[str, Mapping[str, Any]] = {".webp": {"method": 2}, ".avif": {"speed": 8}}


def save(picture: Picture, path: str | Path, dpi: Any, width_mm: Any) -> Path:
    """Write a picture to a file; the rules stand at `Picture.save`."""
    path = file_path(path)
    dots = _dots(picture, dpi, width_mm)
    if dots is not None:
        _warn_of_small_letters(picture, dots, by_width=width_mm is not None)
    suffix = path.suffix.lower()
    return write(path, FORMATS[suffix](picture, dots) if suffix in FORMATS else _by_pillow(picture, path, dots))


def check_dpi(dpi: Any) -> float:
    return real("dpi", dpi, 1, 100_000, unit=" pixels per inch, such as 300")


def about(picture: Picture) -> dict[str, Any]:
    """What the file of a picture remembers, ready for JSON."""
    scale = picture.scale
    known = {
        **picture.provenance,
        "title": picture.title,
        "caption": list(picture.lines),
        "scale": scale.describe() if scale else None,
        "page": [picture.page, picture.pages],
        "zoom": picture.zoom,
    }
    if picture.theme != "light":
        known["theme"] = picture.theme
    if scale is not None and scale.single:
        known["limits"] = list(scale.limits)
    if picture.notes:
        known["warnings"] = [{"kind": kind_of(note), "text": str(note)} for note in picture.notes]
    return known


def metadata(picture: Picture) -> dict[str, str]:
    """The same as the texts of a PNG."""
    return {
        "Title": printable(picture.title),
        "Description": picture.alt(),
        "Software": "layerscope",
        "layerscope": json_text(picture.about(), default=str),
    }


def _dots(picture: Picture, dpi: Any, width_mm: Any) -> float | None:
    """The pixels per inch on paper; `None` where nothing is asked for."""
    if width_mm is None:
        return None if dpi is None else check_dpi(dpi)
    if dpi is not None:
        check_dpi(dpi)
        width = real("width_mm", width_mm, *_widths(picture))
        raise BadOption(
            by_surface("dpi= and width_mm= both say", "--dpi and --width-mm both say")
            + f" how large the picture is on paper, and it has {picture.width:,} pixels: {dpi:g} dpi are"
            f" {picture.width * MM_PER_INCH / dpi:.3g} mm, {width:g} mm are {picture.width * MM_PER_INCH / width:.3g} dpi."
            " Give one of the two; a larger " + by_surface("text= makes", "--text makes") + " more pixels"
        )
    unit = f" millimetres for a picture of {picture.width} pixels, such as 85 for a column or 180 for a page"
    return picture.width * MM_PER_INCH / real("width_mm", width_mm, *_widths(picture), unit=unit)


def _widths(picture: Picture) -> tuple[int, int]:
    """The least and the greatest width in millimetres: from 100,000 down to 1 pixel per inch, as `dpi`."""
    return max(1, ceil(picture.width * MM_PER_INCH / 100_000)), floor(picture.width * MM_PER_INCH)


def _warn_of_small_letters(picture: Picture, dots: float, *, by_width: bool) -> None:
    """Warns where the smallest letters are too small to be read on paper, at a width or at dots per inch."""
    smallest = min((text.size for text in picture.texts), default=0) * POINTS / dots
    if 0 < smallest < UNREADABLE:
        width, larger = picture.width * MM_PER_INCH / dots, READABLE / smallest
        if by_width:
            size, advice = f"{width:.0f} mm", f"draw fewer tiles per row ({by_surface('columns=4', '--columns 4')}) or"
            advice += f" make it {ceil(width * larger)} mm wide"
        else:
            size, advice = f"{dots:g} dpi", f"draw with {option('text', ceil(10 * picture.text * larger) / 10)}"
        text = f"the smallest letters are {smallest:.2g} pt at {size}: for {READABLE} pt {advice}"
        warnings.warn(LayerscopeWarning(text), stacklevel=caller_level())


def _by_pillow(picture: Picture, path: Path, dpi: float | None) -> bytes:
    """The file in a format of Pillow's, which takes it from the suffix."""
    from PIL import Image

    if not path.suffix:
        raise BadOption(
            f"can't write {path}: a picture is one file, and its name says how: save({f'{path}.png'!r}), or into a folder"
            f" save({f'{path}/name.png'!r})"
        )
    options: dict[str, Any] = {**QUICK.get(path.suffix.lower(), {}), **({} if dpi is None else {"dpi": (dpi, dpi)})}
    encoded = io.BytesIO()
    encoded.name = path.name
    image = Image.fromarray(picture.rgb())
    try:
        watched(lambda: image.save(encoded, **options), "encodings")
    except (ValueError, OSError) as error:
        raise BadOption(
            f"can't write {path}: {first_line(error)}. Use .png, which keeps every value, .svg, .pdf, or another "
            "format that Pillow writes"
        ) from error
    return encoded.getvalue()
