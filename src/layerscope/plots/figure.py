"""`figure`: what papers show of a layer: the photo, the channels combined, that map on the photo, the strongest channels."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from ..arrays.ranges import extent_of
from ..channels.query import positions
from ..channels.strongest import strongest
from ..checks import OF_ARRAY, keywords, one_of, real, whole
from ..combinations.registry import combined, row_of, target_of_capture
from ..core.conversion import is_array, only_map
from ..core.feature_map import FeatureMap
from ..core.note import Note, kind_of
from ..core.words import channel_word
from ..errors import BadLayout, BadOption
from ..picture.canvas import Frame
from ..picture.caption import about, channels_text, quantity, title_of
from ..picture.colorbar import ColorBar, TileKey
from ..picture.palette import marks_of
from ..picture.picture import Picture
from ..safe_text import counted
from ..scope.open import check_opened
from ..surface import option
from .figure_layout import Layout, Strongest, draw_panels
from .groups import is_grouped
from .options import DrawOptions
from .overlay import OverlayOptions, Sketch
from .show import asks_model, capture_one, first_class, needs_target, open_options, scope_for

MOST, MOST_TILES = 8, 100
BY = ("mean", "max")
OF_SHEETS = ("page", "per_page", "sort", "statistics", "zoom")


@dataclass(frozen=True, kw_only=True)
class FigureOptions(OverlayOptions):
    """What a figure has besides: what makes a channel strong, and for which width on paper it is. `top` is how many
    channels it shows."""

    by: str = "mean"
    width_mm: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.top is not None:
            self._set("top", whole("top", self.top, 1, MOST_TILES))
        one_of("by", self.by, BY)
        if self.width_mm is not None:
            real("width_mm", self.width_mm, 1, 10_000, unit=" millimetres, such as 84 for a column or 180 for a page")
        for field in fields(DrawOptions):
            value = getattr(self, field.name)
            if field.name in OF_SHEETS and value != field.default:
                raise BadOption(
                    f"{option(field.name, value)} is for sheets: a figure has one page and sizes of its own"
                )

    def overlay(self) -> OverlayOptions:
        """The options of the overlay."""
        own = {field.name: getattr(self, field.name) for field in fields(OverlayOptions)}
        return OverlayOptions(**{**own, "channels": None, "top": None, "zoom": 1})


@keywords
def figure(
    model: Any,
    image: Any = None,
    layer: Any = "last",
    *,
    combine: Any = "mean",
    target: Any = None,
    channels: Any = None,
    top: int | None = None,
    by: str = "mean",
    columns: int | None = None,
    width_mm: float | None = None,
    on: str = "grey",
    alpha: float | None = None,
    even: bool = False,
    interpolation: str | None = None,
    contours: int | Sequence[float] | None = None,
    scale: Any = "layer",
    colors: Any = None,
    clip: tuple[float, float] | None = None,
    norm: str | None = None,
    text: float | None = None,
    title: str | None = None,
    caption: bool = True,
    bar: bool = True,
    theme: str = "light",
    weights: str | os.PathLike[str] | None = None,
    preprocess: Any = "auto",
    size: int | str | Sequence[int] | None = None,
    labels: str | os.PathLike[str] | Sequence[str] | None = None,
    backend: Any = None,
    device: Any = None,
    trust: bool = False,
) -> Picture:
    """A figure for a paper: (a) the photo, (b) the combined map with its bar, (c) the overlay, (d) the strongest channels.

    A frame on the photo shows what the model saw. Each channel has a range of its own, printed above it beside its true
    number. The rows are equally wide, for one column of a journal with `width_mm=84`, for both without. A map that is
    combined already has no (d).

    >>> import layerscope as ls
    >>> picture = figure("demo", ls.demo_photo(), "_blocks.2", top=4)
    >>> [cell.note for cell in picture.cells[:3]], len(picture.cells)
    (['input', 'map', 'overlay'], 7)

    Args:
        model: What `open` takes (a model object, a file, a reference), a `Scope`, or a `FeatureMap` that was captured from
            one image, without `image` and `layer`.
        image: One image: a path, an array `[height, width, 3]`, a `PIL.Image`.
        layer: A path or a part of it, a glob, `"kind:Conv2D"`, an index, or `"last"`, the last layer with pixels.
        combine: What (b) and (c) show: the name of a combination (`"mean"`, `"norm"`, `"grad-cam"` …), or a function of
            a feature map.
        target: For combinations for a class: its index, its label, or a function of the output. By default the top-1 class.
        channels: Of which channels (d) shows the strongest: true channel numbers, a slice, a mask, or a condition as in
            `find_channels`. All by default. The combined map is of all channels.
        top: How many channels (d) shows, up to 100. By default 8, or all of `channels`.
        by: What makes a channel strong: its `"mean"` over the map or its `"max"`.
        columns: Tiles per row. By default a row or rows of up to 8, or of as many as `width_mm` has room for.
        width_mm: The width on paper that the figure is made for, in millimetres, such as 84 for a column of a journal: rows of
            4 to 8 tiles, and from 82 mm on letters of 6 points or more. `save` takes the same number.
        on: What the overlay lies on: `"grey"`, the photo without its colours, or `"photo"`.
        alpha: The greatest opacity of the overlay, from 0 to 1.
        even: Whether all values cover the photo alike, as in `overlay`.
        interpolation: `"nearest"` or `"smooth"`, as in `overlay`.
        contours: Levels to draw a line at on the overlay, or how many.
        scale: The range of the combined map: `"layer"`, `(low, high)` or a `Scale`.
        colors: A name of the cmap catalogue, a colour map of matplotlib or a list of colours. By default viridis, or vik
            centred on 0 for values of both signs and for class activation maps.
        clip: Two percentiles, such as `(1, 99)`, to which the ranges are clipped.
        norm: `"linear"` (the usual one), `"log"` or `"symlog"`, as in `Scale`; by default that of a `Scale` given.
        text: Size of everything but the margins' share, from 1 (screen) to 4; 2 has 300 pixels an inch at 84 or 180 mm.
        title: The title in place of the usual one; `""` for none.
        caption: Whether title, subject and notes are drawn; without, a `title` that you give is. The file keeps them.
        bar: Whether the colour bar is drawn.
        theme: `"light"`, `"dark"` or `"transparent"` paper.
        weights: As for `open`, like all that follow; where `model` is a `Scope` or a `FeatureMap`, it has them.
        preprocess: How the image becomes the model's input.
        size: The model's input size, `(height, width)`, one number or `"224x224"`, where the model doesn't fix it.
        labels: Class names, a file with one per line, or `"imagenet"`.
        backend: The backend that reads the model.
        device: Where the model runs.
        trust: Whether the model's file may run code while it is loaded.

    Raises:
        BadLayout: A layer without pixels, or a combination that isn't one map.
        LayerNotFound: A layer that doesn't exist.
        ModelNotReadable: A model that can't be opened; with its children `BackendMissing` and `TrustRequired`.
        BadOption: No photo, several layers or images, or an invalid option; also
            `BadScale`, `BadChannels`.
    """
    options = FigureOptions.among({**locals(), "image": 0})
    fm = only_map(model)
    if not isinstance(fm, FeatureMap):
        if image is None:
            instead = f"; {OF_ARRAY}" if is_array(model) else ""
            raise BadOption(
                f"figure() draws what a model makes of a photo: give image=, or a FeatureMap alone{instead}"
            )
        row = row_of(combine)
        if row is not None and row.joint:
            raise BadOption(f"combine={combine!r} makes one map of several layers: overlay() draws it")
        scope = scope_for(model, image, **open_options(locals()))
        if target is None and needs_target(combine):
            target = first_class(scope, image)
        fm = capture_one(scope, image, layer, target=target_of_capture(combine, target))
        fm = fm.image(0) if fm.photos is None or asks_model(combine) else fm
    elif image is not None:
        raise BadOption("a FeatureMap has its photo and its layer: leave image= and layer= out")
    elif len(fm.ids) != 1:
        raise BadOption(f"a figure shows one image, and this map has {len(fm.ids)}: choose one with fm.image(0)")
    else:
        check_opened(open_options(locals()))
    return draw_figure(fm, combine, target, options)


def draw_figure(whole: FeatureMap, combine: Any, target: Any, options: FigureOptions) -> Picture:
    """The figure of one image of a map."""
    _check_map(whole)
    one_map = bool(whole.rule)
    fm = whole if one_map else combined(whole, combine, target)
    if is_grouped(fm):
        raise BadLayout("a figure shows one map of numbers or of colours, these are groups: overlay() draws them")
    options.check_numbers(fm)
    sketch = Sketch.of(fm, options.overlay())
    one = whole.image(options.image)
    shown = None if one_map else _strongest(one, options)
    rule = sketch.paint.rule
    bar: ColorBar | None = None
    marks = set() if rule is None else marks_of(rule.codes(sketch.one.values[0, ..., 0]))
    if rule is not None and options.bar:
        low, high = extent_of(sketch.one.values)[0, 0].tolist()
        bar = ColorBar(rule, marks, (low, high), quantity=quantity(fm))
        bar = bar if bar.measures else None
    names: list[list[str]] = [
        ["Input"],
        [_capital(name) for name in (fm.rule, fm.method) if name] or ["Map"],
        ["Overlay"],
    ]
    names += [[shown.words]] if shown else []
    layout = Layout.of(sketch, bar, shown, names=names, options=options, millimetres=options.width_mm)
    # The photo is in grey, and a map may stop short of an edge, only there.
    panel = sketch.resized(layout.highs[0], layout.wides[0]).within(layout.width, "(c): ")
    lines = [*panel.lines]
    title = title_of(fm)
    if shown is not None:
        marks |= shown.tiles.marks
        lines += [
            Note(
                "scale",
                f"Each channel has its own range, printed above it{'' if all(layout.ranges) else ' where there is room'}",
            ),
            *(Note(kind_of(note), f"(d): {note}") for note in shown.tiles.beyond().words(shown.rule, options.clip)),
        ]
        title = title_of(whole, channels_text(whole, whole.channels))
    key = TileKey.of(shown.rule).painted(shown.rule.palette()) if shown and shown.tiles.ranged and options.bar else None
    frame = Frame(title, lines[0], lines[1:], marks=marks, text=layout.text, tiles=key, narrowest=0)
    frame = replace(options.framed(frame), ranges=shown.rule if shown else rule, colorbar=False)
    canvas, pixels, cells = draw_panels(sketch, layout, shown, frame)
    picture = canvas.picture(cells, rule, about(sketch.one, rule), pixels)
    return picture.themed(options.theme)


def _check_map(fm: FeatureMap) -> None:
    """Raises where a figure can't show a map: it has no photo, or no pixels."""
    path = fm.layer.path or "this map"
    if len(fm.spatial) != 2 or max(fm.spatial) == 1:
        other = {0: "bars() or strip()", 1: "strip()", 3: "montage()"}.get(len(fm.spatial), "bars() or strip()")
        raise BadLayout(f"a figure shows maps of pixels, and {path!r} has the shape {fm.shape}: {other} draws it")
    if fm.photos is None or fm.placement is None:
        raise BadOption(
            "a figure shows the photo, and this map has none: capture it from an image, or draw it with sheet()"
        )


def _strongest(whole: FeatureMap, options: FigureOptions) -> Strongest:
    """The channels that a figure shows, in their order."""
    chosen = positions(whole, options.channels)
    top = int(options.top or (MOST if options.channels is None else len(chosen)))
    wanted, word = {whole.channels[at] for at in chosen}, channel_word(whole)
    order = [channel for channel in strongest(whole, by=options.by, top=None) if channel in wanted][:top]
    if len(order) < len(chosen):
        words = f"The {len(order)} strongest of {counted(whole.of, word)}, by their {options.by}"
    elif options.channels is not None:
        order = [whole.channels[at] for at in chosen]
        words = f"{counted(len(order), word)} of {whole.of}"
    else:
        words = f"All {counted(len(order), word)}, the strongest first, by their {options.by}"
    tiles = replace(DrawOptions.like(options), scale="channel")
    rule = tiles.fit_scale(whole, whole, extent_of(whole.values), "channel")
    return Strongest.of(whole, np.array([whole.channels.index(channel) for channel in order]), rule, words)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:] if text.partition(" ")[0].islower() else text
