"""`kernels`: the weights of a convolution as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..arrays.ranges import extent_of
from ..checks import keywords
from ..core.feature_map import FeatureMap
from ..core.note import Note
from ..errors import BadOption, near
from ..picture.canvas import Frame
from ..picture.caption import caption, quantity, title_of
from ..picture.palette import marks_of
from ..picture.picture import Picture
from ..safe_text import counted
from ..scope.objects import by_path
from ..scope.open import scope_of
from ..scope.run import provenance
from ..scope.scope import Scope
from ..surface import option
from .kernel_grid import KernelGrid
from .kernel_weights import Weights, draw_colours
from .montage import index_list
from .options import DrawOptions
from .sheet import draw_sheet
from .strip import StripOptions, draw_strip

FOLDS = ("rgb", "norm", "mean")


@keywords
def kernels(
    scope: Any,
    layer: Any,
    *,
    filters: Sequence[int] | slice | None = None,
    inputs: str | Sequence[int] | slice | None = None,
    columns: int | None = None,
    zoom: int | None = None,
    scale: Any = None,
    colors: Any = None,
    norm: str | None = None,
    page: int = 0,
    text: float | None = None,
    title: str | None = None,
    caption: bool = True,
    bar: bool = True,
    theme: str = "light",
    images: Any = None,
) -> Picture:
    """The filters of a convolution as numbered tiles: its weights, not what it gives for an image.

    By default the first layer is drawn in colours, a filter with one input (depthwise) as it is, all others by their
    norm. A 1×1 convolution becomes one table, one row per filter, one column per input. `Scope.kernel` gives the
    numbers themselves.

    >>> import layerscope as ls
    >>> scope = ls.open(ls.demo_model())
    >>> picture = kernels(scope, "_conv_stem", filters=[0, 5])
    >>> [cell.channel for cell in picture.cells]
    [0, 5]

    Args:
        scope: A `Scope`, or what `open` takes (a model object, a file, a reference).
        layer: One convolution: its path, a part of its path, or its index.
        filters: The numbers of the filters, or a slice. All by default.
        inputs: What becomes of a filter's input channels. `"rgb"`: the three of the first layer as colours; grey is 0,
            and each filter is stretched to its own largest weight on both sides. `"norm"`: their L2 norm at each
            position, which shows where a filter looks, but not with which sign. `"mean"`: keeps the sign, but opposite
            weights cancel out. Numbers or a slice: each becomes a tile of its own, one row per filter.
        columns: Tiles per row; single inputs have a row for each filter whatever it is.
        zoom: Picture pixels per weight.
        scale: `"layer"` (one for all filters, the usual one), `"channel"` (each its own), `(low, high)` or a `Scale`.
        colors: A name of the cmap catalogue, a colour map of matplotlib or a list of colours. By default viridis, or vik
            centred on 0 for values of both signs.
        norm: `"linear"` (the usual one), `"log"` or `"symlog"`, as in `Scale`; by default that of a `Scale` given.
        page: Which page, counted from 0.
        text: Size of letters and tiles, from 1 (screen) to 4; 3 is for print at 300 dpi. By default letters can be read where
            the picture is shown 900 pixels wide.
        title: The title in place of the usual one; `""` for none.
        caption: Whether title, subject and notes are drawn; without, a `title` that you give is. The file keeps them.
        bar: Whether the colour bar is drawn. Without `caption` and `bar` the map stands alone.
        theme: `"light"`, `"dark"` or `"transparent"` paper.
        images: An image for the dry run, for models whose input isn't known.

    Raises:
        LayerNotFound: A layer that doesn't exist.
        ModelNotReadable: A model that can't be opened; with its children `BackendMissing` and `TrustRequired`.
        BadScale: A scale or colours that don't exist.
        BadOption: No such weights, filters or inputs, or any other option is invalid.
    """
    options = DrawOptions(
        columns=columns,
        zoom=zoom,
        scale=scale,
        colors=colors,
        norm=norm,
        page=page,
        text=text,
        title=title,
        caption=caption,
        bar=bar,
        theme=theme,
    )
    return _draw(scope_of(scope), layer, options, filters=filters, inputs=inputs, images=images).themed(theme)


def _draw(scope: Scope, layer: Any, options: DrawOptions, *, filters: Any, inputs: Any, images: Any) -> Picture:
    """The weights of a layer, drawn by what they are."""
    kernel = scope.kernel(layer, images)
    table = scope.layers(images)
    (row,) = table.choose(by_path(scope, layer))
    weights = Weights.of(kernel, row, provenance(scope))
    first = next((other.path for other in table if other.calls and "conv" in other.kind.lower()), None)
    if inputs is None:
        inputs = _usual_inputs(weights, row.path == first and _takes_colours(scope))
    view = View(weights, index_list("filters", filters, len(weights.values)), options)
    if isinstance(inputs, str):
        if inputs not in FOLDS:
            words = ", ".join(map(repr, FOLDS))
            raise BadOption(f"inputs={inputs!r}: use {words}, or the numbers of input channels{near(inputs, FOLDS)}")
        if inputs == "rgb" and options.norm not in (None, "linear"):
            raise BadOption(
                f"{option('norm', options.norm)} needs numbers, and filters in colours hold none: use inputs='norm' or 'mean'"
            )
        if inputs == "rgb":
            return draw_colours(weights, view.filters, scope.preprocess.order, options)
        return _draw_folded(view, inputs)
    numbers = index_list("inputs", inputs, weights.inputs)
    if weights.inputs == 1:
        return _draw_folded(view, "only")
    return _draw_table(view, numbers) if weights.pointwise else _draw_grid(view, numbers)


@dataclass(frozen=True, eq=False)
class View:
    """Which filters of which weights are drawn, and how."""

    weights: Weights
    filters: Sequence[int]
    options: DrawOptions


def _usual_inputs(weights: Weights, first: bool) -> Any:
    """What becomes of the inputs where nothing is asked for; `first` is the layer that colours go into."""
    if first and weights.three:
        return "rgb"
    return slice(None) if weights.inputs == 1 or weights.pointwise else "norm"


def _takes_colours(scope: Scope) -> bool:
    """Whether the model's only image input has three channels."""
    inputs = scope.facts.inputs
    if not inputs:
        return True
    first = inputs[0]
    return "c" not in first.axes or first.shape[first.axes.index("c")] in (3, None)


def _fit_scale(fm: FeatureMap, options: DrawOptions, *, from_zero: bool = False) -> Any:
    """The scale: over all filters by default. The words of `"layer"` speak of an image, and there is none."""
    if options.scale in (None, "layer", "images"):
        fitted = replace(replace(options, scale="layer").fit_scale(fm, fm, extent_of(fm.values)), per="fixed")
        # Norms are seen against 0, not against the least of them.
        from_zero = from_zero and fitted.norm != "log"
        return replace(fitted, limits=(0.0, fitted.limits[1])) if from_zero else fitted
    if options.scale == "channel":
        return options.scale
    return options.fit_scale(fm, fm, extent_of(fm.values))


def _draw_folded(view: View, fold: str) -> Picture:
    """Each filter as one map, its inputs folded into one number per position."""
    weights, values = view.weights, view.weights.values
    if fold == "norm":
        folded, rule = (
            np.sqrt(np.square(values, dtype=np.float64).sum(1)),
            f"kernels: L2 norm over {counted(weights.inputs, 'input')}",
        )
    elif fold == "mean":
        folded, rule = values.mean(1, dtype=np.float64), f"kernels: mean over {counted(weights.inputs, 'input')}"
    else:
        folded, rule = values[:, 0], "kernels"
    fm = weights.map(np.moveaxis(folded, 0, -1)[None], rule)
    scale = _fit_scale(fm, view.options, from_zero=fold == "norm")
    options = replace(view.options, channels=view.filters, scale=scale)
    if len(fm.spatial) == 1 or max(fm.spatial) == 1:
        return draw_strip(fm, StripOptions.like(options))
    return draw_sheet(fm, options)


def _draw_table(view: View, numbers: Sequence[int]) -> Picture:
    """A 1×1 convolution: one row per filter, one column per input."""
    weights = view.weights
    flat = weights.values.reshape(*weights.values.shape[:2])
    scale = _fit_scale(weights.map(flat.T[None], "kernels"), view.options)
    fm = weights.map(flat.T[None][:, list(numbers)], "kernels")
    axis = "input of its group" if weights.groups > 1 else "input"
    if tuple(numbers) != tuple(range(len(numbers))):
        axis += f" (index among the {len(numbers)} chosen)"
    options = replace(StripOptions.like(view.options), channels=view.filters, scale=scale, axis=axis)
    return draw_strip(fm, options)


def _draw_grid(view: View, numbers: Sequence[int]) -> Picture:
    """One row per filter, one tile for each of its inputs."""
    weights, values, options = view.weights, view.weights.values, view.options
    if values.ndim != 4:
        raise BadOption(
            f"single inputs can be drawn only for two-dimensional kernels, and these have {values.ndim - 2}: use "
            "inputs='norm' or 'mean'"
        )
    fm = weights.map(values.transpose(1, 2, 3, 0).reshape(1, -1, *values.shape[3:], len(values)), "kernels")
    rule = _fit_scale(fm, replace(options, scale="layer") if options.scale == "channel" else options)
    size = (values.shape[2], values.shape[3])
    grid = KernelGrid.fitting(size, numbers, options)
    page = options.pick_page(len(view.filters), grid.most)
    filters = view.filters[page.here]
    shown = f"{_of(len(view.filters), len(values), 'filter')} × {_of(len(numbers), weights.inputs, 'input')}"
    column = "input of the filter's group" if weights.groups > 1 else "input"
    order = Note("order", f"a row for each filter, a column for each {column}")
    lines = (*caption(fm, rule, page.text), order)
    marks = marks_of(rule.codes(values[np.ix_(filters, numbers)]))
    frame = Frame(
        title_of(fm, f"{shown} of {size[1]} × {size[0]}"),
        lines[0],
        lines[1:],
        rule,
        marks,
        quantity=quantity(fm),
    )
    picture = grid.picture(weights, filters, rule, options.framed(frame), fm=fm)
    return replace(picture, page=page.number, pages=page.pages)


def _of(count: int, total: int, noun: str) -> str:
    """`64 filters`, `8 of 64 filters`."""
    return counted(total, noun) if count == total else f"{count:,} of {counted(total, noun)}"
