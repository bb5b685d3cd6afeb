"""Timing that is fair to both sides, and the table it ends in."""

from __future__ import annotations

import gc
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any
from unittest.mock import patch

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

HERE = Path(__file__).parent
MARK = "<!-- written by python -m bench --readme -->"


@dataclass(frozen=True)
class Measured:
    """What was measured in each round: seconds, or megabytes."""

    rounds: tuple[float, ...]
    unit: str = "s"

    @property
    def median(self) -> float:
        return statistics.median(self.rounds)

    @property
    def least(self) -> float:
        return min(self.rounds)

    def __str__(self) -> str:
        if self.unit == "MB":
            return f"{self.median:,.0f} MB"
        scale, unit = (1, "s") if self.median >= 1 else (1e3, "ms") if self.median >= 1e-4 else (1e6, "µs")
        if len(self.rounds) == 1:
            return f"{_short(self.median * scale)} {unit}"
        return f"{_short(self.median * scale)} ({_short(self.least * scale)}) {unit}"


@dataclass(frozen=True)
class Target:
    """`"faster"`: the other takes at least `value` times as long. `"within"`: ours takes at most `value` times the other.
    `"below"`: ours is at most `value` seconds or megabytes. `"over"`: ours less the other is at most that."""

    kind: str
    value: float

    def reached(self, ours: Measured, other: Measured | None) -> bool:
        if self.kind == "below":
            return ours.median <= self.value
        assert other is not None
        if self.kind == "over":
            return ours.median - other.median <= self.value
        if self.kind == "within":
            return ratio(ours, other) <= self.value
        return ratio(other, ours) >= self.value

    def text(self, unit: str) -> str:
        value = f"{self.value:,.10g}"
        return {
            "faster": f"≥ {value}× faster",
            "within": f"≤ {value}×",
            "below": f"≤ {value} {unit}",
            "over": f"≤ {value} {unit} more",
        }[self.kind]


@dataclass(frozen=True)
class Row:
    """One line of the table. `part`: `other` is the whole of which `ours` is a part."""

    what: str
    ours: Measured
    against: str = ""
    other: Measured | None = None
    target: Target | None = None
    part: bool = False

    @property
    def reached(self) -> bool | None:
        return self.target.reached(self.ours, self.other) if self.target else None

    @property
    def target_text(self) -> str:
        return self.target.text(self.ours.unit) if self.target else ""

    @property
    def ratio(self) -> str:
        if self.other is None:
            return ""
        if self.part:
            return f"{self.ours.median / self.other.median:.0%}"
        if self.target and self.target.kind == "over":
            more = self.ours.median - self.other.median
            return f"{more:+.0f} MB" if self.ours.unit == "MB" else f"{more:+.3f} s"
        slower = ratio(self.ours, self.other)
        if self.target and self.target.kind == "within":
            return f"{_short(slower)}×"
        less, more = ("faster", "slower") if self.ours.unit == "s" else ("less", "more")
        return f"{_short(1 / slower)}× {less}" if slower < 1 else f"{_short(slower)}× {more}"


def ratio(ours: Measured, other: Measured) -> float:
    """How many times longer: the median over the rounds where both ran side by side, else of the medians."""
    if len(ours.rounds) == len(other.rounds):
        return statistics.median(a / b for a, b in zip(ours.rounds, other.rounds, strict=True))
    return ours.median / other.median


def side_by_side(
    contestants: Mapping[str, Callable[[], object]], *, seconds: float = 1.5, slow: Mapping[str, int] | None = None
) -> dict[str, Measured]:
    """Times of all contestants, one after the other in each round, in turns forwards and backwards.

    Each is called twice before. Rounds go on for about `seconds`, at least 7 and at most 200 of them. Those in `slow`
    run only in so many of the first rounds, without a rehearsal.
    """
    slow = slow or {}
    for name, run in contestants.items():
        if name not in slow:
            run()
            run()
    times: dict[str, list[float]] = {name: [] for name in contestants}
    spent, done = 0.0, 0
    with _no_garbage_collection():
        while done < 7 or (spent < seconds and done < 200):
            for name in list(contestants)[:: 1 if done % 2 else -1]:
                if name in slow and done >= slow[name]:
                    continue
                took = _timed(contestants[name])
                times[name].append(took)
                spent += 0 if name in slow else took
            done += 1
    return {name: Measured(tuple(rounds)) for name, rounds in times.items()}


def _timed(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def parts_of(run: Callable[[], object], parts: Mapping[str, tuple[Any, str]], rounds: int = 15) -> dict[str, Measured]:
    """Where the time of `run` goes: seconds inside each part (an object and the name of its function), and `"rest"`.

    The functions are wrapped during the run itself, so the parts and the rest add up to `"whole"`.
    """
    spent: dict[str, float] = {}
    times: dict[str, list[float]] = {name: [] for name in (*parts, "rest", "whole")}
    with ExitStack() as stack:
        for name, (owner, function) in parts.items():
            stack.enter_context(patch.object(owner, function, _clocked(getattr(owner, function), name, spent)))
        run()
        run()
        with _no_garbage_collection():
            for _ in range(rounds):
                spent.clear()
                whole = _timed(run)
                inside = {name: spent.get(name, 0.0) for name in parts}
                for name, took in (inside | {"rest": whole - sum(inside.values()), "whole": whole}).items():
                    times[name].append(took)
    return {name: Measured(tuple(rounds)) for name, rounds in times.items()}


def _clocked(function: Callable[..., Any], name: str, spent: dict[str, float]) -> Callable[..., Any]:
    def clocked(*args: Any, **kwargs: Any) -> Any:
        start = time.perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            spent[name] = spent.get(name, 0.0) + time.perf_counter() - start

    return clocked


def keep_freed_memory() -> None:
    """Let glibc hand freed memory out again instead of giving it back to the system.

    Otherwise each round takes and returns the layer's megabytes, and those page faults, up to half of the time of VGG16's
    first block, fall on whichever side's turn it is.
    """
    import ctypes

    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(-3, 1 << 30)  # M_MMAP_THRESHOLD
        mallopt(-1, (1 << 31) - 1)  # M_TRIM_THRESHOLD


def child(code: str) -> Any:
    """What a fresh interpreter prints as JSON, with one thread and this repository's packages."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=HERE.parent, check=False)
    if done.returncode:
        raise RuntimeError(f"the child failed: {done.stderr.strip().splitlines()[-1:]}")
    return json.loads(done.stdout)


def print_table(title: str, rows: Iterable[Row]) -> list[Row]:
    """The rows, after printing them as a table."""
    rows = list(rows)
    table = Table(title=title, box=box.SIMPLE, title_justify="left", title_style="bold")
    for name, side in zip(COLUMNS, ("left", "right", "left", "right", "right", "right", "left"), strict=True):
        table.add_column(name, justify=side, overflow="fold")
    for row in rows:
        table.add_row(*map(escape, _texts(row)), style="bold red" if row.reached is False else None)
    Console(width=None if sys.stdout.isatty() else 160, highlight=False).print(table)
    return rows


COLUMNS = ("what", "ours: median (least)", "the other", "median (least)", "ratio", "target", "reached")


def _texts(row: Row) -> tuple[str, ...]:
    reached = {None: "", True: "yes", False: "no"}[row.reached]
    return row.what, str(row.ours), row.against, str(row.other or ""), row.ratio, row.target_text, reached


def write_readme(groups: Mapping[str, Sequence[Row]], path: Path) -> Path:
    """Put the tables of these groups into `README.md`, each with what it was measured on; those of other groups stay."""
    head, _, tables = path.read_text().partition(MARK)
    sections = {part.partition("\n")[0]: part.strip() for part in tables.split("\n### ")[1:]}
    about = ", ".join([f"{date.today()}, one thread", *(f"{name} {value}" for name, value in machine().items())])
    for title, rows in groups.items():
        lines = [title, "", about, "", "| " + " | ".join(COLUMNS) + " |", "|---|--:|---|--:|--:|--:|---|"]
        sections[title] = "\n".join([*lines, *("| " + " | ".join(_texts(row)) + " |" for row in rows)])
    path.write_text("\n\n### ".join([head + MARK, *sections.values()]) + "\n")
    return path


def saved(groups: Mapping[str, Collection[Row]], path: Path) -> Path:
    """Write all that was measured, with what it was measured on."""
    path.write_text(
        json.dumps({"machine": machine(), "groups": {k: [_plain(r) for r in v] for k, v in groups.items()}})
    )
    return path


def peak_beyond(run: Callable[[], object]) -> float:
    """Megabytes that this process held at most during `run`, beyond what it held before. Linux only."""
    import ctypes

    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # else memory freed before would hide what is taken now
    Path("/proc/self/clear_refs").write_text("5")  # sets the peak back to what is held now
    start = status("VmRSS")
    kept = run()
    del kept
    return status("VmHWM") - start


def status(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))


def machine() -> dict[str, Any]:
    """The processor, how many cores there are, and the versions that matter."""
    from importlib.metadata import PackageNotFoundError, version

    versions = {}
    for name in (
        "numpy",
        "Pillow",
        "isal",
        "matplotlib",
        "torch",
        "onnxruntime",
        "keras",
        "tensorflow-cpu",
        "jax",
        "flax",
        "scikit-learn",
    ):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = ""
    return {"cpu": _cpu(), "cores": os.cpu_count(), "python": platform.python_version(), **versions}


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _plain(row: Row) -> dict[str, Any]:
    return {
        "what": row.what,
        "ours": {"median": row.ours.median, "least": row.ours.least, "unit": row.ours.unit},
        "against": row.against,
        "other": row.other and {"median": row.other.median, "least": row.other.least, "unit": row.other.unit},
        "ratio": row.ratio,
        "target": row.target and [row.target.kind, row.target.value],
        "reached": row.reached,
    }


def _short(value: float) -> str:
    """Three digits, never an exponent."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"
