"""What the tensors of a graph file see of the model's one image: what its backends share, whatever names a tensor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Generic

from ...core.receptive_field import Field, resized, window
from ..common.field import Places, seen
from .axes import KnownAxes
from .walk import Name


class KnownFields(Generic[Name]):
    """The places of every tensor that is known so far, from the only input that can be an image."""

    def __init__(self, inputs: Sequence[Name], axes: KnownAxes[Name]) -> None:
        self.known = axes
        self.places: dict[Name, Places] = {}
        images = [name for name in inputs if (axes.rank(name) or 0) > 2]
        if len(images) == 1:
            (image,) = images
            shape = axes.shapes[image] or ()
            if len(axes.axes[image]) == len(shape):
                self.places[image] = seen(axes.axes[image], shape)

    def of(self, name: Name) -> tuple[Field, ...] | None:
        """The fields of a tensor, one for each axis of the image."""
        places = self.places.get(name)
        return None if places is None else places.receptive()


def regrouped(source: Places, shape: Sequence[int], dims: Sequence[int], size: int, deeper: bool) -> Places:
    """Blocks of `size` pixels along `dims` moved into the channels (`deeper`) or back."""
    deep: Callable[[Field], Field] = partial(window, kernel=size, stride=size)
    rule = deep if deeper else partial(resized, before=1 << 10, after=size << 10)
    return source.windowed(dict.fromkeys(dims, rule), shape)


def padding_same(before: int, after: int, reach: int, stride: int) -> int:
    """The padding on both sides that makes windows of `reach` pixels, `stride` apart, come out `after` from `before`.

    >>> padding_same(224, 112, 3, 2), padding_same(224, 224, 3, 1)
    (1, 2)
    """
    return max((after - 1) * stride + reach - before, 0)
