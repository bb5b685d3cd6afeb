"""`show`: from model and image to picture in one call; and `draw`, which it shares with the command line."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..channels.query import find_channels
from ..combinations.registry import combined, row_of, target_of_capture
from ..core.feature_map import FeatureMap
from ..errors import BadOption
from ..picture.picture import Picture
from ..scope.open import open as open_scope
from ..scope.scope import Scope
from ..scope.target import top_classes
from .bars import bars, is_named
from .heatmap import heatmap
from .montage import montage
from .overlay import overlay as laid_on
from .sheet import sheet
from .strip import strip


def show(
    model: Any,
    image: Any,
    layer: Any = "last",
    *,
    combine: Any = None,
    target: Any = None,
    overlay: bool = False,
    channels: Any = None,
    columns: int | None = None,
    sort: str = "index",
    scale: Any = None,
    colors: str | None = None,
    clip: tuple[float, float] | None = None,
    page: int = 0,
    per_page: int | None = None,
    statistics: bool = False,
    text: int = 1,
    theme: str = "light",
    **opening: Any,
) -> Picture:
    """One layer of a model for one image as a picture: a numbered tile for each channel, or the channels combined.

    `combine`: the name of a combination, as on the command line (`"mean"`, `"pca"`, `"weights:w.npy"`, `"grad-cam"` …), or
    any combination as a function. `target` is a class index, a label or a function of the output, for combinations for
    a class; where they need one and none is given, it is the model's own first class. `overlay=True` lays the result
    over the photo. `channels`: true numbers, a slice, or a condition as in `find_channels`; these are what is drawn or
    combined. The other options are those of `sheet` and `open`. A notebook displays the `Picture`;
    `Picture.save("out.png")` writes it. Of a ready batch (`preprocess=None`) the first image is drawn.
    """
    scope = model if isinstance(model, Scope) else open_scope(model, **opening)
    if target is None and needs_target(combine):
        target = first_class(scope, image)
    condition = channels if isinstance(channels, str) or callable(channels) else None
    wanted = None if condition else channels
    maps = scope.capture(image, layer, channels=wanted, target=target_of_capture(combine, target))
    if len(maps) != 1:
        raise BadOption(
            f"{layer!r} names {len(maps)} feature maps ({', '.join(maps)}): show() draws one, capture() gives all"
        )
    (fm,) = maps.values()
    _one(fm)
    if asks_model(combine):
        fm = fm.image(0)
    if condition:
        said = (f"channels where {condition}",) if isinstance(condition, str) else ()
        fm = replace(fm.select(find_channels(fm, condition)), notes=(*fm.notes, *said))
    whole = combined(fm, combine, target)
    tiles: dict[str, Any] = {"per_page": per_page, "statistics": statistics, "text": text}
    picture = draw(
        whole, overlay=overlay, columns=columns, sort=sort, scale=scale, colors=colors, clip=clip, page=page, **tiles
    )
    return picture.themed(theme)


def needs_target(combine: Any) -> bool:
    """Whether a combination needs a target in the capture."""
    row = row_of(combine)
    return row is not None and row.target


def asks_model(combine: Any) -> bool:
    """Whether a combination runs the model itself, once and more for each image."""
    row = row_of(combine)
    return row is not None and row.model


def first_class(scope: Scope, image: Any) -> int:
    """The class that the model itself finds likeliest in the one image, or in the first of a ready batch."""
    (output,) = scope.capture(image, "output").values()
    _one(output)
    return top_classes(output)[0]


def _one(fm: FeatureMap) -> None:
    if len(fm.ids) != 1 and fm.photos is not None:
        raise BadOption(f"show() draws one image, these are {len(fm.ids)}: capture() takes them all")


def draw(
    fm: FeatureMap,
    *,
    image: int = 0,
    overlay: bool = False,
    columns: int | None = None,
    sort: str = "index",
    scale: Any = None,
    colors: str | None = None,
    clip: tuple[float, float] | None = None,
    page: int = 0,
    text: int = 1,
    **tiles: Any,
) -> Picture:
    """The picture that a feature map asks for: an overlay, a heat map where it is a combination, else a sheet.

    Of the model's output, where its channels have names, the ten largest become bars; a volume becomes a montage, a sequence
    a strip. `tiles` are options that only a `sheet` has.
    """
    if overlay:
        return laid_on(fm, image=image, scale=scale or "layer", colors=colors, clip=clip, text=text)
    if is_named(fm) and not fm.rule and clip is None:
        return bars(fm, image=image, scale=scale or "layer", colors=colors, text=text)
    if fm.rule and len(fm.spatial) == 3 and (fm.shape[-1] == 1 or fm.role == "rgb"):
        return montage(fm, image=image, scale=scale or "channel", colors=colors, clip=clip, page=page, text=text)
    if fm.rule and not fm.role and len(fm.spatial) == 1:
        return strip(fm, image=image, scale=scale or "layer", colors=colors, clip=clip, page=page, text=text)
    if fm.rule and (fm.role or fm.shape[-1] == 1) and len(fm.spatial) < 3:
        return heatmap(fm, image=image, scale=scale or "layer", colors=colors, clip=clip, text=text)
    options: dict[str, Any] = {"scale": scale or "channel", "colors": colors, "clip": clip, "text": text, **tiles}
    return sheet(fm, image=image, columns=columns, sort=sort, page=page, **options)
