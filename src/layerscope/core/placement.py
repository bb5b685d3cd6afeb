"""Where the model's input lies on the photo, so that a map can be laid back on the right pixels.

Coordinates are continuous: pixel `i` covers `[i, i + 1)` and its centre is at `i + 0.5`, on the photo, in the model's
input and on a map alike. The photo is the upright one, after its EXIF orientation is applied.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import BadOption

Size = tuple[int, int]
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Placement:
    """The region `box` of a photo that the model's input covers.

    Attributes:
        photo: Size of the photo, (height, width) in pixels.
        input: Size of the model's input, (height, width) in pixels.
        box: (top, left, height, width) in pixels of the photo. It reaches beyond the photo where the input was padded.

    Raises:
        BadOption: A size is not above 0.

    >>> crop = Placement(photo=(300, 400), input=(224, 224), box=(18.75, 68.75, 262.5, 262.5))
    >>> crop.to_photo(112, 112)
    (150.0, 200.0)
    >>> crop.rows(7)[[0, 18, 19, 150, 280, 281]]
    array([-1, -1,  0,  3,  6, -1])
    """

    photo: Size
    input: Size
    box: Box

    def __post_init__(self) -> None:
        for name, size in (("photo", self.photo), ("input", self.input), ("box", self.box[2:])):
            if not all(side > 0 for side in size):
                raise BadOption(f"placement: the {name} has the size {size}; height and width must be above 0")

    @classmethod
    def whole(cls, photo: Size, input: Size) -> Placement:
        """The placement of an input that shows the whole photo, squashed where the shapes differ.

        Args:
            photo: Size of the photo, (height, width) in pixels.
            input: Size of the model's input, (height, width) in pixels.

        >>> Placement.whole((300, 400), (224, 224)).box
        (0.0, 0.0, 300.0, 400.0)
        """
        return cls(photo, input, (0.0, 0.0, float(photo[0]), float(photo[1])))

    def describe(self) -> str:
        """How the photo became the input, in the words before the input's size; a crop has its own size where that is another.

        >>> Placement.whole((300, 400), (224, 224)).describe()
        'squashed to'
        >>> Placement((300, 400), (224, 224), (18.75, 68.75, 262.5, 262.5)).describe()
        'centre crop, resized to'
        """
        top, left, height, width = self.box
        bottom, right = self.photo[0] - top - height, self.photo[1] - left - width
        margins, pixel = (top, left, bottom, right), 0.5
        if min(margins) < -pixel:
            return "letterboxed to" if max(margins) <= pixel else "cropped and padded to"
        if max(margins) > pixel:
            # A resize to whole pixels before the crop moves it by up to one pixel of the input on either side.
            tolerance = 2 * max(0.5, height / self.input[0], width / self.input[1])
            crop = "centre crop" if max(abs(top - bottom), abs(left - right)) <= tolerance else "crop"
            resized = max(abs(height - self.input[0]), abs(width - self.input[1])) > pixel
            return f"{crop}, resized to" if resized else f"{crop} of"
        stretch = (self.input[0] / height) / (self.input[1] / width)
        return "resized to" if abs(stretch - 1) < 0.02 else "squashed to"

    def to_photo(self, y: Any, x: Any) -> tuple[Any, Any]:
        """The point (y, x) of the photo under the point (y, x) of the input.

        Args:
            y: Rows of the input, a number or an array.
            x: Columns of the input, a number or an array.

        >>> Placement.whole((300, 400), (100, 100)).to_photo(50, 25)
        (150.0, 100.0)
        """
        top, left, height, width = self.box
        return top + y * (height / self.input[0]), left + x * (width / self.input[1])

    def to_input(self, y: Any, x: Any) -> tuple[Any, Any]:
        """The point (y, x) of the input over the point (y, x) of the photo.

        Args:
            y: Rows of the photo, a number or an array.
            x: Columns of the photo, a number or an array.

        >>> Placement.whole((300, 400), (100, 100)).to_input(150, 100)
        (50.0, 25.0)
        """
        top, left, height, width = self.box
        return (y - top) * (self.input[0] / height), (x - left) * (self.input[1] / width)

    def rows(self, height: int) -> np.ndarray:
        """For every row of the photo the row of a map which covers its centre, -1 outside the input.

        Args:
            height: Rows of the map, which spans the input.

        >>> Placement.whole((6, 4), (100, 100)).rows(3)
        array([0, 0, 1, 1, 2, 2])
        """
        return _cells(self.photo[0], self.box[0], self.box[2], height)

    def cols(self, width: int) -> np.ndarray:
        """For every column of the photo the column of a map which covers its centre, -1 outside the input.

        Args:
            width: Columns of the map, which spans the input.

        >>> Placement.whole((6, 4), (100, 100)).cols(2)
        array([0, 0, 1, 1])
        """
        return _cells(self.photo[1], self.box[1], self.box[3], width)

    def row_positions(self, height: int) -> np.ndarray:
        """For every row of the photo its position on a map, `2.0` being the centre of row 2; NaN outside the input.

        Between the input's edge and the centre of the first or last row the position is below 0 or above `height - 1`.

        Args:
            height: Rows of the map, which spans the input.

        >>> Placement.whole((4, 4), (100, 100)).row_positions(2)
        array([-0.25,  0.25,  0.75,  1.25])
        """
        return _positions(self.photo[0], self.box[0], self.box[2], height)

    def col_positions(self, width: int) -> np.ndarray:
        """For every column of the photo its position on a map, as in `row_positions`.

        Args:
            width: Columns of the map, which spans the input.

        >>> Placement.whole((4, 2), (100, 100)).col_positions(2)
        array([0., 1.])
        """
        return _positions(self.photo[1], self.box[1], self.box[3], width)

    def cell_box(self, y: int, x: int, size: Size) -> Box:
        """The (top, left, height, width) on the photo, in pixels, of one cell of a map that spans the input.

        Args:
            y: Row of the cell on the map, from 0.
            x: Column of the cell on the map, from 0.
            size: Size of the map, (height, width) in cells.

        Raises:
            BadOption: The cell is outside the map.

        >>> Placement.whole((300, 400), (224, 224)).cell_box(1, 2, (10, 10))
        (30.0, 80.0, 30.0, 40.0)
        """
        if not (0 <= y < size[0] and 0 <= x < size[1]):
            raise BadOption(f"cell ({y}, {x}) is outside a map of {size[0]} × {size[1]}")
        top, left, height, width = self.box
        cell_height, cell_width = height / size[0], width / size[1]
        return top + y * cell_height, left + x * cell_width, cell_height, cell_width


def _along(photo: int, start: float, length: float, cells: int) -> np.ndarray:
    """For every pixel centre of one side of the photo its position on the map, in cells from the input's edge."""
    if cells < 1:
        raise BadOption(f"a map has at least 1 cell per side, not {cells}")
    return (np.arange(photo) + 0.5 - start) * (cells / length)


def _cells(photo: int, start: float, length: float, cells: int) -> np.ndarray:
    along = _along(photo, start, length, cells)
    index = np.floor(along)
    return np.where((along >= 0) & (along < cells), index, -1).astype(np.intp)


def _positions(photo: int, start: float, length: float, cells: int) -> np.ndarray:
    along = _along(photo, start, length, cells)
    return np.where((along >= 0) & (along < cells), along - 0.5, np.nan)
