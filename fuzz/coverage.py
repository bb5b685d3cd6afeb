"""The parsers of `targets.py`, led by coverage where atheris is installed: `python -m fuzz.coverage NAME… --corpus FOLDER`.

atheris has wheels for CPython 3.11 to 3.13 on Linux. Elsewhere the same functions get blindly mutated inputs.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib.util
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

from .known import reason
from .mutate import of_bytes

MOST_MEMORY = 3 << 30  # of a process that runs inputs for parsers
MEMORY = 300_000_000  # that layerscope may take, by LAYERSCOPE_MAX_MEMORY
SLOW = 2.0  # seconds of the processor, for an input of a few kilobytes
ALONE = 30  # seconds for each parser: with less, all of them share a process, which takes seconds to start
HERE = Path(__file__).parent


def check(target: Any, data: bytes) -> tuple[str, str, str]:
    """(verdict, place, message) of one input."""
    from layerscope.errors import LayerscopeError

    start = time.thread_time()
    try:
        target.run(data)
    except LayerscopeError:
        pass
    except Exception as error:
        frames = [
            frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(str(HERE.parent))
        ]
        where = f"{frames[-1].filename.rpartition('/')[2]}:{frames[-1].name}" if frames else "?"
        return type(error).__name__, where, str(error)
    taken = time.thread_time() - start
    return ("slow", "", f"{taken:.1f} s") if taken > SLOW else ("ok", "", "")


class Collector:
    """Runs inputs, and keeps the first one that fails at a place."""

    def __init__(self, targets: Sequence[Any], folder: Path | None) -> None:
        self.targets = targets
        self.folder = folder
        self.places: set[tuple[str, str, str]] = set()
        self.runs = 0

    def __call__(self, data: bytes) -> None:
        """An input whose first byte chooses the parser where there are several."""
        if len(self.targets) > 1:
            if not data:
                return
            target, data = self.targets[data[0] % len(self.targets)], data[1:]
        else:
            target = self.targets[0]
        self.run(target, data)

    def run(self, target: Any, data: bytes) -> None:
        self.runs += 1
        verdict, place, message = check(target, data)
        if verdict == "ok" or (target.name, verdict, place) in self.places:
            return
        self.places.add((target.name, verdict, place))
        digest = hashlib.sha256(f"{verdict} {place}".encode()).hexdigest()[:8]
        path = (self.folder or Path()) / f"parser-{target.name}-{digest}"
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        line = {"family": target.name, "verdict": verdict, "place": place, "message": message[:300], "file": str(path)}
        print(json.dumps(line), flush=True)


def main() -> None:
    """The process that runs inputs; its findings are lines of JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="+")
    parser.add_argument("--seconds", type=float, default=0)
    parser.add_argument("--runs", type=int, default=10**9)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--corpus", type=Path, help="where inputs are kept; removed by whoever starts this process")
    parser.add_argument("--blind", action="store_true")
    arguments = parser.parse_args()
    # libFuzzer's own limit looks at the peak of the process, which on Linux is that of the process that started it, too.
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, resource.RLIM_INFINITY))
    blind = arguments.blind or importlib.util.find_spec("atheris") is None
    with contextlib.nullcontext() if blind else _instrumented():
        from . import targets
    chosen = [targets.named(name) for name in arguments.names]
    collector = Collector(chosen, arguments.folder)
    inputs = [(index, data) for index, target in enumerate(chosen) for data in target.seeds()]
    if blind:
        random, end = Random(arguments.seed), time.monotonic() + (arguments.seconds or 10**9)
        while collector.runs < arguments.runs and time.monotonic() < end:
            index, data = random.choice(inputs)
            collector.run(chosen[index], of_bytes(random, data))
        print(json.dumps({"runs": collector.runs}))
        return
    corpus = [bytes([index]) + data if len(chosen) > 1 else data for index, data in inputs]
    _led(collector, corpus, arguments, targets.MOST_BYTES)


def _instrumented() -> Any:
    import atheris

    return atheris.instrument_imports(include=["layerscope"])


def _led(collector: Collector, corpus: Sequence[bytes], arguments: argparse.Namespace, most: int) -> None:
    import atheris

    for index, data in enumerate(corpus):
        Path(arguments.corpus, str(index)).write_bytes(data)
    artifacts = arguments.folder or arguments.corpus
    artifacts.mkdir(parents=True, exist_ok=True)
    flags = [f"-seed={arguments.seed}", f"-runs={arguments.runs}", f"-max_len={most}", "-timeout=30", "-rss_limit_mb=0",
             f"-artifact_prefix={artifacts}/parser-{arguments.names[0]}-", "-print_final_stats=1"]  # fmt: skip
    if arguments.seconds:
        flags.append(f"-max_total_time={max(1, int(arguments.seconds))}")
    atheris.Setup([sys.argv[0], *flags, str(arguments.corpus)], collector)
    atheris.Fuzz()


# ---- in the process that reports -------------------------------------------------------------------------------------
def names() -> list[str]:
    from .targets import TARGETS

    return [target.name for target in TARGETS]


def run(seconds: float, seed: int, folder: Path) -> int:
    """Fuzz each parser for its share of the time; how many findings aren't known."""
    if importlib.util.find_spec("atheris") is None:
        print("parsers: atheris isn't installed here, so their inputs are mutated blindly, not led by coverage")
    groups = [[name] for name in names()] if seconds >= ALONE * len(names()) else [names()]
    new = 0
    for group in groups:
        flags = f"--seconds={seconds / len(groups)}", f"--seed={seed}", f"--folder={folder}"
        new += report(group[0] if len(group) == 1 else "all", process(group, *flags))
    return new


def environment() -> dict[str, str]:
    """That of a process which imports this folder and the sources beside it."""
    paths = [str(HERE.parent / "src"), str(HERE.parent), os.environ.get("PYTHONPATH", "")]
    # A module that is imported late would be compiled, which is a file written outside.
    limits = {"LAYERSCOPE_MAX_MEMORY": str(MEMORY), "PYTHONDONTWRITEBYTECODE": "1"}
    return {**os.environ, **limits, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def process(targets: Sequence[str], *flags: str) -> list[dict[str, Any]]:
    """The lines of a process that runs inputs for some parsers."""
    # Not in the process itself: atheris ends it without a word.
    with tempfile.TemporaryDirectory(prefix="fuzz-") as corpus:
        command = [sys.executable, "-m", "fuzz.coverage", *targets, *flags, f"--corpus={corpus}"]
        ended = subprocess.run(command, capture_output=True, text=True, env=environment())
    lines = [json.loads(line) for line in ended.stdout.splitlines() if line.startswith("{")]
    if match := re.search(r"stat::number_of_executed_units:\s*(\d+)", ended.stderr):
        lines.append({"runs": int(match[1])})
    if ended.returncode:
        lines.append(
            {"family": targets[0], "verdict": f"exit {ended.returncode}", "place": "?", "message": ended.stderr[-1500:]}
        )
    return lines


def report(name: str, lines: Sequence[dict[str, Any]]) -> int:
    """Print findings with what repeats them; how many aren't known."""
    new = 0
    for line in lines:
        if "runs" in line:
            print(f"parsers, {name}: {line['runs']} inputs")
            continue
        why = reason(f"parser-{line['family']}", line["verdict"], line["place"], line["message"])
        new += not why
        mark = f"known: {why}" if why else f"BAD: {line['message'][-1500:]}"
        print(f"parser {line['family']}: {line['verdict']} at {line['place']}\n    {mark}")
        print(f"    python -m fuzz {line.get('file', '')}")
    return new


def replay(paths: Sequence[Path]) -> int:
    """Run the inputs in files whose names hold their parser's; how many fail."""
    from . import targets

    bad = 0
    for path in paths:
        verdict, place, message = check(targets.named(path.name.split("-")[1]), path.read_bytes())
        if verdict != "ok":
            print(f"{path.name}: {verdict} at {place}: {message}")
            bad += 1
    return bad


if __name__ == "__main__":
    main()
