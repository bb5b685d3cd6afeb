"""Files of every format whose writing is killed or finds the disk full; run as a program: `… FOLDER KILLS FULL SEED`.

Prints as JSON how often each format was tried, and what was wrong afterwards. A process of its own, as it forks.
"""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from PIL import Image

import layerscope as ls

rng = np.random.default_rng(0)
MAPS = [ls.FeatureMap.of_array(rng.random((1, size, size, 12), np.float32)) for size in (40, 44)]
SHEETS = [ls.sheet(fm) for fm in MAPS]
TABLES = [ls.statistics(fm) for fm in MAPS]
BASES = [ls.pca_basis(fm) for fm in MAPS]

# Each writes one of two contents, so that a file that is half new is neither.
SAVES: dict[str, Callable[[Path, int], object]] = {
    **{
        f"sheet.{suffix}": lambda path, which: SHEETS[which].save(path)
        for suffix in ("png", "svg", "pdf", "jpg", "webp", "tif", "bmp")
    },
    "film.gif": lambda path, which: ls.animate(MAPS[which], path, over="channels"),
    "film.webp": lambda path, which: ls.animate(MAPS[which], path, over="channels"),
    "map.npz": lambda path, which: MAPS[which].save(path),
    "basis.npz": lambda path, which: BASES[which].save(path),
    "statistics.csv": lambda path, which: TABLES[which].csv(path),
    "events": lambda path, which: ls.to_tensorboard(SHEETS[which], path),
}


def is_whole(path: Path) -> bool:
    """Whether the file can be read to its end."""
    try:
        if path.is_dir():
            return all(is_whole(file) for file in path.iterdir() if not file.name.startswith(".layerscope-"))
        if path.suffix == ".npz":
            return (ls.Basis.load if path.stem == "basis" else ls.load)(path) is not None
        if path.suffix == ".svg":
            return ElementTree.fromstring(path.read_text()) is not None
        if path.suffix == ".csv":
            return len(path.read_text().splitlines()) == 13
        if path.suffix == ".pdf":
            return path.read_bytes().rstrip().endswith(b"%%EOF")
        if path.name.startswith("events."):
            return len(path.read_bytes()) > min(len(sheet.png()) for sheet in SHEETS)
        with Image.open(path) as image:
            image.seek(getattr(image, "n_frames", 1) - 1)
            image.load()
        return True
    except Exception as error:
        print(path, repr(error), file=sys.stderr)
        return False


def kill(save: Callable[[Path, int], object], path: Path) -> bool:
    """Kill a process that saves over the file again and again; whether the file is whole."""
    child = os.fork()
    if child == 0:
        while True:
            save(path, 1)
            save(path, 0)
    time.sleep(random.uniform(0.001, 0.03))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return is_whole(path)


def fill(save: Callable[[Path, int], object], path: Path) -> bool:
    """Save where a file may have a few bytes only: whether that is a `BadOption` and the folder is what it was."""
    before = contents(path.parent)
    child = os.fork()
    if child == 0:
        largest = min((len(data) for data in before.values() if len(data) > 100), default=1000)
        resource.setrlimit(resource.RLIMIT_FSIZE, (random.randrange(largest // 2), resource.RLIM_INFINITY))
        try:
            save(path, 1)
        except ls.BadOption:
            os._exit(7)
        finally:
            os._exit(1)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return code == 7 and contents(path.parent) == before


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def main(folder: Path, kills: int, full: int, seed: int) -> dict[str, object]:
    random.seed(seed)
    wrong: list[str] = []
    for name, save in SAVES.items():
        path = folder / name.replace(".", "-") / name
        path.parent.mkdir()
        save(path, 0)
        wrong += [f"{name}: disk full"] * sum(not fill(save, path) for _ in range(full))
        wrong += [f"{name}: killed"] * sum(not kill(save, path) for _ in range(kills))
        left = [file.name for file in path.parent.rglob("*") if file != path and not file.name.startswith("events.")]
        wrong += [f"{name}: left {file}" for file in left if not file.startswith(".layerscope-")]
    return {"formats": len(SAVES), "kills": kills * len(SAVES), "full": full * len(SAVES), "wrong": wrong}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), *map(int, sys.argv[2:]))))
