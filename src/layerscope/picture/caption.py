"""What is written on a picture and in its file: title, caption, provenance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .._version import __version__
from ..core.feature_map import FeatureMap
from ..core.note import Note, kind_of
from .scale import Scale


def title_of(fm: FeatureMap) -> str:
    """What the picture shows, e.g. `mean of 64 channels · block1_conv2 · Conv2D+relu`."""
    path = fm.layer.path or "output"
    if len(fm.spatial) == 1 and len(fm.layer.prefix) == fm.spatial[0]:
        path += f", prefix tokens {', '.join(fm.layer.prefix)}"
    return " · ".join(part for part in (fm.rule, path, fm.layer.kind) if part)


def quantity(fm: FeatureMap) -> str:
    """What the numbers of a map are, for its bar; `""` where its title says it."""
    if fm.role == "weights":
        return "weight"
    if fm.layer.attention:
        return "attention"
    if fm.role or fm.method not in ("", "mean", "max", "min", "norm"):
        return ""
    return "activation" if fm.provenance.get("model") else "value"


def channel_word(fm: FeatureMap) -> str:
    """What a channel is called: that of attention weights is a head, that of a convolution's weights a filter."""
    return "head" if fm.layer.attention else "filter" if fm.role == "weights" else "channel"


def caption(fm: FeatureMap, scale: Scale | None, shown: str) -> tuple[str, ...]:
    """The lines below the title, each a `Note`: the subject; the rule of the scale; the notes on the map in one line."""
    lines = (_subject(fm, shown), Note("scale", scale.describe()) if scale is not None else "", *one_line(_remarks(fm)))
    return tuple(line for line in lines if line)


def one_line(notes: Sequence[str]) -> tuple[str, ...]:
    """Notes as one line of a caption, a `Note` of their common kind, or of the kind `"notes"`; no line without any."""
    if not notes:
        return ()
    kinds = {kind_of(note) for note in notes}
    kind = kinds.pop() if len(kinds) == 1 else ""
    return (Note(kind or "notes", " · ".join(notes)),)


def _subject(fm: FeatureMap, shown: str) -> Note:
    """Model, image, shape, and which channels are shown."""
    shape = "×".join(map(str, fm.layer.shape or fm.shape))
    model = fm.provenance.get("model")
    parts = [
        f"model {model}" if model else "",
        fm.ids[0] if len(fm.ids) == 1 else f"{len(fm.ids)} images",
        f"{'weights' if fm.role == 'weights' else 'output'} {shape} ({fm.layer.axes})",
        shown,
        fm.dtype if fm.dtype != "float32" else "",
    ]
    return Note("subject", " · ".join(filter(None, parts)))


def _remarks(fm: FeatureMap) -> list[str]:
    """Notes on the map and its layer."""
    notes = [*fm.notes]
    if fm.layer.note:
        notes.append(fm.layer.note)
    if fm.tokens is not None and fm.tokens.shape[1]:
        count = fm.tokens.shape[1]
        noun, pronoun = ("tokens", "them") if count > 1 else ("token", "it")
        names = ", ".join(fm.layer.prefix)
        notes.append(Note("tokens", f"{count} prefix {noun} not shown ({names}): strip(fm.prefix()) draws {pronoun}"))
    if fm.layer.attention and len(fm.spatial) == 2:
        notes.append(_attention_axes(fm))
    return notes


def _attention_axes(fm: FeatureMap) -> Note:
    """What the rows and columns of attention weights are."""
    queries, keys = fm.spatial
    text = f"rows: {queries} query tokens · columns: {keys} key tokens"
    if fm.layer.grid is not None:
        front = f"{', '.join(fm.layer.prefix)}, then " if fm.layer.prefix else ""
        rows, columns = fm.layer.grid
        text += f" ({front}{rows}×{columns} patches row by row)"
    return Note("attention", text)


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
        "note_kinds": [kind_of(note) for note in fm.notes],
        "layerscope": __version__,
        "numpy": np.__version__,
        **more,
    }


def not_finite(values: np.ndarray) -> str:
    """How many values are NaN, +inf and −inf, in words; `""` where all are finite."""
    counts = (("NaN", np.isnan(values)), ("+inf", values == np.inf), ("−inf", values == -np.inf))
    return ", ".join(f"{where.sum():,} {word}" for word, where in counts if where.any())


def special(values: np.ndarray, name: str) -> tuple[Note, ...]:
    """A line for the caption where values are dead, constant, NaN or infinite."""
    broken = not_finite(values)
    if broken:
        return (
            Note("not-finite", f"{name} holds {broken}" + ("" if np.isfinite(values).any() else ", no finite value")),
        )
    if values.size and (values == values.flat[0]).all():
        if values.flat[0] == 0:
            return (Note("dead", f"{name} is dead (all 0)"),)
        return (Note("constant", f"{name} is constant"),)
    return ()
