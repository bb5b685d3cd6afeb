"""What the first images tell of a scan: the layers with their sizes, a batch that fits into memory, how long an image takes."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
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
from .plan import Kept, file_names
from .samples import Sample

if TYPE_CHECKING:
    from ..scope.scope import Scope

LOOKED_AT, READ = 64, 4  # samples among which so many are looked for that can be read
USUAL, USUAL_ELSEWHERE = 32, 128  # images at a time, on the processor and on other devices


@dataclass(frozen=True)
class Probe:
    """What was seen: the layers, the images that run at a time, the seconds that one takes to be read and run."""

    layers: tuple[Kept, ...]
    batch: int
    seconds: float


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
    return Probe(_kept(maps), size, reading + (time.perf_counter() - again) / len(few.ids))


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
