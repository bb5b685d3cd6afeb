"""What a scan costs beyond decoding the images and running the model, on one core."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from .measure import HERE, Measured, Row, Target

TITLE = "Scanning a data set, on one core"
IMAGES, BATCH, UNIT, ROUNDS = 256, 32, 128, 3
# The bare loop is what everybody writes: decode, resize and normalise with torchvision, stack, run.
PROGRAM = """
import json, os, resource, sys, time, warnings
from pathlib import Path
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
warnings.simplefilter("ignore")
sys.path.append(sys.argv[1])
what, files, store = sys.argv[2], sorted(map(str, Path(sys.argv[3]).iterdir())), sys.argv[4]
import torch
torch.set_num_threads(1)
import helpers.torchvision_ops
from torchvision.models import resnet18
from torchvision.transforms import v2
from PIL import Image
import layerscope as ls
torch.manual_seed(0)
model = resnet18().eval()
mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
steps = [v2.Resize(256), v2.CenterCrop(224), v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(mean, std)]
prepare, scope = v2.Compose(steps), ls.open(model, preprocess="imagenet")
if what == "bare":
    def go(files):
        start = time.process_time()
        with torch.inference_mode():
            for first in range(0, len(files), BATCH):
                model(torch.stack([prepare(Image.open(file).convert("RGB")) for file in files[first : first + BATCH]]))
        return time.process_time() - start, 0
else:
    def go(files):
        start = time.process_time()
        made = ls.scan(scope, files, ["layer2", "layer4"], store, keep=what, batch=BATCH, unit=UNIT, yes=True)
        whole = time.process_time() - start
        return made.provenance["runs"][-1]["units_took"]["cpu"], whole
model(torch.zeros(BATCH, 3, 224, 224))
seconds, whole = go(files)
print(json.dumps([seconds, whole, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))
"""


def rows() -> Iterator[Row]:
    with TemporaryDirectory() as folder:
        few, many = (_photos(Path(folder, str(count)), count) for count in (IMAGES, 4 * IMAGES))
        measured: dict[str, list[Any]] = {"bare": [], "stats": [], "pooled": [], "maps": []}
        for _ in range(ROUNDS):
            for what in measured:
                measured[what].append(_run(what, few, Path(folder, f"{what}-{len(measured[what])}")))
        bare = Measured(tuple(seconds for seconds, *_ in measured["bare"]))
        words = {"stats": "statistics and top images", "pooled": "these, pooled vectors", "maps": "these, all maps"}
        for what, target in (("stats", 1 / 0.85), ("pooled", 1 / 0.85), ("maps", 1 / 0.70)):
            own = Measured(tuple(seconds for seconds, *_ in measured[what]))
            yield Row(
                f"scan of {IMAGES} photos: {words[what]}", own, "decode + forward", bare, Target("within", target)
            )
            last = Measured(tuple(whole for _, whole, _ in measured[what]))
            yield Row(f"the same with its last stage: {words[what]}", last, "decode + forward", bare, None)
        memory = [_run("pooled", photos, Path(folder, f"memory-{len(photos)}"))[2] for photos in (few, many)]
        least, most = (Measured((size,), "MB") for size in memory)
        yield Row(f"peak with {4 * IMAGES} photos", most, f"with {IMAGES}", least, Target("within", 1.1))


def _photos(folder: Path, count: int) -> list[Path]:
    """So many JPEGs of 500 × 375 pixels, parts of the embedded photo."""
    import numpy as np
    from PIL import Image

    import layerscope as ls

    folder.mkdir()
    photo, random = Image.open(ls.demo_photo()).convert("RGB"), np.random.default_rng(0)
    for number in range(count):
        x, y = random.integers(0, 60, 2).tolist()
        part = photo.resize((500, 375), Image.Resampling.BICUBIC, (x, y, x + 380, y + 240))
        part.save(folder / f"{number:05d}.jpg", quality=90)
    return sorted(folder.iterdir())


def _run(what: str, photos: list[Path], store: Path) -> list[float]:
    """(seconds of the processor for the units, for all of it, peak in MB) in a process of its own."""
    program = PROGRAM.replace("BATCH", str(BATCH)).replace("UNIT", str(UNIT))
    tests = str(HERE.parent / "tests")
    command = [sys.executable, "-c", program, tests, what, str(photos[0].parent), str(store)]
    seconds: list[float] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return seconds
