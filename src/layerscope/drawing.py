"""`show`: from model and image to picture in one call; and `draw`, which it shares with the command line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from . import combine as _combine
from .errors import BadOption, near
from .featuremap import FeatureMap
from .heatmaps import heatmap
from .heatmaps import overlay as laid_on
from .opening import open as open_scope
from .picture import Picture
from .scope import Scope
from .sheets import sheet

COMBINATIONS: dict[str, Callable[[FeatureMap], FeatureMap]] = {
    "mean": _combine.mean,
    "total": _combine.total,
    "max": _combine.maximum,
    "norm": _combine.norm,
    "deviation": _combine.deviation,
    "pca": _combine.pca,
}


def show(
    model: Any,
    image: Any,
    layer: Any = "last",
    *,
    combine: Any = None,
    overlay: bool = False,
    channels: Sequence[int] | slice | None = None,
    columns: int | None = None,
    sort: str = "index",
    scale: Any = None,
    colors: str | None = None,
    page: int = 0,
    **opening: Any,
) -> Picture:
    """One layer of a model for one image as a picture: a numbered tile for each channel, or the channels combined.

    `combine`: `"mean"`, `"total"`, `"max"`, `"norm"`, `"deviation"`, `"pca"`, `"weights:FILE"`, or any combination as a
    function. `overlay=True` lays the result over the photo. The other options are those of `sheet` and `open`. A
    notebook displays the `Picture`; `Picture.save("out.png")` writes it.
    """
    scope = model if isinstance(model, Scope) else open_scope(model, **opening)
    maps = scope.capture(image, layer, channels=channels)
    if len(maps) != 1:
        raise BadOption(
            f"{layer!r} names {len(maps)} feature maps ({', '.join(maps)}): show() draws one, capture() gives all"
        )
    (fm,) = maps.values()
    if len(fm.ids) != 1 and fm.photos is not None:
        raise BadOption(f"show() draws one image, these are {len(fm.ids)}: capture() takes them all")
    whole = combined(fm, combine)
    return draw(whole, overlay=overlay, columns=columns, sort=sort, scale=scale, colors=colors, page=page)


def combined(fm: FeatureMap, rule: Any) -> FeatureMap:
    """`fm` combined by a rule: a name of `COMBINATIONS`, `"weights:FILE"`, a function, or `None` for not at all."""
    if rule is None:
        return fm
    if callable(rule):
        return rule(fm)
    if isinstance(rule, str) and rule.startswith("weights:"):
        return _combine.weighted(fm, rule.removeprefix("weights:"))
    if rule not in COMBINATIONS:
        names = (*COMBINATIONS, "weights:FILE")
        raise BadOption(f"combine={rule!r}: use {', '.join(names)}.{near(str(rule), names)}")
    return COMBINATIONS[rule](fm)


def draw(
    fm: FeatureMap,
    *,
    image: int = 0,
    overlay: bool = False,
    columns: int | None = None,
    sort: str = "index",
    scale: Any = None,
    colors: str | None = None,
    page: int = 0,
) -> Picture:
    """The picture that a feature map asks for: an overlay, a heat map where it is a combination, else a sheet."""
    if overlay:
        return laid_on(fm, image=image, scale=scale or "layer", colors=colors)
    if fm.rule:
        return heatmap(fm, image=image, scale=scale or "layer", colors=colors)
    return sheet(fm, image=image, columns=columns, sort=sort, scale=scale or "channel", colors=colors, page=page)
