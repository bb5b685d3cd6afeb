"""What a scan costs beyond decoding the images and running the model; how a store answers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from .measure import HERE, Measured, Row, Target
from .scan_runs import KEEPS, UNIT

TITLE = "Scanning a data set"
IMAGES, ROUNDS = UNIT, 3
FEW, MANY = 2_000, 8_000  # photos between which memory has to stay the same
WORKERS, SMALL = 2, 64  # workers, and the images of their units
SHARED = (1 + WORKERS) * WORKERS * SMALL  # photos that they share: the first unit of each isn't counted
LIMIT = 100  # seconds for a cluster
TARGETS = {"stats": 1.17, "pooled": 1.17, "maps": 1.42}  # at least 0.85 and 0.70 of the bare loop
WORDS = {"stats": "statistics and top images", "pooled": "these, pooled vectors", "maps": "these, all maps"}
ENGINES = {"local": "a pool of processes", "dask": "Dask", "ray": "Ray"}


def rows() -> Iterator[Row]:
    with TemporaryDirectory(prefix="scanning-") as name:
        folder = Path(name)
        photos = _photos(folder / "photos", SHARED)
        some = _links(folder / "some", photos[:IMAGES])
        yield from _local("resnet18", "ResNet-18", some, folder)
        yield from _local("demo", "embedded model", some, folder)
        yield from _reading(folder / f"resnet18-maps-{ROUNDS - 1}")
        yield from _memory(folder)
        yield from _workers(folder / "photos", folder)


def _local(model: str, words: str, photos: Path, folder: Path) -> Iterator[Row]:
    took = _run("local", model, photos, folder, ROUNDS)
    bare = Measured(tuple(whole for whole, _ in took["bare"]))
    for keep in KEEPS:
        target = Target("within", TARGETS[keep]) if model == "resnet18" else None
        title, against = f"{words}, {IMAGES} photos: {WORDS[keep]}", "decode + forward"
        yield Row(title, Measured(tuple(units for _, units in took[keep])), against, bare, target)
        yield Row(f"{title}, last stage", Measured(tuple(whole for whole, _ in took[keep])), against, bare, None)


def _reading(store: Path) -> Iterator[Row]:
    runs = [_run("reading", store) for _ in range(5)]

    def row(what: str, key: str, most: float) -> Row:
        return Row(what, Measured(tuple(second for run in runs for second in run[key])), target=Target("below", most))

    yield row("open_store, first call after the imports", "open", 0.05)
    yield row("one channel of one image, maps()[image, channel]", "xarray", 0.01)
    yield row("one channel of one image, feature_map()", "feature_map", 0.01)
    yield row("top of a channel, first call", "top", 0.5)


def _memory(folder: Path) -> Iterator[Row]:
    """Of scans of small photos, which run at once, as their time isn't of interest."""
    photos = _photos(folder / "many", MANY, width=100)
    _links(folder / "few", photos[:FEW])
    sides = [("memory", folder / name, folder / f"memory-{name}", core) for core, name in enumerate(("few", "many"))]
    few, many = (Measured((size,), "MB") for size in _together(*sides))
    yield Row(f"ResNet-18, peak with {MANY:,} photos", many, f"with {FEW:,}", few, Target("within", 1.1))


def _workers(photos: Path, folder: Path) -> Iterator[Row]:
    if len(os.sched_getaffinity(0)) < WORKERS:
        print(f"{WORKERS} workers left out: this machine lets them have {len(os.sched_getaffinity(0))} core")
        return
    each = SHARED // WORKERS - SMALL

    def bare() -> float:
        loops = _together(*(("part", photos, core, each) for core in range(WORKERS)))
        return float(sum(loops)) / WORKERS

    times = [bare()]
    took = {}
    for engine, words in ENGINES.items():
        try:
            took[words] = _run("engine", engine, WORKERS, SMALL, photos, folder / engine)
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            print(f"{words} left out: {str(error)[-300:]}")
    times.append(bare())
    for words, seconds in took.items():
        target = Target("within", 1.66) if words == ENGINES["dask"] else None
        title = f"ResNet-18, {WORKERS * each} photos, {WORKERS} workers, after the start: {words}"
        yield Row(title, Measured((seconds,)), f"{WORKERS} bare processes", Measured(tuple(times)), target)


def _photos(folder: Path, count: int, width: int = 500) -> list[Path]:
    """So many JPEGs of 4:3, parts of the embedded photo."""
    import numpy as np
    from PIL import Image

    import layerscope as ls

    folder.mkdir()
    photo, random = Image.open(ls.demo_photo()).convert("RGB"), np.random.default_rng(0)
    for number in range(count):
        x, y = random.integers(0, 60, 2).tolist()
        part = photo.resize((width, width * 3 // 4), Image.Resampling.BICUBIC, (x, y, x + 380, y + 240))
        part.save(folder / f"{number:05d}.jpg", quality=90)
    return sorted(folder.iterdir())


def _links(folder: Path, photos: Sequence[Path]) -> Path:
    folder.mkdir()
    for photo in photos:
        os.link(photo, folder / photo.name)
    return folder


def _run(*arguments: object) -> Any:
    """What a process prints as JSON."""
    (printed,) = _together(arguments)
    return printed


def _together(*runs: Sequence[object]) -> list[Any]:
    """What processes print as JSON that run at the same time."""
    paths = os.pathsep.join(filter(None, [str(HERE.parent), os.environ.get("PYTHONPATH", "")]))
    environment = {**os.environ, "PYTHONPATH": paths, "RAY_USAGE_STATS_ENABLED": "0"}
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "bench.scan_runs", *map(str, run)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=HERE.parent,
            env=environment,
            start_new_session=True,
        )
        for run in runs
    ]
    try:
        return [
            _printed(process, LIMIT if "engine" in run else None) for process, run in zip(started, runs, strict=True)
        ]
    finally:
        for process in started:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()


def _printed(process: subprocess.Popen[str], limit: float | None) -> Any:
    out, errors = process.communicate(timeout=limit)
    if process.returncode:
        raise RuntimeError(errors.strip() or f"it ended with {process.returncode}")
    return json.loads(out.splitlines()[-1])
