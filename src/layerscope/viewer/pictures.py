"""What a page shows, drawn as Python draws it: the sheet, the combined map, or that map on the photo."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..checks import one_of, real, whole
from ..combinations.attention import attention
from ..combinations.reduce import mean, weighted
from ..core.feature_map import FeatureMap
from ..core.layer import Layer
from ..core.note import Note
from ..errors import BadOption
from ..picture.codes import GAP
from ..picture.picture import Picture
from ..plots.heatmap import draw_heatmap
from ..plots.options import DrawOptions
from ..plots.overlay import OverlayOptions, draw_overlay
from ..plots.sheet import draw_sheet
from ..plots.show import draw, one_channel
from .captures import Captures, Subject
from .combine import combination

KINDS = ("sheet", "combined", "overlay")
OWN = ("channel", "mean", "weights")  # the modes that a page computes itself
PRINT = 100  # dots per inch that letters are meant for where `text` is 1
LONGEST = 2000  # of a condition on channels


def picture(captures: Captures, subjects: Sequence[Subject], params: Mapping[str, Any]) -> tuple[Picture, bytes]:
    """The picture of a view state, and its PNG: `params` has `view`, `what`, and maybe `page` and `dpi`.

    Of several subjects their pictures beside each other, as a page shows them.
    """
    state = params["view"]
    dpi = None if params.get("dpi") is None else real("dpi", params["dpi"], 1, 100_000)
    views = [View(state), *(View(_of_second(state, subject.layer)) for subject in subjects[1:])]
    images = [_picture(captures, *each, params=params, dpi=dpi) for each in zip(subjects, views, strict=True)]
    image = images[0] if len(images) == 1 else side_by_side(images)
    return image, image.png(dpi)


def side_by_side(images: Sequence[Picture]) -> Picture:
    """Pictures beside each other on one paper, each with its own title and caption.

    >>> import layerscope as ls, numpy as np
    >>> one, other = ls.heatmap(np.eye(4)), ls.heatmap(np.eye(9))
    >>> both = side_by_side([one, other])
    >>> both.width == one.width + other.width, both.height == max(one.height, other.height)
    (True, True)
    """
    height, width = max(image.height for image in images), sum(image.width for image in images)
    pixels = np.empty((height, width, 3), np.uint8)
    pixels[:] = images[0].palette()[GAP]
    left = 0
    for image in images:
        pixels[: image.height, left : left + image.width] = image.rgb()
        left += image.width
    return Picture(
        pixels,
        (),
        None,
        " against ".join(image.title for image in images),
        tuple(line for image in images for line in image.lines),
        {"pictures": [image.about() for image in images]},
        pages=max(image.pages for image in images),
        theme=images[0].theme,
    )


def _picture(
    captures: Captures, subject: Subject, view: View, *, params: Mapping[str, Any], dpi: float | None
) -> Picture:
    what = one_of("what", params.get("what") or "sheet", KINDS)
    options = {**view.common(), "text": None if dpi is None else min(4.0, max(1.0, dpi / PRINT))}
    if what == "sheet":
        options["page"] = whole("page", params.get("page") or 0, 0)
        image = _sheet(captures, subject, view, DrawOptions(**options, **view.of_tiles()))
    else:
        fm = captures.with_photo(_combination(captures, subject, view), subject.entry)
        image = _one_map(fm, view, options, on_photo=what == "overlay")
    return image.themed(view.theme)


def _of_second(state: Mapping[str, Any], layer: Layer) -> dict[str, Any]:
    """The state for the layer beside, which may have fewer channels and slices."""
    channels, depth = layer.channels or 1, layer.spatial[0] if len(layer.spatial) == 3 else 1
    active, slice, weights = (state.get(name) for name in ("active", "slice", "weights"))
    return {
        **state,
        "active": 0 if isinstance(active, int) and active >= channels else active,
        "slice": min(slice, depth - 1) if isinstance(slice, int) else slice,
        "weights": {key: weight for key, weight in weights.items() if str(key) in map(str, range(channels))}
        if isinstance(weights, Mapping)
        else weights,
    }


class View:
    """A view state from a page, whose every value may be anything. Raises `BadOption` for what draws nothing."""

    def __init__(self, state: Mapping[str, Any]) -> None:
        self.state = state

    @property
    def theme(self) -> str:
        return "dark" if self.state.get("theme") == "dark" else "light"

    @property
    def mode(self) -> str:
        mode = self.state.get("mode", "mean")
        return mode if isinstance(mode, str) else "mean"

    @property
    def scale(self) -> Any:
        """`"channel"`, `"layer"`, or two limits."""
        scale = self.state.get("scale") or "channel"
        return scale if isinstance(scale, str) else self._pair("scale")

    @property
    def clip(self) -> tuple[float, float] | None:
        """Two percentiles; limits that are given have none."""
        return None if self.state.get("clip") is None or not isinstance(self.scale, str) else self._pair("clip")

    def common(self) -> dict[str, Any]:
        """The options of any picture."""
        norm, colors = self.state.get("norm") or "linear", self.state.get("colors") or None
        if not isinstance(norm, str) or not (colors is None or isinstance(colors, str)):
            raise BadOption("norm and colors are names")
        return {"norm": None if norm == "linear" else norm, "colors": colors, "theme": self.theme}

    def of_tiles(self) -> dict[str, Any]:
        """The options of a sheet."""
        find, sort = self.state.get("find") or "", self.state.get("sort") or "index"
        if not isinstance(find, str) or len(find) > LONGEST or not isinstance(sort, str):
            raise BadOption("find is a condition on channels, and sort the name of an order")
        single = self.state.get("single") is True
        return {
            "channels": [self.whole("active")] if single else find.strip() or None,
            "sort": "index" if single else sort,
            "scale": self.scale,
            "clip": self.clip,
        }

    def weights(self) -> dict[int, float]:
        """Weights by channel; JSON has the numbers of channels as text."""
        weights = self.state.get("weights")
        try:
            return {int(channel): float(weight) for channel, weight in weights.items()}  # type: ignore[union-attr]
        except (AttributeError, TypeError, ValueError) as error:
            raise BadOption("weights are numbers by the number of their channel") from error

    def whole(self, name: str) -> int:
        return whole(name, self.state.get(name) or 0, 0)

    def _pair(self, name: str) -> tuple[float, float]:
        try:
            low, high = map(float, self.state[name])
        except (TypeError, ValueError) as error:
            raise BadOption(f"{name}: a rule, or two numbers") from error
        return low, high


def _sheet(captures: Captures, subject: Subject, view: View, options: DrawOptions) -> Picture:
    one = _part(captures.map_of(subject), view)
    return draw_sheet(captures.with_photo(one, subject.entry), options)


def _combination(captures: Captures, subject: Subject, view: View) -> FeatureMap:
    """The channels combined as the view says."""
    if view.mode not in OWN:
        return _slice(combination(captures, subject, view.mode, view.state.get("target"))[0], view)
    one = _part(captures.map_of(subject), view)
    if view.mode == "channel":
        return one.select([view.whole("active")])
    if view.mode == "mean":
        return mean(one)
    total = weighted(one, view.weights())
    return total.combined(total.values.clip(min=0), "positive part") if view.state.get("post") == "relu" else total


def _one_map(fm: FeatureMap, view: View, options: dict[str, Any], *, on_photo: bool) -> Picture:
    """A combined map alone or on its photo; a single channel has the scale that its tile has."""
    if view.mode == "channel" and not isinstance(view.scale, str):
        options = {**options, "scale": view.scale}
    elif view.mode == "channel":
        options = {**options, "clip": view.clip}
    if fm.role in ("rgb", "factors", "labels"):
        options = {**options, "norm": None, "colors": None}  # its colours are its own, not those of the sheet
    if on_photo:
        alpha = view.state.get("opacity")
        return draw_overlay(one_channel(fm), OverlayOptions(**options, alpha=alpha))
    drawing = DrawOptions(**options)
    flat = len(fm.spatial) == 2 and (fm.role or fm.shape[-1] == 1)
    return draw_heatmap(fm, drawing) if flat else draw(fm, drawing)


def _part(one: FeatureMap, view: View) -> FeatureMap:
    """What a page shows of a map: of a volume one slice, of attention weights those of one query."""
    if one.layer.attention:
        return attention(one, view.whole("query")) if one.layer.grid is not None else one
    return _slice(one, view)


def _slice(one: FeatureMap, view: View) -> FeatureMap:
    if len(one.spatial) != 3:
        return one
    depth = one.spatial[0]
    number = whole("slice", view.state.get("slice") or 0, 0, depth - 1)
    layer = replace(one.layer, axes="bhwc", shape=(1, *one.spatial[1:], one.of), grid=None, receptive=None, lines=None)
    note = Note("slice", f"slice {number} of {depth}, counted from 0")
    return replace(
        one,
        values=one.values[:, number],
        layer=layer,
        gradient=None,
        tokens=None,
        origin=None,
        notes=(*one.notes, note),
    )
