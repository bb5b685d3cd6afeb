"""What a user waits for before anything is drawn."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from .measure import Measured, Row, Target, child

TITLE = "Starting"
ROUNDS = 9
BASE = "import numpy, PIL.Image"
FIRST_PICTURE = "import layerscope as ls, numpy; ls.sheet(numpy.eye(28, dtype='f4')[None, ..., None]).png()"


def rows() -> Iterator[Row]:
    program = Path(sys.executable).with_name("layerscope")
    times = _interleaved(
        {
            "base": [sys.executable, "-c", BASE],
            "import": [sys.executable, "-c", f"{BASE}; import layerscope"],
            "names": [sys.executable, "-c", f"{BASE}; import layerscope as ls; ls.sheet, ls.open, ls.pca"],
            "picture": [sys.executable, "-c", f"{BASE}; {FIRST_PICTURE}"],
            "bare": [sys.executable, "-c", "pass"],
            "help": [str(program), "--help"] if program.exists() else [sys.executable, "-m", "layerscope", "--help"],
        }
    )
    base = times["base"]
    yield Row("import layerscope", times["import"], BASE, base, Target("over", 0.15))
    yield Row("import layerscope, its functions used", times["names"], BASE, base, Target("over", 0.15))
    yield Row("import layerscope, first picture drawn", times["picture"], BASE, base)
    yield Row("layerscope --help", times["help"], "python -c pass", times["bare"], Target("below", 0.5))
    print("slowest imports of the first picture, beyond numpy and Pillow:", ", ".join(slowest()))


def slowest(most: int = 6) -> list[str]:
    """`module milliseconds` of the modules that take longest by themselves."""
    known = set(child(f"{BASE}\nimport json, sys; print(json.dumps(list(sys.modules)))"))
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", f"{BASE}; {FIRST_PICTURE}"],
        capture_output=True,
        text=True,
        check=True,
    )
    own = re.findall(r"import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)", done.stderr)
    ranked = sorted(((int(time_), module) for time_, module in own if module not in known), reverse=True)
    return [f"{module} {time_ / 1000:.1f} ms" for time_, module in ranked[:most]]


def _interleaved(commands: dict[str, Sequence[str]]) -> dict[str, Measured]:
    times: dict[str, list[float]] = {name: [] for name in commands}
    for number in range(ROUNDS + 1):
        for name, command in commands.items():
            start = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            if number:  # the first fills the disk's cache
                times[name].append(time.perf_counter() - start)
    return {name: Measured(tuple(rounds)) for name, rounds in times.items()}
