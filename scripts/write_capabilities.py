"""Writes `docs/capabilities.md`, what each backend offers, from the marks in the backends' classes (`not_offered`)."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path

from layerscope.backends import SPECS, Backend, NotOffered
from layerscope.backends.protocol import OPTIONAL

PAGE = Path(__file__).resolve().parents[1] / "docs" / "capabilities.md"
VERBS = ("gradients", *OPTIONAL)
HEAD = """# What each backend offers

Written by `scripts/write_capabilities.py` from the marks in the code; [writing a backend](backends.md) says what each verb is
for. Every backend has `owns`, `layers` and `capture`.

"""


def classes() -> dict[str, type[Backend]]:
    """The class of each of layerscope's own backends by its name; every framework must be installed."""
    backends = {}
    for spec in SPECS:
        module, _, name = spec.entry.partition(":")
        backends[spec.name] = getattr(importlib.import_module(module), name)
    return backends


def page() -> str:
    """The text of the page: a table of verbs and backends, then the reason for each verb that isn't offered."""
    backends = classes()
    lines = [f"| verb | {' | '.join(backends)} | what it gives |", "|---|" + ":-:|" * len(backends) + "---|"]
    for verb in VERBS:
        marks = ["–" if isinstance(getattr(backend, verb), NotOffered) else "✓" for backend in backends.values()]
        lines.append(f"| `{verb}` | {' | '.join(marks)} | {_summary(verb)} |")
    lines += ["", "## Why not", "", "| backend | verb | reason |", "|---|---|---|"]
    for name, backend in backends.items():
        for verb in VERBS:
            mark = getattr(backend, verb)
            if isinstance(mark, NotOffered):
                lines.append(f"| {name} | `{verb}` | {mark.reason} |")
    return HEAD + "\n".join(lines) + "\n"


def _summary(verb: str) -> str:
    """The first sentence of a verb's docstring."""
    if verb == "gradients":
        return "The derivative of a target with respect to each layer's output."
    text = " ".join((inspect.getdoc(getattr(Backend, verb)) or "").partition("\n\n")[0].split())
    return text.partition(". ")[0].rstrip(".") + "."


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
