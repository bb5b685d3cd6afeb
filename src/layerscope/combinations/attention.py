"""Attention weights as maps on the patch grid: where one token looks, and what reaches it through all layers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from ..checks import keywords, one_of
from ..core.axes import prefix_names, split_tokens
from ..core.conversion import only_map
from ..core.feature_map import FeatureMap
from ..core.note import Note, kind_of
from ..errors import BadLayout, BadOption, near
from ..picture.numbers import number
from ..safe_text import counted
from ..surface import by_surface, option

# A map whose every value is below this many times that of even attention is said to be nearly even.
UNEVEN = 2

HEADS: dict[str, Callable[..., Any]] = {"mean": np.mean, "max": np.max, "min": np.min}


@keywords
def attention(fm: Any, query: str | int | Sequence[int] = "cls") -> FeatureMap:
    """Where a query token looks: its attention weights on the patch grid.

    >>> from layerscope import Layer
    >>> weights = np.zeros((1, 5, 5, 2), np.float32)
    >>> weights[0, 0, 3] = 1
    >>> layer = Layer("attn", "AttentionMap", "bcqk", (1, 2, 5, 5), calls=1, grid=(2, 2), prefix=("cls",))
    >>> attention(FeatureMap(weights, layer, ("cat",), (0, 1))).values[0, ..., 0].tolist()
    [[0.0, 0.0], [1.0, 0.0]]

    Args:
        fm: Attention weights (axes `bcqk`), as a capture of `kind:AttentionMap` gives.
        query: A prefix token (`"cls"`), `"mean"` (over the patches), a position `(y, x)` on the grid, or the index of a
            token.

    Returns:
        float32 `[image, h, w, head]`; the weights on the prefix tokens are in its `prefix()`.

    Raises:
        BadLayout: `fm` holds no attention weights, or its tokens form no grid.
        BadOption: There is no such query.
    """
    fm = only_map(fm)
    keys = _keys(fm)
    rows, source = _rows(fm, query, keys)
    values = _on_grid(fm.values, rows, keys)
    gradient = None if fm.gradient is None else _on_grid(fm.gradient, rows, keys)[0]
    shape = (1, *keys.grid, fm.of)
    name = f"attention weights from {source}"
    layer = replace(fm.layer, usual_name=name, axes="bhwc", shape=shape, grid=None, order=(), prefix=keys.prefix)
    notes = (*fm.notes, *even_notes(values[0], fm.spatial[1]))
    return replace(fm, values=values[0], tokens=values[1], gradient=gradient, layer=layer, notes=notes, origin=None)


@keywords
def attention_rollout(
    maps: FeatureMap | Mapping[str, FeatureMap] | Iterable[FeatureMap],
    *,
    head: str = "mean",
    discard: float = 0.0,
    residual: bool = True,
    query: str | int | Sequence[int] | None = None,
) -> FeatureMap:
    """Attention rollout on the patch grid: how much of each patch reaches a token through all layers.

    >>> from layerscope import Layer
    >>> weights = np.full((1, 5, 5, 2), 0.2, np.float32)
    >>> layer = Layer("attn", "AttentionMap", "bcqk", (1, 2, 5, 5), calls=1, grid=(2, 2), prefix=("cls",))
    >>> fm = FeatureMap(weights, layer, ("cat",), (0, 1))
    >>> attention_rollout([fm, fm]).values[0, ..., 0].round(2).tolist()
    [[0.15000000596046448, 0.15000000596046448], [0.15000000596046448, 0.15000000596046448]]

    The rule of Abnar and Zuidema 2020, "Quantifying Attention Flow in Transformers", equation 1 and section 3: the
    heads of a layer become one matrix; with `residual` it is 0.5 A + 0.5 I, for the skip connection around it; rows are
    normalised, and the matrices multiplied, the last layer leftmost.

    Args:
        maps: The attention weights of consecutive layers, as `capture(image, "kind:AttentionMap")` gives them. Other layers of
            a capture are left out; in a list every map must be one of weights.
        head: How the heads become one: `"mean"`, `"max"` or `"min"`.
        discard: The share of the smallest weights of each matrix that is set to 0 first, from 0 to below 1.
        residual: Count the skip connection.
        query: As in `attention`; `None` for the class token, or the mean over the patches where there is none.

    Returns:
        A map with one channel, float32 `[image, h, w, 1]`.

    Raises:
        BadLayout: The layers don't fit each other (windows, pooled tokens).
        BadOption: No layers are given, or an option is invalid.
    """
    layers = _layers(maps)
    one_of("head", head, HEADS)
    if not 0 <= discard < 1:
        raise BadOption(f"discard={discard!r}: use a share from 0 (keep all) to below 1")
    if not layers:
        raise BadOption("attention_rollout needs the attention weights of at least one layer; none were given")
    keys = _fitting(layers)
    product: np.ndarray | None = None
    for fm in layers:
        step = _step(fm.values, head, discard, residual)
        product = step if product is None else step @ product
    assert product is not None
    last = layers[-1]
    chosen = query if query is not None else "cls" if "cls" in keys.prefix else "mean"
    rows, source = _rows(last, chosen, keys)
    values, _ = _on_grid(product[..., None].astype(np.float32), rows, keys)
    layer = replace(
        last.layer,
        path=counted(len(layers), "layer"),
        kind=last.layer.kind,
        axes="bhwc",
        shape=(1, *keys.grid, 1),
        grid=None,
        order=(),
    )
    layer = replace(layer, prefix=())
    skip = (
        "each layer counts as 0.5 × attention + 0.5 × identity, which stands for its skip connection"
        if residual
        else "without skip connections"
    )
    texts = [f"{head} over heads", skip]
    texts += [f"smallest {discard:.0%} of the weights discarded"] if discard else []
    texts.append(f"layers {layers[0].layer.path} to {last.layer.path}")
    notes = [Note("rollout", text) for text in texts]
    whole = replace(last, values=values, layer=layer, channels=(0,), gradient=None, tokens=None, of=1, origin=None)
    if not discard:
        notes += _even_rollout(values, source, (rows, keys), kept=0.5 ** len(layers) * residual)
    rule = f"attention rollout from {source}"
    return replace(whole, rule=rule, method=rule, notes=(*_shared_notes(last), *notes))


def _layers(maps: Any) -> list[FeatureMap]:
    """The maps of a rollout: of a capture with other layers those that hold attention weights, if any does."""
    if not isinstance(maps, Mapping):
        return [maps] if isinstance(maps, FeatureMap) else list(maps)
    layers = list(maps.values())
    return [fm for fm in layers if isinstance(fm, FeatureMap) and fm.layer.attention] or layers


class Keys(NamedTuple):
    """The key tokens: their grid, the index of the token at each position of it, the names of the other tokens and where."""

    grid: tuple[int, ...]
    order: tuple[int, ...]
    prefix: tuple[str, ...]
    others: tuple[int, ...]


def _keys(fm: Any) -> Keys:
    """The key tokens of attention weights."""
    if not isinstance(fm, FeatureMap) or not fm.layer.attention or len(fm.spatial) != 2:
        what = repr(fm) if isinstance(fm, FeatureMap) else f"a {type(fm).__name__}"
        python = "Capture 'kind:AttentionMap', or the layers named …attention_map in layers()"
        raise BadLayout(
            f"attention weights are needed, a feature map with the axes bcqk [image, query, key, head]; got {what}. "
            + by_surface(python, python, "Choose a layer of that kind")
        )
    count, grid = fm.spatial[1], fm.layer.grid
    if grid is None or len(grid) != 2 or count < math.prod(grid):
        raise BadLayout(
            f"the {count} key tokens of {fm.layer.path!r} form no grid over the whole image"
            + (f" ({fm.layer.note})" if fm.layer.note else "")
            + ": sheet() draws the weights as they are"
        )
    front = count - math.prod(grid)
    order = fm.layer.order or tuple(range(front, count))
    others = tuple(sorted(set(range(count)) - set(order)))
    return Keys(grid, order, prefix_names(front, fm.layer.prefix), others)


def _rows(fm: FeatureMap, query: str | int | Sequence[int], keys: Keys) -> tuple[list[int], str]:
    """The query tokens to average over, and their name."""
    queries, (height, width), prefix = fm.spatial[0], keys.grid, keys.prefix
    same = queries == fm.spatial[1]
    names = (*prefix, "mean") if same else ("mean",)
    positions = f", a grid position (y, x) below {keys.grid}" if same else ""
    allowed = f"use {', '.join(map(repr, names))}{positions}, or the index of a token, 0 to {queries - 1}"
    if isinstance(query, str):
        if query not in names:
            raise BadOption(
                f"{option('query', query)}: {fm.layer.path!r} has no such token; {allowed}{near(query, names)}"
            )
        if query == "mean":
            return sorted(keys.order) if same else list(range(queries)), "the mean of all patches"
        return [keys.others[prefix.index(query)]], query
    if isinstance(query, int | np.integer) and not isinstance(query, bool):
        if not 0 <= query < queries:
            raise BadOption(f"{option('query', query)}: {fm.layer.path!r} has {queries} query tokens; {allowed}")
        return [int(query)], f"token {query}"
    try:
        y, x = (int(number) for number in query)  # type: ignore[union-attr] # a bool is no position either: TypeError
    except (TypeError, ValueError) as error:
        raise BadOption(f"{option('query', query)}: {allowed}") from error
    if not same or not (0 <= y < height and 0 <= x < width):
        raise BadOption(f"{option('query', query)} is outside the {height} × {width} grid of query tokens; {allowed}")
    return [keys.order[y * width + x]], f"patch ({y}, {x})"


def _on_grid(values: np.ndarray, rows: list[int], keys: Keys) -> tuple[np.ndarray, np.ndarray]:
    """(map `[image, h, w, head]`, weights on the other tokens `[image, token, head]`) for the mean of these queries."""
    weights = values[:, rows].mean(axis=1, dtype=np.float64).astype(np.float32)
    return split_tokens(weights, keys.grid, keys.order)


def _fitting(layers: Sequence[FeatureMap]) -> Keys:
    """The key tokens that all these layers share."""
    keys = _keys(layers[0])
    first = layers[0]
    for fm in layers:
        if _keys(fm)[:2] != keys[:2] or fm.spatial != first.spatial or fm.spatial[0] != fm.spatial[1]:
            raise BadLayout(
                f"rollout needs layers with the same tokens: {first.layer.path!r} has {first.spatial[0]} queries × "
                f"{first.spatial[1]} keys, {fm.layer.path!r} has {fm.spatial[0]} × {fm.spatial[1]}. It is defined for "
                "plain transformers, not for windowed attention or pooled tokens"
            )
        if fm.ids != first.ids:
            raise BadLayout(f"rollout needs the same images in every layer: {first.ids} and {fm.ids}")
    return keys


def _step(values: np.ndarray, head: str, discard: float, residual: bool) -> np.ndarray:
    """One layer's matrix, float64 `[image, query, key]`."""
    fused: np.ndarray = HEADS[head](values.astype(np.float64), axis=-1)
    count = int(fused.shape[1] * fused.shape[2] * discard)
    if count:
        flat = fused.reshape(fused.shape[0], -1)
        smallest = np.argpartition(flat, count - 1, axis=1)[:, :count]
        np.put_along_axis(flat, smallest, 0.0, axis=1)
        fused = flat.reshape(fused.shape)
    if residual:
        fused = 0.5 * fused + 0.5 * np.eye(fused.shape[1])
    sums = fused.sum(axis=-1, keepdims=True)
    # A row that lost all its weights stays 0: nothing reaches that token.
    return np.divide(fused, sums, out=np.zeros_like(fused), where=sums != 0)


def even_notes(values: np.ndarray, keys: int) -> tuple[Note, ...]:
    """That attention is nearly the same everywhere, where it is at no place `UNEVEN` times what even attention would be."""
    even = 1 / keys
    text = f"attention spread evenly over all {keys} tokens would be {number(even)} everywhere"
    return _nearly_even(values, even, text)


def _even_rollout(values: np.ndarray, source: str, tokens: tuple[list[int], Keys], *, kept: float) -> tuple[Note, ...]:
    """The same of a rollout, in which skip connections leave the share `kept` of what a token holds where it is."""
    rows, keys = tokens
    count, patches = len(keys.order) + len(keys.others), len(set(rows) & set(keys.order))
    if 0 < patches < len(keys.order):
        return ()  # what stays is at one patch
    even = (1 - kept) / count + (kept / patches if patches else 0)
    left = f"leave {kept + (1 - kept) / count:.1%} at {source} and " if kept and not patches else ""
    text = f"attention spread evenly in every layer would {left}give each patch {number(even)}"
    return _nearly_even(values, even, text)


def _nearly_even(values: np.ndarray, even: float, text: str) -> tuple[Note, ...]:
    if not float(values.max(initial=0)) < UNEVEN * even:
        return ()
    place = _beside(float(values.min()) / even - 1, float(values.max()) / even - 1)
    return (Note("even", f"{text}; {place}"),)


def _beside(low: float, high: float) -> str:
    """Where a map lies beside a value that its least and its largest are these shares above, in words."""
    low, high = round(low, 2), round(high, 2)
    if low < 0 < high:
        return f"the map goes from {-low:.0%} below to {high:.0%} above that"
    ends = dict.fromkeys(f"{abs(share):.0%}" for share in sorted((low, high), key=abs))
    return (
        f"the map is {' to '.join(ends)} {'above' if high > 0 else 'below'} that"
        if high or low
        else "the map is within 1% of that"
    )


def _shared_notes(fm: FeatureMap) -> tuple[str, ...]:
    return tuple(note for note in fm.notes if kind_of(note) == "target")
