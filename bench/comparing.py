"""Maps on a photo of 12 megapixels, and tables of layers and images: against the usual recipes, and the memory they take."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

import layerscope as ls
from layerscope.picture.palette import lut

from .measure import Measured, Row, Target, child, side_by_side

TITLE = "Overlays and comparisons"
PHOTO = (3000, 4000)
LAYERS = ((112, 32), (112, 64), (56, 128), (56, 128), (28, 256), (28, 256), (14, 512), (7, 1024))
IMAGES = 8
PEAK = """
import json, bench
from bench.comparing import photo_with_map, table_of_maps
from bench.measure import peak_beyond
import layerscope as ls
made = {made}
ls.{small}
print(json.dumps(peak_beyond(lambda: {run})))
"""


def photo_with_map() -> ls.FeatureMap:
    """A 7 × 7 map of one channel that lies on the embedded photo, enlarged to 12 megapixels."""
    photo = np.asarray(Image.open(ls.demo_photo()).convert("RGB").resize(PHOTO[::-1]))
    fm = ls.FeatureMap.of_array(np.random.default_rng(0).normal(size=(1, 7, 7, 1)).astype(np.float32))
    return replace(fm, photos=(photo,), placement=(ls.Placement.whole(PHOTO, (224, 224)),))


def table_of_maps() -> dict[str, ls.FeatureMap]:
    """Eight layers of eight images, as a network of VGG's sizes would give them."""
    random = np.random.default_rng(1)
    return {
        f"block{index}": ls.FeatureMap.of_array(random.random((IMAGES, size, size, channels), dtype=np.float32))
        for index, (size, channels) in enumerate(LAYERS)
    }


def rows() -> Iterator[Row]:
    yield from _overlays()
    yield from _tables()


def _overlays() -> Iterator[Row]:
    fm = photo_with_map()
    assert fm.photos is not None
    photo, values = fm.photos[0], fm.values[0, ..., 0]
    what = "overlay of a 7×7 map on a 12-megapixel photo"
    for smooth, way in ((False, "one flat area a unit"), (True, "blended between units")):
        times = side_by_side(
            {
                "ours": lambda smooth=smooth: ls.overlay(fm, smooth=smooth),
                "Pillow": lambda smooth=smooth: _pillow(values, photo, smooth),
                "recipe": lambda smooth=smooth: _recipe(values, photo, smooth),
            },
            slow={"recipe": 3},
        )
        yield Row(
            f"{what}, {way}", times["ours"], "Pillow's resize and blend, no bar", times["Pillow"], Target("within", 2)
        )
        yield Row(f"{what}, {way}", times["ours"], "numpy in float32, no bar", times["recipe"])
    times = side_by_side({"ours": lambda: ls.overlay(fm, smooth=True, contours=3), "beside": lambda: ls.beside(fm)})
    yield Row(f"{what}, with three contours", times["ours"])
    yield Row(f"{what}, with the photo and the map beside", times["beside"])
    with tempfile.TemporaryDirectory() as folder:
        times = side_by_side(
            {
                "ours": lambda: ls.overlay(fm).save(Path(folder) / "ours.png"),
                "matplotlib": lambda: _matplotlib(values, photo, Path(folder) / "theirs.png"),
            },
            slow={"matplotlib": 1},
            seconds=3,
        )
    yield Row(
        f"{what} → PNG file",
        times["ours"],
        "matplotlib, two imshow and a bar",
        times["matplotlib"],
        Target("faster", 3),
    )
    yield Row(f"{what}: peak beyond the photo", _peak("photo_with_map()", "overlay(made)", "ls.overlay(made)"))


def _tables() -> Iterator[Row]:
    maps = table_of_maps()
    what = f"{len(LAYERS)} layers × {IMAGES} images"
    with tempfile.TemporaryDirectory() as folder:
        times = side_by_side(
            {
                "picture": lambda: ls.compare(maps),
                "rows": lambda: ls.compare(maps, scale="row", clip=(1, 99)),
                "ours": lambda: ls.compare(maps).save(Path(folder) / "ours.png"),
                "matplotlib": lambda: _subplots(maps, Path(folder) / "theirs.png"),
            },
            slow={"matplotlib": 1},
        )
    yield Row(f"compare {what}, picture", times["picture"], "", None, Target("below", 0.5))
    yield Row(f"compare {what}, a range a row, cut at percentiles", times["rows"], "", None, Target("below", 0.5))
    yield Row(
        f"compare {what} → PNG file", times["ours"], "matplotlib, 64 subplots", times["matplotlib"], Target("faster", 5)
    )
    yield Row(f"compare {what}: peak beyond the maps", _peak("table_of_maps()", "compare(made)", "ls.compare(made)"))


def _pillow(values: np.ndarray, photo: np.ndarray, smooth: bool) -> Image.Image:
    shares = (values - values.min()) / (values.max() - values.min())
    colors = Image.fromarray(lut("viridis")[np.rint(shares * 240).astype(int)])
    way = Image.Resampling.BILINEAR if smooth else Image.Resampling.NEAREST
    return Image.blend(Image.fromarray(photo), colors.resize(photo.shape[1::-1], way), 0.5)


def _recipe(values: np.ndarray, photo: np.ndarray, smooth: bool) -> np.ndarray:
    """What tutorials of Grad-CAM do: enlarge, stretch, look the colours up, mix in floating point, cut."""
    way = Image.Resampling.BILINEAR if smooth else Image.Resampling.NEAREST
    large = np.asarray(Image.fromarray(values).resize(photo.shape[1::-1], way))
    shares = (large - large.min()) / (large.max() - large.min())
    colors = (lut("viridis") / np.float32(255))[np.rint(shares * 240).astype(int)]
    mixed = np.float32(0.5) * colors + np.float32(0.5) * (photo.astype(np.float32) / 255)
    return (mixed.clip(0, 1) * 255).astype(np.uint8)


def _matplotlib(values: np.ndarray, photo: np.ndarray, path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(photo.shape[1] / 100, photo.shape[0] / 100), dpi=100)
    axes = figure.add_axes((0, 0, 0.94, 1))
    axes.imshow(photo)
    shown = axes.imshow(values, alpha=0.5, extent=(0, photo.shape[1], photo.shape[0], 0), interpolation="nearest")
    axes.set_axis_off()
    figure.colorbar(shown, cax=figure.add_axes((0.95, 0.1, 0.01, 0.8)))
    figure.savefig(path)


def _subplots(maps: dict[str, ls.FeatureMap], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 11), dpi=100)
    grid = figure.subplots(len(maps), IMAGES)
    means = {name: fm.values.mean(-1) for name, fm in maps.items()}
    low, high = min(mean.min() for mean in means.values()), max(mean.max() for mean in means.values())
    for (name, planes), line in zip(means.items(), grid, strict=True):
        line[0].set_ylabel(name)
        for plane, axes in zip(planes, line, strict=True):
            shown = axes.imshow(plane, vmin=low, vmax=high, interpolation="nearest")
            axes.set_xticks([])
            axes.set_yticks([])
    figure.colorbar(shown, ax=grid)
    figure.savefig(path)


def _peak(setup: str, small: str, run: str) -> Measured:
    # Once before, so that no import and no font counts.
    code = PEAK.format(made=setup, small=small, run=run)
    return Measured(tuple(child(code) for _ in range(3)), "MB")
