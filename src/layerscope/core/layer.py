"""`Layer`: one named step of a model, what it is called, and what is known of it before anything is captured."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from ..errors import LayerNotCalled, LayerNotFound
from .axes import SPATIAL
from .receptive_field import Field, Line

ATTENTION_MAP = "AttentionMap"  # the kind of attention weights
LARGEST_HALF = 65504.0  # of float16: what is cut off there isn't cut off


@dataclass(frozen=True, slots=True)
class Layer:
    """One named step of a model that produces an output.

    >>> conv = Layer("block1/conv2", "Conv2D", "bhwc", (1, 224, 224, 64), calls=1)
    >>> conv.channels, conv.spatial, conv.mark
    (64, (224, 224), 'picture')

    Attributes:
        path: Its address in the model.
        kind: Its class in the framework's words (`Conv2D+relu` where an activation is fused in).
        axes: The axes of `shape`, one letter each, in the framework's own order; `""` where nothing came out.
        shape: The output of a dry run with one image; `None` where nothing came out.
        index: Its index in the table of layers.
        calls: How often it ran.
        note: Remarks on it.
        grid: (height, width) of image tokens, (depth, height, width) in a volume or clip; of the key tokens where the axes
            are `q` and `k`.
        aliases: Other names that find it.
        per_call: Where it ran more than once, one `Layer` per call, at `path:0`, `path:1`, …
        step: The index of its (first) call among all calls of the run, -1 where the backend doesn't say.
        prefix: The names of the tokens that lie nowhere on the image, mostly in front of those that do: `("cls", "reg1")`.
        parameters: How many weights it and all layers inside it have, shared ones once; `None` where the backend
            doesn't say.
        receptive: The receptive field along each axis of the image, outermost first; `None` where nothing is known of
            it.
        doubt: Why the axes may be other ones, which the maps of the layer note; `""` where they are known.
        part: Which of its several outputs this is, as the model names it (`.logits`, `[0]`), where a plain path means
            that one; `""` where there is only one.
        lines: Where the units lie along each spatial axis, in pixels of the model's input; `None` where that isn't known.
        order: For each position of `grid`, row by row, the index of its token; `()` where all come in that order, behind
            the prefix.
        usual_name: What the field calls it where that isn't its kind: `ReLU6` for a `Clip` from 0 to 6; else `""`.
    """

    path: str
    kind: str
    axes: str = ""
    shape: tuple[int, ...] | None = None
    index: int = -1
    calls: int = 0
    note: str = ""
    grid: tuple[int, ...] | None = None
    aliases: tuple[str, ...] = field(default=(), repr=False)
    per_call: tuple[Layer, ...] = field(default=(), repr=False)
    step: int = field(default=-1, repr=False)
    prefix: tuple[str, ...] = field(default=(), kw_only=True)
    parameters: int | None = field(default=None, repr=False, kw_only=True)
    receptive: tuple[Field, ...] | None = field(default=None, repr=False, kw_only=True)
    doubt: str = field(default="", repr=False, kw_only=True)
    part: str = field(default="", repr=False, kw_only=True)
    lines: tuple[Line | None, ...] | None = field(default=None, repr=False, kw_only=True)
    order: tuple[int, ...] = field(default=(), repr=False, kw_only=True)
    usual_name: str = field(default="", repr=False, kw_only=True)

    @property
    def channels(self) -> int | None:
        """The number of channels, `None` where the layer can't be shown.

        >>> Layer("fc", "Dense", "bc", (1, 1000), calls=1).channels
        1000
        """
        if not self.shape or not self.axes:
            return None
        return self.shape[self.axes.index("c")] if "c" in self.axes else 1

    @property
    def spatial(self) -> tuple[int, ...]:
        """The sizes of the spatial axes; `()` for a dense layer.

        >>> Layer("conv", "Conv2d", "bchw", (1, 64, 7, 9), calls=1).spatial
        (7, 9)
        """
        if self.grid and "n" in self.axes:
            return self.grid
        if not self.shape:
            return ()
        return tuple(self.shape[self.axes.index(letter)] for letter in SPATIAL if letter in self.axes)

    @property
    def attention(self) -> bool:
        """Whether it is attention weights: a row for each query token, a column for each key token, a channel for each head.

        >>> Layer("attention", "Softmax", "bcqk", (1, 12, 197, 197), calls=1).attention
        True
        """
        return "q" in self.axes and "k" in self.axes

    @property
    def showable(self) -> bool:
        """Whether it produced something that has a picture; what has a size of 0 holds no numbers.

        >>> Layer("dropped", "Conv2D", note="not called").showable
        False
        """
        return bool(self.calls and self.axes) and 0 not in (self.shape or ())

    @property
    def mark(self) -> str:
        """What one channel of it is: `picture`, `volume`, `strip` (a row of numbers), `scalar`, or `none` to show.

        >>> Layer("conv", "Conv2D", "bchw", (1, 64, 7, 7), calls=1).mark, Layer("fc", "Dense", "bc", (1, 9), calls=1).mark
        ('picture', 'scalar')
        """
        if not self.showable:
            return "none"
        if max(self.spatial, default=1) == 1:
            return "scalar"
        return {1: "strip", 2: "picture"}.get(len(self.spatial), "volume")


def kind_in_words(layer: Layer) -> str:
    """What pictures call a layer: by its usual name, or else by its kind; `""` for the model itself.

    >>> kind_in_words(Layer("act", "Clip", usual_name="ReLU6")), kind_in_words(Layer("attn", "AttentionMap"))
    ('ReLU6', 'attention weights')
    """
    usual = "attention weights" if layer.kind == ATTENTION_MAP else layer.kind
    return (layer.usual_name or usual) if layer.path else ""


def rectifier(low: float, high: float) -> str:
    """The usual name of a layer that cuts values off at these limits; `""` where there is none.

    >>> rectifier(0, 6), rectifier(0, float("inf")), rectifier(-1, 1)
    ('ReLU6', 'ReLU', '')
    """
    if low != 0:
        return ""
    return "ReLU" if high >= LARGEST_HALF else "ReLU6" if high == 6 else ""


@lru_cache(maxsize=8192)
def split_call(path: str) -> tuple[str, int | None]:
    """`"relu:1"` as `("relu", 1)`, `"relu"` as `("relu", None)`.

    >>> split_call("block/relu:1")
    ('block/relu', 1)
    """
    match = re.fullmatch(r"(.*):(\d+)", path, re.DOTALL)
    return (match[1], int(match[2])) if match else (path, None)


def bare_kind(layer: Layer) -> str:
    """The kind without what is fused into it: `Conv2D` for `Conv2D+relu`."""
    return layer.kind.split("+")[0]


def path_endings(path: str) -> list[str]:
    """The proper endings of a path at its separators, longest first.

    >>> path_endings("vgg16/block1.conv2")
    ['block1.conv2', 'conv2']
    """
    return [path[separator.end() :] for separator in re.finditer(r"[/.]", path) if path[separator.end() :]]


def inside(layer: Layer, container: str) -> bool:
    """Whether the path of a layer lies below that of a container."""
    return layer.path.startswith((container + ".", container + "/"))


def why_none(layer: Layer) -> str:
    """Why a layer has no picture, `""` where it just didn't run.

    >>> why_none(Layer("cut", "Slice", "bchw", (1, 8, 0, 7), calls=1))
    'it holds no numbers: its shape is 1×8×0×7'
    """
    if layer.calls and 0 in (layer.shape or ()):
        return f"it holds no numbers: its shape is {'×'.join(map(str, layer.shape or ()))}"
    return layer.note


def require_output(layer: Layer, table: Sequence[Layer]) -> Layer:
    """The layer itself where it produced an output; else raises `LayerNotCalled` with the reason and what to take instead."""
    if layer.showable:
        return layer
    reason = why_none(layer) or "it did not run in this forward pass"
    ran = {other.path for other in table if other.showable}
    parents = [layer.path[: separator.start()] for separator in re.finditer(r"[/.]", layer.path)]
    parent = next((path for path in reversed(parents) if path in ran), None)
    children = [other for other in table if other.showable and inside(other, layer.path)]
    advice = ""
    if parent is not None:
        advice = f". The nearest enclosing layer that ran is {parent!r}"
    elif children:
        advice = f". Layers inside it that ran: {list_paths(children)}"
    kind = f" ({layer.kind})" if layer.kind else ""
    raise LayerNotCalled(f"layer {layer.path!r}{kind} has no output: {reason}{advice}")


def times(count: int) -> str:
    """`"once"`, `"twice"`, `"3 times"`: how often a layer ran."""
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


def choice_in_words(choice: Any) -> str:
    """How a message calls what layers were chosen by.

    >>> choice_in_words(Layer("relu", "ReLU")), choice_in_words("block*")
    ("'relu'", "'block*'")
    """
    return repr(choice.path if isinstance(choice, Layer) else choice)


def no_call(path: str, calls: int, call: int) -> LayerNotFound:
    """The error for a call that a layer of so many calls doesn't have."""
    have = f"calls :0 to :{calls - 1}" if calls > 1 else "only call :0" if calls else "no calls"
    return LayerNotFound(f"layer {path!r} ran {times(calls)}, so it has {have}, not :{call}")


def list_paths(layers: Sequence[Layer], most: int = 6) -> str:
    """The first paths, and how many there are in all.

    >>> list_paths([Layer(f"conv{number}", "Conv2D") for number in range(9)], most=2)
    "'conv0', 'conv1' … (9 in all)"
    """
    names = ", ".join(repr(layer.path) for layer in layers[:most])
    return names + (f" … ({len(layers)} in all)" if len(layers) > most else "")
