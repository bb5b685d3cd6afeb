"""`montage`: one channel of a volume or a clip, slice by slice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..arrays.ranges import extent_of
from ..core.feature_map import FeatureMap, as_map
from ..errors import BadChannels, BadLayout, BadOption, near
from ..picture.caption import about, caption, special, title_of
from ..picture.picture import Picture
from ..picture.scale import Scale
from ..picture.scale_rules import Beyond, make_scale
from .mosaic import Mosaic, Tile
from .rgb import is_rgb, rgb_colors, rgb_limits, rgb_said
from .sequence import reach_of

AXES = {"d": ("slice", "d"), "h": ("slice", "h"), "w": ("slice", "w"), "t": ("frame", "d")}


SIDES = {"d": ("h", "w"), "h": ("d", "w"), "w": ("d", "h")}


def montage(
    fm: Any,
    *,
    image: int = 0,
    channel: int | None = None,
    axis: str = "d",
    slices: Sequence[int] | slice | None = None,
    columns: int | None = None,
    zoom: int | None = None,
    scale: Any = "channel",
    colors: str | None = None,
    clip: tuple[float, float] | None = None,
    page: int = 0,
    text: int = 1,
    layout: str | None = None,
) -> Picture:
    """The slices of one channel of a volume as numbered tiles, with one range and one colour bar for all.

    `fm` is `[image, d, h, w, channel]`; `channel` may be left out where there is only one, as after a combination, and
    where the three of `pca` are colours. `axis` is what the slices lie along, `"d"`, `"h"` or `"w"`; with `"t"` they lie along
    the first axis and are called frames, for a clip. `slices` picks some, by number. `scale`: `"channel"` (the range of this
    channel over all its slices, those that aren't shown included), `"layer"` (over all channels), `"images"`, `(low, high)` or
    a `Scale`; `clip=(1, 99)` cuts the range at these percentiles. Above 16 megapixels there are several pages. `text` (1 to 4)
    draws letters and tiles so many times as large.

    Raises `BadLayout` for maps that aren't volumes, `BadChannels`, `BadOption`, `BadScale`.

    >>> import numpy as np
    >>> picture = montage(np.arange(240.0).reshape(1, 5, 6, 8, 1), slices=[0, 4])
    >>> [cell.note for cell in picture.cells], picture.bar.high
    (['slice 0', 'slice 4'], 239.0)
    """
    whole = as_map(fm, layout)
    if channel is None and is_rgb(whole) and len(whole.spatial) == 3:
        return _in_colours(whole, image, axis, slices, columns, zoom, clip, page, text)
    stack = Stack.of(whole, image, channel, axis)
    numbers = stack.chosen(slices)
    rule = stack.scale(scale, colors, clip)
    last = str(stack.count - 1)
    grid = Mosaic.fitting(stack.size, len(numbers), len(last), columns, zoom, text)
    pages = grid.pages(len(numbers), page)
    shown = numbers[page * grid.most : (page + 1) * grid.most]
    tiles = [Tile(str(number), image % len(whole.ids), stack.channel, f"{stack.word} {number}") for number in shown]
    beyond = Beyond.of(stack.planes, rule.limits)
    lines = caption(stack.one, rule, stack.said(len(numbers), shown, page, pages)) + stack.special()
    lines += beyond.words(rule, clip)
    codes = rule.codes(stack.planes[list(shown)])
    facts = about(stack.one, rule, axis=stack.axis, slices=list(shown))
    picture = grid.picture(codes, tiles, rule, title_of(stack.one), lines, facts, reach=stack.reach)
    return replace(picture, page=int(page), pages=pages)


def _in_colours(
    whole: FeatureMap,
    image: int,
    axis: str,
    slices: Sequence[int] | slice | None,
    columns: int | None,
    zoom: int | None,
    clip: tuple[float, float] | None,
    page: int,
    text: int,
) -> Picture:
    """The slices of a combination whose three channels are red, green and blue."""
    # What is said of slices and their numbers is that of one of the channels.
    stack = Stack.of(whole, image, whole.channels[0], axis)
    numbers = stack.chosen(slices)
    grid = Mosaic.fitting(stack.size, len(numbers), len(str(stack.count - 1)), columns, zoom, text)
    pages = grid.pages(len(numbers), page)
    shown = numbers[page * grid.most : (page + 1) * grid.most]
    volume = np.moveaxis(stack.one.values[0], "dhw".index(stack.axis), 0)
    colours = rgb_colors(volume[list(shown)], *rgb_limits(whole, clip))
    tiles = [Tile(str(number), image % len(whole.ids), 0, f"{stack.word} {number}") for number in shown]
    said = stack.said(len(numbers), shown, page, pages).partition("), ")[2]
    lines = (*caption(stack.one, None, said), rgb_said(clip))
    facts = about(stack.one, None, axis=stack.axis, slices=list(shown))
    picture = grid.picture(colours, tiles, None, title_of(stack.one), lines, facts)
    return replace(picture, page=int(page), pages=pages)


@dataclass(frozen=True, eq=False)
class Stack:
    """The planes `[slice, height, width]` of one channel of one image, and what their axis is called."""

    whole: FeatureMap
    one: FeatureMap
    planes: np.ndarray
    channel: int
    axis: str
    word: str

    @classmethod
    def of(cls, fm: Any, image: int, channel: int | None, axis: str, layout: str | None = None) -> Stack:
        whole = as_map(fm, layout)
        if len(whole.spatial) != 3:
            raise BadLayout(
                f"{whole.layer.path!r} is no volume but {whole.spatial or 'one number a channel'}: {_way(whole)}"
            )
        if axis not in AXES:
            raise BadOption(
                f"axis={axis!r}: use 'd', 'h' or 'w', or 't' for the frames of a clip.{near(str(axis), AXES)}"
            )
        one = whole.image(image)
        number = one_channel(whole, channel)
        word, letter = AXES[axis]
        values = one.select([number]).values[0, ..., 0]
        return cls(whole, one, np.moveaxis(values, "dhw".index(letter), 0), number, letter, word)

    @property
    def count(self) -> int:
        return len(self.planes)

    @property
    def size(self) -> tuple[int, int]:
        height, width = self.planes.shape[1:]
        return height, width

    def chosen(self, slices: Sequence[int] | slice | None) -> tuple[int, ...]:
        """The numbers of the slices asked for."""
        every = range(self.count)
        if slices is None:
            return tuple(every)
        if isinstance(slices, slice):
            numbers = tuple(every[slices])
        else:
            given = [slices] if isinstance(slices, int | np.integer) else list(slices)
            wrong = [each for each in given if not isinstance(each, int | np.integer) or each not in every]
            if wrong:
                raise BadOption(f"slices={wrong!r}: there are {self.count} along {self.axis}, 0 to {self.count - 1}")
            numbers = tuple(map(int, given))
        if not numbers:
            raise BadOption(
                f"slices={slices!r} names none; there are {self.count} along {self.axis}, 0 to {self.count - 1}"
            )
        return numbers

    @property
    def reach(self) -> tuple[float, float]:
        """How far the finite values go."""
        return reach_of(self.planes)

    def scale(self, scale: Any, colors: str | None, clip: tuple[float, float] | None = None) -> Scale:
        return channel_scale(self.whole, self.one, self.channel, scale, colors, clip)

    def said(self, count: int, shown: Sequence[int], page: int, pages: int) -> str:
        """What is shown, in words."""
        rows, columns = SIDES[self.axis]
        text = f"channel {self.channel} (of {self.one.of}), " if not self.one.rule or self.one.shape[-1] > 1 else ""
        text += f"{count} of {self.count} {self.word}s along {'time' if self.word == 'frame' else self.axis}"
        text += f", {rows} down and {columns} to the right"
        if pages > 1:
            text += f", page {page + 1} of {pages} ({self.word}s {shown[0]} to {shown[-1]})"
        return text

    def special(self) -> tuple[str, ...]:
        """What must be said of values that have no colour of their own, and of numbers that are no amounts."""
        groups = ("numbers of groups: a larger one is not more",) if self.one.role == "labels" else ()
        return groups + special(self.planes, f"channel {self.channel}")


def one_channel(whole: FeatureMap, channel: int | None) -> int:
    """The channel to draw: the one asked for, or the only one. Raises `BadChannels`."""
    if channel is None:
        if whole.shape[-1] != 1:
            raise BadChannels(
                f"{whole.layer.path!r} has {whole.shape[-1]} channels and this picture shows one: give channel=, or combine"
                " them first (mean, norm, weighted …)"
            )
        return whole.channels[0]
    if not isinstance(channel, int | np.integer) or isinstance(channel, bool):
        raise BadChannels(f"channel={channel!r}: use the number of one channel")
    return whole.select([int(channel)]).channels[0]


def channel_scale(
    whole: FeatureMap,
    one: FeatureMap,
    channel: int,
    scale: Any,
    colors: str | None,
    clip: tuple[float, float] | None = None,
) -> Scale:
    """One scale for all of one channel; by the rule `"channel"` it is the channel's own range."""
    if isinstance(scale, str) and scale == "channel":
        fitted = Scale.fit(one.select([channel]).values, "layer", clip, colors)
        return replace(fitted, per="channel") if whole.shape[-1] > 1 else fitted
    return make_scale(whole, one, scale, colors, extent_of(one.values), clip)


def _way(whole: FeatureMap) -> str:
    if len(whole.spatial) == 2:
        return "a layer with pictures is drawn by sheet(), one map by heatmap()"
    return "a sequence is drawn by strip()" if whole.spatial else "a dense layer is drawn by bars() or strip()"
