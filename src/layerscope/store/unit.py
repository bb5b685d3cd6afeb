"""One unit of a scan: its images are decoded ahead, run in batches, counted, written whole; its receipt comes last.

`process` is all that an engine needs: it can be imported, its arguments pickled, and a unit done twice gives the same bytes.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from contextvars import copy_context
from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arrays.float16 import halves
from ..errors import BadOption
from ..scope.attempt import run_batch
from ..scope.capture import join
from ..scope.run import Question
from .ahead import Ready, batch_of, read_ahead
from .arrays import map_array, pooled_arrays
from .counter import Counter
from .halves import LARGEST
from .manifest import Unit
from .passing import Largest, Passing
from .plan import Kept, Plan
from .quantised import codes_of, lowest
from .receipts import DONE, Outcome, Receipt, checksum, name_of
from .refusals import would_lose
from .storage import Storage
from .tally import encode

if TYPE_CHECKING:
    from ..scope.scope import Scope

MOST_READERS = 8
TALLIES = "units"


@dataclass(frozen=True)
class Spec:
    """What is done with each unit, and where its results go; `opening` is what `layerscope.open` takes beside the model."""

    storage: Storage
    plan: Plan
    question: Question
    model: Any
    opening: dict[str, Any]


Tell = Callable[[int, int], None]


def _nobody(images: int, skipped: int) -> None:
    """Who isn't told how far a unit is."""


def process(spec: Spec, units: Iterable[Unit], scope: Scope | None = None, tell: Tell = _nobody) -> Iterator[Receipt]:
    """Do these units one after another; the receipt of each comes when it is written.

    While the model runs, the next images are decoded, also those of the next unit, and the unit before is written.
    `tell` is called with the number of images done since the last call, and how many of them were skipped.
    """
    scope = opened(spec) if scope is None else scope
    largest = Largest(spec.plan)
    units = list(units)
    samples = chain.from_iterable(unit.samples for unit in units)
    readers = 1 if any(unit.samples.in_turn for unit in units) else reader_count()
    written: deque[Future[Receipt]] = deque()
    with (
        closing(read_ahead(samples, scope, workers=readers)) as coming,
        ThreadPoolExecutor(1, "layerscope-write") as writer,
    ):
        for unit in units:
            filled = Filled(spec.plan, unit, largest)
            for rows, ready in filled.batches(islice(coming, len(unit)), tell):
                filled.add(rows, run(spec, scope, ready))
                tell(len(rows), 0)
            written.append(writer.submit(copy_context().run, filled.write, spec.storage))
            while len(written) > 1:
                yield written.popleft().result()
        while written:
            yield written.popleft().result()


def reader_count() -> int:
    """How many images are decoded at a time."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(MOST_READERS, count))


def opened(spec: Spec) -> Scope:
    """The model of a scan in this process. Raises `BadOption` where it is another one here."""
    from ..scope.open import scope_of
    from ..scope.run import provenance

    scope = scope_of(spec.model, **spec.opening)
    if (digest := provenance(scope)["model_digest"]) != spec.plan.digest:
        raise BadOption(f"the model has other weights in this worker ({digest}) than in the scan ({spec.plan.digest})")
    return scope


def run(spec: Spec, scope: Scope, ready: Sequence[Ready]) -> dict[str, np.ndarray]:
    """The maps `[image, channel, *spatial]` of some images, one batch, by the paths of the layers."""
    count = len(ready)
    if len(shapes := {one.array.shape for one in ready if one.array is not None}) > 1:
        raise BadOption(f"model input of different sizes, {sorted(shapes)}, gives maps of different sizes: give size=")
    batch = batch_of(ready, scope)
    maps, _ = join([run_batch(scope, batch, spec.question, {})])
    values = {path: np.moveaxis(fm.values, -1, 1) for path, fm in maps.items()}
    for kept in spec.plan.layers:
        found = values.get(kept.layer.path)
        expected = (count, len(kept.channels), *kept.spatial)
        if found is None or found.shape != expected:
            what = "nothing" if found is None else f"an array of {found.shape}"
            raise BadOption(
                f"{kept.layer.path!r} gave {what} where it gave {expected} for the first images: leave it out"
            )
    return values


class Filled:
    """What a unit has come to so far: the outcome of each image, and for each layer what is counted and kept."""

    def __init__(self, plan: Plan, unit: Unit, largest: Largest) -> None:
        self.plan, self.unit, self.passing = plan, unit, None if plan.keep == "maps" else Passing(largest)
        self.outcomes: list[Outcome] = []
        self.counters = {kept.name: Counter(plan.unit, len(kept.channels), plan.top) for kept in plan.layers}
        self.maps = {kept.name: map_array(plan, kept).empty() for kept in plan.layers if plan.keep == "maps"}
        self.lows = {name: np.full(codes.shape[:2], np.nan, np.float32) for name, codes in self.maps.items()}
        self.beyond = {kept.name: 0 for kept in plan.layers}

    def batches(self, results: Iterable[Ready], tell: Tell) -> Iterator[tuple[list[int], list[Ready]]]:
        """The images that could be read, a batch at a time: their rows in the unit."""
        rows: list[int] = []
        ready: list[Ready] = []
        for row, one in enumerate(results):
            self.outcomes.append(_outcome(one))
            if one.array is None:
                tell(1, 1)
                continue
            rows.append(row)
            ready.append(one)
            if len(rows) == self.plan.batch:
                yield rows, ready
                rows, ready = [], []
        if rows:
            yield rows, ready

    def add(self, rows: list[int], maps: dict[str, np.ndarray]) -> None:
        """Count and keep the maps of a batch."""
        for kept in self.plan.layers:
            values = np.ascontiguousarray(maps[kept.layer.path], np.float32)
            narrow = halves(values)
            flat = (len(rows), len(kept.channels), kept.positions)
            counter = self.counters[kept.name]
            counter.add(values.reshape(flat), narrow.reshape(flat), rows)
            if counter.tally.high.max(initial=0) > LARGEST or counter.tally.low.min(initial=0) < -LARGEST:
                self.beyond[kept.name] += int((np.isinf(narrow) & np.isfinite(values)).sum())
            if self.passing is not None:
                self.passing.take(kept.name, np.array(rows) + self.unit.first, counter.high[rows], values)
            if self.plan.quantised:
                self.lows[kept.name][rows] = low = lowest(values)
                self.maps[kept.name][rows] = codes_of(values, low, counter.high[rows])
            elif kept.name in self.maps:
                self.maps[kept.name][rows] = narrow if self.plan.dtype == "float16" else values

    def write(self, storage: Storage) -> Receipt:
        """Write the shards, then the tally, and last the receipt.

        Raises `BadOption`, and the files of before stay, where an image can't be read any more that they have results of.
        """
        again = [self.outcomes[row] for row in self.unit.held]
        if lost := [image.id for image in again if image.outcome != DONE and not image.digest]:
            raise would_lose(storage, lost, f"unit {self.unit.number} was to be done again, and stays as it was")
        files: dict[str, tuple[int, str]] = {}

        def put(name: str, data: bytes | None) -> None:
            if data is not None:
                storage.put(name, data)
                files[name] = len(data), checksum(data)

        number, plan = self.unit.number, self.plan
        for kept in plan.layers:
            for array, values in self._arrays(kept):
                put(array.shard(number), array.encode(values))
        tallies = {kept.name: self.counters[kept.name].finished(self.unit.first) for kept in plan.layers}
        put(f"{TALLIES}/{number:06d}.npz", encode(tallies))
        if self.passing is not None:
            self.passing.write(storage, number)
        beyond = {name: count for name, count in self.beyond.items() if count}
        receipt = Receipt(
            number,
            self.unit.first,
            plan.makers,
            tuple(self.outcomes),
            files,
            beyond,
            {"resize": plan.preprocess, **plan.versions},
        )
        storage.put(name_of(number), receipt.encode())
        return receipt

    def _arrays(self, kept: Kept) -> Iterator[tuple[Any, np.ndarray]]:
        if self.plan.keep == "maps":
            yield map_array(self.plan, kept), self.maps[kept.name]
        if self.plan.keep != "stats":
            pooled, counter = pooled_arrays(self.plan, kept), self.counters[kept.name]
            ends = (self.lows[kept.name],) if self.plan.quantised else ()
            yield from zip(pooled.values(), (counter.mean, counter.high, counter.place, *ends), strict=True)


def _outcome(one: Ready) -> Outcome:
    photo = None if one.placement is None else (one.placement.photo[0], one.placement.photo[1])
    return Outcome(one.sample.id, one.outcome, one.digest, one.sample.size, one.reason, photo)
