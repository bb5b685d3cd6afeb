"""`python tests/helpers/killed.py FOLDER KILLS SEED`: scans that are killed at random instants, until so many were; as JSON.

Each scan is a fork of this process, which has imported everything and started no thread, so that it begins at once.
"""

import json
import os
import random
import resource
import shutil
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from helpers.stores import contents, small_scan, write_images
from layerscope.store import ahead, check, scan, unit  # noqa: F401 # what a scan imports late
from layerscope.store.arrays import import_zarr

KEEPS = ("maps", "pooled")  # of one store after the other


def begin(images, store, *, keep="maps", most=None, slow=False):
    """A scan in a process of its own; `most` is the size above which it can't write a file, `slow` is its disk."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        if most is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
        if slow:
            own = os.fsync
            os.fsync = lambda file: (time.sleep(0.002), own(file))
        small_scan(images, store, keep=keep)
        code = 0
    finally:
        os._exit(code)


def ended(child):
    """How a child ended: its exit code, or minus the number of the signal."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def killed(folder, kills, seed):
    """Scans of one data set, each killed and gone on with until it is done, until so many were killed."""
    draw = random.Random(seed)
    images = write_images(folder / "images", 24)
    (images / "11.png").write_bytes(b"no image")
    whole = {}
    begun = time.monotonic()
    for keep in KEEPS:
        assert ended(begin(images, folder / keep, keep=keep, slow=True)) == 0
        whole[keep] = contents(folder / keep)
    usual = (time.monotonic() - begun) / len(KEEPS)
    counts = {"kills": 0, "stores": 0, "unfinished": 0, "partial": 0, "wrong": []}
    store = folder / "store"
    while counts["kills"] < kills:
        keep = KEEPS[counts["stores"] % len(KEEPS)]
        child = begin(images, store, keep=keep, slow=True)
        time.sleep(draw.uniform(0, usual))
        os.kill(child, signal.SIGKILL)
        if ended(child) == -signal.SIGKILL:
            counts["kills"] += 1
            counts["unfinished"] += len(list(store.rglob(".layerscope-*")))
            counts["partial"] += 0 < len(list(store.glob("receipts/*.json"))) < 3
        elif draw.random() < 0.5:
            continue  # it was done before the kill: a scan of what is done may be killed, too
        if (store / "summary/receipt.json").exists():
            finish(images, store, whole[keep], counts)
    if store.exists():
        finish(images, store, whole[keep], counts)
    return counts


def finish(images, store, whole, counts):
    """Let the scan come to its end, and compare the store with one that nobody disturbed."""
    assert ended(begin(images, store, keep=KEEPS[counts["stores"] % len(KEEPS)])) == 0
    found = contents(store)
    counts["wrong"] += sorted(name for name in {*found, *whole} if found.get(name) != whole.get(name))
    counts["stores"] += 1
    shutil.rmtree(store)


def full(folder):
    """Scans that run out of disk at larger and larger files, and the store after all of them."""
    images = write_images(folder / "images", 24)
    assert ended(begin(images, folder / "whole")) == 0
    codes = [ended(begin(images, folder / "store", most=most)) for most in (1, 200, 800, 1500, 3000, 6000)]
    codes.append(ended(begin(images, folder / "store")))
    return {"codes": codes, "same": contents(folder / "store") == contents(folder / "whole")}


def together(folder):
    """Several scans of one store at once: how they ended, and what they left."""
    images = write_images(folder / "images", 24)
    assert ended(begin(images, folder / "whole")) == 0
    codes = sorted(map(ended, [begin(images, folder / "store") for _ in range(4)]))
    return {"codes": codes, "same": contents(folder / "store") == contents(folder / "whole")}


def main():
    import_zarr()
    work, folder, *numbers = sys.argv[1:]
    print(json.dumps({"killed": killed, "full": full, "together": together}[work](Path(folder), *map(int, numbers))))


if __name__ == "__main__":
    main()
