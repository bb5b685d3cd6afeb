"""Sums over the channels, read once in the order in which the values lie in memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .ranges import raw_extent

# Values in one step of a reduction: what a core's cache holds.
BLOCK = 1 << 16

# Below it, some squares may have vanished.
SMALL_SQUARE = 1e-30


def weighted_sum(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """`sum(values * weights, -1)` in float32, read once in the order in which the values lie in memory.

    A weight of 0 looks at no value, so that NaN in a channel that isn't asked for stays out.
    """
    weights = weights.astype(np.float32)
    used = np.flatnonzero(weights)
    whole = len(used) == len(weights)
    out = np.zeros(values.shape[:-1], np.float32)
    with np.errstate(invalid="ignore", over="ignore"):
        if values.flags.c_contiguous:
            np.matmul(values.reshape(-1, len(weights)), weights, out=out.reshape(-1))
            # 0 times a finite value is 0: only where something isn't finite must the unused channels really stay out.
            if whole or np.isfinite(out).all():
                return out
            out[:] = 0
        for image, planes in enumerate(channel_planes(values)):
            if whole and planes.flags.c_contiguous:
                out[image] = (weights @ planes.reshape(len(weights), -1)).reshape(out.shape[1:])
                continue
            for channel in used:
                out[image] += planes[channel] * weights[channel]
    return out


def squares(values: np.ndarray, middle: np.ndarray | None = None) -> np.ndarray:
    """`sum((values - middle)², -1)` in float32, without a temporary of the size of `values`.

    `middle` is one vector, `[channel]`, or a number for each position, `[image, *spatial, 1]`.
    """
    out = np.zeros(values.shape[:-1], np.float32)
    if values.flags.c_contiguous:
        flat, to = values.reshape(-1, values.shape[-1]), out.reshape(-1)
        less = None if middle is None else middle.reshape(-1, middle.shape[-1])
        step = max(1, BLOCK // values.shape[-1])
        for start in range(0, len(flat), step):
            part = flat[start : start + step]
            if less is not None:
                part = part - (less if len(less) == 1 else less[start : start + step])
            np.einsum("nc,nc->n", part, part, out=to[start : start + step])
        return out
    scratch = np.empty(values.shape[1:-1], np.float32)
    less = None if middle is None else np.broadcast_to(middle, values.shape)
    for image, planes in enumerate(channel_planes(values)):
        for channel, plane in enumerate(planes):
            shifted = plane if less is None else np.subtract(plane, less[image, ..., channel], out=scratch)
            out[image] += np.multiply(shifted, shifted, out=scratch)
    return out


def channel_planes(values: np.ndarray) -> Iterator[np.ndarray]:
    """`[channel, *spatial]` of each image."""
    for image in values:
        yield np.moveaxis(image, -1, 0)


def lengths(values: np.ndarray, middle: np.ndarray | None = None) -> np.ndarray:
    """The Euclidean length of the channel vector at each position, float32, also where its square overflows float32.

    `middle`, as in `squares`, is taken off before: with a vector, the distance from it.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        total = squares(values, middle)
        most = total.max(initial=0)
        if SMALL_SQUARE < most < np.inf:
            return np.asarray(np.sqrt(total, out=total))
    extent = np.abs(raw_extent(values).ravel() if middle is None else np.append(raw_extent(values), middle))
    largest = float(extent[np.isfinite(extent)].max(initial=0))
    # Divided by the largest first where squares leave the range of float32.
    unit = np.float32(largest if largest > 1e18 or 0 < largest < 1e-18 else 1)
    with np.errstate(invalid="ignore", over="ignore"):
        if unit != 1:
            total = squares(values / unit, None if middle is None else middle / unit)
        return np.asarray(np.sqrt(total) * unit)


def finite_positions(values: np.ndarray) -> np.ndarray:
    """bool `[image, *spatial]`: the positions where every channel is finite."""
    largest = np.empty(values.shape[:-1], bool)
    for image, planes in enumerate(channel_planes(values)):
        if values[image].flags.c_contiguous:
            largest[image] = np.isfinite(values[image]).all(-1)
            continue
        largest[image] = True
        for plane in planes:
            largest[image] &= np.isfinite(plane)
    return largest


class Rows:
    """The channel vectors `[position, channel]` at the finite positions of a map, in blocks of some megabytes.

    `keep`, bool `[image, *spatial]`, leaves out other positions.
    """

    def __init__(self, values: np.ndarray, keep: np.ndarray | None = None) -> None:
        self.channels = values.shape[-1]
        self._blocks: list[tuple[np.ndarray, np.ndarray | None]] = []
        for image, plane in enumerate(values):
            whole = plane[None] if plane.ndim == 1 else plane
            kept = None if keep is None else keep[image].reshape(whole.shape[:-1])
            step = max(1, 8 * BLOCK // max(1, whole[0].size))
            for start in range(0, len(whole), step):
                block = slice(start, start + step)
                self._blocks.append((whole[block], None if kept is None else kept[block]))

    def __iter__(self) -> Iterator[np.ndarray]:
        for block, kept in self._blocks:
            flat = block.reshape(-1, self.channels)
            sound = np.isfinite(flat).all(1)
            if kept is not None:
                sound &= kept.reshape(-1)
            yield flat if sound.all() else flat[sound]

    def __len__(self) -> int:
        return len(self._blocks)

    def center(self) -> tuple[np.ndarray, int]:
        """The mean vector in float64 (zeros where there is no position), and how many positions there are."""
        summed, count = np.zeros(self.channels), 0
        for flat in self:
            summed += flat.sum(0, dtype=np.float64)
            count += len(flat)
        return summed / max(1, count), count

    def matrix(self) -> np.ndarray:
        """All of them as one float32 array `[position, channel]` of its own."""
        return np.concatenate(list(self))


def channel_squares(values: np.ndarray) -> np.ndarray:
    """The sum of the squares of each channel over all images and positions, float64 `[channel]`."""
    summed = np.zeros(values.shape[-1])
    with np.errstate(invalid="ignore", over="ignore"):
        if values.flags.c_contiguous:
            flat = values.reshape(-1, values.shape[-1])
            step = max(1, BLOCK // values.shape[-1])
            for start in range(0, len(flat), step):
                part = flat[start : start + step]
                summed += np.einsum("pc,pc->c", part, part)
            return summed
        for planes in channel_planes(values):
            summed += [float(np.einsum("p,p->", plane, plane)) for plane in planes.reshape(len(planes), -1)]
    return summed
