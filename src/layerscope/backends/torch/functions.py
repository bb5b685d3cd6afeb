"""Watching torch's functions during a run, with the module that is running known."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.overrides import TorchFunctionMode, resolve_name

from ..common.fault import call_model
from .hooks import add_watch
from .keeping import PAST_COUNT, Ask
from .tree import named_modules_of

# They make, move or describe tensors; what a person would look at comes out of other functions.
PLAIN = {
    "clone", "contiguous", "copy", "cpu", "cuda", "dequantize", "detach", "double", "empty_like", "expand",
    "expand_as", "fill", "flatten", "flip", "float", "full_like", "gather", "get", "getitem", "half",
    "index_select", "masked_fill", "moveaxis", "movedim", "narrow", "new_empty", "new_full", "new_ones",
    "new_tensor", "new_zeros", "numpy", "ones_like", "pad", "permute", "rand_like", "randn_like", "repeat",
    "repeat_interleave", "requires_grad", "reshape", "reshape_as", "resolve_conj", "resolve_neg", "roll", "select",
    "set", "setitem", "slice", "squeeze", "swapaxes", "swapdims", "t", "to", "to_dense", "transpose", "type", "type_as",
    "unflatten", "unsqueeze", "view", "view_as", "zero", "zeros_like",
}  # fmt: skip


FUNCTION = re.compile(r"(?:(.*)\.)?(\w+)\(\)")


def unwatch() -> Any:
    """No watch sees what is called inside: layerscope's own looks at tensors far outnumber the model's calls."""
    return torch._C.DisableTorchFunction()


class ModuleWatch(TorchFunctionMode):
    """A watch that knows which module is running: its name, the module, and how often it used each function so far.

    `ask` is told of the arguments of functions that lead to a tensor's memory.
    """

    def __init__(self, ask: Ask | None = None) -> None:
        super().__init__()
        self.ask = ask
        self.running: list[tuple[str, nn.Module, dict[str, int]]] = []

    def register_hooks(
        self, model: nn.Module, entered: Callable[[str, nn.Module, Any], None] | None = None, *, unseen: bool = False
    ) -> list[Any]:
        """Handles of the hooks by which it knows the module that is running; `entered` is called as each begins.

        `unseen`: as for `add_hook`.
        """
        handles: list[Any] = []
        names: dict[int, str] = {}

        def enter(module: nn.Module, inputs: Any) -> None:
            name = names.get(id(module))
            if name is None:  # a copy that the model made of one: code of the module that is running
                self.running.append(self.running[-1] if self.running else ("", model, {}))
                return
            self.running.append((name, module, {}))
            if entered is not None:
                entered(name, module, inputs)

        def leave(*_: Any) -> None:
            self.running.pop()

        for name, module in named_modules_of(model):
            if isinstance(module, torch.jit.ScriptModule):
                continue  # one that takes no hooks, and calls nothing that could be seen
            names[id(module)] = name
            handles += add_watch(module, enter, leave, unseen=unseen)
        return handles


class Operation(NamedTuple):
    """What a function gave inside the module `name`: `address` is its path there (`add_1()`), `function` its own name."""

    name: str
    module: nn.Module
    address: str
    function: str
    output: torch.Tensor
    in_place: bool


# gives the value passed on, or `None` for the function's own result
Operated = Callable[[Operation], torch.Tensor | None]


class FunctionWatch(ModuleWatch):
    """Reports every function that computes something in the forward of a module that isn't one of torch's own.

    `asked` says of which modules it is wanted.
    """

    def __init__(
        self, operated: Operated, asked: Callable[[nn.Module], bool] = lambda _: True, *, ask: Ask | None = None
    ) -> None:
        super().__init__(ask)
        self._operated, self._asked = operated, asked

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if self.ask is not None and func in PAST_COUNT:
            self.ask(args)
        return self.reported(func, args, kwargs, call_model(func, *args, **kwargs))

    def reported(self, func: Any, args: Any, kwargs: Any, out: Any) -> Any:
        """The value passed on after a function gave `out`, whatever it is."""
        return self.report(func, args, kwargs, out) if self.running and isinstance(out, torch.Tensor) else out

    def report(self, func: Any, args: Any, kwargs: Any, out: torch.Tensor) -> torch.Tensor:
        """The value passed on after a function gave `out`."""
        name, module, used = self.running[-1]
        if not self._asked(module):
            return out
        base, in_place = _name_of(func)
        if base in PLAIN or not base or _is_torchs_own(module):
            return out
        with unwatch():
            if out.ndim < 2 or not computes(out):
                return out
            tensors = [value for value in _flatten((*args, *kwargs.values())) if isinstance(value, torch.Tensor)]
            if not tensors or (not in_place and any(same_memory(tensor, out) for tensor in tensors)):
                return out  # made from nothing, or a view
        address = self._address(module, used, base)
        replacement = self._operated(Operation(name, module, address, _full_name(func) or base, out, in_place))
        return out if replacement is None else replacement

    def _address(self, module: nn.Module, used: dict[str, int], base: str) -> str:
        count = used[base] = used.get(base, -1) + 1
        return f"{base}_{count}()" if count else f"{base}()"


def computes(out: torch.Tensor) -> bool:
    """Whether a tensor holds numbers that can be looked at: no indices, no masks."""
    return out.is_floating_point() or out.is_complex() or out.is_quantized


def base_name(func: Any) -> str:
    """A function's name; exported models call operators, whose names go on with the overload: `add.Tensor`."""
    return str(getattr(func, "__name__", "")).partition(".")[0]


@cache
def plain_name(name: str) -> tuple[str, bool]:
    """A function's name without what marks operators and in-place variants, and whether it writes into its argument.

    >>> plain_name("__radd__"), plain_name("add_"), plain_name(base_name(torch.ops.aten.cat.default))
    (('add', False), ('add', True), ('cat', False))
    """
    operator = re.fullmatch(r"__(\w+?)__", name)
    if operator:
        bare = operator[1]
        written = bare.removeprefix("i") if bare.startswith("i") and hasattr(torch.Tensor, f"__{bare[1:]}__") else ""
        turned = bare.removeprefix("r") if bare.startswith("r") and hasattr(torch.Tensor, f"__{bare[1:]}__") else ""
        return written or turned or bare, bool(written)
    if name.endswith("_") and not name.startswith("_"):
        return name.rstrip("_"), True
    return name.strip("_"), False


@lru_cache(maxsize=4096)
def _name_of(func: Any) -> tuple[str, bool]:
    """A function's plain name, and whether it writes into its argument."""
    return plain_name(base_name(func))


@cache
def _full_name(func: Any) -> str:
    return f"torch.{base_name(func)}" if isinstance(func, torch._ops.OpOverload) else resolve_name(func) or ""


def _is_torchs_own(module: nn.Module) -> bool:
    """A layer of torch itself: what its forward calls is the layer."""
    return type(module).__module__.startswith(("torch.nn.", "torch.ao.nn.")) and alone(module)


def alone(module: nn.Module) -> bool:
    """Whether a module has no modules inside, but for those that make its own weights (`torch.nn.utils.parametrize`)."""
    return all(name == "parametrizations" or child is None for name, child in module._modules.items())


def makes_weights(name: str) -> bool:
    """Whether the module of that name makes the weights of another: it runs on weights, not on images."""
    return "parametrizations" in name.split(".")


def same_memory(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two tensors begin at the same address; sparse and nested ones have no single address, mapped ones none."""
    if one.layout != torch.strided or other.layout != torch.strided or one.is_nested or other.is_nested:
        return one is other
    try:
        return one.data_ptr() == other.data_ptr()
    except RuntimeError:  # inside `torch.vmap`
        return one is other


def _flatten(values: Any) -> Any:
    for value in values:
        if isinstance(value, tuple | list):
            yield from _flatten(value)
        else:
            yield value


def kind_of_function(name: str) -> str:
    """`torch.nn.functional.relu` as `F.relu`, `torch.Tensor.add` as `torch.add`.

    >>> kind_of_function("torch.nn.functional.interpolate"), kind_of_function("torch.Tensor.__add__")
    ('F.interpolate', 'torch.add')
    """
    last = name.rpartition(".")[2]
    bare = last.strip("_")
    if name.startswith("torch.nn.functional."):
        return f"F.{bare}"
    return f"torch.{re.sub(r'^[ir](?=add|sub|mul|div|truediv|pow|matmul)', '', bare)}"
