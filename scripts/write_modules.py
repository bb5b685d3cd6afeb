"""Writes the list of modules at the end of docs/architecture.md: every module with the first line of its docstring."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "layerscope"
PAGE = ROOT / "docs" / "architecture.md"


def modules() -> str:
    """What stands between `<!-- modules -->` and `<!-- end -->`."""
    folders = sorted({path.parent for path in SOURCE.rglob("*.py")})
    return "\n\n".join("\n".join([f"**{_name(folder)}**\n", *_lines(folder)]) for folder in folders if _lines(folder))


def _name(folder: Path) -> str:
    return f"`{folder.relative_to(SOURCE.parent).as_posix()}/`"


def _lines(folder: Path) -> list[str]:
    return [f"- `{path.name}`: {_about(path)}" for path in sorted(folder.glob("*.py")) if path.name != "__init__.py"]


def _about(path: Path) -> str:
    docstring = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
    return " ".join(docstring.split("\n\n")[0].split())


def page() -> str:
    """The page with its list renewed."""
    text = PAGE.read_text("utf-8")
    return re.sub(
        r"(?s)(<!-- modules -->\n).*?(<!-- end -->)", lambda match: f"{match[1]}{modules()}\n{match[2]}", text
    )


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
