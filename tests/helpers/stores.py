"""Small data sets and stores, made in a second by a model in numpy."""

from pathlib import Path

import numpy as np
from PIL import Image

import layerscope as ls
from layerscope.testing import TinyBackend, tiny_model

OPENING = {"backend": TinyBackend(), "preprocess": "unit", "size": 8}


def write_images(folder, count=24, *, classes=("",), size=16, seed=0):
    """Colourful images `0.png` …, in a folder for each class in turn; the folder."""
    random = np.random.default_rng(seed)
    for number in range(count):
        parent = Path(folder, classes[number % len(classes)])
        parent.mkdir(parents=True, exist_ok=True)
        low, high = np.sort(random.integers(0, 256, (2, 3)), 0)
        pixels = random.integers(low, high + 1, (size, size, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(parent / f"{number}.png")
    return Path(folder)


def model():
    """The tiny model, for those that name it `helpers.stores:model`."""
    return tiny_model()


def small_scan(images, store, layers=("conv1", "conv2"), *, model="helpers.stores:model", **options):
    """A scan with the tiny model."""
    return ls.scan(model, images, list(layers), store, **{**OPENING, "unit": 8, "batch": 4, **options})


def small_store(folder, count=24, *, classes=("cat", "dog"), **options):
    """A store of images in a folder for each class, both below `folder`."""
    images = write_images(Path(folder, "images"), count, classes=classes)
    return small_scan(images, Path(folder, "store"), **options)


def contents(store):
    """Every file of a store that must be the same however it was made, by its name."""
    files = {path.relative_to(store).as_posix(): path for path in Path(store).rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in files.items() if name not in ("lock", "provenance.json")}
