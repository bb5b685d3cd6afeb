"""What must be said of a file beside its pixels: frames, bands and tags that the picture doesn't show."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from PIL import Image

from ..core.note import Note
from .levels import SAMPLES

NEW_SUBFILE_TYPE, PREVIEW = 254, 1  # a tag of a TIFF, and a bit of its value
EXTRA = 338  # what the bands of a TIFF are that aren't colours
USUAL_GAMMA = 0.45455
ANIMATED = ("GIF", "PNG", "WEBP", "TIFF", "AVIF")


def remarks(image: Image.Image, bits: int = 8) -> tuple[Note, ...]:
    """The remarks on an image that was decoded; `bits` are those of a colour in the file, of which Pillow keeps 8."""
    notes = [*_frames(image), *_bands(image), *_colours(image.info, image)]
    if bits > 8 and not image.mode.startswith(("I", "F")):
        notes.append(Note("bits", f"its colours have {bits} bits, of which 8 are read"))
    return tuple(notes)


def _frames(image: Image.Image) -> Iterator[Note]:
    if image.format in ANIMATED and getattr(image, "is_animated", False):
        word = "page" if image.format == "TIFF" else "frame"
        yield Note("frame", f"{word} {image.tell() + 1} of several is read")
    if getattr(image, "tag_v2", {}).get(NEW_SUBFILE_TYPE, 0) & PREVIEW:  # as in a DNG, in front of what the camera saw
        yield Note("frame", "the file says that this is a small preview of another image in it")


def _bands(image: Image.Image) -> Iterator[Note]:
    """Bands of a TIFF that aren't shown, or are taken for what the file doesn't say that they are."""
    tags = getattr(image, "tag_v2", {})
    bands, shown = tags.get(SAMPLES, 1), len(image.getbands())
    if bands > shown:
        yield Note("bands", f"the first {shown} of {bands} bands are read")
    elif image.mode == "RGBA" and bands == 4 and EXTRA not in tags:
        yield Note("bands", "the 4th band is taken for transparency, which the file doesn't say")


def _colours(info: dict[Any, Any], image: Image.Image) -> Iterator[Note]:
    """What the file says of its colours, and isn't applied."""
    profile = info.get("icc_profile") or b""
    if (
        isinstance(profile, bytes)
        and profile
        and not any(name in profile for name in (b"sRGB", "sRGB".encode("utf-16-be")))
    ):
        yield Note("profile", "it has a colour profile other than sRGB, which isn't applied")
    gamma = info.get("gamma")
    if (
        isinstance(gamma, float)
        and gamma > 0
        and abs(gamma - USUAL_GAMMA) > 0.01
        and not profile
        and "srgb" not in info
    ):
        yield Note("profile", f"its gamma of {gamma:.3g} isn't applied")
    if image.format == "JPEG" and image.mode == "CMYK" and "adobe" not in info:
        yield Note("polarity", "its inks are read as inverted, as Adobe writes them, which the file doesn't say")
