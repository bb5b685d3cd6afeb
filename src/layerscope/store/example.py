"""A small store for the examples of this package: twelve images of two classes through a tiny model."""

from __future__ import annotations

import atexit
import os
import tempfile
from functools import cache
from typing import Any

import numpy as np
from PIL import Image

from .scan import scan
from .store import Store


@cache
def example_store() -> Store:
    """The store, filled once in a process, in a folder that goes with it.

    >>> example_store().layers
    ('conv1', 'conv2')
    """
    from ..testing import TinyBackend, tiny_model

    folder = tempfile.TemporaryDirectory()
    atexit.register(folder.cleanup)
    random = np.random.default_rng(0)
    images = os.path.join(folder.name, "images")
    for number in range(12):
        kind = ("dark", "light")[number % 2]
        os.makedirs(os.path.join(images, kind), exist_ok=True)
        pixels = random.integers(0, 256, (16, 16, 3)) // 2 + 100 * (number % 2)
        Image.fromarray(pixels.astype(np.uint8)).save(os.path.join(images, kind, f"{number}.png"))
    options: dict[str, Any] = {"backend": TinyBackend(), "preprocess": "unit", "size": 8}
    return scan(tiny_model(), images, ["conv1", "conv2"], os.path.join(folder.name, "store"), keep="maps", **options)
