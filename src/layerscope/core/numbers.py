"""`Numbers`: the values of a feature map and what their axes are, for other programs."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from ..errors import BackendMissing, BadLayout
from ..safe_text import counted
from . import axes as _axes
from .conversion import FLOAT32
from .layer import Layer
from .tables import as_csv, csv_line
from .tables import pandas as import_pandas

if TYPE_CHECKING:
    import pandas
    import torch

LINES = 1 << 10  # of a CSV that are made at a time


@dataclass(frozen=True, eq=False)
class Numbers:
    """float32 values `[image, *spatial, channel]`, their layer, the names of the images and the numbers of the channels."""

    values: np.ndarray
    layer: Layer
    ids: tuple[str, ...]
    channels: tuple[int, ...]

    def __post_init__(self) -> None:
        shape, dtype = self.values.shape, self.values.dtype
        if len(shape) < 2 or dtype != FLOAT32:
            raise BadLayout(f"a feature map is float32 [image, *spatial, channel]; this is {dtype} {shape}")
        if len(self.ids) != shape[0] or len(self.channels) != shape[-1]:
            held = f"{counted(len(self.ids), 'id')} and {counted(len(self.channels), 'channel number')}"
            raise BadLayout(f"{held} for values of shape {shape}")
        view = self.values.view()
        view.setflags(write=False)
        object.__setattr__(self, "values", view)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of `values`.

        >>> import layerscope as ls
        >>> ls.FeatureMap.of_array(np.zeros((5, 6, 3))).shape
        (1, 5, 6, 3)
        """
        return self.values.shape

    @property
    def spatial(self) -> tuple[int, ...]:
        """The sizes of the spatial axes.

        >>> import layerscope as ls
        >>> ls.FeatureMap.of_array(np.zeros((5, 6, 3))).spatial
        (5, 6)
        """
        return self.values.shape[1:-1]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.values, dtype=dtype, copy=copy) if copy is not None else np.asarray(self.values, dtype)

    def to_numpy(self, layout: str | None = None) -> np.ndarray:
        """A copy of the values as float32, writable.

        >>> import layerscope as ls
        >>> ls.FeatureMap.of_array(np.zeros((1, 5, 6, 3))).to_numpy("bchw").shape
        (1, 3, 5, 6)

        Args:
            layout: One letter per axis, each once: `b`, `c`, and `n`, `hw`, `dhw` or `qk`. `None`: channels last.

        Raises:
            BadLayout: The layout doesn't name each axis once.
        """
        letters = self._letters()
        return self.values.transpose(_axes.permutation(letters, layout or letters)).copy("C")

    def to_torch(self, layout: str | None = None) -> torch.Tensor:
        """A copy of the values as a float32 `torch.Tensor` on the CPU, writable.

        >>> import layerscope as ls
        >>> ls.FeatureMap.of_array(np.zeros((1, 5, 6, 3))).to_torch().shape  # doctest: +SKIP
        torch.Size([1, 3, 5, 6])

        Args:
            layout: As for `to_numpy`. `None`: channels first, as torch has them.

        Raises:
            BadLayout: The layout doesn't name each axis once.
            BackendMissing: torch isn't installed.
        """
        letters = self._letters()
        order = _axes.permutation(letters, layout or f"bc{letters[1:-1]}")
        try:
            import torch
        except ImportError as error:
            raise BackendMissing(f"to_torch() needs torch ({error}): pip install torch") from error
        return torch.from_numpy(self.values.transpose(order).copy("C"))

    def to_dataframe(self) -> pandas.DataFrame:
        """A copy of the values as a `pandas.DataFrame`: a row for each place of each image, a column for each channel.

        Rows are indexed by image and place (`h`, `w`; `n`; `d`, `h`, `w`; `q`, `k` for attention), columns by the channels'
        true numbers. Of a dense layer, or after `pooled`, it is a table of images and channels.

        >>> import layerscope as ls
        >>> frame = ls.FeatureMap.of_array(np.arange(24).reshape(2, 3, 4)).to_dataframe()  # doctest: +SKIP
        >>> frame.shape, frame.loc["image 0", 1, 2].tolist()  # doctest: +SKIP
        ((6, 4), [20.0, 21.0, 22.0, 23.0])

        Raises:
            LibraryMissing: pandas isn't installed.
        """
        pandas = import_pandas()
        (image, ids), *places = self._places().items()
        index = pandas.Index(ids, name=image)
        if places:
            levels = [ids, *(positions for _, positions in places)]
            index = pandas.MultiIndex.from_product(levels, names=list(self._places()))
        columns = pandas.Index(self.channels, name="channel")
        return pandas.DataFrame(self.to_numpy().reshape(-1, self.shape[-1]), index=index, columns=columns)

    @overload
    def to_csv(self, path: None = None) -> str: ...
    @overload
    def to_csv(self, path: str | Path) -> Path: ...
    def to_csv(self, path: str | Path | None = None) -> str | Path:
        """The values as CSV: a line for each place of each image, a column for each channel below its true number.

        The columns in front say which image and place, as in `to_dataframe`. Numbers are as short as float32 allows: read as
        such they are the values.

        >>> import layerscope as ls
        >>> print(ls.FeatureMap.of_array(np.array([[[0.5, -1]]], np.float32)).to_csv(), end="")
        image,h,w,0,1
        image 0,0,0,0.5,-1

        Args:
            path: A file to write it to, whose path is returned; `None` for the text itself.

        Raises:
            BadOption: The file can't be written.
        """
        return as_csv(self._lines(), path)

    def _lines(self) -> Iterator[str]:
        """The lines of the CSV."""
        ids, *places = self._places().values()
        yield csv_line([*self._places(), *self.channels])
        positions = [csv_line(place)[:-1] for place in itertools.product(*places)]
        numbers = f"{','.join(['%.9g'] * self.shape[-1])}\n"
        for id, values in zip(ids, self.values, strict=True):
            front = csv_line([id])[:-1]
            rows = values.reshape(-1, self.shape[-1])
            for start in range(0, len(rows), LINES):
                block = shortened(rows[start : start + LINES]).tolist()
                for place, row in zip(positions[start : start + LINES], block, strict=True):
                    yield ",".join(filter(None, (front, place, numbers % tuple(row))))

    def _places(self) -> dict[str, Sequence[Any]]:
        """The names of images and places along each axis but the channels."""
        places: dict[str, Sequence[Any]] = {"image": self.ids}
        places.update(zip(self._letters()[1:-1], map(range, self.spatial), strict=True))
        if "n" in places and len(self.layer.prefix) == self.shape[1]:
            places["n"] = self.layer.prefix
        return places

    def _letters(self) -> str:
        """The axes of `values`, one letter each."""
        if self.layer.attention and len(self.spatial) == 2:
            return "bqkc"
        return f"b{('', 'n', 'hw', 'dhw')[len(self.spatial)]}c"


def shortened(values: np.ndarray) -> np.ndarray:
    """float64 numbers of eight digits where they are the values as float32; nine, as of all others, tell any two apart.

    >>> ["%.9g" % number for number in shortened(np.array([0.1, 1.1, 16777215], np.float32))], "%.9g" % np.float32(0.1)
    (['0.1', '1.1', '16777215'], '0.100000001')
    """
    numbers = values.astype(np.float64)
    with np.errstate(all="ignore"):  # 0, NaN and ±inf stay what they are
        scale = 10.0 ** (7 - np.floor(np.log10(np.abs(numbers))))
        rounded = np.rint(numbers * scale) / scale
        np.copyto(numbers, rounded, where=rounded.astype(np.float32) == values)
    return numbers
