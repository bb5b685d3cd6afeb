"""From an array to a PNG file, and what of that the machine makes unavoidable."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import layerscope as ls
from layerscope.arrays.ranges import raw_extent
from layerscope.picture import canvas, codes, png
from layerscope.picture.export import files
from layerscope.picture.palette import lut
from layerscope.plots import sheet, sheet_layout, tiles

from .arrays import channels_first_in_memory, name, noise, photo_map
from .measure import Row, Target, parts_of, side_by_side
from .peers import (
    beside_torchvision,
    make_grid,
    matplotlib_loop,
    palette_mosaic,
    signed_palette,
    torchvision_grid,
)

TITLE = "Drawing: one layer as a sheet"
SUBPLOTS = {64: (8, 8), 512: (22, 24)}
FASTER = {64: 100, 512: 5000}


def rows() -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        for channels in (64, 512):
            yield from _files(channels, Path(folder))
    for channels in (64, 512, 2048):
        yield from _mosaics(channels)
    with tempfile.TemporaryDirectory() as folder:
        yield from _thousands(Path(folder))
        yield from _annotated(Path(folder))
        yield from _clipped(Path(folder))
        yield from _norms(Path(folder))
        yield from _signed(Path(folder))
    yield from _exported()
    yield from _statistics()
    with tempfile.TemporaryDirectory() as folder:
        for channels in (64, 512, 2048):
            yield from _parts(channels, Path(folder))


def _files(channels: int, folder: Path) -> Iterator[Row]:
    values = photo_map(channels)
    cases = {
        "NHWC memory": values,
        "NCHW memory": channels_first_in_memory(values),
        "noise, NHWC memory": noise(channels),
    }
    columns = tiles.even_columns(channels, 1)
    matplotlib_loop(values[0, ..., :1], 1, 1, folder / "warm.png")
    loop = None
    for case, array in cases.items():
        times = side_by_side(
            {
                "ours": lambda array=array: ls.sheet(array).save(folder / "ours.png"),
                "loop": lambda array=array: matplotlib_loop(array[0], *SUBPLOTS[channels], folder / "loop.png"),
                "make_grid": lambda array=array: make_grid(array[0], columns, folder / "grid.png"),
                "palette": lambda array=array: palette_mosaic(array[0], columns, folder / "palette.png"),
            },
            # Once for all cases: what it draws doesn't change its time.
            slow={"loop": 0 if loop else 1, "make_grid": 3},
        )
        loop = loop or times["loop"]
        what = f"{name(channels)} → PNG file, {case}"
        yield Row(what, times["ours"], f"{channels} matplotlib subplots", loop, Target("faster", FASTER[channels]))
        yield Row(what, times["ours"], "make_grid + Pillow's default PNG", times["make_grid"])
        yield Row(what, times["ours"], "numpy mosaic + Pillow palette, level 1", times["palette"])


def _slots(rows: int, columns: int, height: int, width: int) -> np.ndarray:
    """The tiles' slots in a mosaic with gaps and room for labels, as a sheet has them: `[row, column, y, x]`."""
    tall, wide = height + 21, width + 8
    mosaic = np.full((rows * tall, columns * wide), codes.GAP, np.uint8)
    steps = (tall * mosaic.strides[0], wide, mosaic.strides[0], 1)
    return np.lib.stride_tricks.as_strided(mosaic, (rows, columns, height, width), steps)


def _mosaics(channels: int) -> Iterator[Row]:
    values = photo_map(channels)
    for memory, array in (("NHWC", values), ("NCHW", channels_first_in_memory(values))):
        columns = tiles.even_columns(channels, 1)
        out = _slots(-(-channels // columns), columns, *array.shape[1:3])
        exact = np.zeros(channels, bool)

        def ours(array: np.ndarray = array, out: np.ndarray = out, exact: np.ndarray = exact) -> None:
            extent = raw_extent(array)[0]
            codes.encode(array[0], out, extent, exact=exact, extent=extent)

        times = side_by_side({"ours": ours, "read": lambda array=array: array.sum()}, seconds=1)
        # On small maps the fixed cost of a few numpy calls is all there is, so only the large one has a target.
        target = Target("within", 4) if channels == 64 else None
        yield Row(
            f"{name(channels)} mosaic alone, {memory} memory", times["ours"], "array.sum()", times["read"], target
        )


def _thousands(folder: Path) -> Iterator[Row]:
    """2,048 channels by torchvision itself."""
    utils = beside_torchvision("torchvision.utils")
    if utils is None:
        return
    import torch

    values = photo_map(2048)
    planes = torch.from_numpy(np.ascontiguousarray(values[0].transpose(2, 0, 1)))[:, None]
    times = side_by_side(
        {
            "ours": lambda: ls.sheet(values).save(folder / "ours.png"),
            "torchvision": lambda: torchvision_grid(utils, planes, 64, folder / "grid.png"),
        },
        slow={"torchvision": 7},
    )
    yield Row(f"{name(2048)} → PNG file", times["ours"], "torchvision's make_grid, save_image", times["torchvision"])


def _clipped(folder: Path) -> Iterator[Row]:
    """Limits at percentiles: they must be found, and what lies beyond has a mark."""
    values = photo_map(64)
    for memory, array in (("NHWC", values), ("NCHW", channels_first_in_memory(values))):
        for case, options in {"each tile": {}, "the layer": {"scale": "layer"}}.items():
            times = side_by_side(
                {
                    "ours": lambda array=array, options=options: ls.sheet(array, clip=(1, 99), **options).save(
                        folder / "ours.png"
                    ),
                    "plain": lambda array=array, options=options: ls.sheet(array, **options).save(folder / "ours.png"),
                },
                seconds=1,
            )
            what = f"{name(64)} → PNG file, {case} cut at percentiles, {memory} memory"
            yield Row(what, times["ours"], "the same without a cut", times["plain"], Target("within", 3))


def _norms(folder: Path) -> Iterator[Row]:
    """Equal steps along a logarithm: one more pass over what is drawn."""
    values = photo_map(64)
    for memory, array in (("NHWC", values), ("NCHW", channels_first_in_memory(values))):
        for norm in ("log", "symlog"):
            times = side_by_side(
                {
                    "ours": lambda array=array, norm=norm: ls.sheet(array, norm=norm).save(folder / "ours.png"),
                    "plain": lambda array=array: ls.sheet(array).save(folder / "ours.png"),
                },
                seconds=1,
            )
            what = f"{name(64)} → PNG file, {norm}, {memory} memory"
            yield Row(what, times["ours"], "the same by the linear norm", times["plain"], Target("within", 4))


def _signed(folder: Path) -> Iterator[Row]:
    """One map with both signs."""
    plane = photo_map(64)[0] @ np.random.default_rng(3).normal(size=64).astype(np.float32)
    table = lut("vik")[np.linspace(0, codes.TOP, 256).astype(int)]
    for size, shown in (("224 × 224", plane), ("7 × 7", plane[::32, ::32])):
        times = side_by_side(
            {
                "ours": lambda shown=shown: ls.heatmap(shown).save(folder / "ours.png"),
                "zennit": lambda shown=shown: signed_palette(shown, table, folder / "theirs.png"),
            },
            seconds=0.6,
        )
        yield Row(
            f"a signed map of {size} → PNG file", times["ours"], "zennit's steps, no text, no bar", times["zennit"]
        )


def _annotated(folder: Path) -> Iterator[Row]:
    """2,048 channels with all that can be written on them, and in the order that takes longest to find."""
    values = photo_map(2048)
    cases: dict[str, dict[str, Any]] = {
        "numbers": {},
        "numbers and figures": {"statistics": True, "zoom": 4},
        "numbers, sorted by mean": {"sort": "mean"},
        "numbers, sorted by similarity": {"sort": "similarity"},
    }
    for case, options in cases.items():
        times = side_by_side(
            {
                "ours": lambda options=options: ls.sheet(values, **options).save(folder / "ours.png"),
                "plain": lambda: ls.sheet(values).save(folder / "ours.png"),
            }
        )
        target = Target("below", 0.3 if options.get("sort") == "similarity" else 0.05)
        yield Row(f"{name(2048)} → PNG file, {case}", times["ours"], "the plain sheet", times["plain"], target)


def _exported() -> Iterator[Row]:
    """A sheet as SVG: its text is taken from the record made while drawing, not read back."""
    values = photo_map(512)
    picture = ls.sheet(values)
    times = side_by_side({"ours": picture.svg, "png": lambda: ls.sheet(values).png()}, seconds=1)
    yield Row(f"{name(512)} as SVG", times["ours"], "drawing it, and its PNG", times["png"], Target("below", 0.015))


def _statistics() -> Iterator[Row]:
    for channels in (64, 512, 2048):
        values = photo_map(channels)
        for memory, array in (("NHWC", values), ("NCHW", channels_first_in_memory(values))):
            axes = tuple(range(array.ndim - 1))
            times = side_by_side(
                {
                    "ours": lambda array=array: ls.statistics(array),
                    "read": lambda array=array, axes=axes: array.sum(axes, dtype=np.float64),
                    "numpy": lambda array=array, axes=axes: _by_numpy(array, axes),
                },
                seconds=1,
            )
            what = f"statistics of {name(channels)}, {memory} memory"
            # Of small maps the fixed cost of some fifty numpy calls is nearly all there is.
            target = Target("within", 4) if channels == 64 else None
            yield Row(what, times["ours"], "one read: array.sum in float64", times["read"], target)
            yield Row(what, times["ours"], "the same figures by numpy, one by one", times["numpy"])


def _by_numpy(array: np.ndarray, axes: tuple[int, ...]) -> list[np.ndarray]:
    wide = array.astype(np.float64)
    flat = array.reshape(-1, array.shape[-1])
    return [
        array.min(axes),
        array.max(axes),
        wide.mean(axes),
        wide.std(axes),
        np.square(wide).sum(axes),
        (array == 0).mean(axes),
        (array > 0).mean(axes),
        np.isnan(array).sum(axes),
        np.isinf(array).sum(axes),
        flat.argmax(0),
    ]


# What a sheet is drawn by, in this order: where each function is looked up, and its name there.
PARTS = {
    "extent": (sheet, "raw_extent"),
    "encode": (sheet_layout, "encode"),
    "labels": (tiles.Labels, "draw"),
    "canvas, caption": (canvas.Frame, "around"),
    "PNG filter": (png, "_filtered"),
    "PNG deflate": (png, "_packed"),
    "file": (files, "write"),
}


def _parts(channels: int, folder: Path) -> Iterator[Row]:
    values = photo_map(channels)
    for memory, array in (("NHWC", values), ("NCHW", channels_first_in_memory(values))):
        times = parts_of(lambda array=array: ls.sheet(array).save(folder / "ours.png"), PARTS)
        for part in (*PARTS, "rest"):
            yield Row(f"{name(channels)}, {memory}: {part}", times[part], "the whole sheet", times["whole"], part=True)
