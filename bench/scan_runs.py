"""What the processes do that `scanning` starts: `python -m bench.scan_runs WHAT ARGUMENT…` prints figures as JSON."""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .measure import status
from .peers import beside_torchvision

BATCH, UNIT = 32, 128
KEEPS = ("stats", "pooled", "maps")
LAYERS = {"resnet18": ["layer2", "layer4"], "demo": ["_blocks.4._swish:1", "_swish:1"]}


def resnet18() -> Any:
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)
    return beside_torchvision("torchvision.models").resnet18().eval()


def bare(name: str) -> Callable[[Sequence[str]], None]:
    """The loop that everybody writes: decode, resize and normalise with torchvision, stack, run."""
    model = resnet18()
    import torch
    from PIL import Image
    from torchvision.transforms import InterpolationMode, v2

    mean, std = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)) if name == "resnet18" else ((127 / 255,), (128 / 255,))
    how = InterpolationMode.BILINEAR if name == "resnet18" else InterpolationMode.BICUBIC
    fit = [v2.Resize(256, how), v2.CenterCrop(224)]
    prepare = v2.Compose([*fit, v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(mean, std)])
    forward = model if name == "resnet18" else _session()

    def loop(files: Sequence[str]) -> None:
        with torch.inference_mode():
            for first in range(0, len(files), BATCH):
                forward(
                    torch.stack([prepare(Image.open(file).convert("RGB")) for file in files[first : first + BATCH]])
                )

    return loop


def _session() -> Callable[[Any], Any]:
    import onnxruntime

    import layerscope as ls

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(ls.demo_model()), options)
    return lambda batch: session.run(None, {session.get_inputs()[0].name: batch.numpy()})


def local(name: str, folder: str, stores: str, rounds: str) -> dict[str, list[list[float]]]:
    """Seconds of one processor of the bare loop, and of scans with and without the last stage, in turn."""
    import layerscope as ls

    _one_core(0)
    files, loop = _files(folder), bare(name)
    scope = ls.open(resnet18(), preprocess="imagenet") if name == "resnet18" else ls.open("demo")
    measured: dict[str, list[list[float]]] = {"bare": [], **{keep: [] for keep in KEEPS}}
    loop(files[:BATCH])
    ls.scan(scope, files[:BATCH], LAYERS[name], f"{stores}/{name}-first", batch=BATCH, yes=True)
    for number in range(int(rounds)):
        for what in list(measured)[:: -1 if number % 2 else 1]:
            start, units = time.process_time(), 0.0
            if what == "bare":
                loop(files)
            else:
                place = f"{stores}/{name}-{what}-{number}"
                made = ls.scan(scope, files, LAYERS[name], place, keep=what, batch=BATCH, unit=UNIT, yes=True)
                units = made.provenance["runs"][-1]["units_took"]["cpu"]
            measured[what].append([time.process_time() - start, units])
    return measured


def memory(folder: str, store: str, core: str) -> float:
    """The most megabytes that a scan of small photos holds."""
    import layerscope as ls

    _one_core(int(core))
    scope = ls.open(resnet18(), preprocess="imagenet", size=64)
    ls.scan(scope, folder, LAYERS["resnet18"], store, batch=BATCH, unit=UNIT, yes=True)
    return status("VmHWM")


def part(folder: str, core: str, images: str) -> float:
    """Seconds of one of several bare loops that run at once, over so many photos, after the start."""
    _one_core(int(core))
    files, loop = _files(folder)[: int(images)], bare("resnet18")
    loop(files[:BATCH])
    start = time.perf_counter()
    loop(files)
    return time.perf_counter() - start


def engine(name: str, workers: str, unit: str, *places: str) -> float:
    """Seconds that all units but the first of each worker took: from the ends of the first ones to those of the last."""
    import layerscope as ls

    count, layers, (folder, store) = int(workers), LAYERS["resnet18"], places
    options: dict[str, Any] = {"preprocess": "imagenet", "batch": BATCH, "unit": int(unit), "yes": True}
    ls.scan("bench.scan_runs:resnet18", folder, layers, store, engine=name, workers=count, **options)
    ends = sorted(receipt.stat().st_mtime for receipt in Path(store, "receipts").iterdir())
    return (sum(ends[-count:]) - sum(ends[:count])) / count


def reading(store: str) -> dict[str, list[float]]:
    """Seconds of first calls in a process that has imported what they need, and of many maps."""
    from random import Random

    import xarray  # noqa: F401
    import zarr  # noqa: F401

    import layerscope as ls
    import layerscope.store.store
    import layerscope.store.top

    random, took = Random(0), {"open": [], "top": [], "xarray": [], "feature_map": []}  # type: ignore[var-annotated]

    def clocked(what: str, call: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        result = call()
        took[what].append(time.perf_counter() - start)
        return result

    opened = clocked("open", lambda: ls.open_store(store))
    clocked("top", lambda: opened.top("layer2", 17))
    maps = opened.maps("layer2")
    for _ in range(30):
        image, channel = random.randrange(maps.shape[0]), random.randrange(maps.shape[1])
        clocked("xarray", lambda image=image, channel=channel: maps[image, channel].values)
        clocked(
            "feature_map", lambda image=image, channel=channel: opened.feature_map("layer2", image, channels=[channel])
        )
    return took


def _files(folder: str) -> list[str]:
    return sorted(map(str, Path(folder).iterdir()))


def _one_core(number: int) -> None:
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[number % len(cores)]})


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    runs = {run.__name__: run for run in (local, memory, part, engine, reading)}
    print(json.dumps(runs[sys.argv[1]](*sys.argv[2:])))
