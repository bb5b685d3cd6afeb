"""Which axes the output of a PyTorch module has: stated by its class, else inherited along the data."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from ...core.layer import Layer
from ..common.axes import AxesTrace, permuted_view
from .attention import attends, map_axes
from .axes_flow import Flow
from .run import kind_of, parts_of
from .tokens import TokenGrids, windows
from .watch import same_memory

FIRST = {1: "b", 2: "bc", 3: "bcn", 4: "bchw", 5: "bcdhw"}


LAST = {1: "b", 2: "bc", 3: "bnc", 4: "bhwc", 5: "bdhwc"}


# Where nothing else is known: images are channels-first in PyTorch, sequences of vectors channels-last.
CONVENTION = {2: "bc", 3: "bnc", 4: "bchw", 5: "bcdhw"}


CUT_UP = "windows × places in a window × features: the picture is cut up here, so it has none"


OVER_CHANNELS = "attention between channels (a row and a column for each channel of a head), not between places"


CHANNELS_FIRST = (
    nn.modules.conv._ConvNd,
    nn.modules.batchnorm._NormBase,
    nn.GroupNorm,
    nn.LocalResponseNorm,
    nn.modules.pooling._MaxPoolNd,
    nn.modules.pooling._AvgPoolNd,
    nn.modules.pooling._AdaptiveAvgPoolNd,
    nn.modules.pooling._AdaptiveMaxPoolNd,
    nn.modules.pooling._LPPoolNd,
    nn.modules.pooling._MaxUnpoolNd,
    nn.FractionalMaxPool2d,
    nn.Upsample,
    nn.PixelShuffle,
    nn.PixelUnshuffle,
    nn.ChannelShuffle,
    nn.modules.padding._ReflectionPadNd,
    nn.modules.padding._ReplicationPadNd,
)


CHANNELS_LAST = (nn.Linear, nn.Bilinear, nn.Embedding)


class TorchAxes:
    """The axes of the tensors of one dry run."""

    def __init__(self, model: nn.Module | None = None) -> None:
        self._tokens = TokenGrids(model)
        self._heads: set[str] = set()
        self._trace = AxesTrace()
        self.flow = Flow(self._trace)
        self._shapes: dict[tuple[int, ...], str] = {}
        self._children: dict[str, tuple[str, int]] = {}

    def entered(self, name: str, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        """A module begins to run."""
        if attends(name, module, inputs):
            self._heads.add(name)

    def layer(self, name: str, module: nn.Module, inputs: tuple[Any, ...], part: str, tensor: torch.Tensor) -> Layer:
        """A tensor that came out of a module, with its axes, its token grid, and what there is to say of them."""
        shape = tuple(tensor.shape)
        if self.flow.factors.windows(tensor):
            return Layer(name + part, "", "", shape, note=CUT_UP)
        axes = self.of(name, module, inputs, part, tensor)
        if axes is None:
            return Layer(
                name + part,
                "",
                "",
                shape,
                note="heads × tokens × features, or positions, inside an attention: no picture",
            )
        if not axes:
            return Layer(name + part, "", "", shape, note=f"a {tensor.ndim}-dimensional {tensor.dtype} has no picture")
        return self._placed(name, part, axes, shape, tensor)

    def attention(self, name: str, weights: torch.Tensor, scores: torch.Tensor | None) -> Layer:
        """Attention weights that were computed inside the module `name`, from `scores` where a softmax was seen."""
        shape = tuple(weights.shape)
        if scores is not None and self.flow.factors.channels(scores):
            return Layer(name, "", "", shape, note=OVER_CHANNELS)
        axes = map_axes(shape)
        if not axes:
            return Layer(name, "", "", shape, note=f"attention weights of rank {weights.ndim} have no picture")
        self._trace.set(weights, axes)
        return self._placed(name, "", axes, shape, None)

    def function(self, name: str, tensor: torch.Tensor) -> Layer | None:
        """What a function gave inside the module `name`, `None` where its axes couldn't be followed."""
        axes = self._trace.get(tensor)
        if not axes or len(axes) != tensor.ndim:
            return None
        return self._placed(name, "", axes, tuple(tensor.shape), tensor)

    def _placed(self, name: str, part: str, axes: str, shape: tuple[int, ...], tensor: torch.Tensor | None) -> Layer:
        rows = shape[axes.index("b")] if "b" in axes else 1
        tokens = shape[axes.index("n" if "n" in axes else "k")] if "n" in axes or "k" in axes else None
        if tokens is None:
            note = windows(rows) if rows > 1 else ""
            return Layer(name + part, "", axes, shape, note=note)
        seen = None if tensor is None else self.flow.grid(tensor)
        grid, prefix, note = self._tokens.of(name, tokens, rows, seen)
        if tensor is not None:
            self.flow.keep(tensor, grid)
        return Layer(name + part, "", axes, shape, note=note, grid=grid, prefix=prefix)

    def of(self, name: str, module: nn.Module, inputs: tuple[Any, ...], part: str, tensor: torch.Tensor) -> str | None:
        """The axes of a tensor that came out of a module; `""` for what has no picture, `None` for heads of tokens."""
        if tensor.ndim == 0 or tensor.ndim > 5:
            return ""
        stated = self._stated(module, part, tensor, inputs)
        inside = any(name.startswith(each + ".") for each in self._heads)
        if (
            inside
            and tensor.ndim > 3
            and not isinstance(module, CHANNELS_FIRST)
            and self._known((*inputs, tensor)) is None
        ):
            return None
        axes = stated or self._inherited(name, inputs, tensor)
        if axes is None or len(axes) != tensor.ndim or axes == "b":
            axes = CONVENTION.get(tensor.ndim, "")
        self._trace.set(tensor, axes)
        self._shapes[tuple(tensor.shape)] = axes
        self._children[name.rpartition(".")[0] if "." in name else ""] = (axes, tensor.ndim)
        self._tokens.saw(name, module, tensor)
        return axes

    def _stated(self, module: nn.Module, part: str, tensor: torch.Tensor, inputs: tuple[Any, ...]) -> str | None:
        rank = tensor.ndim
        if rank == 4 and (".attentions[" in part or (part == "[1]" and "attention" in type(module).__name__.lower())):
            return "bcqk"
        if isinstance(module, nn.MultiheadAttention):
            return _attention(module, part, rank)
        if isinstance(module, nn.RNNBase):
            return ("bnc" if module.batch_first else "nbc") if part == "[0]" and rank == 3 else None
        if isinstance(module, nn.TransformerEncoderLayer | nn.TransformerDecoderLayer) and rank == 3:
            return "bnc" if module.self_attn.batch_first else "nbc"
        if isinstance(module, CHANNELS_FIRST):
            return _channels_first(module, rank)
        if isinstance(module, CHANNELS_LAST):
            return self._channels_last(inputs, rank)
        if isinstance(module, nn.LayerNorm | getattr(nn, "RMSNorm", nn.LayerNorm)):
            return self._layer_norm(module, inputs, rank)
        if isinstance(module, nn.Flatten):
            return "bcn" if module.start_dim == 2 and rank == 3 else "bc" if rank == 2 else None
        if kind_of(module) in ("Linear", "LayerNorm", "RMSNorm") and _one_weight(module):
            return self._channels_last(inputs, rank)
        return None

    def _layer_norm(self, module: nn.Module, inputs: tuple[Any, ...], rank: int) -> str | None:
        if len(module.normalized_shape) != 1:
            return None
        # Subclasses such as LayerNorm2d move the channels to the end and back: those keep their input's axes.
        known = self._known(inputs) if type(module) not in (nn.LayerNorm, getattr(nn, "RMSNorm", None)) else None
        if known is not None and len(known) == rank:
            return known
        return FIRST[rank] if type(module).__name__.endswith("2d") else self._channels_last(inputs, rank)

    def _channels_last(self, inputs: tuple[Any, ...], rank: int) -> str | None:
        """For what works along the last axis: the others stay what they were (`nbc`, `bqkc`), where that is known."""
        known = self._known(inputs) or ""
        return known if len(known) == rank and known.endswith("c") else LAST[rank]

    def _inherited(self, name: str, inputs: tuple[Any, ...], tensor: torch.Tensor) -> str | None:
        """From the tensor itself, the view it is, the input it resembles, the last child, or the last of its shape."""
        same = self._trace.get(tensor)
        if same is not None:
            return same
        tensors = [each for given in inputs for each in parts_of(given).values()]
        for each in tensors:
            axes = self._trace.get(each)
            if axes is not None and each.ndim == tensor.ndim and same_memory(each, tensor):
                found = permuted_view(axes, each.stride(), tensor.stride())
                if found is not None and math.prod(each.shape) == math.prod(tensor.shape):
                    return found
        child, rank = self._children.get(name, (None, 0))
        if child is not None and rank == tensor.ndim:
            return child
        for each in tensors:
            axes = self._trace.get(each)
            if axes is not None and each.ndim == tensor.ndim:
                return axes
        return self._shapes.get(tuple(tensor.shape))

    def _known(self, inputs: tuple[Any, ...]) -> str | None:
        for given in inputs:
            for each in parts_of(given).values():
                axes = self._trace.get(each)
                if axes is not None:
                    return axes
        return None


def _one_weight(module: nn.Module) -> bool:
    """Whether a layer of an exported model, which keeps its class's name alone, works along the last axis alone."""
    weight = module._parameters.get("weight")
    return weight is not None and weight.ndim == (2 if kind_of(module) == "Linear" else 1)


def _channels_first(module: nn.Module, rank: int) -> str | None:
    """`bchw` and its like; without `b` where a module of known dimensions got a single image."""
    dimensions = next((int(each) for each in "123" if f"{each}d" in type(module).__name__), rank - 2)
    axes = FIRST.get(dimensions + 2)
    if axes is not None and rank == dimensions + 1 and rank > 2:
        return axes[1:]
    return FIRST[rank]


def _attention(module: nn.MultiheadAttention, part: str, rank: int) -> str | None:
    """Tokens, or the weights as pictures: a row for each query, a column for each key, a channel for each head."""
    if part == "[1]":
        return {3: "bqk", 4: "bcqk"}.get(rank)
    return ("bnc" if module.batch_first else "nbc") if rank == 3 else None
