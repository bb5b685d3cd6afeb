"""Attention weights of Keras layers: what `MultiHeadAttention` computes between its projections, as a layer `attention_map`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

NAME = "attention_map"


COMPUTED = "as computed by the layer's softmax"


RECOMPUTED = "recomputed from q and k by the layer's own unfused path: the fused one returns no weights"


class AttentionMap:
    """Stands for the attention weights of one layer, which are no Keras layer of their own."""

    name = NAME

    def __init__(self) -> None:
        self.note = COMPUTED


class AttentionWeights(NamedTuple):
    """Weights `[image, head, query, key]` of an attention, the (query, key) and value tensors they are for, their origin."""

    weights: Any
    inputs: tuple[Any, Any]
    value: Any
    note: str


def attention_weights(
    compute: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], weights: Any
) -> AttentionWeights:
    """The weights that `compute`, a layer's `_compute_attention`, gave or would have given; `args` begin with the layer."""
    bound = inspect.signature(compute).bind(*args, **kwargs)
    tensors, note = bound.arguments, COMPUTED
    if weights is None:
        layer = args[0]
        flash = layer._flash_attention
        # The path with scores refuses to run while the layer asks for a fused one.
        layer._flash_attention = False
        try:
            tensors["return_attention_scores"] = True
            weights = compute(*bound.args, **bound.kwargs)[1]
        finally:
            layer._flash_attention = flash
        note = RECOMPUTED
    return AttentionWeights(weights, (tensors["query"], tensors["key"]), tensors["value"], note)
