"""What is written on a picture and in its file: title, caption, provenance."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._version import __version__
from ..core.feature_map import FeatureMap
from .scale import Scale


def title_of(fm: FeatureMap) -> str:
    """What the picture shows, e.g. `mean of 64 channels · block1_conv2 · Conv2D+relu`."""
    path = fm.layer.path or "output"
    if len(fm.spatial) == 1 and len(fm.layer.prefix) == fm.spatial[0]:
        path += f", prefix tokens {', '.join(fm.layer.prefix)}"
    return " · ".join(each for each in (fm.rule, path, fm.layer.kind) if each)


def channel_word(fm: FeatureMap) -> str:
    """What the channels are called: those of attention weights are heads, those of a convolution's weights filters."""
    return "heads" if fm.layer.attention else "filters" if fm.role == "weights" else "channels"


def caption(fm: FeatureMap, scale: Scale | None, shown: str) -> tuple[str, ...]:
    """The lines below the title: model, image, shape, channels shown; the rule of the scale; what else must be said."""
    shape = "×".join(map(str, fm.layer.shape or fm.shape))
    model = fm.provenance.get("model")
    first = [
        f"model {model}" if model else "",
        fm.ids[0] if len(fm.ids) == 1 else f"{len(fm.ids)} images",
        f"{'weights' if fm.role == 'weights' else 'output'} {shape} ({fm.layer.axes})",
        shown,
        fm.dtype if fm.dtype != "float32" else "",
    ]
    notes = [*fm.notes]
    if fm.layer.note:
        notes.append(fm.layer.note)
    if fm.tokens is not None and fm.tokens.shape[1]:
        names = ", ".join(fm.layer.prefix)
        count = fm.tokens.shape[1]
        tokens, them = ("tokens", "them") if count > 1 else ("token", "it")
        notes.append(f"{count} prefix {tokens} apart ({names}): strip(fm.prefix()) shows {them}")
    if fm.layer.attention and len(fm.spatial) == 2:
        notes.append(_attention(fm))
    lines = [" · ".join(filter(None, first))]
    if scale is not None:
        lines.append(scale.describe())
    if notes:
        lines.append(" · ".join(notes))
    return tuple(lines)


def _attention(fm: FeatureMap) -> str:
    """What the rows and columns of attention weights are."""
    queries, keys = fm.spatial
    grid, prefix = fm.layer.grid, fm.layer.prefix
    said = f"rows: {queries} query tokens · columns: {keys} key tokens"
    if grid is None:
        return said
    front = f"{', '.join(prefix)}, then " if prefix else ""
    return f"{said} ({front}{grid[0]}×{grid[1]} patches row by row)"


def about(fm: FeatureMap, scale: Scale | None, **more: Any) -> dict[str, Any]:
    """The provenance of a picture: everything needed to say which model, layer, image and rule it shows."""
    return {
        **fm.provenance,
        "layer": fm.layer.path,
        "kind": fm.layer.kind,
        "output": list(fm.layer.shape or fm.shape),
        "axes": fm.layer.axes,
        "dtype": fm.dtype,
        "images": list(fm.ids),
        "channels": f"{len(fm.channels)} of {fm.of}",
        "combination": fm.rule or None,
        "notes": list(fm.notes),
        "layerscope": __version__,
        "numpy": np.__version__,
        **more,
    }


def not_finite(values: np.ndarray) -> str:
    """How many values are NaN, +inf and −inf, in words; `""` where all are finite."""
    counts = (("NaN", np.isnan(values)), ("+inf", values == np.inf), ("−inf", values == -np.inf))
    return ", ".join(f"{where.sum():,} {word}" for word, where in counts if where.any())


def special(values: np.ndarray, name: str) -> tuple[str, ...]:
    """A line for the caption where values are dead, constant, NaN or infinite."""
    odd = not_finite(values)
    if odd:
        return (f"{name} holds {odd}" + ("" if np.isfinite(values).any() else ", no finite value"),)
    if values.size and (values == values.flat[0]).all():
        return (f"{name} is {'dead (all 0)' if values.flat[0] == 0 else 'constant'}",)
    return ()
