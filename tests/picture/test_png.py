"""The PNG writer, read back by Pillow."""

import io
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from layerscope.picture import png

PALETTE = np.random.default_rng(0).integers(0, 255, (256, 3), dtype=np.uint8)


@pytest.mark.parametrize("fast", [True, False], ids=["isal", "zlib"])
@settings(deadline=None)
@given(pixels=hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=40)))
def test_pillow_reads_back_every_pixel(fast, pixels):
    with pytest.MonkeyPatch.context() as patch:
        if fast:
            pytest.importorskip("isal", reason="built for most platforms, not for all")
        else:
            patch.setattr(png, "_isal", lambda: None)
        with Image.open(io.BytesIO(png.encode(pixels, PALETTE))) as image:
            assert image.mode == "P"
            assert np.array_equal(np.asarray(image), pixels)
            assert np.array_equal(np.asarray(image.convert("RGB")), PALETTE[pixels])
        rgb = PALETTE[pixels]
        with Image.open(io.BytesIO(png.encode(rgb, None))) as image:
            assert image.mode == "RGB"
            assert np.array_equal(np.asarray(image), rgb)


@given(st.text(max_size=50))
def test_text_survives_in_any_script(value):
    value = value.replace("\0", "")
    data = png.encode(np.zeros((2, 2), np.uint8), PALETTE, {"layerscope": value})
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        assert image.text["layerscope"] == value


def test_every_checksum_is_right():
    data = png.encode(np.arange(100, dtype=np.uint8).reshape(10, 10), PALETTE, {"a": "b"})
    offset = 8
    names = []
    while offset < len(data):
        size = int.from_bytes(data[offset : offset + 4], "big")
        body = data[offset + 4 : offset + 8 + size]
        assert zlib.crc32(body) == int.from_bytes(data[offset + 8 + size : offset + 12 + size], "big")
        names.append(body[:4].decode())
        offset += 12 + size
    assert names == ["IHDR", "PLTE", "iTXt", "IDAT", "IEND"]


def test_rows_that_are_repeated_are_packed_as_they_are(monkeypatch):
    pytest.importorskip("isal", reason="built for most platforms, not for all")
    tiles = np.random.default_rng(0).integers(0, 241, (60, 80), dtype=np.uint8).repeat(4, 0).repeat(4, 1)
    files = [png.encode(tiles, PALETTE, zoomed=zoomed) for zoomed in (False, True)]
    for data in files:
        with Image.open(io.BytesIO(data)) as image:
            assert np.array_equal(np.asarray(image), tiles)
    assert len(files[1]) < len(files[0])
    monkeypatch.setattr(png, "_isal", lambda: None)  # whose matches are found nowhere but one byte before
    assert png.encode(tiles, PALETTE, zoomed=True) == png.encode(tiles, PALETTE)
