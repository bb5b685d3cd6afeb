"""Writes `src/layerscope/__init__.pyi`, what type checkers and editors see of the package, from the table of public names."""

from __future__ import annotations

from pathlib import Path

import layerscope as ls

STUB = Path(__file__).resolve().parents[1] / "src" / "layerscope" / "__init__.pyi"


def stub() -> str:
    """The text of the stub: every public name imported from its module, by the form that re-exports it."""
    lines = ["# Written by scripts/write_stub.py from the table in __init__.py.", ""]
    lines += [f"from . import {module} as {module}" for module in ls.PUBLIC_MODULES]
    for module, names in sorted(ls.PUBLIC.items()):
        lines += [f"from .{module} import {name} as {name}" for name in sorted(names.split())]
    lines += ["", "__version__: str", "__all__: list[str]", ""]
    return "\n".join(lines)


if __name__ == "__main__":
    STUB.write_text(stub(), "utf-8")
