"""Writes frontend/test/fixtures/core.json: what Python makes of small layers and numbers, which the viewer must match."""

from __future__ import annotations

import base64
import itertools
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np

import layerscope as ls
from layerscope.arrays.ranges import percentiles
from layerscope.channels.sort import ordered
from layerscope.channels.statistics import FIGURES, figures
from layerscope.errors import LayerscopeError
from layerscope.picture.colorbar import bar_ticks
from layerscope.picture.numbers import digits_for, number, reading
from layerscope.plots.rgb import rgb_colors
from layerscope.viewer.state import FIELDS, Names, by_number

TARGET = Path(__file__).resolve().parents[1] / "frontend" / "test" / "fixtures" / "core.json"
ROWS = ("min", "mean", "max", "deviation", "sparsity", "positive", "energy", "dead", "constant", "nan", "inf")
RULES: tuple[Any, ...] = ("channel", "layer", (-0.5, 1.25), (0.25, 3.0))
CLIPS = (None, (1, 99), (2.5, 90.25))
DECODED = (0, 1, 60, 119, 120, 121, 239, *range(240, 248))
NORMS = ("linear", "log", "symlog")
LIMITS = (
    (0, 1),
    (-0.3, 1.7),
    (0, 2000),
    (0.9998, 1.0002),
    (-3, 40000),
    (1e-7, 1e-4),
    (-1e-9, 2e7),
    (5, 5.5),
    (0.002, 300),
)
VIEW_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, 3, -1, 0.5, 1.5, 101, 2**53 - 1, 2**53),
    *("", "x", "channel", "layer", "linear", "log", "symlog", "none", "relu", "auto", "light", "dark", "null"),
    *("x" * 2000, "x" * 2001),
    *([], [0], [3, 17], [1, 2], [2, 1], [1, 1], [0, 100], [-1, 2], [1, 101], [0.5, 1.5], [1, 2, 3]),
    *(["a", "b"], [None, 1], [False, True], [[1, 2], [3, 4]]),
    *({}, {"input": "i0"}, {"layer": "l0", "input": "i1"}, {"layer": 3}, {"layer": None}, {"url": "x"}),
    *({"3": 0.5}, {"3": 0.5, "17": -1}, {"3": "a"}, {"3": None}, {"3": True}, {"x": 1}, {"-1": 1}, {"1.5": 1}),
    *({"": 1}, {"1e1": 1}, {" 3": 1}, {"0x3": 1}),
    *({"scale": 2, "x": 0, "y": -1.5}, {"scale": 0, "x": 0, "y": 0}, {"scale": 1}, {"scale": 1, "x": "0", "y": 0}),
    {"scale": 1, "x": 0, "y": 0, "z": 0},
)
QUERIES = (
    "0:2,4",
    "4,0,4",
    "mean > 0.1",
    "not dead",
    "mean > 0.1 and not dead and not constant",
    "sparsity >= 50% and 1:",
    "max <= inf and nan == 0",
    "min != nan",
    ": and channel > 2",
    "energy < 1e1% and deviation>.05",
    "3: and 0:4",
    "nan > 0",
    "0:99",
    "77",
    "meen > 1",
    "mean > ",
    "mean > 1x",
    "dead and",
    "mean > 1 or dead",
    "",
    "1:1",
)


def text(array: np.ndarray) -> str:
    """The bytes of an array as base64."""
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()


def plain(value: Any) -> Any:
    """Numbers as JSON has them; what it hasn't is a word."""
    if isinstance(value, np.ndarray | list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else str(float(value))
    return value.item() if isinstance(value, np.generic) else value


def layers() -> dict[str, np.ndarray]:
    """float32 `[row, column, channel]` by what is special about them."""
    random = np.random.default_rng(7)
    signed = random.normal(0, 1, (5, 7, 6))
    relu = np.maximum(random.normal(0, 1, (6, 4, 5)), 0) * [1, 3, 0.01, 0, 1]
    relu[..., 4] = 0.75
    broken = random.normal(0, 1, (4, 5, 6))
    broken[0, 0, 0], broken[1, 2, 1], broken[3, 1, 2] = np.nan, np.inf, -np.inf
    broken[..., 3] = np.nan
    broken[..., 4] = 2
    broken[0, 0, 4] = np.nan
    wide = 10 ** random.uniform(-7, 4, (6, 6, 4)) * random.choice([1, 1, -1], (6, 6, 4))
    wide[..., 0] = np.abs(wide[..., 0])
    wide[..., 1] = -np.abs(wide[..., 1])
    far = 1000 + random.uniform(0, 0.5, (5, 5, 3))
    steps = np.linspace(0, 1, 481).reshape(13, 37, 1) * [1, 7, -3]
    return {
        name: values.astype(np.float32)
        for name, values in {
            "signed": signed,
            "relu": relu,
            "broken": broken,
            "wide": wide,
            "far": far,
            "steps": steps,
        }.items()
    }


def layer(values: np.ndarray) -> dict[str, Any]:
    """A layer as a payload has it, and what Python makes of it."""
    fm = ls.FeatureMap.of_array(values)
    columns = figures(fm.values)
    flat = [values[..., channel].ravel() for channel in range(values.shape[-1])]
    least = [min((value for value in plane[np.isfinite(plane)] if value > 0), default=np.inf) for plane in flat]
    return {
        "shape": [values.shape[-1], *values.shape[:-1]],
        "values": text(np.moveaxis(values, -1, 0)),
        "statistics": plain([columns[name].astype(float) for name in ROWS]),
        "percentiles": plain([_percents(plane) for plane in (*flat, values.ravel())]),
        "least": plain([float(each) for each in least]),
        "peak": plain(columns["peak"][:, 1:]),
        "scales": [scale(fm, *each) for each in itertools.product(RULES, CLIPS, NORMS) if _allowed(*each)],
        "queries": {query: _found(fm, query) for query in QUERIES},
        "orders": {name: _order(fm, name) for name in (*FIGURES, "index", "similarity:1")},
        "csv": [line.split(",") for line in ls.statistics(fm, 0).to_csv().splitlines()],
    }


def _percents(values: np.ndarray) -> np.ndarray:
    finite = values[np.isfinite(values)].astype(np.float64)
    return np.percentile(finite, np.arange(101)) if finite.size else np.full(101, np.nan)


def _allowed(rule: Any, clip: Any, norm: str) -> bool:
    return isinstance(rule, str) or (clip is None and (norm != "log" or rule[0] > 0))


def _found(fm: ls.FeatureMap, query: str) -> Any:
    try:
        return ls.find_channels(fm, query)
    except LayerscopeError as error:
        return type(error).__name__


def _order(fm: ls.FeatureMap, name: str) -> Any:
    try:
        return ordered(fm, np.arange(len(fm.channels)), name).tolist()
    except LayerscopeError as error:
        return type(error).__name__


def scale(fm: ls.FeatureMap, rule: Any, clip: Any, norm: str) -> dict[str, Any]:
    """The scale of a layer by a rule, the codes of all its values, and what codes of its first channel stand for."""
    values = fm.values
    made = ls.Scale.fit(values, rule, clip, norm=norm) if isinstance(rule, str) else ls.Scale.within(rule, norm=norm)
    channels = range(values.shape[-1])
    codes = np.stack([made.codes(values[0, ..., channel], 0, channel) for channel in channels])
    shown = ls.sheet(fm, scale=made if made.single else rule, **({} if made.single else {"clip": clip, "norm": norm}))
    sheet = np.stack([shown.codes(cell) for cell in shown.cells])
    return {
        "rule": plain(rule),
        "clip": plain(clip),
        "norm": norm,
        "kept": made.clip is not None,
        "center": plain(made.center),
        "limits": plain([made.range(0, channel) for channel in channels]),
        "codes": text(codes),
        "sheet": None if (sheet == codes).all() else text(sheet),
        "decoded": plain(made.decode(np.array(DECODED))),
        "ends": list(made.end_codes),
        "percentiles": None if clip is None else plain(percentiles(values, clip, rule == "channel")),
    }


def bars() -> list[dict[str, Any]]:
    """Bars with their ticks, numbers beside them, and places along them."""
    found = []
    shares = np.linspace(0, 1, 9)
    for (low, high), norm in itertools.product(LIMITS, NORMS):
        if norm == "log" and low <= 0:
            continue
        made = ls.Scale.within((low, high), norm=norm)
        ticks = bar_ticks(made)
        values = made.at(shares)
        found.append(
            {
                "limits": [low, high],
                "norm": norm,
                "center": made.center,
                "ticks": ticks,
                "digits": digits_for(low, high),
                "readings": [reading(value, low, high) for value in values.tolist()],
                "at": values.tolist(),
                "places": made.places(values).tolist(),
            }
        )
    return found


def numbers() -> list[tuple[Any, str, str]]:
    """Numbers, in three digits and in full. Among them the exact halves, which Python rounds to the even digit."""
    random = np.random.default_rng(3)
    halves = [
        0.125,
        1.125,
        1.375,
        12.25,
        12.75,
        2.5,
        1000.5,
        1001.5,
        0.0001220703125,
        99950.0,
        99850.0,
        1e-4,
        9.995,
        999.5,
    ]
    usual = (random.normal(0, 1, 60) * 10.0 ** random.integers(-12, 20, 60)).tolist()
    special = [
        0.0,
        -0.0,
        1.0,
        1e16,
        1e15,
        123456789012345680.0,
        1e21,
        1e22,
        1e-5,
        float("inf"),
        float("-inf"),
        float("nan"),
    ]
    return [(plain(value), number(value), repr(value)) for value in (*halves, *usual, *special)]


def colours() -> dict[str, Any]:
    """Three channels as colours."""
    values = np.random.default_rng(5).normal(0, 1, (4, 5, 3)).astype(np.float32)
    values[0, 0], values[1, 1, 2] = -np.inf, np.nan
    limits = np.array([[-1, 1], [0, 2], [0.5, 0.5]])
    colors = rgb_colors(values, limits[:, 0], limits[:, 1])
    return {"values": text(np.moveaxis(values, -1, 0)), "limits": limits.ravel().tolist(), "colors": text(colors)}


def view() -> dict[str, Any]:
    """The state of a view: how it begins, which fields hold a value, and what it becomes where another layer is shown."""
    kinds = ["map", "attention"]
    layers = [
        {"id": f"l{number}", "path": f"conv{number}", "channels": 64, "kind_of": kind}
        for number, kind in enumerate(kinds)
    ]
    first, rules = (
        {"input": "i0", "layer": "l0"},
        [{"name": "pca", "layers": "all"}, {"name": "cam", "layers": "spatial"}],
    )
    names = Names(
        {"layers": layers, "first": first, "colours": [{"name": "magma"}], "combinations": rules},
        lambda: {"i0": "cat.jpg", "i1": "dog.jpg"},
    )
    moved = {
        "beside": {"layer": "l0"},
        "clip": [1, 99],
        "norm": "symlog",
        "colors": "magma",
        "sort": "mean",
        "find": "mean > 0",
        "active": 3,
        "unit": [1, 2],
        "selected": [3],
        "weights": {3: 0.5},
        "target": 7,
        "post": "relu",
        "overlay": True,
        "opacity": 0.5,
        "slice": 2,
        "query": 4,
        "single": True,
        "table": True,
        "zoom": {"scale": 2, "x": 1, "y": 1},
        "theme": "dark",
        "input": "i1",
    }
    moves = [
        {"mode": "weights", "scale": [0, 1]},
        {"mode": "pca", "scale": "layer"},
        {"mode": "channel", "find": "0:16"},
        {"mode": "cam", "find": "not dead and 3,4"},
    ]
    before = [names.merge(names.start(), moved | move) for move in moves]
    return {
        "start": {name: field.start for name, field in FIELDS.items()},
        "values": [
            [value, [name for name in FIELDS if FIELDS[name].holds(by_number(value) if name == "weights" else value)]]
            for value in VIEW_VALUES
        ],
        "another layer": [
            [names.to_page(state), names.to_page(names.merge(state, {"layer": "conv1"}))] for state in before
        ],
    }


def fixtures() -> dict[str, Any]:
    """All of it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ls.LayerscopeWarning)
        return {
            **{f"layer {name}": layer(values) for name, values in layers().items()},
            "decoded codes": list(DECODED),
            "bars": bars(),
            "numbers": [list(row) for row in numbers()],
            "rgb": colours(),
            "view": view(),
        }


def page(found: dict[str, Any]) -> str:
    """As JSON, one line for each part."""
    lines = (
        f"{json.dumps(name)}: {json.dumps(part, ensure_ascii=False, allow_nan=False)}" for name, part in found.items()
    )
    return "{\n" + ",\n".join(lines) + "\n}\n"


if __name__ == "__main__":
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(page(fixtures()), "utf-8")
