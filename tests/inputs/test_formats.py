"""Which image files are read, and what is refused before it is decoded."""

from __future__ import annotations

import io
import struct
import subprocess
import zlib

import numpy as np
import pytest
from PIL import Image

from helpers.image_files import RAMP, bomb, encoded
from helpers.wording import raises
from layerscope import memory
from layerscope.errors import ImageNotReadable, ImageTooLarge
from layerscope.inputs import formats
from layerscope.inputs.photo import Photo, read

# ---- formats


@pytest.mark.parametrize(
    "format", ["BMP", "GIF", "ICO", "JPEG", "JPEG2000", "PCX", "PNG", "PPM", "SGI", "TGA", "TIFF", "WEBP"]
)
def test_formats_of_photos_are_read(format: str) -> None:
    assert read(encoded(Image.fromarray(RAMP), format)).size == (12, 16)


@pytest.mark.limit("image files that Pillow reads")
def test_formats_that_are_not_for_photos_are_refused(limit, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(*_: object, **__: object) -> None:
        raise AssertionError("a program was started")

    monkeypatch.setattr(subprocess, "Popen", start)
    monkeypatch.setattr(subprocess, "check_call", start)
    program = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(canary) (w) file closefile\n"
    fits = b"".join(card.ljust(80) for card in (b"SIMPLE  =                    T", b"BITPIX  =                    8"))
    for content in (program, b"\xc5\xd0\xd3\xc6" + bytes(26) + program, fits, encoded(Image.fromarray(RAMP), "ICNS")):
        with limit.raises():
            read(content)


@pytest.mark.parametrize("content", [b"h", b"hi", b"\x00\x00", b"tex", b"GIF"])
def test_a_file_of_a_few_bytes_is_not_called_damaged(content: bytes) -> None:
    with raises(ImageNotReadable, repr(content)):
        read(content)


@pytest.mark.limit("HEIC and HEIF without Pillow's plugin")
def test_photos_of_phones_need_a_plugin(limit) -> None:
    with limit.raises("pip install pillow-heif"):
        read(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")


def test_formats_that_the_user_registers_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    class Own(Image.Image):
        def __init__(self, stream: io.BytesIO, name: str) -> None:
            super().__init__()
            self.__dict__.update(Image.new("RGB", (3, 2), "red").__dict__)

    monkeypatch.setattr(Image, "ID", [*Image.ID])
    monkeypatch.setattr(Image, "OPEN", {**Image.OPEN})
    Image.register_open("OWN", Own, lambda prefix: prefix.startswith(b"own!"))
    assert (read(b"own! and more").pixels == (255, 0, 0)).all()


# ---- sizes that a header hides


def icon(image: bytes) -> bytes:
    return struct.pack("<HHHBBBBHHII", 0, 1, 1, 16, 12, 0, 0, 1, 32, len(image), 22) + image


def test_an_icon_has_the_size_of_the_images_in_it() -> None:
    assert read(icon(encoded(Image.fromarray(RAMP)))).size == (12, 16)
    with raises(ImageTooLarge, "100", "50", "limit=5000"):
        read(icon(bomb(100, 50)), limit=4999)
    bitmap = struct.pack("<IiiHHIIiiII", 40, 100, -50, 1, 24, 0, 0, 0, 0, 0, 0)
    with raises(ImageTooLarge, "100", "50"):
        read(icon(bitmap), limit=4999)


def tiled(width: int, height: int) -> bytes:
    """A TIFF of 10 × 10 pixels in one tile of that size."""
    data = zlib.compress(bytes(100))
    fields = {256: 10, 257: 10, 258: 8, 259: 8, 262: 1, 277: 1, 322: width, 323: height, 324: 142, 325: len(data)}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in fields.items())
    return (b"II*\0" + struct.pack("<IH", 8, len(fields)) + entries).ljust(142, b"\0") + data


def test_a_tile_counts_as_a_whole() -> None:
    with raises(ImageTooLarge, "30000", "20000", "limit=600000000"):
        read(tiled(30000, 20000))
    with raises(ImageNotReadable):
        read(tiled(16, 16))  # its data are too short


# ---- scans of a JPEG


def in_scans(count: int) -> bytes:
    """A progressive JPEG of 16 × 12 pixels, whose last scan is there many times."""
    plain = encoded(Image.fromarray(RAMP), "JPEG", progressive=True)
    last = plain[plain.rindex(b"\xff\xda") : -2]
    return plain[:-2] + last * (count - formats.count_scans(plain)) + plain[-2:]


def test_scans_are_counted_as_a_decoder_goes_through_them() -> None:
    assert formats.count_scans(encoded(Image.fromarray(RAMP), "JPEG")) == 1
    assert formats.count_scans(encoded(Image.fromarray(RAMP), "JPEG", progressive=True)) > 3
    assert formats.count_scans(in_scans(400)) == 400
    exif = Image.Exif()
    exif[0x9286] = b"\xff\xda" * 100
    thumbnail = encoded(Image.fromarray(RAMP), "JPEG", exif=exif)
    assert thumbnail.count(b"\xff\xda") > 100
    assert formats.count_scans(thumbnail) == 1
    # one component in each scan, as a plain JPEG may have it: the decoder reads on to the end
    parts = bytearray(encoded(Image.fromarray(RAMP), "JPEG"))
    parts[parts.index(b"\xff\xda") + 4] = 1
    assert formats.count_scans(bytes(parts) + bytes(parts[parts.index(b"\xff\xda") :]) * 9) == 10
    assert formats.count_scans(b"\xff\xd8\xff\xff") == 0


def test_a_jpeg_in_many_scans_is_refused() -> None:
    assert read(in_scans(100)).size == (12, 16)
    with raises(ImageTooLarge, "16", "12", "400", "limit=3840", "LAYERSCOPE_MAX_PIXELS=3840"):
        read(in_scans(400), limit=3839)
    assert read(in_scans(400), limit=3840).size == (12, 16)


# ---- memory


def test_an_image_is_refused_that_takes_more_memory_to_decode_than_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "UNCHECKED", 0)
    monkeypatch.setenv(memory.LIMIT, "100kB")
    assert read(bomb(90, 100)).size == (100, 90)
    with raises(ImageTooLarge, "100", "96.0", f"{memory.LIMIT}=1GB"):
        read(bomb(100, 120))

    def full(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Image.Image, "load", full)
    with raises(ImageTooLarge):
        read(Image.fromarray(RAMP))


def test_stripes_give_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    layered = Image.fromarray(np.dstack([RAMP, RAMP[..., :1]]))
    palette = Image.fromarray(RAMP).quantize(7)
    palette.info["transparency"] = 3
    images = [layered, palette, layered.convert("LA"), layered.convert("CMYK"), layered.convert("1")]
    whole = [read(image) for image in images]
    monkeypatch.setattr("layerscope.inputs.pixels.STRIPE", 16 * 5)
    for image, photo in zip(images, whole, strict=True):
        assert isinstance(photo, Photo)
        np.testing.assert_array_equal(read(image).pixels, photo.pixels)
