"""The weights of a convolution in one order for all frameworks, and the three inputs of a first layer as colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np

from ..backends.protocol import Kernel
from ..core.feature_map import FeatureMap
from ..core.layer import Layer
from ..core.note import Note
from ..errors import BadOption
from ..picture.canvas import Frame
from ..picture.caption import about, caption, channels_text, title_of
from ..picture.numbers import number
from ..picture.picture import Picture
from ..safe_text import counted
from .caveats import negligible_text
from .mosaic import Mosaic, Tile
from .options import DrawOptions
from .tiles import DEAD, NEARLY_ZERO

MAGENTA = (255, 0, 255)
FAINT = 1000


@dataclass(frozen=True, eq=False)
class Weights:
    """Weights as `values [filter, input of its group, *space]`, whose they are, and in how many groups."""

    values: np.ndarray
    layer: Layer
    groups: int
    notes: tuple[str, ...]
    provenance: dict[str, Any]

    @classmethod
    def of(cls, kernel: Kernel, layer: Layer, provenance: dict[str, Any]) -> Weights:
        values = arranged(kernel)
        shown = replace(layer, axes=kernel.axes, shape=kernel.values.shape, grid=None, prefix=(), note="")
        notes: tuple[str, ...] = (kernel.note,) if kernel.note else ()
        if layer.note.startswith("BatchNorm") and "folded in" in layer.note:
            notes += (Note("folded", "BatchNorm is folded in: each filter is multiplied by its scale"),)
        groups = kernel.values.shape[kernel.axes.index("i")] if "m" in kernel.axes else kernel.groups
        if groups > 1:
            whose = (
                "one input channel per filter"
                if values.shape[1] == 1
                else f"{values.shape[1]} input channels per filter"
            )
            notes = (f"{groups} groups, {whose}", *notes)
        return cls(values, shown, groups, notes, provenance)

    @property
    def inputs(self) -> int:
        """How many inputs a filter has."""
        return self.values.shape[1]

    @property
    def three(self) -> bool:
        """Whether the inputs of a filter can be colours."""
        return self.inputs == 3 and self.groups == 1 and self.values.ndim == 4

    @property
    def pointwise(self) -> bool:
        return prod(self.values.shape[2:]) == 1

    def input_of(self, filter: int, index: int) -> int:
        """The layer's own number of an input that a filter reads."""
        group = filter // (len(self.values) // self.groups)
        return group * self.values.shape[1] + index

    def map(self, values: np.ndarray, rule: str) -> FeatureMap:
        """Values `[1, *space, filter]` as a feature map, so that they are drawn as one."""
        channels = tuple(range(values.shape[-1]))
        return FeatureMap(
            np.ascontiguousarray(values, np.float32),
            self.layer,
            ("",),
            channels,
            rule=rule,
            role="weights",
            notes=self.notes,
            provenance=self.provenance,
        )


def arranged(kernel: Kernel) -> np.ndarray:
    """The weights as `[filter, input of its group, *space]`, whatever the framework's order."""
    axes, values = kernel.axes, np.asarray(kernel.values, np.float32)
    space = [axes.index(letter) for letter in "dhwn" if letter in axes]
    if "m" in axes:
        depth = values.transpose(axes.index("i"), axes.index("m"), *space)
        return depth.reshape(-1, 1, *depth.shape[2:])
    return values.transpose(axes.index("o"), axes.index("i"), *space)


@dataclass(frozen=True, eq=False)
class Colours:
    """Filters of three inputs as colours `[filter, h, w, 3]`: grey is 0, each stretched evenly to `ends` on both sides."""

    colours: np.ndarray
    tiles: list[Tile]
    lines: tuple[str, ...]

    @classmethod
    def of(cls, weights: Weights, chosen: Sequence[int], *, alike: bool, order: str) -> Colours:
        """`alike` stretches all filters to the largest weight of the layer; `order` is that of the model's input."""
        values = weights.values.transpose(0, 2, 3, 1)[list(chosen)].astype(np.float64)
        values = values[..., ::-1] if order == "bgr" else values
        odd: np.ndarray = ~np.asarray(np.isfinite(values).all(-1))
        values = np.where(odd[..., None], 0, values)
        reach = np.abs(values).max((1, 2, 3))
        largest = float(np.abs(np.nan_to_num(weights.values, posinf=0, neginf=0)).max())
        # Stretched to weights of next to nothing, a filter would look as strong as the others.
        ends = np.full_like(reach, largest) if alike else np.maximum(reach, (reach > 0) * largest / FAINT)
        shares = 0.5 + values / np.where(ends > 0, 2 * ends, 1)[:, None, None, None]
        colours = np.round(shares * 255).astype(np.uint8)
        colours[odd] = MAGENTA
        tiles = []
        for row, most, end in zip(chosen, reach.tolist(), ends.tolist(), strict=True):
            text = f"±{number(most, 2)}" if most >= largest / FAINT else NEARLY_ZERO if most else DEAD
            tiles.append(Tile(str(row), 0, row, f"filter {row}: {text}", (-end, end), text))
        stretch = (
            f"all are stretched to ±{number(largest)}" if alike else "each filter is stretched to ± its largest weight"
        )
        inputs = "2, 1, 0 (the model's input is BGR)" if order == "bgr" else "0, 1, 2"
        lines = [f"input channels {inputs} as red, green, blue; grey is 0; {stretch}"]
        faint = [row for row, most in zip(chosen, reach.tolist(), strict=True) if 0 < most < largest / FAINT]
        if faint and not alike:
            lines.append(f"{negligible_text(faint)} (drawn as 0)")
        if odd.any():
            lines.append(f"NaN or inf at {counted(int(odd.sum()), 'position')} (magenta)")
        return cls(colours, tiles, tuple(lines))


def draw_colours(weights: Weights, chosen: Sequence[int], order: str, options: DrawOptions) -> Picture:
    """Filters of three inputs as tiles in colours; `order` is that of the model's input, `"rgb"` or `"bgr"`."""
    if not weights.three:
        shape = "×".join(map(str, weights.values.shape))
        raise BadOption(f"inputs='rgb' is for filters of three colours; these are {shape}: use 'norm' or numbers")
    if options.scale not in (None, "channel", "layer"):
        raise BadOption(
            f"scale={options.scale!r}: filters in colours are stretched each by itself ('channel') or all alike ('layer')"
        )
    filters = Colours.of(weights, chosen, alike=options.scale == "layer", order=order)
    size = (filters.colours.shape[1], filters.colours.shape[2])
    grid = Mosaic.fitting(size, filters.tiles, options)
    page = options.pick_page(len(filters.tiles), grid.most)
    fm = weights.map(weights.values.mean(1).transpose(1, 2, 0)[None], "kernels")
    title = title_of(fm, channels_text(fm, chosen))
    subject, *notes = (*caption(fm, None, page.text), *filters.lines)
    frame = options.framed(Frame(title, subject, notes))
    picture = grid.picture(filters.colours[page.here], filters.tiles[page.here], frame, about(fm, None))
    return replace(picture, page=page.number, pages=page.pages)
