"""Attention weights of PyTorch models: taken where a softmax makes them, computed anew where a fused function hides them."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional

from ..common.fault import call_model
from .functions import FunctionWatch, ModuleWatch, Operated
from .keeping import PAST_COUNT, Ask
from .model import kind_of
from .outputs import parts_of

NAME = "attention_map"


RECOMPUTED = "recomputed from q and k: softmax(q·kᵀ·scale + mask)"


COMPUTED = "the weights that the model's softmax gave"


RETURNED = "the weights that MultiheadAttention returned"


# The operators are what exported models call.
SOFTMAX = (functional.softmax, torch.softmax, torch.Tensor.softmax, torch.ops.aten.softmax.int)


FUSED = (functional.scaled_dot_product_attention, torch.ops.aten.scaled_dot_product_attention.default)


ATTENTION = frozenset({*SOFTMAX, *FUSED, functional.multi_head_attention_forward})


class Weights(NamedTuple):
    """Attention weights that were computed inside the module `name`; `origin` says how they were obtained."""

    name: str
    module: nn.Module
    tensor: torch.Tensor
    origin: str


# gives the weights passed on, or `None` for the model's own
Attended = Callable[[Weights], torch.Tensor | None]


class AttentionWatch(ModuleWatch):
    """Reports every attention that is computed while it is active, and in which module."""

    def __init__(
        self, attended: Attended, wanted: Callable[[nn.Module], bool] = lambda _: True, *, ask: Ask | None = None
    ) -> None:
        super().__init__(ask)
        self._attended, self._wanted = attended, wanted

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self.called(func, args, kwargs or {})

    def called(self, func: Any, args: Any, kwargs: Any) -> Any:
        """The value passed on after the model calls a function of torch."""
        if self.ask is not None and func in PAST_COUNT:
            self.ask(args)
        if func not in ATTENTION or not self.running:
            return call_model(func, *args, **kwargs)
        name, module = self._attending()
        if not self._wanted(module):
            return call_model(func, *args, **kwargs)
        if func in FUSED:
            return self._run_fused(name, module, func, args=args, kwargs=kwargs)
        if func is functional.multi_head_attention_forward:
            self._attended(Weights(name, module, _returned_weights(func, args, kwargs), RETURNED))
            return call_model(func, *args, **kwargs)
        out = call_model(func, *args, **kwargs)
        if out.ndim != 4 or not _over_last_axis(args, kwargs) or not _is_named_attention(name, module):
            return out
        replacement = self._attended(Weights(name, module, out, COMPUTED))
        return out if replacement is None else replacement

    def _attending(self) -> tuple[str, nn.Module]:
        """The module that attends: the innermost that runs, or the one around it where that is a softmax of its own."""
        position = -2 if kind_of(self.running[-1][1]) == "Softmax" and len(self.running) > 1 else -1
        return self.running[position][:2]

    def _run_fused(self, name: str, module: nn.Module, func: Any, *, args: Any, kwargs: Any) -> Any:
        weights = self._attended(Weights(name, module, call_model(weights_of, *args, **kwargs), RECOMPUTED))
        if weights is None:
            return call_model(func, *args, **kwargs)
        value = args[2] if len(args) > 2 else kwargs["value"]
        if kwargs.get("enable_gqa"):
            value = value.repeat_interleave(weights.shape[-3] // value.shape[-3], -3)
        return (weights @ value.to(weights.dtype)).to(value.dtype)


class InnerWatch(AttentionWatch):
    """Reports attention and functions: one watch for both, as each costs anew for every call."""

    def __init__(
        self,
        attended: Attended,
        operated: Operated,
        wanted: Callable[[nn.Module], bool] = lambda _: True,
        asked: Callable[[nn.Module], bool] = lambda _: True,
        *,
        ask: Ask | None = None,
    ) -> None:
        super().__init__(attended, wanted, ask=ask)
        self._functions = FunctionWatch(operated, asked)
        self._functions.running = self.running

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        return self._functions.reported(func, args, kwargs, self.called(func, args, kwargs))


def weights_of(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> torch.Tensor:
    """The weights inside `scaled_dot_product_attention`, by the pseudocode of its documentation, at least in float32."""
    kind = torch.promote_types(query.dtype, torch.float32)
    if enable_gqa:
        key = key.repeat_interleave(query.shape[-3] // key.shape[-3], -3)
    factor = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    scores = (query.to(kind) * factor) @ key.to(kind).transpose(-2, -1)
    if not is_causal and attn_mask is None:
        return scores.softmax(-1)
    if is_causal:
        allowed = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
        scores = scores.masked_fill(~allowed, -math.inf)
    if attn_mask is not None:
        masked = attn_mask.dtype == torch.bool
        scores = scores.masked_fill(~attn_mask, -math.inf) if masked else scores + attn_mask
    # A query whose keys are all masked attends to nothing, as in torch, rather than to NaN.
    empty = (scores == -math.inf).all(-1, keepdim=True)
    return scores.masked_fill(empty, 0).softmax(-1).masked_fill(empty, 0)


def _returned_weights(func: Any, args: Any, kwargs: Any) -> torch.Tensor:
    bound = inspect.signature(func).bind(*args, **kwargs).arguments
    weights: torch.Tensor = call_model(func, **{**bound, "need_weights": True, "average_attn_weights": False})[1]
    return weights


def _over_last_axis(args: Any, kwargs: Any) -> bool:
    dim = kwargs.get("dim", args[1] if len(args) > 1 else None)
    return dim in (-1, 3)


def _is_named_attention(name: str, module: nn.Module) -> bool:
    words = f"{type(module).__name__} {name.rpartition('.')[2]}".lower()
    return "attn" in words or "attention" in words


def attends(name: str, module: nn.Module, inputs: Any) -> bool:
    """Whether a module is an attention over a sequence of tokens `[b, n, c]`: what is inside it has heads, not pixels."""
    tensors = [tensor for value in inputs for tensor in parts_of(value).values()]
    return _is_named_attention(name, module) and bool(tensors) and tensors[0].ndim == 3


def map_axes(shape: tuple[int, ...]) -> str:
    """The axes of attention weights: heads as channels; `""` for a rank that isn't known."""
    return {2: "qk", 3: "bqk", 4: "bcqk"}.get(len(shape), "")
