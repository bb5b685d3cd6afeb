"""`show`: from model and image to picture in one call; and `draw`, which it shares with the command line."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from inspect import signature
from typing import Any

from ..channels.query import find_channels, needs_values, positions
from ..channels.strongest import strongest
from ..checks import keywords, whole
from ..combinations.reduce import mean
from ..combinations.registry import combined, combined_maps, row_of, target_of_capture
from ..core.feature_map import FeatureMap
from ..core.layer import choice_in_words
from ..core.note import Note
from ..errors import BadOption
from ..inputs.images import check_files
from ..picture.picture import Picture
from ..scope.objects import by_path
from ..scope.open import check_reference, scope_of
from ..scope.open import open as open_scope
from ..scope.scope import Scope
from ..scope.target import top_classes
from ..surface import by_surface, option
from .bars import BarOptions, draw_bars, is_named
from .heatmap import draw_heatmap
from .montage import MontageOptions, draw_montage
from .on_photo import on_photo
from .options import DrawOptions
from .overlay import OverlayOptions, draw_overlay
from .sheet import draw_sheet
from .strip import StripOptions, draw_strip

PLAIN = DrawOptions()
MOST_NAMED = 6
OF_TILES = ("columns", "sort", "per_page", "statistics")


@keywords
def show(
    model: Any,
    image: Any,
    layer: Any = "last",
    *,
    combine: Any = None,
    target: Any = None,
    overlay: bool = False,
    photo: Any = None,
    on: str = "grey",
    alpha: float | None = None,
    even: bool = False,
    interpolation: str | None = None,
    smooth: bool | None = None,
    contours: int | Sequence[float] | None = None,
    top: float | None = None,
    channels: Any = None,
    columns: int | None = None,
    sort: str = "index",
    scale: Any = None,
    colors: Any = None,
    clip: tuple[float, float] | None = None,
    norm: str | None = None,
    page: int = 0,
    per_page: int | None = None,
    zoom: int | None = None,
    statistics: bool = False,
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
    """One layer of a model for one image as a picture: a numbered tile for each channel, or the channels combined.

    A notebook displays the `Picture`; `Picture.save("out.png")` writes it. The model's output becomes `bars` where its
    classes have names, a volume a `montage`, a sequence a `strip`.

    >>> import layerscope as ls
    >>> picture = show(ls.demo_model(), ls.demo_photo(), "_conv_stem")
    >>> len(picture.cells), picture.cells[5].channel
    (32, 5)

    Args:
        model: What `open` takes (a model object, a file, a reference), or a `Scope`.
        image: One image: a path, an array `[height, width, 3]`, a `PIL.Image`. Of a ready batch (`preprocess=None`) the first.
        layer: A path or a part of it, a glob, `"kind:Conv2D"`, an index, `"last"` (the last layer with pixels; attention
            maps where the combination is for those) or `"output"`.
        combine: The name of a combination (`"mean"`, `"grad-cam"` …), a function of a feature map, or weights for the channels
            as in `weighted`. By default none.
        target: For combinations for a class: its index, its label, or a function of the output. By default the top-1 class.
        overlay: Whether the map lies on the photo: of several channels, or of several heads of attention, the mean.
        photo: Of an overlay for a ready batch (`preprocess=None`), the photo that the model saw the whole of.
        on: Of an overlay, what the map lies on: `"grey"`, the photo without its colours, or `"photo"`, with them.
        alpha: Of an overlay, the greatest opacity, from 0 (the photo alone) to 1 (the strongest values hide it).
        even: Of an overlay, whether all values cover the photo alike, as in those of other tools; else the strong ones do.
        interpolation: Of an overlay, `"nearest"` (each unit one flat area) or `"smooth"` (neighbours blend linearly); by
            default class activation maps blend.
        smooth: `True` for `interpolation="smooth"`, `False` for `"nearest"`.
        contours: Of an overlay, levels to draw a line at, or how many.
        top: Of a sheet, how many channels: those with the largest mean, the strongest first; of bars, how many; of an
            overlay, per cent of the units to colour, the highest ones.
        channels: True channel numbers, a slice, or a condition as in `find_channels`: what is drawn or combined.
        columns: Tiles per row.
        sort: The order of the tiles, as for `sheet`.
        scale: `"channel"`, `"layer"`, `(low, high)` or a `Scale`; by default that of the kind of picture.
        colors: A name of the cmap catalogue, a colour map of matplotlib or a list of colours. By default viridis, or vik
            centred on 0 for values of both signs.
        clip: Two percentiles, such as `(1, 99)`, to which the range is clipped.
        norm: `"linear"` (the usual one), `"log"` or `"symlog"`, as in `Scale`; by default that of a `Scale` given.
        page: Which page, counted from 0.
        per_page: Tiles per page; by default as many as fit.
        zoom: Picture pixels per unit of the map; of an overlay, per pixel of the photo.
        statistics: Whether to print mean and share of zeros below each tile.
        text: Size of letters and tiles, from 1 (screen) to 4; 3 is for print at 300 dpi. By default letters can be read where
            the picture is shown 900 pixels wide.
        title: The title in place of the usual one; `""` for none.
        caption: Whether title, subject and notes are drawn; without, a `title` that you give is. The file keeps them.
        bar: Whether the colour bar is drawn. Without `caption` and `bar` the map stands alone.
        theme: `"light"`, `"dark"` or `"transparent"` paper.
        weights: As for `open`, like all that follow; where `model` is a `Scope`, it has them.
        preprocess: How the image becomes the model's input.
        size: The model's input size, `(height, width)`, one number or `"224x224"`, where the model doesn't fix it.
        labels: Class names, a file with one per line, or `"imagenet"`.
        backend: The backend that reads the model.
        device: Where the model runs.
        trust: Whether the model's file may run code while it is loaded.

    Raises:
        LayerNotFound: A layer that doesn't exist.
        GradientsUnavailable: A combination by gradients, where the framework has none.
        ModelNotReadable: A model that can't be opened; with its children `BackendMissing` and `TrustRequired`.
        BadOption: Several layers or images, or an invalid option; also `BadScale`, `BadChannels`.
    """
    options = OverlayOptions.among({**locals(), "image": 0, "channels": None})  # these choose what is captured
    check_for_overlay(options, overlay)
    if photo is not None and not overlay:
        raise BadOption("photo= is for a map on the photo: overlay=True lays it there")
    scope = scope_for(model, image, **open_options(locals()))
    if target is None and needs_target(combine):
        target = first_class(scope, image)
    condition = channels if needs_values(channels) else None
    selected = None if condition else channels
    row = row_of(combine)
    if row is not None and layer == "last":
        layer = row.layers
    if row is not None and row.joint:
        (fm,) = combined_maps(scope.capture(image, layer, channels=selected), combine, target).values()
        _check_one(fm)
        return draw(on_photo(fm, photo), options, overlay=overlay)
    fm = capture_one(scope, image, layer, channels=selected, target=target_of_capture(combine, target))
    if asks_model(combine):
        fm = fm.image(0)
    if condition:
        fm = _select(fm, condition)
    fm = on_photo(combined(fm, combine, target), photo)
    return draw(one_channel(fm) if overlay else fm, options, overlay=overlay)


def check_for_overlay(options: DrawOptions, overlay: bool) -> None:
    """Raises `BadOption` for options of an overlay where none is drawn, and for those of tiles where one is.

    `top` is one of sheets and bars too.
    """
    if overlay:
        _check_without_tiles(options, OF_TILES)
        OverlayOptions.like(options).check_percentage()
    common = {field.name for field in fields(DrawOptions)} | {"top"}
    for field in fields(options):
        value = getattr(options, field.name)
        if not overlay and field.name not in common and value != field.default:
            on = by_surface("overlay=True lays it there", "--overlay lays it there")
            raise BadOption(f"{option(field.name, value)} is for a map on the photo: {on}")


def _check_without_tiles(options: DrawOptions, names: Sequence[str]) -> None:
    """Raises `BadOption` for options of the tiles of a sheet where one map is drawn."""
    usual = {field.name: field.default for field in fields(options)}
    for name in names:
        value = getattr(options, name)
        if value != usual[name]:
            without = by_surface("combine= and overlay=", "--combine and --overlay")
            raise BadOption(
                f"{option(name, value)} is for a sheet, with a tile for each channel, and this is one map: leave it out, or"
                f" {without}"
            )


def one_channel(fm: FeatureMap) -> FeatureMap:
    """What of a map can lie on a photo: the mean of several channels that are neither colours nor groups."""
    return fm if fm.role or fm.shape[-1] == 1 else mean(fm)


def open_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """The options of `open` among the arguments of a function that has them as keywords, its `locals()`."""
    return {name: given[name] for name in signature(open_scope).parameters if name != "model"}


def scope_for(model: Any, image: Any, **opening: Any) -> Scope:
    """The scope of a model, which may be one; a file that is no image is reported before a framework is imported."""
    if isinstance(model, str | os.PathLike) and isinstance(image, str | os.PathLike):
        check_reference(os.fspath(model))
        check_files(image)
    return scope_of(model, **opening)


def capture_one(scope: Scope, image: Any, layer: Any, **capturing: Any) -> FeatureMap:
    """The one feature map of one image. Raises `BadOption` for several."""
    layer = by_path(scope, layer)
    maps = scope.capture(image, layer, **capturing)
    if len(maps) != 1:
        names = ", ".join([*maps][:MOST_NAMED]) + (", …" if len(maps) > MOST_NAMED else "")
        all_of = by_surface(
            "ls.compare(maps) shows several side by side, and capture() returns them", "compare shows several"
        )
        raise BadOption(f"{choice_in_words(layer)} selects {len(maps)} feature maps ({names}): choose one; {all_of}")
    (fm,) = maps.values()
    _check_one(fm)
    return fm


def _select(fm: FeatureMap, condition: Any) -> FeatureMap:
    """The channels that fit a condition, with a note of it where it is text."""
    notes = (Note("channels", f"channels where {condition}"),) if isinstance(condition, str) else ()
    return replace(fm.select(find_channels(fm, condition)), notes=(*fm.notes, *notes))


def needs_target(combine: Any) -> bool:
    """Whether a combination needs a target in the capture."""
    row = row_of(combine)
    return row is not None and row.target


def asks_model(combine: Any) -> bool:
    """Whether a combination runs the model itself, once and more for each image."""
    row = row_of(combine)
    return row is not None and row.model


def first_class(scope: Scope, image: Any) -> int:
    """The top-1 class of the one image, or of the first of a ready batch."""
    (output,) = scope.capture(image, "output").values()
    _check_one(output)
    return top_classes(output)[0]


def _check_one(fm: FeatureMap) -> None:
    if len(fm.ids) != 1 and fm.photos is not None:
        raise BadOption(
            f"one image can be drawn, and these are {len(fm.ids)}: ls.compare draws several side by side, capture() returns"
            " their maps, and `layerscope show MODEL FOLDER` on the command line writes a picture of each"
        )


def draw(fm: FeatureMap, options: DrawOptions = PLAIN, *, overlay: bool = False) -> Picture:
    """The picture that a feature map asks for: an overlay, a heat map where it is a combination, else a sheet.

    Of the model's output, where its channels have names, the ten largest become bars; a volume becomes a montage, a sequence
    a strip. Columns, order and statistics are for the tiles of a sheet, of which `top` chooses the strongest channels.
    """
    given = OverlayOptions.like(options)
    picture = _draw(fm, given, replace(given, channels=None, columns=None), overlay)
    return picture if picture.theme == options.theme else picture.themed(options.theme)


def _draw(fm: FeatureMap, options: OverlayOptions, plain: OverlayOptions, overlay: bool) -> Picture:
    if overlay:
        return draw_overlay(fm, plain)
    if is_named(fm) and not fm.rule and options.clip is None:
        top: dict[str, Any] = {} if plain.top is None else {"top": plain.top}
        return draw_bars(fm, replace(BarOptions.like(plain), **top))

    rank, one_channel = len(fm.spatial), fm.shape[-1] == 1
    if fm.rule and (one_channel or fm.role or rank == 1):
        _check_without_tiles(options, (*OF_TILES, "top"))
    if fm.rule and rank == 3 and (one_channel or fm.role == "rgb"):
        return draw_montage(fm, MontageOptions.like(plain))
    if fm.rule and rank == 1 and not fm.role:
        return draw_strip(fm, StripOptions.like(plain))
    if fm.rule and rank < 3 and (one_channel or fm.role):
        return draw_heatmap(fm, plain)
    return draw_sheet(*((fm, options) if options.top is None else _strongest(fm, options)))


def _strongest(fm: FeatureMap, options: OverlayOptions) -> tuple[FeatureMap, OverlayOptions]:
    """The map and the options by which a sheet draws the `top` strongest of the chosen channels."""
    top = whole("top", options.top)
    one, _ = options.pick(fm)
    chosen = [one.channels[index] for index in positions(one, options.channels)]
    wanted = strongest(one.select(chosen), top=top)
    among = f" of those where {options.channels}" if isinstance(options.channels, str) else ""
    note = Note("channels", f"the {len(wanted)} strongest channels{among}, by their mean")
    return replace(fm, notes=(*fm.notes, note)), replace(options, channels=tuple(wanted), top=None)
