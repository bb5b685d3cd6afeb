"""`python -m fuzz [--time 300] [--seed 1] [--only onnx,tflite]`, or `python -m fuzz FILE …` to repeat findings."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from . import coverage
from .families import FAMILIES, Family
from .known import reason

OUT = Path("fuzz-out")
MOST = 10**9


def groups(families: Sequence[Family]) -> list[list[Family]]:
    """Families that need the same libraries, which one process imports."""
    together: dict[tuple[str, ...], list[Family]] = {}
    for family in families:
        together.setdefault(family.needs, []).append(family)
    return list(together.values())


def verdicts(families: Sequence[Family], **order: Any) -> Iterator[dict[str, Any]]:
    """The verdict of each case of families that need the same libraries, run in a process of their own."""
    order = {"start": 0, "count": MOST, "seconds": 3600, "findings": str(OUT), "seed": 1, "replay": {}, **order}
    text = json.dumps({**order, "families": [family.name for family in families]})
    command = [sys.executable, "-m", "fuzz.child", text]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=coverage.environment()) as process:
        assert process.stdout is not None
        yield from map(json.loads, process.stdout)
    if process.returncode:
        raise RuntimeError(f"fuzz.child ended with {process.returncode}: {' '.join(command[1:])}")


def report(results: Iterator[dict[str, Any]]) -> tuple[Counter[tuple[str, str]], int]:
    """(cases by family and verdict, how many findings aren't known), each new place printed with what repeats it."""
    counts: Counter[tuple[str, str]] = Counter()
    places = set()
    new = 0
    for result in results:
        family, verdict, place = result["family"], result["verdict"], result["place"]
        bad = verdict not in ("ok", "named", "unmade")
        why = reason(family, verdict, place, result["message"]) if bad else ""
        counts[family, "known" if why else verdict] += 1
        if bad and (family, verdict, place) not in places:
            places.add((family, verdict, place))
            new += not why
            mark = f"known: {why}" if why else f"BAD: {' '.join(result['message'].split())[:200]}"
            print(f"{family} case {result['number']}: {verdict} at {place}\n    {mark}")
            print(f"    python -m fuzz {result['file'] or result['name']}", flush=True)
    return counts, new


def print_counts(counts: Counter[tuple[str, str]]) -> None:
    for family in dict.fromkeys(family for family, _ in counts):
        parts = {verdict: number for (name, verdict), number in counts.items() if name == family}
        listed = ", ".join(f"{number} {verdict}" for verdict, number in sorted(parts.items()))
        print(f"{family}: {sum(parts.values())} cases: {listed}")


def by_family(paths: Sequence[Path]) -> dict[str, list[str]]:
    """Findings by the families that their names begin with."""
    found: dict[str, list[str]] = {}
    for path in paths:
        found.setdefault(path.name.partition("-")[0], []).append(str(path))
    return found


def replay(paths: Sequence[Path]) -> Iterator[dict[str, Any]]:
    """The verdicts of findings."""
    findings = by_family(paths)
    for group in groups([family for family in FAMILIES if family.name in findings and not family.missing]):
        yield from verdicts(group, replay=findings, count=0)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("files", nargs="*", type=Path, help="findings to repeat, each once")
    parser.add_argument("--time", type=float, default=300, help="seconds in all (default: 300)")
    parser.add_argument("--seed", type=int, default=1, help="another seed, other cases (default: 1)")
    parser.add_argument("--only", default="", help=f"some of {', '.join(f.name for f in FAMILIES)}, parsers")
    parser.add_argument("--start", type=int, default=0, help="the number of the first case (default: 0)")
    parser.add_argument("--count", type=int, default=MOST, help="how many cases of each family at most")
    options = parser.parse_args()
    if options.files:
        counts, new = report(replay(options.files))
        print_counts(counts)
        return int(new + coverage.replay([path for path in options.files if path.name.startswith("parser-")]) > 0)
    only = set(options.only.replace(",", " ").split())
    if unknown := only - {family.name for family in FAMILIES} - {"parsers"}:
        parser.error(f"no family {', '.join(sorted(unknown))}")
    chosen = [family for family in FAMILIES if not only or family.name in only]
    for family in chosen:
        if family.missing:
            print(f"{family.name}: left out, as {family.missing} isn't installed")
    chosen = [family for family in chosen if not family.missing]
    with_parsers = not only or "parsers" in only
    weights = sum(family.weight for family in chosen) + 6 * with_parsers
    new = 0
    for group in groups(chosen):
        seconds = options.time * sum(family.weight for family in group) / weights
        order = {"seconds": seconds, "seed": options.seed, "start": options.start, "count": options.count}
        counts, bad = report(verdicts(group, **order))
        print_counts(counts)
        new += bad
    if with_parsers:
        new += coverage.run(options.time * 6 / weights, options.seed, OUT)
    print(f"{new} new findings" + (f", their files in {OUT}" if new else ""))
    return int(new > 0)


if __name__ == "__main__":
    sys.exit(main())
