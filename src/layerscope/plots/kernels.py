"""`kernels`: the weights of a convolution as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..arrays.ranges import extent_of
from ..core.feature_map import FeatureMap
from ..errors import BadOption, near
from ..picture.caption import about, caption, title_of
from ..picture.picture import Picture
from ..picture.scale import Scale
from ..picture.scale_rules import make_scale
from ..scope.run import provenance
from ..scope.scope import Scope
from .kernel_weights import Weights, in_colours, numbered
from .mosaic import Mosaic, Tile
from .sheet import sheet
from .strip import strip

WAYS = ("rgb", "norm", "mean")


def kernels(
    scope: Scope,
    layer: Any,
    *,
    filters: Sequence[int] | slice | None = None,
    inputs: str | Sequence[int] | slice | None = None,
    columns: int | None = None,
    zoom: int | None = None,
    scale: Any = None,
    colors: str | None = None,
    page: int = 0,
    text: int = 1,
    images: Any = None,
) -> Picture:
    """The filters of a convolution as numbered tiles, by its weights, not by what it gives for an image.

    ```python
    ls.kernels(scope, "features.0.0")                              # the first layer, in colours
    ls.kernels(scope, "block3_conv1", filters=[0, 5], inputs=slice(0, 16))   # a row a filter, a tile an input channel
    ```

    `inputs` says what becomes of a filter's input channels:

    - `"rgb"`: the three of the first layer as colours. Grey is 0, and each filter is stretched to its own largest weight on
      both sides, which stands above it.
    - `"norm"`: their L2 norm at each place, which shows where a filter looks, but not with which sign.
    - `"mean"`: keeps the sign, but opposite weights cancel out.
    - numbers or a slice: each becomes a tile of its own, a row a filter.

    By default the first layer is drawn in colours, a filter with one input (depthwise) as it is, all others by their norm. A
    1×1 convolution becomes one table, a row a filter, a column an input. `scale`: `"layer"` (one range for all filters, the
    default but for colours), `"channel"` (each filter its own), `(low, high)` or a `Scale`. `scope.kernel(layer)` gives the
    numbers themselves. `text` (1 to 4) draws letters and tiles so many times as large. `images` is for models whose
    input isn't known.

    Raises `BadOption` for layers without such weights, for filters and inputs that don't exist, and for frameworks whose
    backend gives no weights.
    """
    held = scope.kernel(layer, images)
    table = scope.layers(images)
    (row,) = table.choose(layer)
    weights = Weights.of(held, row, provenance(scope))
    chosen = numbered("filters", filters, len(weights.values))
    first = next((each.path for each in table if each.calls and "conv" in each.kind.lower()), None)
    three = weights.values.shape[1] == 3 and weights.groups == 1 and held.groups == 1 and weights.values.ndim == 4
    if inputs is None:
        one = weights.values.shape[1] == 1
        inputs = "rgb" if three and row.path == first and _takes_colours(scope) else slice(None) if one else "norm"
        inputs = slice(None) if weights.pointwise and inputs == "norm" else inputs
    tiles: dict[str, Any] = {"columns": columns, "zoom": zoom, "page": page, "text": text}
    if isinstance(inputs, str):
        if inputs not in WAYS:
            raise BadOption(
                f"inputs={inputs!r}: use 'rgb', 'norm', 'mean', or the numbers of input channels.{near(inputs, WAYS)}"
            )
        if inputs == "rgb":
            if not three:
                shape = "×".join(map(str, weights.values.shape))
                raise BadOption(
                    f"inputs='rgb' is for filters of three colours; these are {shape}: use 'norm' or numbers"
                )
            if not (scale is None or (isinstance(scale, str) and scale in ("channel", "layer"))):
                raise BadOption(
                    f"scale={scale!r}: filters in colours are stretched each by itself ('channel') or all alike ('layer')"
                )
            return in_colours(weights, chosen, scale == "layer", scope.preprocess.order, columns, zoom, page, text)
        return _folded(weights, chosen, inputs, scale, colors, tiles)
    numbers = numbered("inputs", inputs, weights.values.shape[1])
    if weights.values.shape[1] == 1:
        return _folded(weights, chosen, "only", scale, colors, tiles)
    if weights.pointwise:
        return _table(weights, chosen, numbers, scale, colors, tiles)
    return _grid(weights, chosen, numbers, scale, colors, tiles)


def _takes_colours(scope: Scope) -> bool:
    """Whether the model's only image input has three channels."""
    inputs = scope.facts.inputs
    if not inputs:
        return True
    first = inputs[0]
    return "c" not in first.axes or first.shape[first.axes.index("c")] in (3, None)


def _ruled(fm: FeatureMap, scale: Any, colors: str | None) -> Any:
    """The scale: over all filters by default. The words of `"layer"` speak of an image, and there is none."""
    if scale is None or (isinstance(scale, str) and scale in ("layer", "images")):
        found = replace(Scale.fit(fm.values, "layer", colors=colors), per="fixed")
        # Norms are seen against 0, not against the least of them.
        return replace(found, limits=(0.0, found.limits[1])) if "norm" in fm.rule else found
    if isinstance(scale, str) and scale == "channel":
        return scale
    return make_scale(fm, fm, scale, colors, extent_of(fm.values))


def _folded(
    weights: Weights, chosen: Sequence[int], way: str, scale: Any, colors: str | None, tiles: dict[str, Any]
) -> Picture:
    """Each filter as one map, its inputs folded into one number a place."""
    count = weights.values.shape[1]
    values = weights.values
    if way == "norm":
        folded, rule = np.sqrt(np.square(values, dtype=np.float64).sum(1)), f"kernels: L2 norm over {count} inputs"
    elif way == "mean":
        folded, rule = values.mean(1, dtype=np.float64), f"kernels: mean over {count} inputs"
    else:
        folded, rule = values[:, 0], "kernels"
    fm = weights.map(np.moveaxis(folded, 0, -1)[None], rule)
    ruled = _ruled(fm, scale, colors)
    if len(fm.spatial) == 1 or max(fm.spatial) == 1:
        return strip(fm, channels=chosen, scale=ruled, colors=colors, page=tiles["page"], text=tiles["text"])
    return sheet(fm, channels=chosen, scale=ruled, colors=colors, **tiles)


def _table(
    weights: Weights,
    chosen: Sequence[int],
    numbers: Sequence[int],
    scale: Any,
    colors: str | None,
    tiles: dict[str, Any],
) -> Picture:
    """A 1×1 convolution: a row a filter, a column an input."""
    flat = weights.values.reshape(*weights.values.shape[:2])
    ruled = _ruled(weights.map(flat.T[None], "kernels"), scale, colors)
    fm = weights.map(flat.T[None][:, list(numbers)], "kernels")
    axis = "input of its group" if weights.groups > 1 else "input"
    if tuple(numbers) != tuple(range(numbers[0], numbers[0] + len(numbers))) or numbers[0]:
        axis += f" (place among the {len(numbers)} chosen)"
    return strip(fm, channels=chosen, scale=ruled, colors=colors, axis=axis, page=tiles["page"], text=tiles["text"])


def _grid(
    weights: Weights,
    chosen: Sequence[int],
    numbers: Sequence[int],
    scale: Any,
    colors: str | None,
    options: dict[str, Any],
) -> Picture:
    """A row a filter, a tile for each of its inputs."""
    if weights.values.ndim != 4:
        raise BadOption(
            f"the tiles of single inputs are drawn of two-dimensional kernels, these have {weights.values.ndim - 2}"
            " dimensions: use inputs='norm' or 'mean'"
        )
    fm = weights.map(
        weights.values.transpose(1, 2, 3, 0).reshape(1, -1, *weights.values.shape[3:], len(weights.values)), "kernels"
    )
    rule = _ruled(fm, "layer" if isinstance(scale, str) and scale == "channel" else scale, colors)
    tiles = [
        Tile(f"{weights.input_of(row, at)}→{row}", 0, row, f"input {weights.input_of(row, at)} to filter {row}")
        for row in chosen
        for at in numbers
    ]
    codes = rule.codes(weights.values[np.ix_(chosen, numbers)].reshape(-1, *weights.values.shape[2:]))
    size = weights.values.shape[2], weights.values.shape[3]
    grid = Mosaic.fitting(
        size, len(tiles), max(len(each.label) for each in tiles), len(numbers), options["zoom"], options["text"]
    )
    page = options["page"]
    pages = grid.pages(len(tiles), page)
    here = slice(page * grid.most, (page + 1) * grid.most)
    filters, inputs = weights.values.shape[:2]
    said = f"{len(chosen)} of {filters} filters down, {len(numbers)} of {inputs} inputs to the right"
    said += f", page {page + 1} of {pages}" if pages > 1 else ""
    lines = (*caption(fm, rule, said), "above each tile: input channel → filter")
    picture = grid.picture(codes[here], tiles[here], rule, title_of(fm), lines, about(fm, rule))
    return replace(picture, page=page, pages=pages)
