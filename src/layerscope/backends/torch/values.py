"""What the values beside the modules of a model are to a replica of it: what is shared, what is looked at, and how far."""

from __future__ import annotations

import copyreg
import functools
import sys
import types
from typing import Any

import torch

# What can't change, or is nobody's own.
ATOMIC = frozenset(
    {
        type(None), bool, int, float, complex, str, bytes, range, slice, type, object, type(...), type(NotImplemented),
        types.ModuleType, types.GeneratorType, types.CodeType, property,
        torch.dtype, torch.device, torch.Size, torch.layout, torch.memory_format, torch.fx.Graph, torch.fx.Node,
    }
)  # fmt: skip
# Objects that work with a model, but are no part of what it computes; a trainer leads to data sets, loggers and files.
AROUND = frozenset(
    {"accelerate", "layerscope", "lightning", "lightning_fabric", "logging", "pytorch_lightning", "threading", "torch"}
)
AROUND_TYPES = (torch.optim.Optimizer, torch.utils.data.Dataset, torch.utils.data.DataLoader)
# Of every module, and nothing is added to them in a run: shared where they are empty, as they nearly always are.
UNTOUCHED = frozenset(
    {
        "_backward_hooks", "_backward_pre_hooks", "_load_state_dict_post_hooks", "_load_state_dict_pre_hooks",
        "_non_persistent_buffers_set", "_state_dict_hooks", "_state_dict_pre_hooks",
    }
)  # fmt: skip
MOST_MEMBERS = 1_000  # of a global container that are looked at
MOST_VALUES = 50_000  # copied of one attribute of a module; what lies behind them is shared


def is_strided(tensor: torch.Tensor) -> bool:
    """Whether a tensor is nothing but numbers in its memory."""
    return (
        tensor.layout is torch.strided
        and not (tensor.is_quantized or tensor.is_nested or tensor.is_conj() or tensor.is_neg() or tensor.is_meta)
        and type(tensor) in (torch.Tensor, torch.nn.Parameter)
    )


def is_sentinel(value: Any) -> bool:
    """Whether an object without attributes is known by its identity: a name in the file of its class stands for it."""
    scope = vars(sys.modules.get(type(value).__module__, types))
    return any(member is value for member in list(scope.values()))


@functools.lru_cache(maxsize=4096)
def slots_of(kind: Any) -> tuple[str, ...]:
    """The names of the attributes that a class keeps outside of `__dict__`."""
    return tuple(copyreg._slotnames(kind))  # type: ignore[attr-defined]


@functools.lru_cache(maxsize=4096)
def names_of(code: types.CodeType) -> tuple[str, ...]:
    """The global names that code uses, functions inside it included."""
    inner = [name for constant in code.co_consts if isinstance(constant, types.CodeType) for name in names_of(constant)]
    return tuple(dict.fromkeys((*code.co_names, *inner)))
