"""Named axes: how an array of a framework becomes `[image, *spatial, channel]`.

Axes are one letter each, in the array's own order:

    b batch   c channel   d depth   h height   w width   n sequence or tokens   q query token   k key token

so `"bchw"` is PyTorch's image layout and `"bhwc"` TensorFlow's, and `"bcqk"` the weights of an attention with the heads as
its channels. They are stated by whoever knows the layer. Sizes never
decide how an array is read: a map three pixels wide is not a colour picture.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np

from .errors import BadLayout

SPATIAL = "dhwnqk"
LETTERS = "bc" + SPATIAL
CHANNELS_LAST = {1: "c", 2: "hw", 3: "hwc", 4: "bhwc", 5: "bdhwc"}
CHANNELS_FIRST = {1: "c", 2: "hw", 3: "chw", 4: "bchw", 5: "bcdhw"}
MOST_PREFIX_TOKENS = 16


def check(axes: str, shape: Sequence[int]) -> None:
    """Raise `BadLayout` unless `axes` names each axis of `shape` once."""
    if len(set(axes)) != len(axes) or not set(axes) <= set(LETTERS):
        raise BadLayout(
            f"layout={axes!r}: use each of the letters b (batch), c (channel), d, h, w (space), n (sequence),"
            " q, k (query and key tokens) at most once"
        )
    if len(axes) != len(shape):
        raise BadLayout(f"layout={axes!r} names {len(axes)} axes, the array has {len(shape)}: shape {tuple(shape)}")


def channels_last(values: np.ndarray, axes: str) -> np.ndarray:
    """A view of `values` as `[image, *spatial, channel]`; missing batch and channel axes have size 1.

    >>> channels_last(np.zeros((1, 64, 24, 32)), "bchw").shape
    (1, 24, 32, 64)
    >>> channels_last(np.zeros((24, 32)), "hw").shape
    (1, 24, 32, 1)
    """
    check(axes, values.shape)
    order = [each for each in "b" + SPATIAL + "c" if each in axes]
    values = values.transpose([axes.index(each) for each in order])
    if "b" not in axes:
        values = values[None]
    if "c" not in axes:
        values = values[..., None]
    return values


def order(own: str, layout: str) -> tuple[int, ...]:
    """The places in `own` of the axes of `layout`, for a transpose.

    >>> order("bhwc", "bchw")
    (0, 3, 1, 2)
    """
    if not isinstance(layout, str) or sorted(layout) != sorted(own):
        raise BadLayout(f"layout={layout!r}: this map has the axes {', '.join(own)}; name each once, such as {own!r}")
    return tuple(own.index(each) for each in layout)


def sizes_speak_against(axes: str, shape: Sequence[int]) -> str | None:
    """The other convention's layout where the sizes of an image array fit it much better, else `None`.

    Only evidence for a warning; the array is read by `axes` all the same.

    >>> sizes_speak_against("hwc", (64, 224, 224))
    'chw'
    >>> sizes_speak_against("hwc", (224, 224, 64)) is None
    True
    """
    last = axes.endswith("hwc")
    if not last and not axes.endswith("chw"):
        return None
    first, middle, final = shape[-3:]
    if last:
        odd, pair = first, (middle, final)
        other = axes[:-3] + "chw"
    else:
        odd, pair = final, (first, middle)
        other = axes[:-3] + "hwc"
    square = pair[0] == pair[1] != odd and pair[0] > 4
    colour = odd in (1, 3, 4) and min(pair) >= 16
    return other if square or colour else None


def token_grid(tokens: int, grids: Sequence[tuple[int, int]], prefix: int | None = None) -> tuple[int, int] | None:
    """The (height, width) of the patch grid that `tokens` tokens lie on, or `None`.

    `grids` are the sizes of the patch embeddings that ran before, newest last. More tokens than the grid has places are
    prefix tokens (class, distillation, registers): `prefix` of them where the model says how many, else up to 16. A grid
    halved by patch merging counts too.

    >>> token_grid(14 * 10 + 5, [(14, 10)])
    (14, 10)
    >>> token_grid(7 * 5, [(14, 10)])
    (7, 5)
    >>> token_grid(100, [(14, 10)]) is None
    True
    >>> token_grid(14 * 10 + 4, [(14, 10)], prefix=5) is None
    True
    """
    for height, width in reversed(grids):
        while height > 1 and width > 1:
            left = tokens - height * width
            if left in (0, prefix) if prefix is not None else 0 <= left <= MOST_PREFIX_TOKENS:
                return height, width
            if height % 2 or width % 2:
                break
            height, width = height // 2, width // 2
    return None


def split_tokens(values: np.ndarray, grid: tuple[int, int], prefix: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Tokens `[image, n, channel]` as (map `[image, h, w, channel]`, prefix tokens `[image, p, channel]`).

    Rows of the grid follow one another, prefix tokens come first, as in ViT, DeiT and DINO.
    """
    if values.ndim != 3:
        raise BadLayout(f"tokens need the axes [image, n, channel]; this array has shape {values.shape}")
    images, tokens, channels = values.shape
    height, width = grid
    found = tokens - height * width
    if found < 0 or (prefix is not None and prefix != found):
        raise BadLayout(
            f"{tokens} tokens are not {height} × {width} = {height * width} places"
            + (f" and {prefix} prefix tokens" if prefix is not None else "")
            + ": give the grid = (height, width) of the patch embedding and the number of prefix tokens"
        )
    return values[:, found:].reshape(images, height, width, channels), values[:, :found]


def prefix_names(count: int, known: Sequence[str] = ()) -> tuple[str, ...]:
    """Names of `count` prefix tokens: those that are known, else `prefix1`, `prefix2` …

    >>> prefix_names(2, ("cls", "dist")), prefix_names(2)
    (('cls', 'dist'), ('prefix1', 'prefix2'))
    """
    return tuple(known) if len(known) == count else tuple(f"prefix{at + 1}" for at in range(count))


def permuted_view(axes: str, before: Sequence[int], after: Sequence[int]) -> str | None:
    """Axes of a transposed view of a tensor with `axes`, found from the strides before and after, else `None`.

    >>> permuted_view("bchw", (6000, 300, 20, 1), (6000, 20, 1, 300))
    'bhwc'
    """
    if len(before) != len(after) or len(set(before)) != len(before) or sorted(before) != sorted(after):
        return None
    where = dict(zip(before, axes, strict=True))
    return "".join(where[stride] for stride in after)


class AxesTrace:
    """Which axes the tensors of one run have, by identity, so that layers without axes of their own inherit them.

    Entries go when their tensor goes: holding a trace keeps no tensor alive.
    """

    def __init__(self) -> None:
        self._axes: dict[int, tuple[Any, str]] = {}

    def set(self, tensor: Any, axes: str) -> None:
        key = id(tensor)
        self._axes[key] = (weakref.ref(tensor, lambda _: self._axes.pop(key, None)), axes)

    def get(self, tensor: Any) -> str | None:
        reference, axes = self._axes.get(id(tensor), (None, ""))
        return axes if reference is not None and reference() is tensor else None
