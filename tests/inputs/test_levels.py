"""Bit depths, polarity, pages and bands: what a file says of its values is honoured or said."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
import tifffile
from PIL import Image

import layerscope as ls
from helpers.wording import raises, wording
from layerscope.core.note import kind_of
from layerscope.inputs.images import load
from layerscope.inputs.photo import read
from layerscope.testing import TinyBackend, tiny_model

RAMP = np.linspace(0, 1, 64 * 64).reshape(64, 64)
BITS, SAMPLE_FORMAT = 258, 339


def ramp(highest, dtype=np.uint16):
    return (RAMP * highest).round().astype(dtype)


def tiff(values, photometric=1, **tags):
    """A TIFF by the standard's text: one strip, little-endian, the bands one after another in each pixel."""
    bands = 1 if values.ndim == 2 else values.shape[2]
    kind = {"u": 1, "i": 2, "f": 3}[values.dtype.kind]
    data = values.tobytes()
    height, width = values.shape[:2]
    entries = {256: [width], 257: [height], 258: [values.dtype.itemsize * 8] * bands, 259: [1], 262: [photometric]}
    entries |= {273: [0], 277: [bands], 278: [height], 279: [len(data)], 339: [kind] * bands}
    entries |= {int(tag[1:]): value for tag, value in tags.items()}
    size = 8 + 2 + 12 * len(entries) + 4
    rows, beside = b"", b""
    for tag, numbers in sorted(entries.items()):
        short = tag not in (256, 257, 273, 278, 279)
        packed = struct.pack(f"<{len(numbers)}{'H' if short else 'I'}", *numbers)
        if len(packed) > 4:
            packed, beside = struct.pack("<I", size + len(beside)), beside + packed
        rows += struct.pack("<HHI", tag, 3 if short else 4, len(numbers)) + packed.ljust(4, b"\0")
    strip = struct.pack("<HHI", 273, 4, 1)
    rows = rows.replace(strip + struct.pack("<I", 0), strip + struct.pack("<I", size + len(beside)))
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + rows + struct.pack("<I", 0) + beside + data


def colours(values, bands):
    return np.repeat(values[..., None], bands, 2)


def grey(photo):
    return photo.pixels[..., 0].astype(float) if photo.values is None else photo.values[..., 0]


@pytest.mark.parametrize(
    "values", [ramp(65535), RAMP.astype(np.float32), ramp(255, np.uint8)], ids=lambda v: v.dtype.name
)
def test_white_may_be_zero(values):
    np.testing.assert_allclose(grey(read(tiff(values, photometric=0))), 255 * (1 - RAMP), atol=0.51)
    np.testing.assert_allclose(grey(read(tiff(values))), 255 * RAMP, atol=0.51)


def test_twelve_packed_bits_are_twelve():
    values = ramp(4095)
    pairs = values.reshape(-1, 2)
    packed = np.stack([pairs[:, 0] >> 4, (pairs[:, 0] & 15) << 4 | pairs[:, 1] >> 8, pairs[:, 1] & 255], -1)
    file = tiff(packed.astype(np.uint8).reshape(64, 96), t258=[12], t256=[64])
    photo = read(file)
    np.testing.assert_allclose(grey(photo), values / 4095 * 255, atol=1e-3)
    assert not photo.notes


@pytest.mark.parametrize("highest", [255, 1023, 4080, 16383])
def test_few_bits_in_sixteen_are_said_and_the_range_can_be_given(highest):
    for source in (tiff(ramp(highest)), ramp(highest), png(ramp(highest))):
        assert [kind_of(note) for note in read(source).notes] == ["range"]
        photo = read(source, range=(0, highest))
        np.testing.assert_allclose(grey(photo), ramp(highest) / highest * 255, atol=1e-3)
        assert not photo.notes


def png(values):
    file = io.BytesIO()
    Image.fromarray(values).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize(
    "values", [ramp(65535), ramp(20000), np.zeros((4, 4), np.uint16)], ids=["all", "dark", "black"]
)
def test_a_photo_of_sixteen_bits_is_what_it_was(values):
    assert not read(tiff(values)).notes
    np.testing.assert_allclose(grey(read(tiff(values))), values / 257, rtol=1e-6)


def test_colours_of_few_bits_are_said():
    (note,) = read(tiff(colours(ramp(4095), 3), photometric=2)).notes
    assert kind_of(note) == "range"
    assert not read(tiff(colours(ramp(65535), 3), photometric=2)).notes


@pytest.mark.parametrize("dtype", [np.uint32, np.int32])
def test_integers_without_a_white_of_their_own_need_a_range(dtype):
    for source in (tiff(ramp(255, dtype)), ramp(255, dtype) * 2):
        with pytest.raises(ls.ImageNotReadable):
            read(source)
        white = 255 if isinstance(source, bytes) else 510
        np.testing.assert_allclose(grey(read(source, range=(0, white))), ramp(255), atol=1e-3)


def test_what_a_tag_says_of_the_values_is_said():
    (note,) = read(tiff(ramp(4080), t281=[4095])).notes
    wording(note, "4,095")
    with raises(ls.ImageNotReadable, "4,095"):
        read(tiff(ramp(4080, np.uint32), t281=[4095]))


def test_signed_integers_have_half_of_the_bits():
    np.testing.assert_allclose(grey(read(tiff(ramp(32767, np.int16)))), RAMP * 255, atol=0.01)
    with raises(ls.ImageNotReadable):
        read(tiff(ramp(-1000, np.int16)))
    np.testing.assert_allclose(grey(read(tiff(ramp(-1000, np.int16)), range=(-1000, 0))), 255 - RAMP * 255, atol=0.2)


def test_values_outside_the_range_are_clipped_and_counted():
    photo = read(ramp(4000), range=(1000, 3000))
    assert [kind_of(note) for note in photo.notes] == ["clipped"]
    np.testing.assert_allclose(grey(photo), np.clip((ramp(4000).astype(float) - 1000) / 2000, 0, 1) * 255, atol=1e-3)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_that_are_whole_numbers_are_pixels(dtype):
    for values in (ramp(255, dtype), colours(ramp(255, dtype), 3), colours(ramp(255, dtype), 1)):
        photo = read(values)
        assert [kind_of(note) for note in photo.notes] == ["whole-numbers"]
        assert (photo.pixels[..., 0] == ramp(255)).all()


@pytest.mark.parametrize("values", [RAMP * 255, ramp(256, np.float32), RAMP - 0.5, RAMP * np.nan], ids=range(4))
def test_other_floats_are_refused_and_a_range_takes_them(values):
    with pytest.raises(ls.ImageNotReadable):
        read(values)
    low, high = np.nanmin([*values.flat, 0]), np.nanmax([*values.flat, 1])
    if not np.isnan(values).any():
        np.testing.assert_allclose(
            grey(read(values, range=(low, high))), (values - low) / (high - low) * 255, atol=1e-3
        )


@pytest.mark.parametrize(
    ("bands", "extra", "kinds"), [(4, None, ["bands"]), (4, [0], ["bands"]), (4, [2], []), (5, [0, 0], ["bands"])]
)
def test_bands_that_are_not_shown_are_said(bands, extra, kinds):
    tags = {} if extra is None else {"t338": extra}
    photo = read(tiff(colours(ramp(255, np.uint8), bands), photometric=2, **tags))
    assert [kind_of(note) for note in photo.notes] == kinds


@pytest.mark.limit("TIFFs that Pillow doesn't read")
@pytest.mark.parametrize("values", [colours(RAMP.astype(np.float32), 5), colours(ramp(255), 2), RAMP])
def test_a_whole_tiff_that_pillow_does_not_read_is_not_called_damaged(values):
    with raises(ls.ImageNotReadable, "64 × 64", "tifffile"):
        read(tiff(values))
    with pytest.raises(ls.ImageNotReadable, match="truncated"):
        read(tiff(values)[:-100])


@pytest.mark.parametrize("dtype", ["float32", "uint16", "int16"])
@pytest.mark.parametrize("bands", [2, 3])
def test_bands_one_after_another_are_not_called_damaged(dtype, bands):
    file = io.BytesIO()
    values = np.zeros((bands, 6, 8), dtype)
    tifffile.imwrite(file, values, photometric="minisblack", planarconfig="separate")
    with raises(ls.ImageNotReadable, f"{bands} bands", "8 × 6", "tifffile"):
        read(file.getvalue())
    with pytest.raises(ls.ImageNotReadable, match="truncated"):
        read(file.getvalue()[:-10])


def pages(count, format):
    file = io.BytesIO()
    first, *others = [Image.fromarray(ramp(255 - index, np.uint8)) for index in range(count)]
    first.save(file, format, save_all=True, append_images=others)
    return file.getvalue()


def open_scope(**options):
    return ls.open(tiny_model(), backend=TinyBackend(), size=8, **{"preprocess": "unit", **options})


@pytest.mark.parametrize("format", ["TIFF", "GIF"])
def test_pages_that_are_not_read_are_said_on_the_picture(format):
    fm = open_scope().capture(pages(3, format), "conv1")["conv1"]
    assert "frame" in [note.kind for note in fm.notes]
    assert any("of several" in text.text for text in ls.sheet(fm).texts)
    assert not read(pages(1, format)).notes


def test_remarks_name_their_photo_and_are_few():
    one, several = [pages(2, "TIFF")], [pages(2, "TIFF") for _ in range(9)]
    assert [note.kind for note in open_scope().capture(one, "conv1")["conv1"].notes] == ["frame"]
    notes = open_scope().capture(several, "conv1")["conv1"].notes
    assert [note.kind for note in notes] == ["frame", "frame", "frame", "photos"]
    assert notes[1].startswith("bytes-1: ")


def test_a_dark_photo_is_warned_of_once_and_the_range_is_said_in_the_recipe():
    scope = open_scope()
    with pytest.warns(ls.PreprocessWarning, match="4,080"):
        scope.capture(tiff(ramp(4080)), "conv1")
    scope.capture(tiff(ramp(4080)), "conv1")
    ranged = open_scope(preprocess={"name": "unit", "range": (0, 4080)})
    assert open_scope(preprocess={"name": "auto", "range": (0, 4080)}).preprocess == ranged.preprocess
    values = ranged.capture(tiff(ramp(4080)), "conv1")["conv1"].values
    np.testing.assert_allclose(values, open_scope().capture(RAMP, "conv1")["conv1"].values, atol=1e-3)


def test_a_range_is_two_numbers_in_order():
    for range in ((1, 0), (0, 0), (0,), 4095, (0, float("nan")), "0:1"):
        with pytest.raises(ls.PreprocessUnknown):
            ls.Recipe(range=range)


def test_a_folder_may_hold_all_kinds(tmp_path):
    for name, data in {
        "a.tif": tiff(ramp(65535)),
        "b.tif": tiff(ramp(9, np.uint32)),
        "c.png": png(ramp(255, np.uint8)),
    }.items():
        (tmp_path / name).write_bytes(data)
    with pytest.warns(ls.ImagesSkipped):
        photos, skipped = load(tmp_path)
    assert [photo.id for photo in photos] == ["a.tif", "c.png"]
    assert [id for id, _ in skipped] == ["b.tif"]


def test_eight_bits_may_have_a_sign_and_thirty_two_have_none():
    values = np.array([[-100, 0, 50, 127]], np.int8)
    with pytest.raises(ls.ImageNotReadable, match="integers from -100 to 127"):
        read(tiff(values))
    assert grey(read(tiff(values), range=(-128, 127))).ravel() == pytest.approx([28, 128, 178, 255])
    assert grey(read(tiff(np.array([[0, 2**32 - 1]], np.uint32)), range=(0, 2**32 - 1))).ravel() == pytest.approx(
        [0, 255]
    )


@pytest.mark.parametrize(
    ("colour", "alpha", "dtype", "range", "expected"),
    [
        (4000, 65535, np.uint16, None, 4000 / 257),
        (4000, 65535, np.uint16, (0, 4095), 4000 / 4095 * 255),
        (4000, 4095, np.uint16, (0, 4095), 4000 / 4095 * 255),
        (200, 1, np.float32, None, 200),
        (200, 255, np.float32, None, 200),
        (200.5, 1, np.float32, (0, 255), 200.5),
        (0.5, 1, np.float32, None, 127.5),
        (0.5, 0.5, np.float32, None, 191.25),
    ],
)
def test_what_is_opaque_has_its_own_white(colour, alpha, dtype, range, expected):
    photo = read(np.array([[[colour] * 3 + [alpha]]], dtype), range=range)
    assert grey(photo) == pytest.approx(expected, abs=0.01)
    assert [kind_of(note) for note in photo.notes] == (
        ["range"] if range is None and dtype == np.uint16 else ["whole-numbers"] if colour == 200 else []
    )


def test_opacity_without_a_white_is_refused():
    with pytest.raises(ls.ImageNotReadable, match="alpha channel"):
        read(np.array([[[0.5, 0.5, 0.5, -1]]], np.float32))


def test_a_preview_in_front_of_another_image_is_said():
    values = np.zeros((4, 4), np.uint8)
    assert [kind_of(note) for note in read(tiff(values, t254=[1])).notes] == ["frame"]
    assert not read(tiff(values, t254=[4])).notes
