"""How the images of a capture are cut into batches: arrays without a row for each image, layers that mix those of a batch."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..errors import LayerscopeError
from ..inputs.recipe import READY
from ..safe_text import counted
from ..surface import option
from .attempt import run_batch
from .batches import Batch, count_images, read_batches, signature
from .run import Question, Run

if TYPE_CHECKING:
    from .scope import Scope

log = logging.getLogger("layerscope")
TOLERANCE = {"bfloat16": 0.1}  # of the largest value: other sizes of batches round differently
USUAL_TOLERANCE = 0.01


class Seen(NamedTuple):
    """Of the layers of a capture: those that mix images, and those that don't give rows for each image at all."""

    mixed: frozenset[str] = frozenset()
    whole: frozenset[str] = frozenset()


class Cutting:
    """How many images of one capture run at a time, and which of its layers mix the images of a batch.

    As many class embeddings as images look like rows of the images; a normalisation over the batch makes of one image what
    depends on the others, a Gram matrix gives no row for each, and the first axis may be time. An image alone and beside
    another one tells.
    """

    def __init__(self, scope: Scope, question: Question, about: Mapping[str, Any]) -> None:
        self._scope, self._question, self._about = scope, replace(question, target=None), about
        self._first: np.ndarray | None = None  # the first photo of the first batch
        self._mixed: frozenset[str] | None = None

    def size(self, images: Any, size: int | None) -> int | None:
        """How many images may be run at a time where `size` are asked for; `None`: all.

        A ready batch stays whole where not each of its arrays holds, or not each layer gives, rows for each image.
        """
        if size is None or self._scope.preprocess != READY or size >= (count_images(images, READY) or 0):
            return size
        several = isinstance(images, Mapping | tuple | list) and len(images) > 1
        try:
            seen = self._known(signature(images), lambda: self._seen(images, several=several))
        except LayerscopeError:  # the whole batch tells what is wrong
            return None if several else size
        if several and (seen.mixed or seen.whole):
            log.warning("batch=%d is left aside: the arrays of this batch don't all hold a row for each image", size)
            return None
        if seen.whole:
            log.warning("batch=%d is left aside: %s don't hold a row for each image", size, _named(seen.whole))
            return None
        self._tell(seen.mixed)
        return size

    def marked(self, run: Run) -> Run:
        """The run of the next batch, with what is known by now of its layers.

        Of photos, the last one of the second batch is run once more: alone, or beside another one where it was alone.
        """
        photos = run.batch.array if run.batch.photos and not run.batch.filled else None
        if self._mixed is None and isinstance(photos, np.ndarray):
            axis = self._scope.plan.axes.index("b")
            one = photos.take([-1], axis)
            if self._first is None:
                self._first = one
            elif self._first.shape == one.shape:
                with suppress(LayerscopeError):  # a model that takes as many images as that alone
                    self._tell(frozenset.union(*self._known(signature(photos), lambda: self._compared(run, one, axis))))
        return replace(run, mixed=self._mixed) if self._mixed else run

    def _compared(self, run: Run, one: np.ndarray, axis: int) -> Seen:
        if len(run.batch.ids) > 1:
            return _compare(run, self._again(one, 1))
        return _compare(self._again(np.concatenate([self._first, one], axis), 2), run)

    def _known(self, kind: Any, find: Callable[[], Seen]) -> Seen:
        """What was seen of such layers, once for input of that size and type, and layers that were named."""
        layers = self._question.layers
        words = tuple(layers) if isinstance(layers, list | tuple) else (layers,)
        if not all(isinstance(word, str) for word in words):
            return find()
        known, key = self._scope._cache.mixed, (kind, words)
        if key not in known:
            known[key] = find()
        return known[key]

    def _tell(self, mixed: frozenset[str]) -> None:
        self._mixed = mixed
        if mixed:
            log.warning(
                "%s depend on the images that run together: another %s gives others", _named(mixed), option("batch")
            )

    def _seen(self, images: Any, *, several: bool) -> Seen:
        """Of the second image of a ready batch: a step of a sequence differs behind another one, the first doesn't."""
        inputs = self._scope.facts.inputs

        def part(rows: int, start: int) -> Batch | None:
            parts = read_batches(images, rows, READY, self._scope.plan, skipped=[], inputs=inputs)
            return next(islice(parts, start, None), None)

        first, second = part(2, 0), part(1, 1)
        if first is None or second is None:  # an object of the model's own stays whole by itself
            return Seen()
        pair, alone = (run_batch(self._scope, batch, self._question, self._about) for batch in (first, second))
        other_calls = several and pair.captured.keys() != alone.captured.keys()
        return Seen(whole=frozenset(alone.captured)) if other_calls else _compare(pair, alone)

    def _again(self, photos: np.ndarray, count: int) -> Run:
        batch = Batch(photos, tuple(f"image {index}" for index in range(count)))
        return run_batch(self._scope, batch, self._question, self._about)


def _named(paths: frozenset[str]) -> str:
    more = f" (and of {counted(len(paths) - 1, 'more layer')})" if len(paths) > 1 else ""
    return f"the values of {min(paths) or 'output'!r}{more}"


def _compare(beside: Run, alone: Run) -> Seen:
    """What the last image beside others and alone tells of the layers that ran in both."""
    mixed, whole = set(), set()
    for path, own in alone.captured.items():
        if path not in beside.captured:
            continue
        axis = max(alone.request.layers[path].axes.find("b"), 0)
        together = beside.captured[path].values
        if not _grows(together.shape, own.values.shape, axis):
            whole.add(path)
        elif not any(
            _close(rows, own.values, TOLERANCE.get(own.dtype, USUAL_TOLERANCE))
            for rows in _last(together, own.values.shape[axis], axis)
        ):
            mixed.add(path)
    return Seen(frozenset(mixed), frozenset(whole))


def _grows(together: Sequence[int], alone: Sequence[int], axis: int) -> bool:
    """Whether more images give more rows along that axis, and change nothing else."""
    rest = slice(axis + 1, None)
    same = len(together) == len(alone) > axis and (together[:axis], together[rest]) == (alone[:axis], alone[rest])
    return same and together[axis] > alone[axis]


def _last(values: np.ndarray, count: int, axis: int) -> Iterator[np.ndarray]:
    """The `count` rows of the last image: behind those of the others, or, of windows of all images, each behind theirs."""
    before, total = (slice(None),) * axis, values.shape[axis]
    yield values[(*before, slice(total - count, None))]
    if count > 1 and total % count == 0:
        yield values[(*before, slice(total // count - 1, None, total // count))]


def _close(one: np.ndarray, other: np.ndarray, tolerance: float) -> bool:
    if one.dtype.kind not in "fc":
        return np.array_equal(one, other)
    largest = float(np.abs(other[np.isfinite(other)]).max(initial=0))
    return np.allclose(one, other, rtol=0, atol=tolerance * largest, equal_nan=True)
