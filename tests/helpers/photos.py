"""The photo of the tests of preprocessing."""

from __future__ import annotations

from PIL import Image
from skimage import data

from layerscope.inputs.photo import Photo, read

CAT = read(data.chelsea(), id="chelsea")  # 300 × 451


def pil(photo: Photo) -> Image.Image:
    return Image.fromarray(photo.pixels)
