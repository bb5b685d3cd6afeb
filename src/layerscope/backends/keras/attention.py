"""Attention weights of Keras layers: what `MultiHeadAttention` computes between its projections, as a layer `attention_map`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

NAME = "attention_map"


COMPUTED = "as computed by the layer's softmax"


RECOMPUTED = "recomputed from q and k by the layer's own path with scores: the fused one gives none"


class AttentionMap:
    """Stands for the attention weights of one layer, which are no Keras layer of their own."""

    name = NAME

    def __init__(self) -> None:
        self.note = COMPUTED


class Attended(NamedTuple):
    """The output of an attention's inside, its weights `[image, head, query, key]`, what went in, how they were found."""

    output: Any
    weights: Any
    given: tuple[Any, Any]
    value: Any
    note: str


def attended(layer: Any, original: Callable[..., Any], args: Any, kwargs: Any, output: Any, weights: Any) -> Attended:
    """The weights that `original`, the layer's `_compute_attention`, gave or would have given with `args` and `kwargs`."""
    bound = inspect.signature(original).bind(layer, *args, **kwargs)
    note = COMPUTED
    if weights is None:
        flash = layer._flash_attention
        # The path with scores refuses to run while the layer asks for a fused one.
        layer._flash_attention = False
        try:
            bound.arguments["return_attention_scores"] = True
            weights = original(*bound.args, **bound.kwargs)[1]
        finally:
            layer._flash_attention = flash
        note = RECOMPUTED
    given = bound.arguments
    return Attended(output, weights, (given["query"], given["key"]), given["value"], note)
