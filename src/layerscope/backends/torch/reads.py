"""Whether the code of a model asks what is in a tensor: what runs then, and how often, may depend on it."""

from __future__ import annotations

from typing import Any

import torch

from .functions import base_name

_OF_TENSORS = (
    "__array__", "__bool__", "__complex__", "__contains__", "__dlpack__", "__float__", "__format__", "__index__", "__int__",
    "argwhere", "is_nonzero", "item", "masked_select", "nonzero", "numpy", "storage", "tolist", "unique",
    "unique_consecutive", "untyped_storage",
)  # fmt: skip
READING = frozenset(getattr(torch.Tensor, name) for name in _OF_TENSORS) | frozenset(
    getattr(torch, name)
    for name in ("allclose", "argwhere", "equal", "is_nonzero", "masked_select", "nonzero", "unique")
)
# They give tensors whose size may be a number that stands in a tensor.
SIZED = frozenset(
    {"arange", "empty", "eye", "full", "linspace", "ones", "one_hot", "range", "repeat_interleave", "zeros"}
)
READING_NAMES = frozenset({"allclose", "equal", "nms", "batched_nms", "unique_consecutive"})
TAGS = frozenset({torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape})


def reads(func: Any, args: Any) -> bool:
    """Whether a function that is called tells numbers of a tensor, or gives a tensor whose size depends on them."""
    if func in READING:
        return True
    if isinstance(func, torch._ops.HigherOrderOperator):  # torch.cond and its relatives
        return True
    if isinstance(func, torch._ops.OpOverload):
        return not TAGS.isdisjoint(func.tags)
    name = base_name(func)
    if name in SIZED:
        return any(isinstance(value, torch.Tensor) for value in args)
    if name == "__getitem__" and len(args) > 1:
        indices = args[1] if isinstance(args[1], tuple) else (args[1],)
        return any(isinstance(index, torch.Tensor) and index.dtype in (torch.bool, torch.uint8) for index in indices)
    return name in READING_NAMES or (name == "where" and len(args) == 1)
