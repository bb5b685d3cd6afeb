"""Which image files are read, and what their headers say before anything is decoded: format, size, work to come."""

from __future__ import annotations

import math
import os
import re
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from PIL import Image, TiffImagePlugin

from ..errors import BadOption, ImageNotReadable, ImageTooLarge
from ..memory import LIMIT, amount, available_text, is_little, limit
from ..safe_text import counted
from ..surface import by_surface, option

DEFAULT_LIMIT = 100_000_000
LIMIT_VARIABLE = "LAYERSCOPE_MAX_PIXELS"
START_OF_SCAN = re.compile(rb"\xff\xda")
ALONE = 0.75  # of the available memory; the rest is for other photos of the same batch
SCANS = 20  # a JPEG may draw its pixels so many times where it has as many as the limit lets through, a smaller one more often

# Of the values in a TIFF, by its tag SampleFormat.
KINDS = {
    1: "unsigned integers",
    2: "signed integers",
    3: "floats",
    4: "values of no stated type",
    5: "complex integers",
    6: "complex numbers",
}
DAMAGED = "the file is truncated, damaged or in an unusual format"
ANEW = "download or copy it again, or open it in an image program and save it again"
VIDEOS = (
    *(
        ".mp4",
        ".m4v",
        ".mov",
        ".mkv",
        ".webm",
        ".avi",
        ".mpg",
        ".mpeg",
        ".m2v",
        ".mts",
        ".m2ts",
        ".wmv",
        ".flv",
        ".ogv",
    ),
    *(".3gp", ".3g2"),
)
PLUGINS = {".heic": "pillow-heif", ".heif": "pillow-heif", ".jxl": "pillow-jxl-plugin"}

# Those of Pillow's own formats that are read; what else the user has registered is read too. Pillow would start Ghostscript
# for EPS, has its readers of scientific and game formats look at any file, and unpacks gzip inside FITS.
FORMATS = {
    *("AVIF", "BMP", "DIB", "GIF", "ICO", "JPEG", "JPEG2000", "MPO", "PCX", "PNG", "PPM"),
    *("PSD", "QOI", "SGI", "TGA", "TIFF", "WEBP"),
}


def identified(stream: BinaryIO, name: str, most: int) -> Image.Image | None:
    """The image in `stream` with only its header read, or `None`. Raises `ImageTooLarge` as `check_size` does.

    This is `PIL.Image.open` without its check against `Image.MAX_IMAGE_PIXELS`, which raises an error of its own before our
    limit could be checked: that setting belongs to the whole process, and changing it here, even for a moment, would change
    it for other threads too. Hence Pillow's private names here and in `photo.py`.
    """
    stream.seek(0)
    prefix = stream.read(16)
    tried: set[str] = set()
    for load_plugins in (Image.preinit, Image.init):
        load_plugins()
        for format in [name for name in _readable() if name not in tried]:
            tried.add(format)
            factory, accept = Image.OPEN[format]
            if accept and not _begins(format, prefix):
                continue
            stream.seek(0)
            try:
                if format == "ICO":  # Pillow decodes these at once
                    _check_sizes(name, _icon_sizes(stream), most)
                    stream.seek(0)
                image = factory(stream, "")
            except (SyntaxError, IndexError, TypeError, struct.error):  # a plugin's ways to say "not mine"
                continue
            if _is_torn(image):
                continue
            check_size(name, image, most)
            check_memory(name, image)
            check_scans(name, image, stream, most)
            check_depth(name, image, stream)
            return image
    return None


def _is_torn(image: Image.Image) -> bool:
    """Whether Pillow took the letters of one mode ("F;32F") for those of bands that lie one after another in a TIFF."""
    single = image.format == "TIFF" and len(image.getbands()) == 1
    return single and any(tile[0] == "raw" and tile[3][0] == ";" for tile in getattr(image, "tile", ()))


def is_video(path: str | os.PathLike[str]) -> bool:
    """Whether a file is a video, by its name.

    >>> is_video("clip.MP4"), is_video("cat.png")
    (True, False)
    """
    return os.fspath(path).lower().endswith(VIDEOS)


def unknown(stream: BinaryIO, name: str) -> str:
    """Why nothing reads the file in `stream`, and what to do."""
    stream.seek(0)
    start = stream.read(16)
    suffix = Path(name).suffix.lower()
    if start[4:8] == b"ftyp" and start[8:12] in (b"heic", b"heix", b"hevc", b"mif1", b"msf1"):
        suffix = ".heic"
    if suffix in PLUGINS:
        return f"Pillow needs a plugin to read {suffix} files: pip install {PLUGINS[suffix]}" + by_surface(
            ", and register it", "", ""
        )
    if suffix in VIDEOS:
        return "a video: give " + by_surface(
            f"ls.video({name!r}, fps=1), or frames=[0, 30]",
            "--frames 0,30,60 or --fps 1",
            "single frames, saved as images",
        )
    if content := _tiff_content(stream):
        return (
            f"a TIFF of {content}, which Pillow doesn't read: read it with tifffile.imread, and give an array of 1 or 3"
            f" of its bands, or a batch that is ready for the model, with {option('preprocess', None)}"
        )
    if format := next((format for format in _readable() if _begins(format, start)), None):
        return f"{DAMAGED} (it begins as {format}, and the rest of its header can't be read): {ANEW}"
    if start.startswith(b"\x93NUMPY"):
        return (
            "a numpy array, not an image file: give what numpy.load reads; a batch that is ready for the model needs "
            f"{option('preprocess', None)}"
        )
    return f"not in an image format that layerscope reads (it begins with {start[:8]!r}): save it as JPEG, PNG, WebP or TIFF"


def bits_of(image: Image.Image) -> int:
    """The bits of each value in a file that was opened and not yet decoded: those of a TIFF's tag, 16 where Pillow says so."""
    if tags := getattr(image, "tag_v2", None):
        return int(max(tags.get(258, (8,))))
    return 16 if any(";16" in str(tile[3]) for tile in getattr(image, "tile", ())) else 8


def check_depth(name: str, image: Image.Image, stream: BinaryIO) -> None:
    """Raises `ImageNotReadable` for colours of more than 8 bits in JPEG 2000; leaves `stream` as it is.

    Pillow rounds them to 8, and what is nearly white goes over to 0, black.
    """
    if image.format != "JPEG2000" or image.mode.startswith("I"):
        return
    position = stream.tell()
    stream.seek(0)
    data = stream.read()
    stream.seek(position)
    codestream = data.find(b"\xff\x4f\xff\x51")
    if codestream < 0:
        return  # never finished: decoding tells
    start = codestream + 40  # the number of its components, then the bits of each, less one
    count = int.from_bytes(data[start : start + 2], "big")
    bits = max((byte & 0x7F for byte in data[start + 2 : start + 2 + 3 * count : 3]), default=0) + 1
    if bits > 8:
        raise ImageNotReadable(
            f"{name}: a JPEG 2000 with colours of {bits} bits, of which Pillow reads white as black: read it with OpenCV or"
            " imagecodecs, and give an array of uint16 or of floats in 0–1; or save it as PNG or TIFF"
        )


def _tiff_content(stream: BinaryIO) -> str:
    """What a whole TIFF says that it holds: "5 bands of 32-bit floats, 64 × 48 pixels"; `""` for anything else."""
    stream.seek(0)
    try:
        header = stream.read(16)
        tags = TiffImagePlugin.ImageFileDirectory_v2(header if header[2] == 43 else header[:8])
        stream.seek(tags.next)
        tags.load(stream)
        width, height, bands = tags[256], tags[257], tags.get(277, 1)
        kind = KINDS[tags.get(339, (1,))[0]]
        text = f"{counted(bands, 'band')} of {tags[258][0]}-bit {kind}, {width} × {height} pixels"
        end = max(start + size for start, size in zip(tags[273], tags[279], strict=True)) if 273 in tags else 0
    except (SyntaxError, KeyError, IndexError, TypeError, ValueError, struct.error, OSError):
        return ""
    return text if end <= stream.seek(0, os.SEEK_END) else ""


def _readable() -> list[str]:
    return [name for name in Image.ID if name in FORMATS or not Image.OPEN[name][0].__module__.startswith("PIL.")]


def _begins(format: str, start: bytes) -> bool:
    accept = Image.OPEN[format][1]
    try:
        # a string says that the library for this format is missing
        return accept is not None and accept(start) is True
    except (IndexError, struct.error):  # a file of a few bytes
        return False


# ---- limits ----------------------------------------------------------------------------------------------------------
def pixel_limit(limit: int | None = None) -> int:
    """The current limit on the number of pixels: `limit`, else `LAYERSCOPE_MAX_PIXELS`, else 100 million.

    >>> pixel_limit(5_000_000)
    5000000
    """
    setting = (os.environ.get(LIMIT_VARIABLE) or DEFAULT_LIMIT) if limit is None else limit
    try:
        pixels = int(setting)
    except ValueError as error:
        raise BadOption(f"{LIMIT_VARIABLE}={setting!r}: give a whole number of pixels, such as 400000000") from error
    if pixels < 1:
        source = LIMIT_VARIABLE if limit is None else "limit"
        raise BadOption(f"{source}={pixels} lets no image through: give a number of pixels above 0")
    return pixels


def check_size(name: str, image: Image.Image, most: int) -> None:
    """Raises `ImageTooLarge` where decoding the image would make more than `most` pixels."""
    sizes = [image.size]
    if image.format == "TIFF" and getattr(image, "_im", None) is None:
        tags = image.tag_v2  # type: ignore[attr-defined] # a TIFF has them
        # Before it is turned upright; and its tiles, which are decoded whole, however little of one is in the image.
        sizes += [getattr(image, "_tile_size", image.size), (tags.get(322, 0), tags.get(323, 0))]
    _check_sizes(name, sizes, most)


def _check_sizes(name: str, sizes: Iterable[tuple[int, int]], most: int) -> None:
    for width, height in sizes:
        pixels = width * height
        if pixels > most:
            raise ImageTooLarge(
                f"{name}: {width} × {height} pixels ({megapixels(pixels)}) are more than the limit of"
                f" {megapixels(most)}. {_higher(pixels)}"
            )


def _higher(pixels: int) -> str:
    """How an image that takes as much as so many pixels is let through."""
    variable = f"the environment variable {LIMIT_VARIABLE}={pixels}"
    raised = "If you trust the file, raise the limit with "
    return by_surface(
        f"{raised}limit={pixels} or {variable}",
        f"{raised}{variable}",
        "Give a smaller copy, or start the page with the file",
    )


def megapixels(pixels: int) -> str:
    """A number of pixels as text.

    >>> megapixels(400_000_000), megapixels(40_000)
    ('400.0 megapixels', '40,000 pixels')
    """
    return f"{pixels / 1e6:,.1f} megapixels" if pixels >= 1e6 else f"{pixels:,} pixels"


def _icon_sizes(stream: BinaryIO) -> Iterator[tuple[int, int]]:
    """The sizes of the PNG and BMP images in an icon file, which its own header may understate."""
    head = stream.read(6)
    entries = stream.read(16 * struct.unpack("<H", head[4:])[0])
    for (offset,) in struct.iter_unpack("<12xI", entries):
        stream.seek(offset)
        start = stream.read(24)
        if start.startswith(b"\x89PNG"):
            yield struct.unpack(">II", start[16:])
        else:
            width, height = struct.unpack("<ii", start[4:12])
            yield abs(width), abs(height)


def check_memory(name: str, image: Image.Image, *, deep: bool = False) -> None:
    """Raises `ImageTooLarge` where decoding the image would take more than most of the memory that there is."""
    width, height = image.size
    # Bytes for a pixel: Pillow's image and one turned upright, floats for more than 8 bits, pixels, what a decoder needs.
    # Colours of 16 bits are decoded twice.
    bytes_per_pixel = (
        48 if deep else 8 if image.mode in ("1", "L", "P") else 24 if image.mode.startswith(("I", "F")) else 16
    )
    check_needed(name, f"decoding {width} × {height} pixels", width * height * bytes_per_pixel)


def check_needed(name: str, work: str, needed: int) -> None:
    """Raises `ImageTooLarge` where work on one image needs more than most of the memory that there is."""
    most = None if is_little(needed) else limit()
    if most is not None and needed > ALONE * most:
        takes = f"{name}: {work} takes about {amount(needed)} of memory"
        advice = f"make the image smaller. {LIMIT}={math.ceil(needed / ALONE / 1e9)}GB overrides this limit"
        error = ImageTooLarge(f"{takes}, and {available_text(most)}: {advice}")
        error.lasting = f"{takes}, more than there was: {advice}"
        raise error


def check_scans(name: str, image: Image.Image, stream: BinaryIO, most: int) -> None:
    """Raises `ImageTooLarge` for a JPEG that draws its pixels so often that decoding would take minutes; leaves `stream` as is.

    Each scan goes over the whole picture, also where it holds nothing: 400 of them fit into a small file.
    """
    if image.format not in ("JPEG", "MPO"):
        return
    position = stream.tell()
    stream.seek(0)
    scans = count_scans(stream.read())
    stream.seek(position)
    width, height = image.size
    needed = math.ceil(scans * width * height / SCANS)
    if needed > most:
        raise ImageTooLarge(
            f"{name}: a JPEG of {width} × {height} pixels in {scans} scans, which may take minutes to decode: open it in an"
            f" image program and save it again. {_higher(needed)}"
        )


def count_scans(data: bytes) -> int:
    """How many times decoding a JPEG goes over its pixels; 1 for a plain one."""
    at, components, progressive = 2, 0, False
    while 0 <= (at := data.find(b"\xff", at)) < len(data) - 10:
        marker = data[at + 1]
        if marker == 0xDA:
            if not progressive and data[at + 4] == components:  # all in one scan, and the decoder stops after it
                return 1
            return sum(1 for _ in START_OF_SCAN.finditer(data, at))
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            components, progressive = data[at + 9], marker in (0xC2, 0xC6, 0xCA, 0xCE)
        bare = marker in (0x00, 0x01, 0xFF) or 0xD0 <= marker <= 0xD9
        at += (1 if marker == 0xFF else 2) if bare else 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return 0
