"""Writes what README.md, docs/limits.md and SECURITY.md say of files and code, from the table in `backends/formats.py`."""

from __future__ import annotations

import re
from pathlib import Path

from layerscope.backends.formats import FORMATS, MODELS, Format

ROOT = Path(__file__).resolve().parents[1]


def sections() -> dict[str, str]:
    """The text between `<!-- formats -->` and `<!-- end -->` of each page, by its path."""
    return {"README.md": promise(), "docs/limits.md": limits(), "SECURITY.md": table()}


def promise() -> str:
    """The line of README: which models may need `trust`."""
    trusted = [row for row in MODELS if row.trust]
    *others, last = dict.fromkeys(
        name for row in trusted for name in (map("`{}`".format, row.suffixes) if row.suffixes else [f"{row.name}s"])
    )
    return (
        f"- No code from a file runs unless you say `--trust`, which {', '.join(others)} and {last} may need:\n"
        "  [SECURITY.md](SECURITY.md) says how each format is read. Nothing is fetched from the network."
    )


def limits() -> str:
    """The list of docs/limits.md: what is refused without trust."""
    return "\n".join(f"- {_title(row)}: {row.code}. {_sentence(row.checks)}" for row in MODELS if row.trust)


def table() -> str:
    """The table of SECURITY.md."""
    head = ["format", "code that it can hold", "how it is read", "what `trust=True` (`--trust`) changes"]
    rows = [[_title(row), row.code or "none", row.checks, row.trust or "nothing"] for row in FORMATS]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows))


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _title(row: Format) -> str:
    return f"{row.name} ({', '.join(f'`{suffix}`' for suffix in row.suffixes)})" if row.suffixes else row.name


def page(name: str) -> str:
    """The page with its section renewed."""
    text = (ROOT / name).read_text("utf-8")
    return re.sub(
        r"(?s)(<!-- formats -->\n).*?(<!-- end -->)", lambda found: f"{found[1]}{sections()[name]}\n{found[2]}", text
    )


if __name__ == "__main__":
    for name in sections():
        (ROOT / name).write_text(page(name), "utf-8")
