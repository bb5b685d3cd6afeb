"""Single inputs of kernels: a row for each filter, a column for each input, both numbered at the margins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..core.feature_map import FeatureMap
from ..picture.canvas import Canvas, Frame
from ..picture.caption import about
from ..picture.font import small
from ..picture.picture import Picture
from ..picture.scale import Scale
from ..picture.shapes import Cell
from .kernel_weights import Weights
from .mosaic import COMFORTABLE
from .options import DrawOptions
from .sequence import row_numbers_width, write_row_numbers
from .tiles import PAGE_PIXELS

LARGEST, LEAST_ZOOM = 48, 2


@dataclass(frozen=True)
class KernelGrid:
    """How kernels of `height` × `width` weights lie: `zoom` pixels per weight, `most` filters on a page, size of letters."""

    height: int
    width: int
    zoom: int
    inputs: Sequence[int]
    most: int
    text: float

    @classmethod
    def fitting(cls, size: tuple[int, int], inputs: Sequence[int], options: DrawOptions) -> KernelGrid:
        """As large as fits a comfortable page, but for so many inputs that a weight would be a single pixel."""
        (height, width), count = size, len(inputs)
        for zoom in range(max(LEAST_ZOOM, LARGEST // max(size)), LEAST_ZOOM - 1, -1):
            if count * (width * zoom + cls._space_of(width * zoom)) <= COMFORTABLE:
                break
        zoom = options.zoom or max(1, round(zoom * options.size))
        grid = cls(height, width, zoom, inputs, 1, 1)
        most = max(1, PAGE_PIXELS // (grid.pitch_y * grid.pitch_x * count))
        return replace(grid, most=most, text=options.letters(count * grid.pitch_x))

    @staticmethod
    def _space_of(width: int) -> int:
        return max(2, width // 8)

    @property
    def pitch_x(self) -> int:
        return self.width * self.zoom + self._space_of(self.width * self.zoom)

    @property
    def pitch_y(self) -> int:
        return self.height * self.zoom + self._space_of(self.width * self.zoom)

    def picture(
        self, weights: Weights, filters: Sequence[int], rule: Scale, frame: Frame, *, fm: FeatureMap
    ) -> Picture:
        """The picture of some filters."""
        top, left = small(self.text).height, row_numbers_width(filters, self.text)
        size = top + len(filters) * self.pitch_y, left + len(self.inputs) * self.pitch_x
        canvas = replace(frame, text=self.text).around(*size, beside=(top, size[0]))
        write_row_numbers(canvas, filters, self.pitch_y, top=top, height=size[0] - top, left=left)
        self._write_inputs(canvas, left)
        codes = rule.codes(weights.values[np.ix_(filters, self.inputs)])
        high, wide = self.height * self.zoom, self.width * self.zoom
        cells = []
        for row, one in enumerate(filters):
            for column, number in enumerate(self.inputs):
                x, y = canvas.x + left + column * self.pitch_x, canvas.y + top + row * self.pitch_y
                canvas.codes[y : y + high, x : x + wide] = codes[row, column].repeat(self.zoom, 0).repeat(self.zoom, 1)
                note = f"input {weights.input_of(one, number)} to filter {one}"
                cells.append(Cell(x, y, wide, high, 0, one, *rule.range(), note))
        return canvas.picture(cells, rule, about(fm, rule), zoom=self.zoom)

    def _write_inputs(self, canvas: Canvas, left: int) -> None:
        """The number of each input above its column, or of every second, fifth … where there is no room for all."""
        letters, texts = canvas.letters, list(map(str, self.inputs))
        widest = letters.widest(texts) + letters.height // 2
        steps = (factor * ten for ten in (1, 10, 100, 1000) for factor in (1, 2, 5))
        step = next((step for step in steps if step * self.pitch_x >= widest), len(texts))
        middle = left + self.width * self.zoom // 2
        words = [
            (max(0, middle + column * self.pitch_x - letters.width(text) // 2), 0, text)
            for column, text in enumerate(texts)
            if column % step == 0
        ]
        canvas.write_all(words, muted=True)
