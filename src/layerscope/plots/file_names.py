"""The names of the files of a job: one for each image and each layer, and never the same for two."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ..inputs.images import is_image
from ..writing import make_folder

PICTURES = (".png", ".svg", ".pdf", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".gif")


class Namer:
    """Names the files of a job; an image (or a layer) whose name another one has already gets a number.

    `output` is a file for one picture, or a folder (`None`: the current one); `ending` stands behind image and layer.
    """

    def __init__(self, output: Path | None, ending: str = "") -> None:
        self.output, self.ending = output, ending
        self._images: dict[str, str] = {}
        self._layers: dict[str, str] = {}

    @property
    def single(self) -> bool:
        """Whether `output` is the one picture, not a folder."""
        return self.output is not None and self.output.suffix.lower() in PICTURES and not os.path.isdir(self.output)

    def picture(self, layer: str, image: str, page: int, pages: int) -> Path:
        """The file of one page of a picture, in a folder that is there."""
        suffix = f"-p{page + 1}" if pages > 1 else ""
        if self.output is not None and self.single:
            make_folder(self.output.parent)
            return self.output.with_name(f"{self.output.stem}{suffix}{self.output.suffix}")
        folder = make_folder(self.output or Path())
        return folder / f"{self.image(image)}-{self.layer(layer)}{self.ending}{suffix}.png"

    def image(self, id: str) -> str:
        """The part of a name that stands for an image."""
        return _unused(self._images, str(Path(id).with_suffix("")) if is_image(id) else id, id)

    def layer(self, path: str) -> str:
        """The part of a name that stands for a layer."""
        return _unused(self._layers, path or "output", path)


def describe_rule(combine: str | None, *, overlay: bool) -> str:
    """What stands behind image and layer: the combination, what it was given, and whether it lies on the photo."""
    name, _, argument = (combine or "").partition(":")
    parts = [name, Path(argument).stem, "overlay" if overlay else ""]
    return "".join(f"-{safe(part)}" for part in parts if part)


def _unused(taken: dict[str, str], text: str, owner: str) -> str:
    """A part of a file name for `owner`; numbered where another has that name already."""
    short = safe(text)
    name, number = short, 2
    while taken.setdefault(name, owner) != owner:
        name, number = f"{short}-{number}", number + 1
    return name


def safe(text: str) -> str:
    """A part of a file name: what is special on any system becomes `_`.

    >>> safe("vgg16/block1_conv2:1")
    'vgg16_block1_conv2_1'
    """
    return re.sub(r"[^\w.\-]+", "_", text).strip(".") or "image"
