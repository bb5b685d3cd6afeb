"""`scan`: what layers of a model make of every image of a data set, kept in a store that can be interrupted at any time."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from .._version import __version__
from ..backends.common.run import keep_random_state
from ..checks import flag, keywords, one_of, optional_whole, real, whole
from ..core.progress import phase, work
from ..errors import BadOption, LayerscopeWarning, caller_level
from ..inputs.recipe import READY
from ..scope.open import scope_of
from ..scope.run import Question, provenance
from ..surface import option
from .ahead import makers
from .arrays import descriptions, import_zarr
from .engines import ENGINES, Job, run
from .estimate import ask, estimate
from .gallery import write_gallery
from .manifest import read_manifest, units, write_manifest
from .plan import DTYPES, KEEPS, PROVENANCE, Plan, differences, recipe_fields
from .probe import Probe, look
from .receipts import Receipt
from .refusals import check_images, check_place, listed, would_lose
from .samples import Listing, list_samples
from .state import State, outcomes, state_of
from .storage import LOCK, Storage, storage_of
from .store import Store, open_store
from .summary import write_summary
from .unit import Spec

if TYPE_CHECKING:
    from ..scope.scope import Scope


@keywords
def scan(
    model: Any,
    images: Any,
    layers: Any,
    store: Any,
    *,
    keep: str = "pooled",
    dtype: str = "float16",
    channels: Sequence[int] | slice | str | None = None,
    top: int = 16,
    batch: int | None = None,
    unit: int = 128,
    labels_from: str | None = "auto",
    column: str | None = None,
    engine: str = "local",
    workers: int = 1,
    address: str | None = None,
    gpus_per_worker: float | None = None,
    yes: bool = False,
    weights: str | os.PathLike[str] | None = None,
    preprocess: Any = "auto",
    size: Any = None,
    labels: Any = None,
    backend: Any = None,
    device: Any = None,
    trust: bool = False,
) -> Store:
    """Run a model over a data set and keep what its layers make of each image; the same call goes on where one was interrupted.

    >>> import tempfile
    >>> import numpy as np
    >>> import layerscope as ls
    >>> from layerscope.testing import TinyBackend, tiny_model
    >>> images = [np.full((8, 8, 3), grey, np.uint8) for grey in range(5)]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     ls.scan(tiny_model(), images, "conv1", folder, backend=TinyBackend(), preprocess="unit", size=8)
    <Store of 5 images, 1 layer>

    Args:
        model: As for `open`, or a `Scope`, which then brings all that opening takes.
        images: A folder, a glob, files, a `.csv`, `.tsv` or `.parquet` with a column of paths, tars of WebDataset, a data set
            that Hugging Face's `save_to_disk` wrote, `ls.video(...)`, or arrays.
        layers: As for `capture`.
        store: The folder of the store, made where it isn't there, or a URL such as `s3://bucket/run`.
        keep: What is kept of each image: `"pooled"` (mean, maximum and its place for each channel), `"maps"` (the maps, and
            that), or `"stats"` (nothing but the statistics of all images).
        dtype: The type of kept maps, with `keep="maps"` alone: `"float16"`, `"float32"` or `"uint8"`, which holds each map in
            253 steps from its smallest to its largest value, and is read as float32. `"float16"` is refused where the first
            images already have values that it can't hold, and warned of where later ones do. Statistics are those of the
            model's own values.
        channels: Keep only these, as for `capture`.
        top: How many images with the largest values are remembered for each channel.
        batch: How many images at a time; `None`: as many as are fastest and fit, found once and stored. Another batch rounds
            differently in the last bits.
        unit: How many images are committed together.
        labels_from: What gives images their classes: `"auto"`, `"folder"`, the name of a column, or `None`.
        column: The column of paths or images, where its name doesn't tell.
        engine: Who does the work: `"local"`, `"dask"` or `"ray"`. None of them carries activations.
        workers: How many processes; of a cluster that runs already, those that it has.
        address: Where a cluster of Dask or Ray runs already (`"tcp://10.0.0.1:8786"`, `"auto"`); `None` starts one here.
        gpus_per_worker: The part of a GPU that each worker of Ray takes, such as 0.5.
        yes: Begin a large scan without being asked.
        weights: As for `open`, as are all that follow.
        preprocess: As for `open`; `None` isn't possible.
        size: As for `open`.
        labels: As for `open`.
        backend: As for `open`.
        device: As for `open`.
        trust: As for `open`.

    Raises:
        BadOption: The store holds a scan that another model, preprocessing or choice of layers has made (the message names
            the difference) or is of other images, another scan is writing to it, results of images that are gone would be
            lost, the disk is full, or a large scan isn't agreed to.
        LibraryMissing: zarr isn't installed.
        LayerscopeError: As `open` and `capture` raise.
    """
    import_zarr()
    one_of("keep", keep, KEEPS)
    one_of("dtype", dtype, DTYPES)
    one_of("engine", engine, ENGINES)
    if keep != "maps" and dtype != DTYPES[0]:
        raise BadOption(
            f"{option('dtype', dtype)} is the type of kept maps, and {option('keep', keep)} keeps none",
            f"leave it out, or give {option('keep', 'maps')}",
        )
    _check_cluster(engine, address, gpus_per_worker)
    for name, value in (("top", top), ("unit", unit), ("workers", workers)):
        whole(name, value)
    storage = storage_of(store)
    wanted = Wanted(keep, dtype, top, unit, optional_whole("batch", batch))
    opening = {"weights": weights, "preprocess": preprocess, "size": size, "labels": labels, "backend": backend}
    opening |= {"device": device, "trust": flag("trust", trust)}
    start = time.time()
    with ExitStack() as held:
        if begun := storage.has(LOCK):  # so that a scan that is at work is told of before the model is opened
            held.enter_context(storage.locked())
        listing = _listed(storage, images, wanted, labels=labels_from, column=column)
        with phase("opening the model"):
            scope = scope_of(model, **opening)
        if scope.preprocess == READY:
            raise BadOption(
                f"a scan reads images, and {option('preprocess', None)} takes batches that are ready: leave it out"
            )
        held.enter_context(keep_random_state())
        if not begun:
            held.enter_context(storage.locked())
        storage.sweep()
        question = Question(layers, channels)
        done = _Scan(scope, storage, question).resumed(listing, wanted)
        spec = Spec(storage, done.plan, question, model, {} if model is scope else opening)
        left = sum(map(len, done.state.todo))
        ask(estimate(storage, done.plan, images=left, seconds=done.seen.seconds / workers), yes=flag("yes", yes))
        done.write(storage)
        receipts = dict(done.state.done)
        pace = Pace()
        with work(left, "images", note=pace.note) as step:
            job = Job(spec, done.state.todo, scope, pace.telling(step), workers, address, gpus_per_worker, engine)
            for receipt in run(job):
                receipts[receipt.unit] = receipt
        if not job.alone:
            storage.sweep()  # a worker that was lost has left what it was writing
        units_took = pace.seconds()
        write_summary(storage, done.plan, receipts)
        write_gallery(spec, done.samples, scope, receipts)
        about = {"engine": engine, "workers": workers, "threads": job.threads, "units_took": units_took}
        _write_provenance(storage, done, receipts, start=start, about=about)
    made = open_store(storage)
    for note in made.notes:
        warnings.warn(LayerscopeWarning(note), stacklevel=caller_level())
    return made


def _listed(storage: Storage, images: Any, wanted: Wanted, *, labels: str | None, column: str | None) -> Listing:
    """What is given. Raises `BadOption` where that can be told, without a model, not to be for this store."""
    with phase("listing the images"):
        listing = list_samples(images, labels=labels, column=column)
    check_place(storage, images, listing)
    if (old := Plan.read(storage)) is not None:
        now = replace(old, keep=wanted.keep, dtype=wanted.dtype, top=wanted.top, unit=wanted.unit)
        _check_same(storage, old, now)
        check_images(storage, listing)
    return listing


def _check_same(storage: Storage, old: Plan, now: Plan) -> None:
    if wrong := differences(old, now):
        raise BadOption(
            f"{storage} holds a scan of another kind: {'; '.join(wrong)}",
            f"give another {option('store')}, or ask for the same as then",
        )


class Pace:
    """How many images a second were done so far, and how many were skipped, for the bar."""

    def __init__(self) -> None:
        self.begun, self.cpu = time.perf_counter(), time.process_time()
        self.done = self.skipped = 0

    def seconds(self) -> dict[str, float]:
        """How long it has been, by the clock and of this process's own work."""
        return {"clock": time.perf_counter() - self.begun, "cpu": time.process_time() - self.cpu}

    def telling(self, step: Callable[[int], None]) -> Callable[[int, int], None]:
        def tell(images: int, skipped: int) -> None:
            self.done += images
            self.skipped += skipped
            step(images)

        return tell

    def note(self) -> str:
        rate = f"{self.done / max(1e-9, time.perf_counter() - self.begun):,.0f} a second" if self.done else ""
        return ", ".join(filter(None, (rate, f"{self.skipped:,} skipped" if self.skipped else "")))


def _check_cluster(engine: str, address: Any, gpus: Any) -> None:
    """Raises `BadOption` for what this engine doesn't take."""
    if address is not None and (engine == "local" or not isinstance(address, str)):
        raise BadOption(f"{option('address', address)} is for a cluster: choose {option('engine', 'dask')} or ray")
    if gpus is not None:
        real("gpus_per_worker", gpus, 0, 1024)
        if engine != "ray":
            raise BadOption(f"{option('gpus_per_worker', gpus)} is for Ray: choose {option('engine', 'ray')}")


@dataclass(frozen=True)
class Wanted:
    """What a caller asks of a store."""

    keep: str
    dtype: str
    top: int
    unit: int
    batch: int | None


@dataclass(frozen=True)
class Resumed:
    """A scan as it is to go on: the plan, the samples, what is done, and what the first images told."""

    plan: Plan
    samples: Listing
    state: State
    seen: Probe

    def write(self, storage: Storage) -> None:
        """Write what describes the store, where it is not there yet as it should be."""
        self.plan.write(storage)
        write_manifest(storage, self.samples)
        for name, data in descriptions(self.plan):
            storage.put(name, data)


@dataclass(frozen=True)
class _Scan:
    scope: Scope
    storage: Storage
    question: Question

    def resumed(self, listing: Listing, wanted: Wanted) -> Resumed:
        """The plan of today, if what the store holds was made by such a one, and what is left to do."""
        old = Plan.read(self.storage)
        samples = listing.continued(read_manifest(self.storage)) if old else listing
        batch = wanted.batch or (old.batch if old else None)
        with phase("running the first images" if batch else "timing batches"):
            seen = look(self.scope, samples, self.question, batch=batch, unit=wanted.unit)
        about, input = provenance(self.scope), self.scope.plan
        plan = Plan(
            model=about["model"],
            digest=about["model_digest"],
            framework=about["framework"],
            recipe=recipe_fields(self.scope.preprocess),
            input={
                "axes": input.axes,
                "size": input.size and list(input.size),
                "channels": input.channels,
                "dtype": input.dtype,
            },
            preprocess=about["preprocess"],
            layers=seen.layers,
            keep=wanted.keep,
            dtype=wanted.dtype,
            top=wanted.top,
            unit=wanted.unit,
            batch=min(seen.batch, wanted.unit) if self.scope.plan.batch is None else seen.batch,
            versions={name: version for name, version in makers(self.scope).items() if name != "resize"},
            labels=tuple(self.scope.labels or ()),
            images=len(samples),
        )
        if old is None and seen.lost and (wanted.keep, wanted.dtype) == ("maps", "float16"):
            layers = "; ".join(seen.lost)
            raise BadOption(
                f"maps kept as float16 aren't those of the model: {layers}", f"give {option('dtype', 'float32')}"
            )
        if old is not None:
            _check_same(self.storage, old, plan)
        with work(len(samples), "images looked at") as step:
            state = state_of(self.storage, plan, samples, step=step) if old else _everything(samples, plan)
        if state.lost:
            why = f"units are done again as a whole (here: {listed(state.why, '; ')})"
            raise would_lose(self.storage, state.lost, why)
        return Resumed(plan, samples, state, seen)


def _everything(samples: Listing, plan: Plan) -> State:
    return State(todo=list(units(samples, plan.unit)))


def _write_provenance(
    storage: Storage, done: Resumed, receipts: Mapping[int, Receipt], *, start: float, about: dict[str, Any]
) -> None:
    """Add this run to the file that tells of all: it isn't a part of what must be identical."""
    try:
        before = json.loads(storage.get(PROVENANCE))["runs"]
    except (FileNotFoundError, ValueError, KeyError):
        before = []
    run_now = {
        **about,
        "begun": datetime.fromtimestamp(start, timezone.utc).isoformat(timespec="seconds"),
        "seconds": round(time.time() - start, 3),
        "outcomes": outcomes(receipts, done.state),
        "batches_timed": {str(size): seconds for size, seconds in done.seen.timed.items()},
        "already": sum(len(receipt.images) for receipt in done.state.done.values()),
        "changed": done.state.changed,
        "damaged": done.state.damaged,
        "command": sys.argv,
        "host": platform.node(),
        "versions": {"layerscope": __version__, "python": platform.python_version(), **done.plan.versions},
        "origin": done.samples.origin.about(),
        "notes": list(done.samples.notes),
    }
    storage.put(PROVENANCE, json.dumps({"runs": [*before, run_now]}, indent=1).encode())
