"""Whether a ready batch of several arrays can be run in smaller ones: nobody says which of them hold a row for each image."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import LayerscopeError
from ..inputs.recipe import READY
from .attempt import run_batch
from .batches import count_images, read_batches
from .run import Question, Run

if TYPE_CHECKING:
    from .scope import Scope

log = logging.getLogger("layerscope")
TOLERANCE = 0.01  # of the largest value: other sizes of batches round differently


def safe_size(
    scope: Scope, images: Any, size: int | None, *, question: Question, about: Mapping[str, Any]
) -> int | None:
    """How many images may be run at a time where `size` are asked for; `None`: all.

    As many class embeddings as images look like rows of the images. The first image alone and beside the second tells: where
    it gives other values, the batch stays whole.
    """
    several = isinstance(images, Mapping | tuple | list) and len(images) > 1
    if size is None or scope.preprocess != READY or not several or size >= (count_images(images, READY) or 0):
        return size
    try:
        pair, single = (_first(scope, images, rows, question=question, about=about) for rows in (2, 1))
    except LayerscopeError:  # the whole batch tells what is wrong
        return None
    if _agree(pair, single):
        return size
    log.warning("batch=%d is left aside: the arrays of this batch don't all hold a row for each image", size)
    return None


def _first(scope: Scope, images: Any, rows: int, *, question: Question, about: Mapping[str, Any]) -> Run:
    part = next(iter(read_batches(images, rows, READY, scope.plan, skipped=[])))
    return run_batch(scope, part, replace(question, target=None), about)


def _agree(pair: Run, single: Run) -> bool:
    """Whether the first image gives the same beside another one as alone."""
    if pair.captured.keys() != single.captured.keys():
        return False
    for path, alone in single.captured.items():
        axis = max(single.request.layers[path].axes.find("b"), 0)
        beside, values = pair.captured[path].values, alone.values
        if beside.ndim != values.ndim:
            return False
        if values.ndim:
            beside = beside[(slice(None),) * axis + (slice(0, values.shape[axis]),)]
        if beside.shape != values.shape or not _close(beside, values):
            return False
    return True


def _close(one: np.ndarray, other: np.ndarray) -> bool:
    if one.dtype.kind not in "fc":
        return np.array_equal(one, other)
    largest = float(np.abs(other[np.isfinite(other)]).max(initial=0))
    return np.allclose(one, other, rtol=0, atol=TOLERANCE * largest, equal_nan=True)
