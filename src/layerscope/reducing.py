"""Sums over the channels, read once in the order in which the values lie in memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

# Values in one step of a reduction: what a core's cache holds.
BLOCK = 1 << 16


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


def squares(values: np.ndarray, middle: np.ndarray | None) -> np.ndarray:
    """`sum((values - middle)², -1)` in float32, without a temporary of the size of `values`."""
    out = np.zeros(values.shape[:-1], np.float32)
    if values.flags.c_contiguous:
        flat, to = values.reshape(-1, values.shape[-1]), out.reshape(-1)
        step = max(1, BLOCK // values.shape[-1])
        for start in range(0, len(flat), step):
            part = flat[start : start + step]
            if middle is not None:
                part = part - middle.reshape(-1)[start : start + step, None]
            np.einsum("nc,nc->n", part, part, out=to[start : start + step])
        return out
    scratch = np.empty(values.shape[1:-1], np.float32)
    for image, planes in enumerate(channel_planes(values)):
        for plane in planes:
            if middle is not None:
                np.subtract(plane, middle[image], out=scratch)
                np.multiply(scratch, scratch, out=scratch)
            else:
                np.multiply(plane, plane, out=scratch)
            out[image] += scratch
    return out


def channel_planes(values: np.ndarray) -> Iterator[np.ndarray]:
    """`[channel, *spatial]` of each image."""
    for each in values:
        yield np.moveaxis(each, -1, 0)


def place_rows(values: np.ndarray) -> list[np.ndarray]:
    """Views of at most some megabytes as `[place, channel]`."""
    parts = []
    for each in values:
        if each.ndim == 1:
            each = each[None]
        step = max(1, 32 * BLOCK // max(1, each[0].size))
        parts += [each[start : start + step] for start in range(0, each.shape[0], step)]
    return parts


def finite_rows(parts: list[np.ndarray]) -> Any:
    for part in parts:
        flat = part.reshape(-1, part.shape[-1])
        keep = np.isfinite(flat).all(1)
        yield flat if keep.all() else flat[keep]


def center_of(parts: list[np.ndarray]) -> tuple[np.ndarray, int]:
    total_, count = 0.0, 0
    for flat in finite_rows(parts):
        total_ = total_ + flat.sum(0, dtype=np.float64)
        count += len(flat)
    if not count:
        return np.zeros(parts[0].shape[-1]), 0
    return np.asarray(total_) / count, count
