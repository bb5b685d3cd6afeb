"""Which axes the output of a Keras layer has: stated by the layer or inherited from its input, never guessed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from ..common.axes import PREFIX_TOKENS, prefix_labels
from ..common.field import Positions
from ..common.run import TensorMap
from ..common.tokens import upright
from .attention import AttentionMap
from .axes_query import Named, Query, Source
from .axes_rules import ATTENTION, RENAMING, by_format, default_axes, is_spatial, name, needed
from .engine import Engine
from .model import KerasModel
from .tree import is_a, walk

WORD_START = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


class Output(NamedTuple):
    """One tensor that `layer` returned when `parent` called it on `sources`; `turned`: its axes, if exchanged."""

    layer: Any
    parent: Any
    tensor: Any
    sources: Sequence[Source]
    positions: Positions | None = None
    arguments: Any = ((), {})
    turned: str = ""


def model_format(model: Any, default: str) -> str:
    """The data format of the model's first layer that has one, else `default`, Keras's own setting."""
    return next((str(layer.data_format) for _, layer in walk(model) if is_spatial(layer)), default)


def input_axes(model: Any, rank: int, default: str) -> str:
    """The axes of the model's input: what its first layer with a data format wants, before any `Permute` on the way.

    That says where the channels are, not which of the others is the height: they come in the usual order.
    """
    permutes: list[Sequence[int]] = []
    axes = default_axes(rank, default)
    for _, layer in walk(model):
        if is_a(layer, "Permute") and len(layer.dims) + 1 == rank:
            permutes.append(layer.dims)
        elif is_spatial(layer):
            axes = by_format(rank, layer.data_format) if rank > 3 or not permutes else axes
            break
    else:
        permutes = permutes if rank == 3 else []
    others = [letter for letter in axes[1:] if letter != "c"]
    for dims in reversed(permutes):
        before = dict(zip(dims, axes[1:], strict=True))
        axes = "b" + "".join(before[axis] for axis in sorted(before))
    return "b" + "".join("c" if letter == "c" else others.pop(0) for letter in axes[1:]) if axes else axes


class Axes:
    """The axes of the tensors of one run."""

    def __init__(self, model: KerasModel) -> None:
        self._model = model
        self._format = model_format(model.root, model.engine.data_format)
        self._trace: TensorMap[Named] = TensorMap()
        self._inside: dict[int, dict[tuple[int, ...], Named]] = {}

    def letters(self, output: Output) -> Named:
        """The axes of an output and what is doubtful of them, `""` where it has no picture.

        Layers that run later may settle those that are a guess.
        """
        for source in output.sources[:1]:
            _settle(source, needed(output.layer, len(source.shape)))
        # a container returns the tensor that its last layer returned
        named = None if is_a(output.layer, *RENAMING) else self._trace.get(output.tensor)
        shape = tuple(int(size) for size in output.tensor.shape)
        if named is None:
            inside = self._inside.get(id(output.layer), {})
            query = Query(output.layer, output.parent, shape, output.sources, self._format, output.arguments)
            named = name(query._replace(walked=walked(output.positions) or output.turned, inside=inside))
            axes = upright(named.axes, output.positions)
            named = named if axes == named.axes else Named(axes, named.doubt)
        if named.axes:
            self._trace.set(output.tensor, named)
            self._inside.setdefault(id(output.parent), {})[shape] = named
        return named

    def forget_inside(self, layer: Any) -> None:
        """A layer has ended: what the layers inside it returned is no longer asked for."""
        self._inside.pop(id(layer), None)

    def of_input(self, tensor: Any) -> Source:
        """A tensor that goes into the model itself."""
        named = Named(input_axes(self._model.root, len(tensor.shape), self._model.engine.data_format))
        if named.axes:
            self._trace.set(tensor, named)
        return Source(tuple(tensor.shape), named)

    def source(self, tensor: Any) -> Source:
        """A tensor that goes into a layer, with its axes where they are known."""
        return Source(tuple(tensor.shape), self._trace.get(tensor))


def _settle(source: Source, axes: str) -> None:
    """A layer that needs certain axes tells what a guess was of, here and wherever the same was guessed."""
    if axes and source.named and source.named.doubt:
        source.named.axes, source.named.doubt = axes, ""


def walked(positions: Positions | None) -> str:
    """The axes by the dimensions along which the positions of the image lie, `""` where they don't tell all of them."""
    if positions is None or positions.along(0):
        return ""
    along = [positions.along(dim) for dim in range(1, len(positions.dims))]
    letters = ["n" if set(axes) in ({"h", "w"}, {"d", "h", "w"}) else axes or "c" for axes in along]
    plain = all(letter in "dhwnc" for letter in letters) and len(set(letters)) == len(letters)
    return "b" + "".join(letters) if plain and "c" in letters and len(letters) > 1 else ""


def axes_note(layer: Any, parent: Any, axes: str) -> str:
    """What axes mean that don't say it themselves."""
    if isinstance(layer, AttentionMap):
        return layer.note
    if is_a(parent, *ATTENTION) and axes == "bndc":
        return "d = attention head"
    if axes == "bcn" and is_a(layer, "Dense"):
        return "works along the tokens of each channel"
    return ""


def stated_prefix(model: Any, engine: Engine, most: int) -> tuple[str, ...]:
    """The labels of at most `most` prefix tokens by the names of the model's own weights, and of the layers that hold them."""

    def tokens() -> Iterator[tuple[str, int]]:
        for variable in engine.variables(model):
            path, shape = engine.describe(variable).partition(" (")[0], tuple(variable.shape)
            weight, *layers = map(_snake_case, reversed(path.partition(":")[0].split("/")))
            if len(shape) in (1, 2):
                yield weight, shape[0] if len(shape) == 2 else 1
            # A layer may be a head of that name, or hold the positions as well: only its tokens [1, number, channel] count.
            elif len(shape) == 3 and shape[0] == 1 and shape[1] <= most:
                yield next((name for name in (weight, *layers[:1]) if name in PREFIX_TOKENS), ""), shape[1]

    return prefix_labels(tokens())


def _snake_case(name: str) -> str:
    """`ClassToken` and `class_token_1` as `class_token`."""
    return re.sub(r"_\d+$", "", WORD_START.sub("_", name)).lower()
