"""How far the memory of a process grows in a piece of work, by the kernel's high-water mark. Linux alone tells it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

CLEAR = Path("/proc/self/clear_refs")  # "5" written into it sets the high-water mark back to what is in use

MEASURE = """
import gc, json
from pathlib import Path

def status(key):
    return next(int(line.split()[1]) * 1024 for line in Path("/proc/self/status").open() if line.startswith(key))

def growth(work):
    work()  # what is loaded or kept once is no growth
    gc.collect()
    before = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    work()
    return status("VmHWM") - before

print(json.dumps({name: growth(work) for name, work in WORKS.items()}))
"""


def growths(script: str, folder: Path, limit: int) -> dict[str, int]:
    """The bytes by which each of the functions in `WORKS`, which the script defines, lets a process of its own grow.

    The limit is `LAYERSCOPE_MAX_MEMORY`. Skips the test where the system doesn't say.
    """
    if not CLEAR.exists():
        pytest.skip("only Linux tells the high-water mark of a process")
    environment = {**os.environ, "LAYERSCOPE_MAX_MEMORY": str(limit), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script + MEASURE],
        cwd=folder,
        env=environment,
        text=True,
        capture_output=True,
    )
    assert not done.returncode, done.stderr
    grown: dict[str, int] = json.loads(done.stdout)
    return grown
