"""All 16 bits of a colour are read: PNGs built by the text of the standard, TIFFs of tifffile, PPM; with alpha and turned."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

import layerscope as ls
from helpers.wording import raises
from layerscope.core.note import kind_of
from layerscope.inputs.photo import read

HEIGHT, WIDTH = 24, 32
RAMP = np.linspace(0, 65535, HEIGHT * WIDTH).round().astype(np.uint16).reshape(HEIGHT, WIDTH)
COLOURS = np.stack([RAMP, RAMP[::-1], RAMP[:, ::-1]], -1)
ALPHA = np.full((HEIGHT, WIDTH, 1), 16384, np.uint16)
ON_WHITE = 65535 + (COLOURS - 65535.0) * (16384 / 65535)
GREY, COLOUR, GREY_ALPHA, COLOUR_ALPHA = 0, 2, 4, 6


def png(values, kind, *chunks):
    """A PNG of 16 bits by the standard's text: rows of big-endian values, each after a filter byte."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = b"".join(b"\0" + row.tobytes() for row in values.astype(">u2"))
    head = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, kind, 0, 0, 0)
    parts = [(b"IHDR", head), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def tiff(values, **options):
    file = io.BytesIO()
    tifffile.imwrite(file, values, photometric="rgb", **options)
    return file.getvalue()


def ppm(values, white):
    return b"P6 %d %d %d\n" % (values.shape[1], values.shape[0], white) + values.astype(">u2").tobytes()


def planar(values):
    return np.ascontiguousarray(values.transpose(2, 0, 1))


def layered(colours):
    return np.concatenate([colours, ALPHA], 2)


PREMULTIPLIED = np.rint(COLOURS * (16384 / 65535)).astype(np.uint16)
TURN = (b"eXIf", b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0")
CASES = {
    "png": (png(COLOURS, COLOUR), COLOURS),
    "png-alpha": (png(layered(COLOURS), COLOUR_ALPHA), ON_WHITE),
    "png-grey-alpha": (png(layered(COLOURS[..., :1]), GREY_ALPHA), ON_WHITE[..., :1]),
    "png-turned": (png(COLOURS, COLOUR, TURN), np.rot90(COLOURS, -1)),
    "ppm": (ppm(COLOURS, 65535), COLOURS),
    "little": (tiff(COLOURS, byteorder="<"), COLOURS),
    "big": (tiff(COLOURS, byteorder=">"), COLOURS),
    "packed": (tiff(COLOURS, byteorder=">", compression="deflate"), COLOURS),
    "tiles": (tiff(COLOURS, tile=(16, 16)), COLOURS),
    "alpha": (tiff(layered(COLOURS), extrasamples=["unassalpha"]), ON_WHITE),
    "premultiplied": (tiff(layered(PREMULTIPLIED), extrasamples=["assocalpha"]), ON_WHITE),
    "four-bands": (tiff(layered(COLOURS), extrasamples=["unspecified"]), COLOURS),
    "separate": (tiff(planar(COLOURS), planarconfig="separate"), COLOURS),
    "separate-big": (tiff(planar(COLOURS), planarconfig="separate", byteorder=">"), COLOURS),
    "separate-alpha": (tiff(planar(layered(COLOURS)), planarconfig="separate", extrasamples=["unassalpha"]), ON_WHITE),
    "separate-four": (tiff(planar(layered(COLOURS)), planarconfig="separate", extrasamples=["unspecified"]), COLOURS),
    "turned": (tiff(COLOURS, extratags=[(274, 3, 1, 6, True)]), np.rot90(COLOURS, -1)),
}


@pytest.mark.parametrize(("file", "values"), CASES.values(), ids=CASES)
def test_sixteen_bits_are_kept(file, values):
    photo = read(file)
    np.testing.assert_allclose(photo.values, values / 257, atol=0.01)
    assert photo.turned == (photo.size[0] > photo.size[1])


def test_what_is_not_shown_is_said():
    assert [kind_of(note) for note in read(CASES["four-bands"][0]).notes] == ["bands"]
    assert not read(CASES["png"][0]).notes


def test_the_colour_that_a_png_leaves_out_is_white():
    for values, kind, key in ((COLOURS, COLOUR, COLOURS[3, 5]), (RAMP[..., None], GREY, RAMP[3, 5:6])):
        photo = read(png(values, kind, (b"tRNS", key.astype(">u2").tobytes())))
        shown = np.where((values == key).all(2, keepdims=True), 65535, values)
        np.testing.assert_allclose(photo.values, shown / 257, atol=0.01)
        assert (shown != values).any()


def test_a_range_is_that_of_the_colours():
    twelve = (COLOURS >> 4).astype(np.uint16)
    for file in (png(twelve, COLOUR), tiff(twelve)):
        assert [kind_of(note) for note in read(file).notes] == ["range"]
        photo = read(file, range=(0, 4095))
        np.testing.assert_allclose(photo.values, twelve / 4095 * 255, atol=0.01)
    np.testing.assert_allclose(read(ppm(twelve, 4095)).values, twelve / 4095 * 255, atol=0.01)


def test_inks_of_sixteen_bits():
    inks = np.concatenate([65535 - COLOURS, np.zeros_like(ALPHA)], 2)
    file = io.BytesIO()
    tifffile.imwrite(file, inks, photometric="separated")
    np.testing.assert_allclose(read(file.getvalue()).values, COLOURS / 257, atol=0.01)


def test_what_pillow_keeps_8_bits_of_is_said():
    photo = read(tiff(planar(COLOURS), planarconfig="separate", compression="deflate"))
    assert [kind_of(note) for note in photo.notes] == ["bits"]
    np.testing.assert_allclose(photo.pixels, COLOURS / 257, atol=1)


def test_an_open_image_of_bands_that_pillow_garbles_is_refused():
    with raises(ls.ImageNotReadable), Image.open(io.BytesIO(CASES["separate"][0])) as image:
        read(image)


@pytest.mark.limit("JPEG 2000 with colours of more than 8 bits")
def test_a_jpeg_2000_whose_white_would_be_black_is_refused():
    file = io.BytesIO()
    Image.fromarray((COLOURS >> 8).astype(np.uint8)).save(file, "JPEG2000")
    data = bytearray(file.getvalue())
    assert read(bytes(data)).notes == ()
    start = data.find(b"\xff\x4f\xff\x51") + 42
    data[start : start + 9 : 3] = bytes([11] * 3)  # the bits of each component, less one
    with raises(ls.ImageNotReadable, "12 bits"):
        read(bytes(data))


def test_a_file_that_is_cut_short_is_refused():
    for name in ("png", "little", "ppm"):
        with pytest.raises(ls.ImageNotReadable):
            read(CASES[name][0][:-3000])


def test_a_jpeg_2000_without_its_codestream_is_damaged():
    file = io.BytesIO()
    Image.fromarray((COLOURS >> 8).astype(np.uint8)).save(file, "JPEG2000")
    data = file.getvalue()
    with raises(ls.ImageNotReadable):
        read(data[: data.index(b"\xff\x4f\xff\x51")])
