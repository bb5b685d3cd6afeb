"""Which axes the output of a module of Flax or Equinox has: stated by its class, else inherited along the data."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from ...core.layer import Layer
from ..common.axes import (
    ASSUMED,
    CHANNELS_FIRST,
    CHANNELS_LAST,
    DERIVED,
    PICTURES_FIRST,
    PREFIX_TOKENS,
    SEVERAL,
    SPACE,
    for_one_image,
    prefix_labels,
)
from ..common.field import RESHAPED, SEVERAL_ORDERS, Positions
from ..common.run import TensorMap
from ..common.tokens import axes_of
from .outputs import parts_of
from .watch import Call

SPATIAL = ("Conv", "ConvLocal", "ConvTranspose", "Pool", "AdaptivePool")


CHANNEL_LAST = (
    *("Dense", "Linear", "Einsum", "Embed", "Embedding", "MLP", "LoRALinear"),
    *("MultiHeadDotProductAttention", "MultiHeadAttention", "MultiheadAttention", "RNN", "Bidirectional"),
)


NOTES = {"bndc": "d = attention head", "bcqk": "attention weights"}


MIXED = "works along the tokens of each channel"


VMAPPED = "inside vmap: the mapped axis comes first"


HEADS = ("DenseGeneral", "LinearGeneral")


# Where positions got lost so that a shape of before tells nothing.
ACROSS = (RESHAPED, SEVERAL_ORDERS)


class Output(NamedTuple):
    """One array in the output of a call, by its subpath."""

    call: Call
    subpath: str

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape with the axes of surrounding vmaps."""
        return tuple(self.call.values[self.subpath].shape)


class Axes:
    """The axes of the arrays of one dry run on some images."""

    def __init__(self, channels_first: bool, modules: Mapping[str, Any], images: int = 1) -> None:
        self._modules, self._images = modules, images
        self._default = PICTURES_FIRST if channels_first else CHANNELS_LAST
        self._channels_first = channels_first
        # Equinox takes one example, so its models run inside a vmap of ours.
        self._own_vmaps = 1 if channels_first else 0
        self._trace: TensorMap[str] = TensorMap()
        self._doubts: TensorMap[str] = TensorMap()
        self._assumed: set[tuple[str, int, str]] = set()
        self._unproven: set[tuple[str, int, str]] = set()  # of an array whose shape is all that is alike
        self._by_shape: dict[tuple[int, ...], str] = {}
        self._ambiguous: set[tuple[int, ...]] = set()
        # Tokens that a model transposes between two modules are known again by their values.
        self._latest: deque[tuple[Any, str]] = deque(maxlen=3)
        self._children: dict[str, str] = {}

    def row(self, output: Output, positions: Positions | None = None) -> Layer:
        """One array of an output, in which its positions lie, as a row of the table: its axes, and a note."""
        (call, subpath), shape = output, output.shape
        path, placed = call.path, None if positions is None else axes_of(positions)
        axes = self.letters(output, placed)
        if positions is not None and any(field.unknown in ACROSS for _, field in positions.fields):
            self._unproven.add((path, call.number, subpath))
        if not axes:
            dtype = call.values[subpath].dtype
            return Layer(path, "", "", shape, note=f"a {len(shape)}-dimensional {dtype} has no picture")
        self._remember(output, axes)
        note = self._note(call, axes, shape)
        shape = for_one_image(axes, shape, self._images)
        rows = shape[axes.index("b")]
        if rows != 1:
            note = note or f"{rows} rows for each image, as with windows"
        return Layer(path, "", axes, shape, note=note, doubt=self._doubt(output, placed))

    def _doubt(self, output: Output, placed: str | None) -> str:
        """Why the axes of an array may be other ones than its positions show; noted, for those that are made from it."""
        call, shape = output.call, output.shape
        rank = len(shape)
        stated = stated_axes(call.module, rank, self._channels_first)
        doubt = ""
        if call.mapped > self._own_vmaps and not self._channels_first:
            doubt = VMAPPED
        elif stated is None and placed is None and rank > 2:
            sources = [source for source in _inputs(call) if source.ndim == rank]
            earlier = self._doubts.get(call.parts[output.subpath])
            if shape in self._ambiguous or (call.path, call.number, output.subpath) in self._unproven:
                doubt = SEVERAL
            elif earlier is not None:
                doubt = earlier
            elif (call.path, call.number, output.subpath) in self._assumed:
                doubt = ASSUMED
            elif any(self._doubts.get(source) for source in sources):
                doubt = DERIVED
        self._doubts.set(call.parts[output.subpath], doubt)
        return doubt

    def _note(self, call: Call, axes: str, shape: tuple[int, ...]) -> str:
        """What axes mean that don't say it themselves."""
        if call.mapped > self._own_vmaps and not self._channels_first:
            return VMAPPED
        if _mixes_tokens(call.module, axes):
            return MIXED
        if axes in NOTES:
            return NOTES[axes]
        ambiguous = shape in self._ambiguous and stated_axes(call.module, len(shape), self._channels_first) is None
        return SEVERAL if ambiguous else ""

    def letters(self, output: Output, placed: str | None = None) -> str:
        """The axes of an output, `""` where it has no picture; `placed` are those that its positions show."""
        call, rank = output.call, len(output.shape)
        if not call.path and output.shape == (self._images,):
            return "b"  # the model's own number for each image
        if not 1 < rank < 6:
            return ""
        parent = self._modules.get(call.path.rpartition(".")[0])
        if is_a(parent, "MultiheadAttention") and is_a(call.module, "Dropout") and rank == 4:
            # Equinox's attention drops a part of its weights: queries by keys for each head.
            return "bcqk"
        vmaps = call.mapped - self._own_vmaps
        if vmaps > 0:
            return self._map(call, rank, vmaps)
        stated = stated_axes(call.module, rank, self._channels_first)
        if is_a(call.module, *CHANNEL_LAST) and stated == CHANNELS_LAST.get(rank):
            return self._along_last(call, rank) or CHANNELS_LAST[rank]
        inherited = stated or placed or self._inherit(output)
        if inherited is None:
            self._assumed.add((call.path, call.number, output.subpath))
        return inherited or self._default[rank]

    def _along_last(self, call: Call, rank: int) -> str | None:
        """For what works along the last axis: the others stay what they were, also where the model transposed them."""
        source = next((array for array in _inputs(call) if array.ndim == rank), None)
        if source is None:
            return None
        axes = self._known_axes(source)
        if axes is None and source.shape not in self._ambiguous:
            axes = self._by_shape.get(source.shape)
        return axes if axes is not None and sorted(axes) == sorted(CHANNELS_LAST[rank]) else None

    def _known_axes(self, array: Any) -> str | None:
        """The axes of an array that came out of a module, or of one that is such an array transposed."""
        axes = self._trace.get(array)
        if axes is not None:
            return axes
        recognised = (_recognise(earlier, axes, array) for earlier, axes in reversed(self._latest))
        return next((axes for axes in recognised if axes is not None), None)

    def _map(self, call: Call, rank: int, vmaps: int) -> str:
        """Inside vmaps of the model's own: the axes that the module sees, and the mapped ones where JAX puts them."""
        inside = rank - vmaps
        inner = stated_axes(call.module, inside, self._channels_first) or self._default.get(inside, "")
        free = "" if set("dhwn") & set(inner) else SPACE.get(vmaps, "")
        letters = free or ("d" if vmaps == 1 and "d" not in inner else "")
        if not inner or not letters:
            return ""
        return f"b{letters}{inner[1:]}" if self._channels_first else letters + inner

    def _inherit(self, output: Output) -> str | None:
        """From the array itself, an input of its shape, the last child, the last array of its shape, any input."""
        call, shape = output.call, output.shape
        array, inputs = call.parts[output.subpath], _inputs(call)
        certain = [
            self._trace.get(array),
            *(self._known_axes(source) for source in inputs if source.shape == array.shape),
        ]
        candidates = [
            *certain,
            self._children.get(call.path),
            None if shape in self._ambiguous else self._by_shape.get(shape),
            *(self._trace.get(source) for source in inputs if source.size > 1),  # one number is spread out to any axes
        ]
        found = [(at, axes) for at, axes in enumerate(candidates) if axes is not None and len(axes) == len(shape)]
        if not found:
            return None
        at, axes = found[0]
        if at >= len(certain) and "c" in axes and shape.count(shape[axes.index("c")]) > 1:
            self._unproven.add((call.path, call.number, output.subpath))
        return axes

    def _remember(self, output: Output, axes: str) -> None:
        """Note the axes of an array, for those that are made from it."""
        call, shape = output.call, output.shape
        array = call.parts[output.subpath]
        self._trace.set(array, axes)
        if self._by_shape.setdefault(shape, axes) != axes:
            self._ambiguous.add(shape)
        if array.ndim == len(axes) == 3 and not isinstance(array, jax.core.Tracer):
            self._latest.append((array, axes))
        parent = call.path.replace("/", ".").rpartition(".")[0]
        for separator in (".", "/"):
            self._children[parent.replace(".", separator)] = axes


def _mixes_tokens(module: Any, axes: str) -> bool:
    """Whether a dense layer works along the tokens of each channel."""
    return axes == "bcn" and is_a(module, *CHANNEL_LAST)


def _inputs(call: Call) -> list[Any]:
    """The arrays among the arguments of a call."""
    args, kwargs = call.arguments
    return [array for argument in (*args, kwargs) for array in parts_of(argument).values()]


def _recognise(array: Any, axes: str, other: Any) -> str | None:
    """The axes of `other` if it holds the numbers of `array`, as they are or with tokens and channels swapped."""
    if isinstance(other, jax.core.Tracer) or sorted(array.shape) != sorted(other.shape):
        return None
    if np.array_equal(array, other):
        return axes
    return axes[0] + axes[2] + axes[1] if np.array_equal(np.swapaxes(array, 1, 2), other) else None


def is_a(module: Any, *names: str) -> bool:
    """Whether a module is of a class of Flax or Equinox with one of these names, or of a child of one."""
    return any(
        cls.__name__ in names and cls.__module__.partition(".")[0] in ("flax", "equinox")
        for cls in type(module).__mro__
    )


def stated_prefix(leaves: Iterable[tuple[str, Any]]) -> tuple[str, ...]:
    """The labels of the prefix tokens by the names of the model's own parameters."""
    named = ((name.replace("/", ".").rpartition(".")[2], leaf) for name, leaf in leaves)
    tokens = [(name, leaf.shape) for name, leaf in named if name in PREFIX_TOKENS and np.ndim(leaf)]
    return prefix_labels((name, shape[-2] if len(shape) > 1 else 1) for name, shape in tokens)


def stated_axes(module: Any, rank: int, channels_first: bool) -> str | None:
    """The axes that follow from the class of a module, `None` where it works on any."""
    if is_a(module, *SPATIAL):
        return _spatial(module, rank, channels_first)
    if is_a(module, *HEADS):
        features = module.out_features if hasattr(module, "out_features") else module.features
        several = not isinstance(features, int) and len(features) == 2
        return "bndc" if several and rank == 4 else CHANNELS_LAST.get(rank)
    return CHANNELS_LAST.get(rank) if is_a(module, *CHANNEL_LAST) else None


def _spatial(module: Any, rank: int, channels_first: bool) -> str | None:
    """A convolution or pooling: its own axes, with those that were mapped or added in front of them."""
    kernel = getattr(module, "kernel_size", None)
    own = getattr(module, "num_spatial_dims", None) or (1 if isinstance(kernel, int) else len(kernel or ()))
    axes = (CHANNELS_FIRST if channels_first else CHANNELS_LAST).get(own + 2)
    if axes is None:
        return None
    if rank == own + 1:
        return axes[1:]
    added = [letter for letter in "dn" if letter not in axes][: rank - own - 2]
    return f"b{''.join(added)}{axes[1:]}" if rank == len(axes) + len(added) else None
