"""Which axes the output of a PyTorch module has: stated by its class, else inherited along the data."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple, cast

import torch
from torch import nn

from ...core.layer import Layer
from ..common.axes import ASSUMED, DERIVED, PICTURES_FIRST, SEVERAL, for_one_image, permuted_view
from ..common.axes import CHANNELS_FIRST as PICTURES
from ..common.axes import CHANNELS_LAST as TOKENS
from ..common.run import TensorMap
from ..common.tokens import axes_of, located, upright
from .attention import attends, map_axes
from .axes_flow import Flow
from .axes_guess import Row
from .field import Fields
from .functions import same_memory
from .model import kind_of
from .outputs import parts_of
from .tokens import stated_prefix, windows

FIRST = PICTURES | {1: "b"}

LAST = TOKENS | {1: "b"}

WINDOWS = "windows × positions in a window × features: the image is split up here, so there is no picture"

HEADS = "heads × tokens × features, or positions, inside an attention: no picture"

OF_HEADS = "d = attention head"

PACKED = "steps of all images in one row (PackedSequence): capture what is padded behind it, or pass padded steps"

STATES = "n = layers and directions, the state after the last step"

OVER_CHANNELS = "attention between channels (a row and a column for each channel of a head), not between positions"

CHANNELS_FIRST = (
    *(nn.modules.conv._ConvNd, nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LocalResponseNorm),
    *(nn.modules.pooling._MaxPoolNd, nn.modules.pooling._AvgPoolNd, nn.modules.pooling._LPPoolNd),
    *(nn.modules.pooling._AdaptiveAvgPoolNd, nn.modules.pooling._AdaptiveMaxPoolNd, nn.modules.pooling._MaxUnpoolNd),
    *(nn.FractionalMaxPool2d, nn.Upsample, nn.PixelShuffle, nn.PixelUnshuffle, nn.ChannelShuffle),
    *(nn.modules.padding._ReflectionPadNd, nn.modules.padding._ReplicationPadNd),
)

CHANNELS_LAST = (nn.Linear, nn.Bilinear, nn.Embedding)

NORMS: tuple[type[nn.Module], ...] = (nn.LayerNorm, getattr(nn, "RMSNorm", nn.LayerNorm))


class Output(NamedTuple):
    """A tensor that came out of the module `name`; `part` is its subpath in the output (`"[0]"`, `".logits"`)."""

    name: str
    module: nn.Module
    inputs: tuple[Any, ...]
    part: str
    tensor: torch.Tensor


class Axes:
    """The axes of the tensors of one dry run on some images."""

    def __init__(self, model: nn.Module | None = None, images: int = 1, fields: Fields | None = None) -> None:
        self._images, self._fields = images, fields or Fields()
        self._prefix = stated_prefix(() if model is None else model.modules()) or ()
        self._heads: set[str] = set()
        self._inputs: TensorMap[bool] = TensorMap()
        self._sequences: set[torch.Size] = set()  # the first two sizes of inputs that may be sequences
        self._guesses: dict[str, str] = {}
        self._several: set[tuple[int, ...]] = set()
        self._trace: TensorMap[str] = TensorMap()
        self.flow = Flow(self._trace, self._corrected)
        self._shapes: dict[tuple[int, ...], str] = {}
        self._children: dict[str, tuple[str, int]] = {}

    def start(self, arguments: Any) -> None:
        """Note what goes into the model: a layer on it has the axes of a photo."""
        for part in parts_of(arguments).values():
            self._inputs.set(part, True)
            if part.ndim in (2, 3):
                self._sequences.add(part.shape[:2])

    def entered(self, name: str, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        """A module begins to run: what it reads has the axes that its class states."""
        source = next((value for value in inputs if isinstance(value, torch.Tensor)), None)
        if source is not None and _steps_first(module) and source.shape[:2] in self._sequences:
            self._images = source.shape[1]
        if source is not None and self.flow.assumed(source):
            self._read(Output(name, module, inputs, "", source))
        if attends(name, module, inputs):
            self._heads.add(name)

    def _read(self, source: Output) -> None:
        """What a module states of the tensor that it is about to read, whose axes rest on a guess."""
        module, tensor, known = source.module, source.tensor, self._trace.get(source.tensor) or ""
        if isinstance(module, CHANNELS_FIRST):
            self.flow.settle(tensor, _channels_first(self, source) or "", certain=True)
        elif isinstance(module, nn.MultiheadAttention | nn.RNNBase) and tensor.ndim == 3:
            self.flow.settle(tensor, _tokens(bool(module.batch_first), source) or "", certain=True)
        elif _reads_last(module) and tensor.ndim > 2 and not known.endswith("c"):
            self.flow.settle(tensor, LAST.get(tensor.ndim, ""), certain=False)

    def keep(self, tensor: torch.Tensor, rows: dict[str, Layer], part: str) -> None:
        """Note where the row of a tensor stands, if its axes rest on a guess, which a later reader may correct."""
        guess = self.flow.guesses.get(tensor)
        if guess is not None and rows[part].axes:
            guess.rows.append(Row(rows, part, self._fields.get(tensor)))

    def _corrected(self, row: Row, axes: str, certain: bool) -> Layer | None:
        """A row with other axes; `None` where they don't fit, or the images are in another place."""
        layer = row.rows[row.part]
        if (
            layer.shape is None
            or len(axes) != len(layer.shape)
            or (axes.find("b") != layer.axes.find("b") and self._images > 1)
        ):
            return None
        bare = replace(layer, axes=axes, grid=None, prefix=(), order=(), lines=None, note=_rows_note(axes, layer.shape))
        return located(replace(bare, doubt="" if certain else layer.doubt), row.positions, self._prefix)

    def layer(self, output: Output) -> Layer:
        """A tensor that came out of a module, with its axes, its token grid, and a note on them."""
        path, tensor = output.name + output.part, output.tensor
        shape = tuple(tensor.shape)
        if isinstance(output.module, nn.RNNBase) and output.part.endswith(".data"):
            return Layer(path, "", "", shape, note=PACKED)
        if self.flow.factors.windows(tensor):
            return Layer(path, "", "", shape, note=WINDOWS)
        heads = self.flow.factors.heads(tensor)
        if heads == "?" or self._is_inside_heads(output):
            return Layer(path, "", "", shape, note=HEADS)
        if heads:
            self._trace.set(tensor, heads)
            row = self._row(path, heads, shape, tensor)
            return row if row.attention else replace(row, note=OF_HEADS)
        axes = self.letters(output)
        if not axes:
            return Layer(path, "", "", shape, note=f"a {tensor.ndim}-dimensional {tensor.dtype} has no picture")
        row = self._row(path, axes, shape, tensor)
        return replace(row, note=STATES) if _is_state(output) else row

    def attention(self, name: str, weights: torch.Tensor, scores: torch.Tensor | None, *, alone: bool = False) -> Layer:
        """Attention weights that were computed inside the module `name`, from `scores` where a softmax was seen.

        `alone` says that weights of rank 3 are those of one image.
        """
        shape = tuple(weights.shape)
        if scores is not None and self.flow.factors.channels(scores):
            return Layer(name, "", "", shape, note=OVER_CHANNELS)
        axes = "cqk" if alone and weights.ndim == 3 else map_axes(shape)
        if not axes:
            return Layer(name, "", "", shape, note=f"attention weights of rank {weights.ndim} have no picture")
        self._trace.set(weights, axes)
        return self._row(name, axes, shape, weights)

    def function(self, name: str, tensor: torch.Tensor) -> Layer | None:
        """What a function gave inside the module `name`, `None` where its axes couldn't be followed."""
        axes = self._trace.get(tensor)
        if not axes or len(axes) != tensor.ndim or tensor.ndim < 2:
            return None
        axes = upright(axes, self._fields.get(tensor))
        self._trace.set(tensor, axes)
        return self._row(name, axes, tuple(tensor.shape), tensor)

    def _row(self, path: str, axes: str, shape: tuple[int, ...], tensor: torch.Tensor) -> Layer:
        shape = for_one_image(axes, shape, self._images)
        row = Layer(path, "", axes, shape, note=_rows_note(axes, shape))
        row = located(row, self._fields.get(tensor), self._prefix)
        if self.flow.assumed(tensor):
            row = replace(row, doubt=self._guesses.get(path, DERIVED))
        self.flow.keep(tensor, row.grid)
        return row

    def letters(self, output: Output) -> str:
        """The axes of a tensor that came out of a module, one letter each; `""` for what has no picture."""
        name, tensor = output.name, output.tensor
        if tensor.ndim == 0 or tensor.ndim > 5:
            return ""
        axes = self._state(output) or self._inherit(output)
        if tensor.ndim == 1:  # a number for each image, which only the model itself is shown for, or all of one image
            each = not name and (axes == "b" or len(tensor) == self._images)
            axes = "b" if each else "c" if axes == "c" and self.flow.without_images else ""
        elif axes is None or len(axes) != tensor.ndim:
            axes = PICTURES_FIRST.get(tensor.ndim, "")
            self._guess(output)
        axes = upright(axes, self._fields.get(tensor))
        self._trace.set(tensor, axes)
        if self._shapes.get(tuple(tensor.shape), axes) != axes:
            self._several.add(tuple(tensor.shape))
        self._shapes[tuple(tensor.shape)] = axes
        self._children[name.rpartition(".")[0] if "." in name else ""] = (axes, tensor.ndim)
        return axes

    def _guess(self, output: Output, reason: str = ASSUMED) -> None:
        """Note that the axes of an output are assumed; of two axes, that they are images and channels is no guess."""
        sources = [value for source in output.inputs for value in parts_of(source).values()]
        shape = output.tensor.shape
        of_photo = any(
            self._inputs.get(value) and value.ndim == len(shape) > 3 and value.shape[:2] == shape[:2]
            for value in sources
        )
        if output.tensor.ndim > 2 and not of_photo:
            self.flow.assume(output.tensor)
            self._guesses[output.name + output.part] = reason

    def _is_inside_heads(self, output: Output) -> bool:
        """Whether a tensor inside an attention has heads, not pixels: no axes of it are known."""
        tensor = output.tensor
        return (
            3 < tensor.ndim < 6
            and any(output.name.startswith(name + ".") for name in self._heads)
            and not isinstance(output.module, CHANNELS_FIRST)
            and self._trace.get(tensor) is None
            and not any(
                self._trace.get(value) is not None and value.ndim == tensor.ndim
                for source in output.inputs
                for value in parts_of(source).values()
            )
        )

    def _state(self, output: Output) -> str | None:
        """The axes that the class of a module states; `None` where it states none."""
        if _is_returned_attention(output):
            return "bcqk"
        rule = next((rule for classes, rule in STATED if isinstance(output.module, classes)), None)
        if rule is not None:
            return rule(self, output)
        if kind_of(output.module) in ("Linear", "LayerNorm", "RMSNorm") and _has_one_weight(output.module):
            return self._channels_last(output)
        return None

    def _layer_norm(self, output: Output) -> str | None:
        module, rank = output.module, output.tensor.ndim
        if len(cast(nn.LayerNorm, module).normalized_shape) != 1:
            return None
        # Subclasses such as LayerNorm2d move the channels to the end and back: those keep their input's axes.
        known = self._known_axes(output.inputs) if type(module) not in NORMS else None
        if known is not None and len(known) == rank:
            return known
        return FIRST[rank] if type(module).__name__.endswith("2d") else self._channels_last(output)

    def _channels_last(self, output: Output) -> str:
        """For what works along the last axis: the others stay what they were (`nbc`, `bqkc`), where that is known."""
        known, rank = self._known_axes(output.inputs) or "", output.tensor.ndim
        values = [value for source in output.inputs for value in parts_of(source).values()]
        guess = next((value for value in values if self.flow.assumed(value)), None)
        if len(known) == rank > 2 and guess is not None:
            self.flow.assume(output.tensor, guess if known.endswith("c") else None)
        return known if len(known) == rank and known.endswith("c") else LAST[rank]

    def _inherit(self, output: Output) -> str | None:
        """From the tensor itself, the view it is, where it lies on the image, the last child, an input of its rank, or the last
        of its shape.
        """
        tensor = output.tensor
        traced = self._trace.get(tensor)
        if traced is not None:
            return traced
        inputs = [(value, self._trace.get(value)) for source in output.inputs for value in parts_of(source).values()]
        alike = [(value, axes) for value, axes in inputs if axes is not None and value.ndim == tensor.ndim]
        viewed = next((letters for value, axes in alike if (letters := _view(value, axes, tensor))), None)
        if viewed is not None:
            return viewed
        positions = self._fields.get(tensor)
        placed = axes_of(positions) if positions is not None else None
        if placed is not None:
            return placed
        lost = self.flow.lost(tensor)
        child, rank = self._children.get(output.name, (None, 0))
        if child is not None and rank == tensor.ndim:
            if lost:
                self._guess(output)
            return child
        alike = [(value, axes) for value, axes in alike if value.numel() > 1]  # one number, spread out to any axes
        if alike:
            if lost:
                self._guess(output)
            elif self.flow.assumed(alike[0][0]):
                self.flow.assume(tensor, alike[0][0])
            return alike[0][1]
        if lost or tuple(tensor.shape) in self._several:
            self._guess(output, ASSUMED if lost else SEVERAL)
        return self._shapes.get(tuple(tensor.shape))

    def _known_axes(self, inputs: tuple[Any, ...]) -> str | None:
        for source in inputs:
            for tensor in parts_of(source).values():
                axes = self._trace.get(tensor)
                if axes is not None:
                    return axes
        return None


def _rows_note(axes: str, shape: tuple[int, ...]) -> str:
    """The note of a layer with several rows for one image."""
    rows = shape[axes.index("b")] if "b" in axes else 1
    return windows(rows) if rows > 1 else ""


def _steps_first(module: nn.Module) -> bool:
    """Whether a module takes sequences with their steps in front of the images."""
    layer = module.self_attn if isinstance(module, nn.TransformerEncoderLayer | nn.TransformerDecoderLayer) else module
    return isinstance(layer, nn.RNNBase | nn.MultiheadAttention) and not layer.batch_first


def _reads_last(module: nn.Module) -> bool:
    """Whether a module works on channels that are the last axis."""
    return isinstance(module, nn.Linear) or (isinstance(module, nn.LayerNorm) and len(module.normalized_shape) == 1)


def _view(source: torch.Tensor, axes: str, tensor: torch.Tensor) -> str | None:
    """The axes of a tensor that is a permuted view of all of another."""
    if math.prod(source.shape) != math.prod(tensor.shape) or not same_memory(source, tensor):
        return None
    return permuted_view(axes, source.stride(), tensor.stride())


def _has_one_weight(module: nn.Module) -> bool:
    """Whether a layer of an exported model, which keeps its class's name alone, works along the last axis alone."""
    weight = module._parameters.get("weight")
    return weight is not None and weight.ndim == (2 if kind_of(module) == "Linear" else 1)


def _is_returned_attention(output: Output) -> bool:
    """Whether a tensor is what models of transformers return as attention weights, by its subpath in the output."""
    attention = output.part == "[1]" and "attention" in type(output.module).__name__.lower()
    return output.tensor.ndim == 4 and (".attentions[" in output.part or attention)


def _channels_first(_: Axes, output: Output) -> str | None:
    """`bchw` and its like; without `b` where a module of known dimensions got a single image."""
    rank, name = output.tensor.ndim, type(output.module).__name__
    dimensions = next((int(digit) for digit in "123" if f"{digit}d" in name), rank - 2)
    axes = FIRST.get(dimensions + 2)
    if axes is not None and rank == dimensions + 1 and rank > 2:
        return axes[1:]
    return FIRST[rank]


def _multihead_attention(_: Axes, output: Output) -> str | None:
    """Tokens, or the weights as pictures: a row for each query, a column for each key, a channel for each head."""
    query = next((value for value in output.inputs if isinstance(value, torch.Tensor)), None)
    alone = query is not None and query.ndim == 2  # one image without an axis of images
    if output.part == "[1]":
        return {2: "qk", 3: "cqk" if alone else "bqk", 4: "bcqk"}.get(output.tensor.ndim)
    return "nc" if alone else _tokens(cast(nn.MultiheadAttention, output.module).batch_first, output)


def _recurrent(_: Axes, output: Output) -> str | None:
    """The steps, or the state of each layer and direction, which never has the images first; without `b` for one image."""
    if output.tensor.ndim == 2:
        return "nc"
    batch_first = not _is_state(output) and cast(nn.RNNBase, output.module).batch_first
    return _tokens(batch_first, output)


def _is_state(output: Output) -> bool:
    """Whether a tensor is what a recurrent layer keeps from its last step."""
    return isinstance(output.module, nn.RNNBase) and output.part.startswith("[1]")


def _transformer(_: Axes, output: Output) -> str | None:
    return _tokens(cast(nn.TransformerEncoderLayer, output.module).self_attn.batch_first, output)


def _tokens(batch_first: bool, output: Output) -> str | None:
    return ("bnc" if batch_first else "nbc") if output.tensor.ndim == 3 else None


def _flatten(_: Axes, output: Output) -> str | None:
    rank = output.tensor.ndim
    return "bcn" if cast(nn.Flatten, output.module).start_dim == 2 and rank == 3 else "bc" if rank == 2 else None


# The first row whose classes a module is of states its axes; `None` leaves them to the data.
STATED: tuple[tuple[tuple[type[nn.Module], ...], Callable[[Axes, Output], str | None]], ...] = (
    ((nn.MultiheadAttention,), _multihead_attention),
    ((nn.RNNBase,), _recurrent),
    ((nn.TransformerEncoderLayer, nn.TransformerDecoderLayer), _transformer),
    (CHANNELS_FIRST, _channels_first),
    (CHANNELS_LAST, Axes._channels_last),
    (NORMS, Axes._layer_norm),
    ((nn.Flatten,), _flatten),
)
