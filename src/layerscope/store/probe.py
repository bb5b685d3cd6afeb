"""What the first images tell of a scan: the layers with their sizes, the fastest batch that fits, how long an image takes."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import cycle, islice
from typing import TYPE_CHECKING

from ..core.feature_map import FeatureMap
from ..errors import BadOption, CaptureTooLarge, PreprocessWarning, caller_level
from ..scope.attempt import run_batch
from ..scope.batches import Batch, blank_batch
from ..scope.capture import join
from ..scope.input_warning import warn_of_input
from ..scope.memory import Room
from ..scope.run import Question, Request
from .ahead import Ready, batch_of, made_ready
from .halves import loss_of
from .plan import Kept, file_names
from .samples import Sample

if TYPE_CHECKING:
    from ..scope.scope import Scope

LOOKED_AT, READ = 64, 4  # samples among which so many are looked for that can be read
USUAL, USUAL_ELSEWHERE = 32, 128  # images at a time, on the processor and on other devices
SIZES = (8, 16, 32, 64, 128, 256)  # images at a time that are timed
SECONDS, SHARE = 2.0, 0.1  # what timing may take, and of the whole scan
CLOSE = 1.05  # a smaller batch is as good as the fastest if an image takes no longer than this


@dataclass(frozen=True)
class Probe:
    """What was seen: the layers, the images that run at a time, the seconds that one takes to be read and run.

    `timed` are the seconds that the model takes for an image, by the images at a time. `lost` says of layers what would
    become of their values as float16.
    """

    layers: tuple[Kept, ...]
    batch: int
    seconds: float
    timed: Mapping[int, float] = field(default_factory=dict)
    lost: tuple[str, ...] = ()


def look(scope: Scope, samples: Sequence[Sample], question: Question, *, batch: int | None, unit: int) -> Probe:
    """Run the first images. Raises what a capture of them raises; `BadOption` for layers that have no row for each image."""
    if not scope.plan.known:
        warnings.warn(f"{scope.name}: {scope.plan.note}", PreprocessWarning, stacklevel=caller_level())
    start = time.perf_counter()
    ready = list(_readable(scope, samples))
    reading = (time.perf_counter() - start) / max(1, len(ready))
    maps, size = _maps(scope, ready, question, wanted=scope.plan.batch or batch or usual_batch(scope, unit))
    again, few = time.perf_counter(), _batch(scope, ready, _tried(scope, size))
    run_batch(scope, few, question, {})
    each = (time.perf_counter() - again) / len(few.ids)
    if batch is None and scope.plan.batch is None and ready:
        budget = min(SECONDS, SHARE * len(samples) * (reading + each))
        sizes = [one for one in SIZES if one <= unit]
        timed = _timed(scope, ready, question, sizes=sizes, each=each, budget=budget)
        size, each = _chosen(timed, sizes, usual=size), min(timed.values(), default=each)
    else:
        timed = {}
    lost = tuple(f"{path or 'output'}: {words}" for path, fm in maps.items() if (words := loss_of(fm.values)))
    return Probe(_kept(maps), size, reading + each, timed, lost)


def _chosen(timed: Mapping[int, float], sizes: Sequence[int], *, usual: int) -> int:
    """The smallest of the sizes that are as good as the fastest; the usual one where time ran out while they got faster."""
    best = min(timed.values(), default=0.0)
    size = min((one for one, seconds in timed.items() if seconds <= CLOSE * best), default=usual)
    return size if len(timed) == len(sizes) or size < max(timed, default=0) else max(size, usual)


def _timed(
    scope: Scope, ready: Sequence[Ready], question: Question, *, sizes: Sequence[int], each: float, budget: float
) -> dict[int, float]:
    """The seconds of an image in batches of these sizes, of those for which there is time and memory.

    `each` is what an image is thought to take, until one was timed.
    """
    timed: dict[int, float] = {}
    end = time.perf_counter() + budget
    for size in sizes:
        if time.perf_counter() + 2 * size * min(timed.values(), default=each) > end:
            break
        batch = _batch(scope, ready, size)
        try:
            # The first run of a size is slower: it is compiled, and takes its memory.
            run_batch(scope, batch, question, {}, check=partial(_check, Room(None, kept=False), batch))
        except CaptureTooLarge:
            break
        enough = time.perf_counter() + budget / len(sizes) / 2
        took = float("inf")
        while True:
            begun = time.perf_counter()
            run_batch(scope, batch, question, {})
            now = time.perf_counter()
            took = min(took, now - begun)
            if now >= enough:
                break
        timed[size] = took / size
    return timed


def _on_processor(scope: Scope) -> bool:
    return str(getattr(scope.backend, "device", "") or "cpu").startswith("cpu")


def usual_batch(scope: Scope, unit: int) -> int:
    """How many images are tried first."""
    return min(unit, USUAL if _on_processor(scope) else USUAL_ELSEWHERE)


def _tried(scope: Scope, wanted: int) -> int:
    """How many images are run to see whether so many fit: where the processor's memory can be asked, a few are enough."""
    return min(wanted, READ) if _on_processor(scope) else wanted


def _readable(scope: Scope, samples: Sequence[Sample]) -> Iterator[Ready]:
    ready = (made_ready(sample, scope) for sample in samples[:LOOKED_AT])
    return islice((one for one in ready if one.array is not None), READ)


def _maps(
    scope: Scope, ready: Sequence[Ready], question: Question, *, wanted: int
) -> tuple[dict[str, FeatureMap], int]:
    """The maps of a batch of so many images, or of half as many where memory is short, and so on."""
    while True:
        batch = _batch(scope, ready, _tried(scope, wanted))
        if ready and scope.check_input:
            photos = tuple(one.sample.read(range=scope.preprocess.range) for one in ready)
            warn_of_input(scope, replace(batch, photos=photos))
        whole = replace(batch, ids=batch.ids * -(-wanted // len(batch.ids)))
        try:
            run = run_batch(scope, batch, question, {}, check=partial(_check, Room(None, kept=False), whole))
            return join([run])[0], wanted
        except CaptureTooLarge:
            if wanted == 1 or scope.plan.batch:
                raise
            wanted = max(1, wanted // 2)


def _check(room: Room, whole: Batch, request: Request) -> None:
    room.check(request, whole, 0)


def _batch(scope: Scope, ready: Sequence[Ready], size: int) -> Batch:
    """So many images, the same ones again and again; a grey one where none can be read."""
    if not ready:
        return blank_batch(scope.preprocess, scope.plan)
    return batch_of(list(islice(cycle(ready), size)), scope)


def _kept(maps: dict[str, FeatureMap]) -> tuple[Kept, ...]:
    for path, fm in maps.items():
        if fm.rows != "image":
            raise BadOption(f"{path!r} doesn't give a row for each image, so a store can't hold it: leave it out")
    return tuple(
        Kept(name, fm.layer, fm.channels, fm.spatial, fm.dtype, fm.names)
        for name, fm in zip(file_names(list(maps)), maps.values(), strict=True)
    )
