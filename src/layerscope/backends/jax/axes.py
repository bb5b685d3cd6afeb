"""Which axes the output of a module of Flax or Equinox has: stated by its class, else inherited along the data."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from ...core.axes import prefix_names
from ...core.layer import Layer
from ..common.axes import AxesTrace, token_grid
from .outputs import parts_of
from .watch import Call

LAST = {2: "bc", 3: "bnc", 4: "bhwc", 5: "bdhwc"}


FIRST = {2: "bc", 3: "bcn", 4: "bchw", 5: "bcdhw"}


# Where nothing else is known: Equinox has images channels-first and sequences of vectors channels-last.
EQUINOX = {2: "bc", 3: "bnc", 4: "bchw", 5: "bcdhw"}


SPATIAL = ("Conv", "ConvLocal", "ConvTranspose", "Pool", "AdaptivePool")


CHANNEL_LAST = (
    *("Dense", "Linear", "Einsum", "Embed", "Embedding", "MLP", "LoRALinear"),
    *("MultiHeadDotProductAttention", "MultiHeadAttention", "MultiheadAttention", "RNN", "Bidirectional"),
)


NOTES = {"bndc": "d = attention head", "bcqk": "attention weights"}


MIXED = "works along the tokens of each channel"


UNSURE = "axes not certain: arrays of two kinds have this shape"


HEADS = ("DenseGeneral", "LinearGeneral")


# Names that models give to the parameters of tokens in front of those of the patches.
PREFIX = {
    "cls": "cls", "cls_token": "cls", "class_token": "cls", "class_embedding": "cls", "dist_token": "dist",
    "reg": "reg", "reg_token": "reg", "reg_tokens": "reg", "register_tokens": "reg", "registers": "reg",
}  # fmt: skip


class JaxAxes:
    """The axes of the arrays of one dry run."""

    def __init__(self, channels_first: bool, prefix: Sequence[str], modules: Mapping[str, Any]) -> None:
        self._modules = modules
        self._default = EQUINOX if channels_first else LAST
        self._channels_first = channels_first
        self._prefix = tuple(prefix)
        self._trace = AxesTrace()
        self._shapes: dict[tuple[int, ...], str] = {}
        self._twofold: set[tuple[int, ...]] = set()
        # Tokens that a model transposes between two modules are known again by their values.
        self._latest: deque[tuple[Any, str]] = deque(maxlen=3)
        self._children: dict[str, str] = {}
        self._grids: list[tuple[int, int]] = []

    def layer(self, call: Call, place: str, path: str) -> Layer:
        """One array of an output, with its axes, its grid of tokens and what there is to say of them."""
        value = call.values[place]
        shape = tuple(value.shape)
        axes = self._of(call, place, shape)
        if not axes:
            return Layer(path, "", "", shape, note=f"a {len(shape)}-dimensional {value.dtype} has no picture")
        self._keep(call, place, axes, shape)
        self._saw(call.module, axes, shape)
        mixed = is_a(call.module, *CHANNEL_LAST) and axes == "bcn"
        note = MIXED if mixed else NOTES.get(axes, "")
        if shape in self._twofold and not mixed and _stated(call.module, len(shape), self._channels_first) is None:
            note = note or UNSURE
        if call.mapped > self._own_vmaps and not self._channels_first:
            note = "inside vmap: the mapped axis stands first"
        rows = shape[axes.index("b")]
        if rows != 1:
            return Layer(path, "", axes, shape, note=note or f"{rows} rows an image, such as windows")
        grid, prefix = self._tokens(axes, shape, mixed)
        return Layer(path, "", axes, shape, note=note, grid=grid, prefix=prefix)

    @property
    def _own_vmaps(self) -> int:
        return 1 if self._channels_first else 0

    def _of(self, call: Call, place: str, shape: tuple[int, ...]) -> str:
        rank = len(shape)
        if not 1 < rank < 6:
            return ""
        parent = self._modules.get(call.path.rpartition(".")[0])
        if is_a(parent, "MultiheadAttention") and is_a(call.module, "Dropout") and rank == 4:
            # Equinox's attention drops a part of its weights: queries by keys for each head.
            return "bcqk"
        more = call.mapped - self._own_vmaps
        if more > 0:
            return self._mapped(call, rank, more)
        stated = _stated(call.module, rank, self._channels_first)
        if is_a(call.module, *CHANNEL_LAST) and stated == LAST.get(rank):
            return self._along_last(call, rank) or LAST[rank]
        return stated or self._inherited(call, place, shape) or self._default[rank]

    def _along_last(self, call: Call, rank: int) -> str | None:
        """For what works along the last axis: the others stay what they were, also where the model transposed them."""
        given = next((each for each in _given(call) if each.ndim == rank), None)
        if given is None:
            return None
        axes = self._known(given)
        if axes is None and given.shape not in self._twofold:
            axes = self._shapes.get(given.shape)
        return axes if axes is not None and sorted(axes) == sorted(LAST[rank]) else None

    def _known(self, array: Any) -> str | None:
        """The axes of an array that came out of a module, or of one that is such an array transposed."""
        known = self._trace.get(array)
        if known is not None:
            return known
        swapped = (_swapped(each, axes, array) for each, axes in reversed(self._latest))
        return next((each for each in swapped if each is not None), None)

    def _mapped(self, call: Call, rank: int, more: int) -> str:
        """Inside vmaps of the model's own: the axes that the module sees, and the mapped ones where JAX puts them."""
        inner = _stated(call.module, rank - more, self._channels_first) or self._default.get(rank - more, "")
        free = "" if set("dhwn") & set(inner) else {1: "n", 2: "hw", 3: "dhw"}.get(more, "")
        letters = free or ("d" if more == 1 and "d" not in inner else "")
        if not inner or not letters:
            return ""
        return f"b{letters}{inner[1:]}" if self._channels_first else letters + inner

    def _inherited(self, call: Call, place: str, shape: tuple[int, ...]) -> str | None:
        """From the array itself, an input of its shape, the last child, the last array of its shape, any input."""
        array, rank = call.parts[place], len(shape)
        given = _given(call)
        alike = [each for each in given if each.shape == array.shape]
        child = self._children.get(call.path)
        found = [
            self._trace.get(array),
            *(self._known(each) for each in alike),
            child,
            None if shape in self._twofold else self._shapes.get(shape),
            *(self._trace.get(each) for each in given),
        ]
        return next((each for each in found if each is not None and len(each) == rank), None)

    def _keep(self, call: Call, place: str, axes: str, shape: tuple[int, ...]) -> None:
        array = call.parts[place]
        self._trace.set(array, axes)
        if self._shapes.setdefault(shape, axes) != axes:
            self._twofold.add(shape)
        if array.ndim == len(axes) == 3 and not isinstance(array, jax.core.Tracer):
            self._latest.append((array, axes))
        steps = call.path.replace("/", ".").rpartition(".")[0]
        for separator in (".", "/"):
            self._children[steps.replace(".", separator)] = axes

    def _saw(self, module: Any, axes: str, shape: tuple[int, ...]) -> None:
        """Remember the grid of a patch embedding: a convolution whose kernel is its stride."""
        if not is_a(module, "Conv") or not {"h", "w"} <= set(axes):
            return
        kernel = tuple(module.kernel_size) if not isinstance(module.kernel_size, int) else (module.kernel_size,) * 2
        stride = getattr(module, "strides", None) or getattr(module, "stride", None) or 1
        stride = (stride,) * len(kernel) if isinstance(stride, int) else tuple(stride)
        if kernel == stride and max(kernel) > 1:
            self._grids.append((shape[axes.index("h")], shape[axes.index("w")]))

    def _tokens(self, axes: str, shape: tuple[int, ...], mixed: bool) -> tuple[tuple[int, int] | None, tuple[str, ...]]:
        if "n" not in axes or axes == "bndc":
            return None, ()
        tokens = shape[axes.index("n")]
        if mixed and (not self._grids or tokens != math.prod(self._grids[-1])):
            # Between the two layers of a mixer are sums over places, which are no places.
            return None, ()
        grid = token_grid(tokens, self._grids, len(self._prefix) if self._prefix else None)
        if grid is None:
            return None, ()
        return grid, prefix_names(tokens - grid[0] * grid[1], self._prefix)


def _given(call: Call) -> list[Any]:
    """The arrays among the arguments of a call."""
    return [each for argument in (*call.arguments[0], call.arguments[1]) for each in parts_of(argument).values()]


def _swapped(array: Any, axes: str, other: Any) -> str | None:
    """The axes of `other` if it holds the numbers of `array`, as they are or with tokens and channels in each other's place."""
    if isinstance(other, jax.core.Tracer) or sorted(array.shape) != sorted(other.shape):
        return None
    if np.array_equal(array, other):
        return axes
    return axes[0] + axes[2] + axes[1] if np.array_equal(np.swapaxes(array, 1, 2), other) else None


def is_a(module: Any, *names: str) -> bool:
    """Whether a module is of a class of Flax or Equinox with one of these names, or of a child of one."""
    for kind in type(module).__mro__:
        if kind.__name__ in names and kind.__module__.partition(".")[0] in ("flax", "equinox"):
            return True
    return False


def stated_prefix(leaves: Any) -> tuple[str, ...]:
    """The names of the prefix tokens by the names of the model's own parameters, in the order of `PREFIX`."""
    found: dict[str, list[str]] = {}
    for name, leaf in leaves:
        last = name.replace("/", ".").rpartition(".")[2]
        if last in PREFIX and np.ndim(leaf):
            count = leaf.shape[-2] if leaf.ndim > 1 else 1
            word = PREFIX[last]
            found[last] = [word] if count == 1 and word != "reg" else [f"{word}{at + 1}" for at in range(count)]
    return tuple(each for name in PREFIX for each in found.get(name, ()))


def _stated(module: Any, rank: int, channels_first: bool) -> str | None:
    if is_a(module, *SPATIAL):
        return _spatial(module, rank, channels_first)
    if is_a(module, *HEADS):
        features = module.out_features if hasattr(module, "out_features") else module.features
        several = not isinstance(features, int) and len(features) == 2
        return "bndc" if several and rank == 4 else LAST.get(rank)
    if is_a(module, *CHANNEL_LAST):
        return LAST.get(rank)
    return None


def _spatial(module: Any, rank: int, channels_first: bool) -> str | None:
    """A convolution or pooling: its own axes, with those that were mapped or added in front of them."""
    kernel = getattr(module, "kernel_size", None)
    own = getattr(module, "num_spatial_dims", None) or (1 if isinstance(kernel, int) else len(kernel or ()))
    axes = (FIRST if channels_first else LAST).get(own + 2)
    if axes is None:
        return None
    if rank == own + 1:
        return axes[1:]
    more = [each for each in "dn" if each not in axes][: rank - own - 2]
    return f"b{''.join(more)}{axes[1:]}" if rank == len(axes) + len(more) else None
