"""What a user of the local page waits for, in headless Chromium without a GPU."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import layerscope as ls
from layerscope.testing.tiny import Step, TinyBackend, TinyModel

from .measure import Measured, Row, Target

TITLE = "The viewer in a browser"
PROGRAM = Path(__file__).parents[1] / "frontend/bench/browser.bench.mjs"
# Targets in milliseconds for each layer: first frame from bytes, another colour map, another scale, pan and zoom, a weight.
SIZES = {
    "512 × 28 × 28": ((512, 28, 28), (50, 10, 15, 16, 2)),
    "64 × 224 × 224": ((64, 224, 224), (200, 40, 60, 16, 10)),
    "2,048 × 7 × 7": ((2048, 7, 7), (10, 10, 10, 10, 10)),
}
STEPS = {
    "first": "first frame from bytes",
    "colours": "another colour map",
    "scale": "another scale",
    "pan": "pan and zoom",
    "weight": "a weight dragged",
}


def rows() -> Iterator[Row]:
    node, chromium = shutil.which("node"), shutil.which("chromium")
    if not (node and chromium and (PROGRAM.parents[1] / "node_modules/playwright-core").exists()):
        print("not measured: Node, Chromium (scripts/install_browser.sh) or playwright-core (make frontend) is missing")
        return
    start = time.perf_counter()
    with ls.view("demo", ls.demo_photo(), browser=False) as demo:
        loaded = time.perf_counter() - start
        with ls.view(scope(), ls.demo_photo(), browser=False) as page:
            done = subprocess.run(
                [node, str(PROGRAM), chromium, demo.url, page.url], capture_output=True, text=True, check=True
            )
    times = json.loads(done.stdout)
    opened = Measured(tuple(loaded + each for each in times["open"]))
    yield Row("embedded model: load, serve, first picture", opened, target=Target("below", 2.5))
    for number, (size, (_, most)) in enumerate(SIZES.items()):
        found = times[f"layer{number}"]
        yield Row(f"{size}: layer switched", Measured(tuple(found["switch"])), target=Target("below", 0.3))
        for (name, what), limit in zip(STEPS.items(), most, strict=True):
            yield Row(f"{size}: {what}", Measured(tuple(found[name])), target=Target("below", limit / 1000))


def scope() -> ls.Scope:
    """A model whose layers have the sizes, behind a small one to come from."""
    steps = [
        step("small", (3, 8, 8)),
        *(step(f"layer{number}", size) for number, (size, _) in enumerate(SIZES.values())),
    ]
    return ls.open(TinyModel(steps), backend=TinyBackend(), preprocess="unit", size=8)


def step(path: str, shape: tuple[int, ...]) -> Step:
    values = np.maximum(np.random.default_rng(0).standard_normal((1, *shape)), 0).astype(np.float32)

    def run(_: Any) -> Any:
        return values

    return Step(path, "Conv", "bchw", run)
