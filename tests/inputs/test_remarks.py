"""What a file says of its colours and isn't applied is said."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin

from helpers.image_files import GREY, RAMP, encoded
from layerscope.core.note import kind_of
from layerscope.inputs.photo import read

WIDE = "sRGB", "wide"
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def kinds(file):
    return [kind_of(note) for note in read(file).notes]


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_another_colour_profile_is_said(format):
    picture = Image.fromarray(RAMP)
    assert kinds(encoded(picture, format, icc_profile=SRGB)) == []
    other = SRGB
    for encoding in ("ascii", "utf-16-be"):
        other = other.replace(*(name.encode(encoding) for name in WIDE))
    assert kinds(encoded(picture, format, icc_profile=other)) == ["profile"]


@pytest.mark.parametrize(("gamma", "said"), [(45455, []), (100000, ["profile"])])
def test_another_gamma_is_said(gamma, said):
    chunks = PngImagePlugin.PngInfo()
    chunks.add(b"gAMA", gamma.to_bytes(4, "big"))
    assert kinds(encoded(Image.fromarray(GREY), pnginfo=chunks)) == said


def test_inks_without_adobes_word_are_said():
    file = encoded(Image.fromarray(RAMP).convert("CMYK"), "JPEG")
    assert kinds(file) == []
    start = file.find(b"\xff\xee")
    end = start + 2 + int.from_bytes(file[start + 2 : start + 4], "big")
    assert kinds(file[:start] + file[end:]) == ["polarity"]


def test_frames_are_said():
    pictures = [Image.fromarray(RAMP), Image.fromarray(255 - RAMP)]
    for format in ("GIF", "PNG", "WEBP", "TIFF"):
        assert kinds(encoded(pictures[0], format, save_all=True, append_images=pictures[1:])) == ["frame"]
    assert np.abs(read(encoded(pictures[0], "PNG", save_all=True, append_images=pictures[1:])).pixels - RAMP).max() == 0
