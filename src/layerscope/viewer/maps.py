"""The map of one layer for one image as a payload: its values, what is known of each channel, and where its units lie."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ..arrays.ranges import every_percent, extent_of
from ..channels.statistics import figures
from ..core.feature_map import FeatureMap
from ..core.layer import Layer
from ..core.note import Note
from ..picture.caption import fed_text
from ..picture.codes import marked
from ..picture.norms import least_above_0
from ..safe_text import counted
from .encoding import Range, encode
from .payload import pack
from .regions import about, patches, prefix_of, regions

PROTOCOL = 1
ENCODINGS = ("auto", "f32", "u8")
FIGURES = ("min", "mean", "max", "deviation", "sparsity", "positive", "energy", "dead", "constant", "nan", "inf")
AXES = {0: (), 1: ("step",), 2: ("row", "column"), 3: ("depth", "row", "column")}
KINDS = {1: "sequence", 2: "map", 3: "volume"}


def kind_of(layer: Layer) -> str:
    """What the page shows a layer as: `map`, `volume`, `sequence`, `vector`, `scalar`, `attention` or `none`.

    >>> kind_of(Layer("conv", "Conv2D", "bchw", (1, 64, 7, 7), calls=1)), kind_of(Layer("fc", "Dense", "bc", (1, 9), calls=1))
    ('map', 'vector')
    """
    if not layer.showable:
        return "none"
    return "attention" if layer.attention else _kind(layer.spatial, layer.channels or 1)


def _kind(spatial: tuple[int, ...], channels: int) -> str:
    if max(spatial, default=1) == 1:
        return "vector" if channels > 1 else "scalar"
    return KINDS[len(spatial)]


def remarks(fm: FeatureMap) -> list[str]:
    """What stands beside a map, besides how the photo became the model's input: the page has the photo itself."""
    return [str(note) for note in fm.notes if getattr(note, "kind", "") != "fed"]


def one_of(fm: FeatureMap, image: int) -> FeatureMap:
    """The map of one image; rows that are no images (boxes, windows) are all there, along an axis in front.

    >>> fm = FeatureMap.of_array(np.zeros((9, 3)), "bc")
    >>> one_of(replace(fm, rows="row"), 0).shape
    (1, 9, 3)
    """
    if fm.rows == "image":
        return fm.image(image)
    if len(fm.spatial) > 2 or fm.layer.attention:
        return replace(fm.image(0), notes=(*fm.notes, Note("rows", f"the first of {counted(len(fm.ids), 'row')}")))
    axes = {0: "bnc", 1: "bhwc", 2: "bdhwc"}[len(fm.spatial)]
    layer = replace(
        fm.layer, axes=axes, shape=(1, *fm.shape[:-1], fm.of), grid=None, receptive=None, lines=None, prefix=()
    )
    note = Note("rows", f"its {counted(fm.shape[0], 'row')} are no images: windows, or boxes")
    return replace(
        fm,
        values=fm.values[None],
        layer=layer,
        ids=("rows",),
        gradient=None if fm.gradient is None else fm.gradient[None],
        tokens=None,
        origin=None,
        notes=(*fm.notes, note),
    )


def map_payload(one: FeatureMap, *, input: str = "", layer: str = "", encoding: str = "auto") -> bytes:
    """The bytes of a map of one image, as docs/protocol.md describes them; `input` and `layer` are the page's ids of both."""
    planes = np.ascontiguousarray(np.moveaxis(one.values[0], -1, 0))
    flat = planes.reshape(len(planes), -1)
    percents = every_percent(flat)
    columns = figures(one.values)
    tensors: dict[str, np.ndarray] = {
        "channels": np.array(one.channels, np.int32),
        "statistics": np.stack([columns[name].astype(np.float64) for name in FIGURES]),
        "peak": columns["peak"][:, 1:].astype(np.int32),
        "percentiles": percents,
        "least": least_above_0(one.values[0]) if flat.size else np.full(len(flat), np.inf),
        **regions(one),
    }
    exponent = 0
    if encoding == "u8":
        tensors["limits"] = np.nan_to_num(extent_of(one.values)[0])
        pairs = zip(planes, tensors["limits"].tolist(), strict=True)
        tensors["values"] = np.stack([marked(plane, low, high) for plane, (low, high) in pairs])
    elif encoding == "f32":
        tensors["values"] = planes
    else:
        tensors["values"], exponent, offsets = encode(planes, ranges_of(columns["min"], columns["max"], percents))
        tensors |= {} if offsets is None else {"offsets": offsets}
    if one.tokens is not None and one.tokens.shape[1]:
        tensors["tokens"] = np.ascontiguousarray(one.tokens[0].T)
    meta = {**description(one), "input": input, "layer": layer, "exponent": exponent, "bytes": tensors["values"].nbytes}
    return pack(meta, tensors)


def ranges_of(low: np.ndarray, high: np.ndarray, percents: np.ndarray) -> Range:
    """The ranges in which scales show the channels: from `low` to `high` and, clipped, between the percentiles 1 and 99.

    Where a channel is one number, or nearly, that of the layer.
    """
    whole = percents[-1, 100] - percents[-1, 0]
    full = np.where(high > low, high - low, whole if whole > 0 else np.inf)
    first, last = percents[:-1, 1], percents[:-1, 99]
    some = last > first
    middle = np.nan_to_num(percents[:-1, 50])
    return Range(np.where(some, first, -np.inf), np.where(some, last, np.inf), middle, full, (low <= 0) & (high >= 0))


def description(one: FeatureMap) -> dict[str, Any]:
    """What a payload says of its map in words and sizes."""
    place = one.placement[0] if one.placement else None
    attention = one.layer.attention and len(one.spatial) == 2
    return {
        "protocol": PROTOCOL,
        "kind": "attention" if attention else _kind(one.spatial, one.shape[-1]),
        "axes": ["query", "key"] if attention else list(AXES[len(one.spatial)]),
        "figures": list(FIGURES),
        "shape": [one.shape[-1], *one.spatial],
        "dtype": one.dtype,
        "region": about(one),
        "placement": None if place is None else {"photo": place.photo, "input": place.input, "box": place.box},
        "names": list(one.names) or None,
        "grid": patches(one),
        "prefix": list(prefix_of(one)),
        "fed": fed_text(one),
        "notes": remarks(one),
    }
