"""Exact statistics of one layer, taken unit by unit and merged: counts, range, sums, a histogram, the top images.

Counts, ranges, histograms and top images are the same in whatever order they are merged. Sums are float64, and are merged in
the order of units, so that they are the same to the last bit however many workers there were.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from io import BytesIO

import numpy as np

from ..core.npz import array_in

BINS = 2048  # of a float16: sign, exponent and the first five bits behind it
SHIFT = 16 - 11
INFINITE = 0x7C00 >> SHIFT  # the bin of what is larger than any float16
LEVELS = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
FIXED_DATE = (1980, 1, 1, 0, 0, 0)


@dataclass(eq=False)
class Tally:
    """Figures by channel; NaN and ±inf are counted and left out of everything else.

    `low` is inf and `high` -inf where no value is finite. `histogram` is `[channel, bin]`, a bin being the upper 11 bits of the
    value as float16. `top_*` are `[channel, rank]`: the largest value of an image, its row in the manifest (-1 where there are
    fewer images), and the position on its map, counted row by row; of equal values the first image comes first.
    """

    count: np.ndarray
    zeros: np.ndarray
    positive: np.ndarray
    nan: np.ndarray
    inf: np.ndarray
    low: np.ndarray
    high: np.ndarray
    total: np.ndarray
    squares: np.ndarray
    histogram: np.ndarray
    top_value: np.ndarray
    top_image: np.ndarray
    top_place: np.ndarray

    @classmethod
    def empty(cls, channels: int, top: int) -> Tally:
        """That of no image."""
        counts = {name: np.zeros(channels, np.int64) for name in ("count", "zeros", "positive", "nan", "inf")}
        sums = {name: np.zeros(channels) for name in ("total", "squares")}
        return cls(
            **counts,
            **sums,
            low=np.full(channels, np.inf, np.float32),
            high=np.full(channels, -np.inf, np.float32),
            histogram=np.zeros((channels, BINS), np.int64),
            top_value=np.full((channels, top), -np.inf, np.float32),
            top_image=np.full((channels, top), -1, np.int64),
            top_place=np.full((channels, top), -1, np.int32),
        )

    def merge(self, other: Tally) -> None:
        """Take in what was counted in other images, which come behind these."""
        for name in ("count", "zeros", "positive", "nan", "inf", "total", "squares", "histogram"):
            getattr(self, name)[...] += getattr(other, name)
        np.minimum(self.low, other.low, out=self.low)
        np.maximum(self.high, other.high, out=self.high)
        names = ("top_value", "top_image", "top_place")
        self.set_top(*(np.concatenate([getattr(self, name), getattr(other, name)], 1) for name in names))

    def set_top(self, value: np.ndarray, image: np.ndarray, place: np.ndarray) -> None:
        """Of candidates `[channel, n]` keep the largest, of equal ones the first images."""
        order = np.lexsort((image, -value), axis=1)[:, : self.top_value.shape[1]]
        for name, columns in (("top_value", value), ("top_image", image), ("top_place", place)):
            getattr(self, name)[:, : order.shape[1]] = np.take_along_axis(columns, order, 1)

    def images(self, positions: int) -> int:
        """How many images were counted, whose maps have so many positions."""
        return int((self.count + self.nan + self.inf)[0]) // positions

    @property
    def beyond(self) -> np.ndarray:
        """How many finite values of each channel a float16 can't hold."""
        positive: np.ndarray = self.histogram[:, INFINITE]
        return positive + self.histogram[:, INFINITE + BINS // 2]

    @property
    def mean(self) -> np.ndarray:
        """The mean of the finite values; NaN where there is none."""
        return np.divide(self.total, self.count, out=np.full(len(self.count), np.nan), where=self.count > 0)

    @property
    def deviation(self) -> np.ndarray:
        """The standard deviation of the finite values, as `np.std`; NaN where there is none."""
        means = np.divide(self.squares, self.count, out=np.full(len(self.count), np.nan), where=self.count > 0)
        same = self.low == self.high
        return np.where(same, 0.0, np.sqrt(np.maximum(means - np.square(self.mean), 0)))

    def arrays(self) -> dict[str, np.ndarray]:
        """As arrays for a file; of the histogram the bins that hold something."""
        arrays = {entry.name: getattr(self, entry.name) for entry in fields(self) if entry.name != "histogram"}
        flat = self.histogram.ravel()
        bins = np.flatnonzero(flat)
        counts = flat[bins]
        narrow = np.uint32 if counts.max(initial=0) <= np.iinfo(np.uint32).max else np.int64
        return {**arrays, "bins": bins.astype(np.uint32), "bin_counts": counts.astype(narrow)}

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Tally:
        """That which `arrays` gave."""
        histogram = np.zeros(len(arrays["count"]) * BINS, np.int64)
        histogram[arrays["bins"]] = arrays["bin_counts"]
        own = {entry.name: arrays[entry.name] for entry in fields(cls) if entry.name != "histogram"}
        return cls(**own, histogram=histogram.reshape(-1, BINS))


def encode(tallies: Mapping[str, Tally]) -> bytes:
    """The tallies of layers, by their names, as an `.npz` without dates: the same numbers give the same bytes."""
    return packed(
        {f"{name}/{field}": array for name, tally in tallies.items() for field, array in tally.arrays().items()}
    )


def decode(data: bytes, name: str) -> Tally:
    """The tally of one layer in the bytes of `encode`."""
    with zipfile.ZipFile(BytesIO(data)) as archive:
        entries = [entry.removesuffix(".npy") for entry in archive.namelist() if entry.startswith(f"{name}/")]
        return Tally.of_arrays({entry.removeprefix(f"{name}/"): array_in(archive, entry) for entry in entries})


def packed(arrays: dict[str, np.ndarray], level: int = 1) -> bytes:
    """Arrays as an `.npz` without dates: the same arrays give the same bytes; `level` 0 doesn't press them."""
    file = BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            member = BytesIO()
            np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)
            info = zipfile.ZipInfo(f"{name}.npy", FIXED_DATE)
            info.compress_type, info.create_system = zipfile.ZIP_DEFLATED if level else zipfile.ZIP_STORED, 3
            archive.writestr(info, member.getvalue(), compresslevel=level)
    return file.getvalue()


def merged(tallies: Iterable[Tally], channels: int, top: int) -> Tally:
    """All of them, in their order."""
    whole = Tally.empty(channels, top)
    for tally in tallies:
        whole.merge(tally)
    return whole


def edges() -> np.ndarray:
    """The values between which each bin lies, `[bin, (low, high)]`."""
    codes = np.arange(BINS, dtype=np.uint16) << SHIFT
    near = codes.view(np.float16).astype(np.float64)
    far = (codes + np.uint16((1 << SHIFT) - 1)).view(np.float16).astype(np.float64)
    beyond = ~np.isfinite(near)  # what is larger than any float16
    near[beyond] = far[beyond] = np.copysign(np.inf, near[beyond])
    return np.stack([np.minimum(near, far), np.maximum(near, far)], 1)


def quantiles(tally: Tally, levels: Sequence[float] = LEVELS, channels: Sequence[int] | None = None) -> np.ndarray:
    """`[channel, level]` from the histogram: within a bin, which is 1/32 of its values wide; of all channels, or of some.

    NaN where no value is finite, and where the quantile is beyond float16.
    """
    places = range(len(tally.count)) if channels is None else channels
    codes = np.arange(BINS)
    half = BINS // 2
    order = np.concatenate([codes[half:][::-1], codes[:half]])  # from -inf to inf
    ends = edges()[order]
    with np.errstate(invalid="ignore"):  # bins of inf and NaN
        middles = np.where((order % half) == 0, 0.0, ends.mean(1))  # 0 and what is nearer to it than 2e-6
    middles[~np.isfinite(middles)] = np.nan  # beyond float16: nobody knows where
    result = np.full((len(places), len(levels)), np.nan)
    for row, channel in enumerate(places):
        if tally.count[channel]:
            wanted = np.asarray(levels) * (tally.count[channel] - 1)
            found = np.searchsorted(np.cumsum(tally.histogram[channel, order]), wanted, side="right")
            result[row] = np.clip(middles[found], tally.low[channel], tally.high[channel])
    return result
