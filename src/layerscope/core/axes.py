"""Named axes: how an array of a framework becomes `[image, *spatial, channel]`.

Axes are one letter each, in the array's own order:

    b batch   c channel   d depth   h height   w width   n sequence or tokens   q query token   k key token

so `"bchw"` is PyTorch's image layout and `"bhwc"` TensorFlow's, and `"bcqk"` the weights of an attention with the heads as
its channels. They are stated by whoever knows the layer. Sizes never decide how an array is read: a map three pixels wide is
not a colour picture.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from ..errors import BadLayout, LayoutWarning, caller_level
from ..safe_text import counted

SPATIAL = "dhwnqk"
LETTERS = "bc" + SPATIAL

# How a bare array of that rank is read, by its library's convention.
CHANNELS_LAST = {1: "c", 2: "hw", 3: "hwc", 4: "bhwc", 5: "bdhwc"}
CHANNELS_FIRST = {1: "c", 2: "hw", 3: "chw", 4: "bchw", 5: "bcdhw"}

# As Keras writes them.
FORMATS = {"channels_first": CHANNELS_FIRST, "channels_last": CHANNELS_LAST}

WORDS = {
    "b": "batch",
    "c": "channels",
    "d": "depth",
    "h": "height",
    "w": "width",
    "n": "sequence",
    "q": "queries",
    "k": "keys",
}


def words(axes: str, shape: Sequence[int] = ()) -> str:
    """The axes in words, each with its size where the shape is given.

    >>> words("bchw"), words("hw", (24, 32))
    ('batch, channels, height, width', 'height 24, width 32')
    """
    sizes = [f" {size}" for size in shape] or [""] * len(axes)
    return ", ".join(WORDS[letter] + size for letter, size in zip(axes, sizes, strict=True))


def letters_of(layout: str, rank: int) -> str:
    """The letters of a layout that is written as the field does: `n` before height and width is the batch.

    >>> letters_of("NCHW", 4), letters_of("nhwc", 4), letters_of("channels_first", 4), letters_of("bnc", 3), letters_of("nc", 2)
    ('bchw', 'bhwc', 'bchw', 'bnc', 'nc')
    """
    if not isinstance(layout, str):
        raise BadLayout(f"layout={layout!r}: use one letter per axis, such as 'bchw' or 'NCHW'")
    layout = layout.lower()
    if layout in FORMATS:
        if rank not in (3, 4, 5):
            raise BadLayout(
                f"layout={layout!r} is for arrays of 3 to 5 axes, this one has {rank}: name each, such as 'bc'"
            )
        return FORMATS[layout][rank]
    return layout.replace("n", "b") if "b" not in layout and {"n", "h", "w"} <= set(layout) else layout


def check(axes: str, shape: Sequence[int]) -> None:
    """Raise `BadLayout` unless `axes` names each axis of `shape` once."""
    if len(set(axes)) != len(axes) or not set(axes) <= set(LETTERS):
        raise BadLayout(
            f"layout={axes!r}: use each of the letters b (batch), c (channel), d, h, w (space), n (sequence),"
            " q, k (query and key tokens) at most once"
        )
    if len(axes) != len(shape):
        raise BadLayout(
            f"layout={axes!r} names {counted(len(axes), 'axis', 'axes')}, the array has {len(shape)}: shape {tuple(shape)}"
        )


def channels_last(values: np.ndarray, axes: str) -> np.ndarray:
    """A view of `values` as `[image, *spatial, channel]`; missing batch and channel axes have size 1.

    >>> channels_last(np.zeros((1, 64, 24, 32)), "bchw").shape
    (1, 24, 32, 64)
    >>> channels_last(np.zeros((24, 32)), "hw").shape
    (1, 24, 32, 1)
    """
    if values.ndim != _rank(axes):
        check(axes, values.shape)
    values = values.transpose(_order(axes))
    if "b" not in axes:
        values = values[None]
    if "c" not in axes:
        values = values[..., None]
    return values


@lru_cache(maxsize=256)
def _rank(axes: str) -> int:
    """How many axes these are; -1 for letters that are none."""
    return len(axes) if len(set(axes)) == len(axes) and set(axes) <= set(LETTERS) else -1


@lru_cache(maxsize=256)
def _order(axes: str) -> tuple[int, ...]:
    """The index in `axes` of each of its letters, in the order of a feature map."""
    return tuple(axes.index(letter) for letter in "b" + SPATIAL + "c" if letter in axes)


def permutation(axes: str, layout: str) -> tuple[int, ...]:
    """The transpose from `axes` to `layout`: for each letter of `layout` its index in `axes`.

    >>> permutation("bhwc", "bchw")
    (0, 3, 1, 2)
    """
    letters = letters_of(layout, len(axes)) if isinstance(layout, str) else ""
    if sorted(letters) != sorted(axes):
        raise BadLayout(f"layout={layout!r}: this map has the axes {', '.join(axes)}; name each once, such as {axes!r}")
    return tuple(axes.index(letter) for letter in letters)


def likelier_layout(axes: str, shape: Sequence[int]) -> str | None:
    """The layout that the sizes of an array fit much better: the other convention's, or a vector's of one image; else `None`.

    Only evidence for a warning; the array is read by `axes` all the same.

    >>> likelier_layout("hwc", (64, 224, 224))
    'chw'
    >>> likelier_layout("hwc", (1, 224, 224))
    'bhw'
    >>> likelier_layout("hw", (1, 25088)), likelier_layout("hwc", (224, 224, 64))
    ('bc', None)
    """
    if axes == "hw" and shape[0] == 1 and shape[1] >= 16:  # what `predict` gives for a dense layer
        return "bc"
    if axes == "hwc" and shape[0] == 1 and shape[1] == shape[2] >= 16:  # what a mean over the channels leaves
        return "bhw"
    convention = axes[-3:]
    if convention not in ("hwc", "chw"):
        return None
    first, middle, final = shape[-3:]
    # Under the other convention `channels` is the channel axis, `sides` are height and width.
    channels, sides = (first, (middle, final)) if convention == "hwc" else (final, (first, middle))
    square = sides[0] == sides[1] != channels and sides[0] > 4
    colour = channels in (1, 3, 4) and min(sides) >= 16
    return axes[:-3] + ("chw" if convention == "hwc" else "hwc") if square or colour else None


def convention(shape: tuple[int, ...], library: str) -> str:
    """How an array of that shape is read by its library's convention; warns where the sizes contradict it."""
    layouts = CHANNELS_FIRST if library == "torch" else CHANNELS_LAST
    if len(shape) not in layouts:
        raise BadLayout(f"an array of rank {len(shape)}, shape {shape}: give one of rank 1 to 5")
    layout = layouts[len(shape)]
    if other := likelier_layout(layout, shape):
        warnings.warn(
            f"shape {shape} was read as {layout} by the convention of {library}, but its sizes look like {other}: pass"
            f" layout={other!r} if so, or, where there is no such option, ls.FeatureMap.of_array(array, {other!r})",
            LayoutWarning,
            stacklevel=caller_level(),
        )
    return layout


def split_tokens(values: np.ndarray, grid: Sequence[int], order: Sequence[int] = ()) -> tuple[np.ndarray, np.ndarray]:
    """Tokens `[image, n, channel]` as (map `[image, *grid, channel]`, the other tokens `[image, p, channel]`).

    `order` is the index of the token at each position of the grid, row by row; by default rows follow one another, and the
    other tokens come first, as in ViT, DeiT and DINO.
    """
    if values.ndim != 3:
        raise BadLayout(f"tokens need the axes [image, n, channel]; this array has shape {values.shape}")
    images, tokens, channels = values.shape
    count = math.prod(grid)
    extra = tokens - count
    if extra < 0:
        raise BadLayout(
            f"{' × '.join(map(str, grid))} patches need {count} tokens, not {tokens}: give the grid = (height, width)"
            " of the patch embedding"
        )
    if not order:
        return values[:, extra:].reshape(images, *grid, channels), values[:, :extra]
    others = np.setdiff1d(np.arange(tokens), order)
    return values[:, list(order)].reshape(images, *grid, channels), values[:, others]


def prefix_names(count: int, known: Sequence[str] = ()) -> tuple[str, ...]:
    """Names of `count` prefix tokens: those that are known, else `prefix1`, `prefix2` …

    >>> prefix_names(2, ("cls", "dist")), prefix_names(2)
    (('cls', 'dist'), ('prefix1', 'prefix2'))
    """
    return tuple(known) if len(known) == count else tuple(f"prefix{number}" for number in range(1, count + 1))
