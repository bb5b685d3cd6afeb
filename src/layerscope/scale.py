"""`Scale`: the rule that maps numbers to colours, and the code by which a pixel can be read back.

A picture of one scale holds codes, not colours:

    0 … 240   the values from the lower end of the scale to the upper end, in equal steps
    241 … 250 GAP, NAN, POS_INF, NEG_INF, CONSTANT, BELOW, ABOVE, and three strengths of INK for text

A palette of 256 colours turns codes into what is seen. The same `Scale` writes the codes of the map and of the colour
bar beside it, so the two can't disagree.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from .errors import BadScale, near

TOP = 240
GAP, NAN, POS_INF, NEG_INF, CONSTANT, BELOW, ABOVE, INK_LIGHT, INK_MIDDLE, INK = range(241, 251)
MARKS = {
    NAN: ("NaN", (255, 0, 255)),
    POS_INF: ("+inf", (255, 140, 0)),
    NEG_INF: ("−inf", (0, 190, 255)),
    CONSTANT: ("dead or constant", (176, 163, 187)),
    BELOW: ("below the limits", (92, 64, 51)),
    ABOVE: ("above the limits", (140, 196, 140)),
}
PAPER, PEN = (241, 243, 245), (28, 32, 38)
SEQUENTIAL, DIVERGING = "viridis", "vik"
RULES = ("channel", "layer", "images")
BLOCK = 1 << 16


@dataclass(frozen=True, eq=False)
class Scale:
    """The rule from numbers to colours.

    `limits` is one `(low, high)` for all, or an array `[image, channel, 2]` with a range for each tile. `colors` names a
    colour map of the cmap catalogue. With `center`, that value has the middle colour and both sides the same step, so
    the limits need not lie evenly around it. `per` says where the limits came from: `channel`, `layer`, `images` or
    `fixed`; `clip` holds the percentiles if they were cut.

    >>> scale = Scale((0.0, 2.0))
    >>> scale.codes(np.array([0.0, 1.0, 2.0, 3.0, np.nan])).tolist()
    [0, 120, 240, 247, 242]
    >>> scale.decode(np.array([0, 120, 240])).tolist()
    [0.0, 1.0, 2.0]
    """

    limits: Any
    colors: str = SEQUENTIAL
    center: float | None = None
    per: str = "fixed"
    clip: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        limits = np.array(self.limits, np.float64)
        if limits.shape[-1:] != (2,) or limits.ndim not in (1, 3):
            raise BadScale(f"limits={self.limits!r}: use (low, high), or an array [image, channel, 2]")
        if limits.ndim == 1:
            if not np.isfinite(limits).all() or limits[0] > limits[1]:
                raise BadScale(f"limits {tuple(limits.tolist())}: use two finite numbers, the lower one first")
            object.__setattr__(self, "limits", tuple(limits.tolist()))
        else:
            limits.flags.writeable = False
            object.__setattr__(self, "limits", limits)
        if self.center is not None and not np.isfinite(self.center):
            raise BadScale(f"center={self.center!r}: use a finite number or None")
        lut(self.colors)

    @classmethod
    def fit(
        cls,
        values: np.ndarray,
        per: str = "layer",
        clip: tuple[float, float] | None = None,
        colors: str | None = None,
        extent: np.ndarray | None = None,
    ) -> Scale:
        """The scale that fits `values` `[image, *spatial, channel]`.

        `per`: a range for each `"channel"` of each image, or one for the whole (`"layer"`, `"images"`). `clip`: two
        percentiles, such as `(1, 99)`, in place of minimum and maximum. Where values have both signs the colours
        diverge from 0. NaN and ±inf don't count. `extent` is `extent_of(values)` if it is known already.
        """
        if per not in RULES:
            raise BadScale(f"scale={per!r}: use 'channel', 'layer', 'images', (low, high) or a Scale")
        if clip is not None:
            limits = _percentiles(values, clip, per == "channel")
        else:
            limits = extent_of(values) if extent is None else extent
            if per != "channel":
                limits = _union(limits)
        signed = bool((limits[..., 0] < 0).any() and (limits[..., 1] > 0).any())
        return cls(limits, colors or (DIVERGING if signed else SEQUENTIAL), 0.0 if signed else None, per, clip)

    @property
    def single(self) -> bool:
        """Whether one range holds for the whole picture, so that it has a colour bar."""
        return isinstance(self.limits, tuple)

    def range(self, image: int = 0, channel: int = 0) -> tuple[float, float]:
        """The limits of one tile."""
        if self.single:
            return self.limits
        low, high = self.limits[image, channel]
        return float(low), float(high)

    def codes(self, values: Any, image: int = 0, channel: int = 0) -> np.ndarray:
        """The codes of `values` (any shape), uint8; `image` and `channel` choose among ranges per tile."""
        low, high = self.range(image, channel)
        return _marked(np.asarray(values), low, high, self.center)

    def decode(self, codes: Any, image: int = 0, channel: int = 0) -> np.ndarray:
        """The values that `codes` stand for, float64: the middle of the step, ±inf, NaN for every other mark.

        A value within the limits comes back within half a step, `(upper end − lower end) / 480`.
        """
        low, high = self.range(image, channel)
        start, end = ends(low, high, self.center)
        codes = np.asarray(codes)
        values = start + codes * ((end - start) / TOP)
        values = np.where(codes > TOP, np.nan, values)
        values = np.where(codes == POS_INF, np.inf, values)
        values = np.where(codes == NEG_INF, -np.inf, values)
        return np.where(codes == CONSTANT, low, values)

    def palette(self) -> np.ndarray:
        """uint8 `[256, 3]`: the colour of each code."""
        return palette(self.colors)

    def describe(self) -> str:
        """The rule in words, as it stands on every picture."""
        if self.per == "channel":
            rule = "scale: each channel has its own range"
        elif self.per == "layer":
            rule = "scale: one range for the layer in this image"
        elif self.per == "images":
            rule = "scale: one range for all images"
        else:
            rule = "scale: fixed range"
        if self.single:
            rule += f" {number(self.limits[0])}…{number(self.limits[1])}"
        if self.clip:
            rule += f", cut at the percentiles {self.clip[0]:g} and {self.clip[1]:g}"
        if self.center is not None:
            rule += f", centred on {number(self.center)}"
        return f"{rule} · colours {self.colors}"


def ends(low: Any, high: Any, center: float | None) -> tuple[Any, Any]:
    """The values of code 0 and code 240: the limits, or evenly around the centre far enough to reach both."""
    if center is None:
        return low, high
    reach = np.maximum(np.abs(low - center), np.abs(high - center))
    return center - reach, center + reach


def number(value: float, digits: int = 3) -> str:
    """A number in at most three (or `digits`) significant digits, as it stands on pictures.

    >>> [number(each) for each in (0, 12.345, -0.0123, 1e-9, 123456)]
    ['0', '12.3', '−0.0123', '1e−9', '1.23e5']
    """
    if value == 0:
        return "0"
    if not np.isfinite(value):
        return "NaN" if np.isnan(value) else ("+inf" if value > 0 else "−inf")
    text = f"{value:.{digits}g}"
    if "e" in text:
        mantissa, _, exponent = text.partition("e")
        text = f"{mantissa}e{int(exponent)}"
    elif abs(value) >= 1000:
        text = f"{value:.0f}"
    return text.replace("-", "−")


@lru_cache(maxsize=64)
def lut(colors: str) -> np.ndarray:
    """uint8 `[241, 3]` of a colour map in the cmap catalogue; raises `BadScale` with near names."""
    import cmap

    try:
        table = cmap.Colormap(colors).lut(TOP + 1)
    except (ValueError, TypeError, KeyError) as error:
        hint = near(str(colors), {name.split(":")[-1] for name in cmap.Catalog()})
        raise BadScale(f"no colours {colors!r}.{hint} Use a name of the cmap catalogue, such as 'viridis'") from error
    result = np.round(table[:, :3] * 255).astype(np.uint8)
    result.flags.writeable = False
    return result


@lru_cache(maxsize=64)
def palette(colors: str | None) -> np.ndarray:
    """uint8 `[256, 3]`: a colour map, the marks and the text colours. `None` leaves the map black."""
    table = np.zeros((256, 3), np.uint8)
    if colors is not None:
        table[: TOP + 1] = lut(colors)
    table[GAP] = PAPER
    for code, (_, color) in MARKS.items():
        table[code] = color
    paper, pen = np.array(PAPER, float), np.array(PEN, float)
    for code, strength in ((INK_LIGHT, 0.33), (INK_MIDDLE, 0.62), (INK, 1.0)):
        table[code] = np.round(paper + (pen - paper) * strength)
    table.flags.writeable = False
    return table


def marks_of(codes: np.ndarray) -> set[int]:
    """The special codes that occur, for the legend."""
    return {mark for mark in MARKS if (codes == mark).any()}


def extent_of(values: np.ndarray) -> np.ndarray:
    """float64 `[image, channel, 2]`: minimum and maximum of each channel over its finite values (NaN, NaN if none)."""
    result = raw_extent(values)
    for image, channel in np.argwhere(~np.isfinite(result).all(-1)):
        plane = values[image, ..., channel]
        plane = plane[np.isfinite(plane)]
        result[image, channel] = (plane.min(), plane.max()) if plane.size else (np.nan, np.nan)
    return result


def raw_extent(values: np.ndarray) -> np.ndarray:
    """float64 `[image, channel, 2]`: minimum and maximum of each channel; NaN and inf show in them."""
    images, channels = values.shape[0], values.shape[-1]
    result = np.empty((images, channels, 2))
    if values[0, ..., 0].size == 0:
        result[:] = np.nan
        return result
    for image in range(images):
        flat = _flat(values[image])
        if flat.flags.c_contiguous:
            result[image, :, 0] = _down(np.minimum, flat)
            result[image, :, 1] = _down(np.maximum, flat)
        else:
            result[image, :, 0] = flat.min(0)
            result[image, :, 1] = flat.max(0)
    return result


def encode(
    values: np.ndarray,
    limits: np.ndarray,
    center: float | None,
    exact: np.ndarray,
    out: np.ndarray,
    extent: np.ndarray,
) -> None:
    """Write the codes of `values` `[height, width, channel]` into `out` `[row, column, height, width]`, channel after channel.

    `limits` is `[channel, 2]`. `exact` marks the channels that need every value looked at: with NaN, inf, values outside
    the limits, no range at all, or a range that float32 can't resolve. All others take a multiply and an add. `extent` is the
    channels' own minimum and maximum, NaN and inf included (`raw_extent`), `[channel, 2]`.

    The memory order decides the way, as a transpose of float32 would cost more than all the rest: planes one by one where
    they lie together, blocks of rows where the channels do.
    """
    channels = values.shape[-1]
    columns = out.shape[1]
    low, high = ends(limits[:, 0], limits[:, 1], center)
    with np.errstate(all="ignore"):
        step = TOP / (high - low)
        shift = 0.5 - low * step
    plain = ~exact & (np.abs(shift) < 1 << 14) & (step < 1e30) & (step > 1e-30)
    if plain.any():
        factor = np.where(plain, step, 0).astype(np.float32)
        offset = np.where(plain, shift, 0).astype(np.float32)
        with np.errstate(all="ignore"):
            if abs(values.strides[-1]) <= abs(values.strides[1]):
                _encode_rows(values, factor, offset, out)
            else:
                _encode_planes(values, factor, offset, out)
    rows, places = np.divmod(np.arange(channels), columns)
    flat = exact & (limits[:, 0] == limits[:, 1]) & (extent == limits).all(1)
    if flat.any():
        out[rows[flat], places[flat]] = CONSTANT
    for channel in np.flatnonzero(~plain & ~flat):
        out[rows[channel], places[channel]] = _marked(
            values[..., channel], float(limits[channel, 0]), float(limits[channel, 1]), center
        )
    for spare in range(channels, out.shape[0] * columns):
        out[spare // columns, spare % columns] = GAP


def _encode_planes(values: np.ndarray, factor: np.ndarray, offset: np.ndarray, out: np.ndarray) -> None:
    height, width, channels = values.shape
    planes = values.transpose(2, 0, 1)
    most = max(1, BLOCK // max(1, height * width))
    space = np.empty((min(most, channels, out.shape[1]), height, width), np.float32)
    for row, start, stop in _runs(channels, out.shape[1], most):
        scratch = space[: stop - start]
        np.multiply(planes[start:stop], factor[start:stop, None, None], out=scratch)
        scratch += offset[start:stop, None, None]
        column = start - row * out.shape[1]
        np.copyto(out[row, column : column + stop - start], scratch, casting="unsafe")


def _encode_rows(values: np.ndarray, factor: np.ndarray, offset: np.ndarray, out: np.ndarray) -> None:
    height, width, channels = values.shape
    columns = out.shape[1]
    factors, offsets = np.tile(factor, width), np.tile(offset, width)
    block = min(height, max(1, BLOCK // 2 // max(1, width * channels)))
    # Taken once: fresh memory for every block would cost as much as the arithmetic.
    space, bytes_ = np.empty((block, width * channels), np.float32), np.empty((block, width, channels), np.uint8)
    for top in range(0, height, block):
        count = min(block, height - top)
        scratch, codes = space[:count], bytes_[:count]
        np.multiply(values[top : top + count].reshape(count, -1), factors, out=scratch)
        scratch += offsets
        np.copyto(codes.reshape(count, -1), scratch, casting="unsafe")
        planes = codes.transpose(2, 0, 1)
        # All full rows of the sheet in one copy, then the last one.
        full = channels // columns
        place = out[:full, :, top : top + count]
        place[:] = planes[: full * columns].reshape(full, columns, count, width)
        if full * columns < channels:
            out[full, : channels - full * columns, top : top + count] = planes[full * columns :]


def _runs(channels: int, columns: int, most: int) -> Iterator[tuple[int, int, int]]:
    """(row, first channel, end) of runs of at most `most` channels that stay within a row of the sheet."""
    for row in range(-(-channels // columns)):
        stop = min(channels, (row + 1) * columns)
        for start in range(row * columns, stop, most):
            yield row, start, min(stop, start + most)


def _marked(values: np.ndarray, low: float, high: float, center: float | None) -> np.ndarray:
    """Codes with every special value marked, in float64."""
    values = values.astype(np.float64)
    finite = np.isfinite(values)
    if low == high or np.isnan(low):
        codes = np.full(values.shape, CONSTANT, np.uint8)
    else:
        start, end = ends(low, high, center)
        inside = np.where(finite, np.clip(values, low, high), low)
        # Divided before it is multiplied, and halved, because the range itself may overflow.
        share = (inside / 2 - start / 2) / (end / 2 - start / 2)
        codes = np.floor(share * TOP + 0.5).astype(np.uint8)
    codes[values < low] = BELOW
    codes[values > high] = ABOVE
    codes[np.isnan(values)] = NAN
    codes[values == np.inf] = POS_INF
    codes[values == -np.inf] = NEG_INF
    return codes


def _flat(values: np.ndarray) -> np.ndarray:
    """`[*spatial, channel]` as `[position, channel]`, a view where memory allows it."""
    return values.reshape(-1, values.shape[-1])


def _down(reduce: np.ufunc, flat: np.ndarray) -> np.ndarray:
    """`reduce` over the positions of a contiguous `[position, channel]`, many positions a step: three times the plain speed."""
    positions, channels = flat.shape
    together = max(1, min(positions, 2048 // max(1, channels)))
    whole = positions - positions % together
    wide = reduce.reduce(flat[:whole].reshape(-1, together * channels), axis=0).reshape(together, channels)
    result = reduce.reduce(wide, axis=0)
    if whole < positions:
        result = reduce(result, reduce.reduce(flat[whole:], axis=0))
    return result


def _union(limits: np.ndarray) -> np.ndarray:
    """One range that holds all the ranges; (0, 0) where there is no finite value."""
    low, high = limits[..., 0], limits[..., 1]
    if np.isnan(low).all():
        return np.zeros(2)
    return np.array([np.nanmin(low), np.nanmax(high)])


def _percentiles(values: np.ndarray, clip: tuple[float, float], each: bool) -> np.ndarray:
    if not 0 <= clip[0] < clip[1] <= 100:
        raise BadScale(f"clip={clip!r}: use two percentiles, such as (1, 99)")
    finite: np.ndarray = np.where(np.isfinite(values), values, np.nan)
    if each:
        finite = finite.reshape(finite.shape[0], -1, finite.shape[-1])
        empty: np.ndarray = np.asarray(np.isnan(finite).all(1))
        finite[np.broadcast_to(empty[:, None], finite.shape)] = 0
        return np.moveaxis(np.nanpercentile(finite, clip, axis=1), 0, -1)
    known = finite[~np.isnan(finite)]
    return np.percentile(known, clip) if known.size else np.zeros(2)
