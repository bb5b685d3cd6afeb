"""`Layer`: one named step of a model, what it is called and what can be said of it before anything is captured."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from ..errors import LayerNotCalled
from .axes import SPATIAL
from .receptive_field import Field


@dataclass(frozen=True, slots=True)
class Layer:
    """One named step of a model that produces an output.

    `path` is its address, `kind` its class in the framework's words (`Conv2D+relu` where an activation is fused in).
    `axes` names the axes of `shape`, the output of a dry run with one image, both in the framework's own order; `""`
    and `None` where nothing came out. `calls` is how often it ran, `note` what there is to say of it. A layer that ran
    more than once has one `Layer` a call in `per_call`, at `path:0`, `path:1`, … `grid` is the (height, width) of
    image tokens (of the key tokens where the axes are `q` and `k`), `prefix` the names of the tokens in front of them:
    `("cls", "reg1")`. `aliases` are other names that find it. `step` is the place of its (first) call among all calls of the
    run, -1 where the backend doesn't say.

    `parameters` counts the weights of the layer and of all inside it, shared ones once; `None` where the backend doesn't
    say. `receptive` is the field of each axis of the image, outermost first; `None` where nothing is known of it.
    """

    path: str
    kind: str
    axes: str = ""
    shape: tuple[int, ...] | None = None
    index: int = -1
    calls: int = 0
    note: str = ""
    grid: tuple[int, int] | None = None
    aliases: tuple[str, ...] = field(default=(), repr=False)
    per_call: tuple[Layer, ...] = field(default=(), repr=False)
    step: int = field(default=-1, repr=False)
    prefix: tuple[str, ...] = field(default=(), kw_only=True)
    parameters: int | None = field(default=None, repr=False, kw_only=True)
    receptive: tuple[Field, ...] | None = field(default=None, repr=False, kw_only=True)

    @property
    def channels(self) -> int | None:
        """The number of channels, `None` where the layer can't be shown."""
        if not self.shape or not self.axes:
            return None
        return self.shape[self.axes.index("c")] if "c" in self.axes else 1

    @property
    def spatial(self) -> tuple[int, ...]:
        """The sizes of the spatial axes, e.g. `(224, 224)`; `()` for a dense layer."""
        if self.grid and "n" in self.axes:
            return self.grid
        if not self.shape:
            return ()
        return tuple(self.shape[self.axes.index(each)] for each in SPATIAL if each in self.axes)

    @property
    def attention(self) -> bool:
        """Whether it is attention weights: a row for each query token, a column for each key token, a channel a head."""
        return "q" in self.axes and "k" in self.axes

    @property
    def showable(self) -> bool:
        """Whether it produced something that has a picture."""
        return bool(self.calls and self.axes)

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


def split_call(path: str) -> tuple[str, int | None]:
    """`"relu:1"` as `("relu", 1)`, `"relu"` as `("relu", None)`.

    >>> split_call("block/relu:1")
    ('block/relu', 1)
    """
    found = re.fullmatch(r"(.*):(\d+)", path, re.DOTALL)
    return (found[1], int(found[2])) if found else (path, None)


def bare_kind(layer: Layer) -> str:
    """The kind without what is fused into it: `Conv2D` for `Conv2D+relu`."""
    return layer.kind.split("+")[0]


def ends(path: str) -> list[str]:
    """The proper endings of a path at its separators, longest first.

    >>> ends("vgg16/block1.conv2")
    ['block1.conv2', 'conv2']
    """
    return [path[found.end() :] for found in re.finditer(r"[/.]", path) if path[found.end() :]]


def called(layer: Layer, table: Sequence[Layer]) -> Layer:
    """The layer itself where it produced an output; else raises `LayerNotCalled` with the reason and a way out."""
    if layer.showable:
        return layer
    reason = layer.note or "it did not run in this forward pass"
    ran = {each.path for each in table if each.showable}
    parents = [layer.path[: found.start()] for found in re.finditer(r"[/.]", layer.path)]
    parent = next((each for each in reversed(parents) if each in ran), None)
    children = [each for each in table if each.showable and each.path.startswith((layer.path + ".", layer.path + "/"))]
    way_out = ""
    if parent is not None:
        way_out = f" The nearest layer around it that ran is {parent!r}."
    elif children:
        way_out = f" Inside it ran {some(children)}."
    raise LayerNotCalled(f"layer {layer.path!r} ({layer.kind}) has no output: {reason}.{way_out}")


def some(layers: Sequence[Layer], most: int = 6) -> str:
    """The first paths, and how many there are in all."""
    names = ", ".join(repr(each.path) for each in layers[:most])
    return names + (f" … ({len(layers)} in all)" if len(layers) > most else "")
