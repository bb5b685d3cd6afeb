"""`montage`: one channel of a volume or a clip, slice by slice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..arrays.ranges import extent_of
from ..checks import indices, keywords
from ..core.feature_map import FeatureMap, as_map
from ..core.note import Note
from ..errors import BadChannels, BadLayout, BadOption, near
from ..picture.canvas import Frame
from ..picture.caption import about, caption, quantity, special, title_of
from ..picture.palette import marks_of
from ..picture.picture import Picture
from ..picture.scale import Scale
from ..picture.scale_rules import Beyond
from .mosaic import Mosaic, Tile
from .options import DrawOptions, frozen
from .rgb import is_rgb, rgb_colors, rgb_limits, rgb_text
from .sequence import reach_of

AXES = {"d": ("slice", "d"), "h": ("slice", "h"), "w": ("slice", "w"), "t": ("frame", "d")}
NAMES = {"d": "depth", "h": "height", "w": "width"}


@keywords
def montage(
    fm: Any,
    *,
    image: int | str = 0,
    channel: int | None = None,
    axis: str = "d",
    slices: Sequence[int] | slice | None = None,
    columns: int | None = None,
    zoom: int | None = None,
    scale: Any = "channel",
    colors: Any = None,
    clip: tuple[float, float] | None = None,
    norm: str | None = None,
    page: int = 0,
    text: float | None = None,
    title: str | None = None,
    caption: bool = True,
    bar: bool = True,
    theme: str = "light",
    layout: str | None = None,
) -> Picture:
    """The slices of one channel of a volume as numbered tiles, with one range and one colour bar for all.

    Above 16 megapixels there are several pages, which `Picture.pages` counts. The three channels of `pca` become red,
    green and blue.

    >>> import numpy as np
    >>> picture = montage(np.arange(240.0).reshape(1, 5, 6, 8, 1), slices=[0, 4])
    >>> [cell.note for cell in picture.cells], picture.bar.high
    (['slice 0', 'slice 4'], 239.0)

    Args:
        fm: A `FeatureMap` or an array `[image, d, h, w, channel]`.
        image: Which image of `fm`: its number, counted from 0, or its id.
        channel: The true number of the channel; may be left out where there is only one, as after a combination.
        axis: What the slices lie along, `"d"`, `"h"` or `"w"`; `"t"` for a clip, whose first axis is time.
        slices: The numbers of the slices to draw, or a slice. All by default.
        columns: Tiles per row.
        zoom: Picture pixels per unit of the map.
        scale: `"channel"` (of all its slices), `"layer"` (over all channels), `"images"`, `(low, high)` or a `Scale`.
        colors: A name of the cmap catalogue, a colour map of matplotlib or a list of colours. By default viridis, or vik
            centred on 0 for values of both signs.
        clip: Two percentiles, such as `(1, 99)`, to which the range is clipped.
        norm: `"linear"` (the usual one), `"log"` or `"symlog"`, as in `Scale`; by default that of a `Scale` given.
        page: Which page, counted from 0.
        text: Size of letters and tiles, from 1 (screen) to 4; 3 is for print at 300 dpi. By default letters can be read where
            the picture is shown 900 pixels wide.
        title: The title in place of the usual one; `""` for none.
        caption: Whether title, subject and notes are drawn; without, a `title` that you give is. The file keeps them.
        bar: Whether the colour bar is drawn. Without `caption` and `bar` the map stands alone.
        theme: `"light"`, `"dark"` or `"transparent"` paper.
        layout: The axes of an array, such as `"bcdhw"`, where it isn't its library's convention.

    Raises:
        BadLayout: A map that isn't a volume.
        BadChannels: A channel that the map doesn't hold, or none given where there are several.
        BadScale: A scale, percentiles or colours that don't exist.
        BadOption: Any other option is invalid.
    """
    options = MontageOptions(
        image=image,
        channel=channel,
        axis=axis,
        slices=slices,
        columns=columns,
        zoom=zoom,
        scale=scale,
        colors=colors,
        clip=clip,
        norm=norm,
        page=page,
        text=text,
        title=title,
        caption=caption,
        bar=bar,
        theme=theme,
    )
    return draw_montage(as_map(fm, layout), options).themed(theme)


def draw_montage(whole: FeatureMap, options: MontageOptions) -> Picture:
    """The montage of one image of a map."""
    colored = options.channel is None and is_rgb(whole) and len(whole.spatial) == 3
    if colored:
        options.check_numbers(whole)
    # What is said of slices and their numbers is that of one of the channels.
    stack = Stack.of(whole, options, whole.channels[0] if colored else options.channel)
    numbers = stack.choose(options.slices)
    channel = 0 if colored else stack.channel
    tiles = [Tile(str(number), stack.image, channel, f"{stack.word} {number}") for number in numbers]
    grid = Mosaic.fitting(stack.size, tiles, options)
    page = options.pick_page(len(numbers), grid.most)
    shown = list(numbers[page.here])
    title = title_of(stack.one, stack.describe_slices(len(numbers)))
    page_text = f"{page.text}, {stack.word}s {shown[0]} to {shown[-1]}" if page.text else ""
    tiles = tiles[page.here]
    if colored:
        volume = np.moveaxis(stack.one.values[0], "dhw".index(stack.axis), 0)
        pictures = rgb_colors(volume[shown], *rgb_limits(whole, options.clip))
        subject, *notes = caption(stack.one, None, page_text)
        frame = Frame(title, subject, (*notes, rgb_text(options.clip)))
    else:
        rule = stack.scale(options)
        pictures = rule.codes(stack.planes[shown])
        lines = caption(stack.one, rule, stack.describe_channel(), page_text) + stack.sides() + stack.special()
        lines += Beyond.of(stack.planes, rule.limits).words(rule, options.clip)
        marks, reach = marks_of(pictures), reach_of(stack.planes)
        measured = quantity(stack.one)
        frame = Frame(title, lines[0], lines[1:], rule, marks, reach, quantity=measured)
    facts = about(stack.one, frame.bar, axis=stack.axis, slices=shown)
    return replace(grid.picture(pictures, tiles, options.framed(frame), facts), page=page.number, pages=page.pages)


@dataclass(frozen=True, kw_only=True)
class MontageOptions(DrawOptions):
    """What a montage has besides: the channel, the axis that its slices lie along, and which of them."""

    channel: int | None = None
    axis: str = "d"
    slices: Any = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set("slices", frozen(self.slices))
        if self.axis not in AXES:
            raise BadOption(
                f"axis={self.axis!r}: use 'd', 'h' or 'w', or 't' for the frames of a clip{near(str(self.axis), AXES)}"
            )


@dataclass(frozen=True, eq=False)
class Stack:
    """The planes `[slice, height, width]` of one channel of one image, and what their axis is called."""

    whole: FeatureMap
    one: FeatureMap
    image: int
    planes: np.ndarray
    channel: int
    axis: str
    word: str

    @classmethod
    def of(cls, whole: FeatureMap, options: MontageOptions, channel: int | None) -> Stack:
        """Raises `BadLayout` for what isn't a volume, `BadChannels` for a channel that isn't there."""
        if len(whole.spatial) != 3:
            raise BadLayout(f"{whole.layer.path!r} is not a volume: {_use_instead(whole)}")
        one, image = options.pick(whole)
        number = one_channel(whole, channel)
        word, letter = AXES[options.axis]
        planes = np.moveaxis(one.select([number]).values[0, ..., 0], "dhw".index(letter), 0)
        return cls(whole, one, image, planes, number, letter, word)

    @property
    def count(self) -> int:
        return len(self.planes)

    @property
    def size(self) -> tuple[int, int]:
        height, width = self.planes.shape[1:]
        return height, width

    def choose(self, slices: Any) -> tuple[int, ...]:
        """The numbers of the slices to draw; all for `None`."""
        return index_list("slices", slices, self.count)

    def scale(self, options: DrawOptions, usual: str = "channel") -> Scale:
        """The scale of this channel."""
        return channel_scale(self.whole, self.one, self.channel, options, usual=usual)

    def describe_channel(self) -> str:
        """Which channel this is; `""` of a combination."""
        if self.one.rule and self.one.shape[-1] == 1:
            return ""
        return f"channel {self.channel} of {self.one.of:,}"

    def describe_slices(self, count: int) -> str:
        """How many slices are shown, and of which size."""
        height, width = self.size
        part = "" if count == self.count else f" of {self.count}"
        along = f" along the {NAMES[self.axis]}" if self.word == "slice" else ""
        return f"{count}{part} {self.word}s of {width} × {height}{along}"

    def sides(self) -> tuple[Note, ...]:
        """A note on which way up the slices are, where it isn't the usual one."""
        down, across = (NAMES[letter] for letter in "dhw" if letter != self.axis)
        if self.axis == "d":
            return ()
        return (Note("order", f"in each slice the {down} runs from top to bottom, the {across} from left to right"),)

    def special(self) -> tuple[str, ...]:
        """Notes on values without a colour of their own, and on numbers that are labels."""
        groups = ("cluster numbers are labels, not amounts",) if self.one.role == "labels" else ()
        return groups + special(self.planes, f"channel {self.channel}")


def index_list(name: str, value: Any, count: int) -> tuple[int, ...]:
    """The numbers of `count` things that `value` selects: all for `None`, one for a number. Raises `BadOption`."""
    if value is None:
        return tuple(range(count))
    return indices(name, [int(value)] if isinstance(value, int | np.integer) else value, count)


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


def channel_scale(whole: FeatureMap, one: FeatureMap, channel: int, options: DrawOptions, *, usual: str) -> Scale:
    """One scale for all of one channel; by the rule `"channel"` it is the channel's own range."""
    if (usual if options.scale is None else options.scale) == "channel":
        alone = one.select([channel])
        fitted = replace(options, scale="layer").fit_scale(alone, alone, extent_of(alone.values))
        return replace(fitted, per="channel") if whole.shape[-1] > 1 else fitted
    return options.fit_scale(whole, one, extent_of(one.values), usual)


def _use_instead(whole: FeatureMap) -> str:
    size = "×".join(map(str, whole.spatial))
    if len(whole.spatial) == 2:
        return f"its maps of {size} are drawn by sheet(), a single one by heatmap()"
    return f"its sequence of {size} is drawn by strip()" if size else "a dense layer is drawn by bars() or strip()"
