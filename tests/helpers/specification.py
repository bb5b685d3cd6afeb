"""The specification of the viewer (frontend/test/browser) on one host, and whether the Python that it gives draws the same."""

from __future__ import annotations

import ast
import json
import subprocess
from pathlib import Path
from typing import Any

from . import browser


def run(folder: Path, host: str, script: str = "run.mjs", /, **given: Any) -> None:
    """Run a script of checks with its setting."""
    setting = {"chromium": browser.chromium(), "host": host, "lines": f"{folder}/{host}-lines.json", **given}
    file = folder / f"{host}-{script}.json"
    file.write_text(json.dumps(setting))
    command = [browser.node(), "--test-reporter=spec", str(browser.FRONTEND / "test/browser" / script), str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400, check=False)
    print(done.stdout, done.stderr, sep="\n")
    assert done.returncode == 0, f"the {host} doesn't hold its specification: see above"


def check_lines(folder: Path, host: str, count: int) -> None:
    """That the Python which a host gave, at least so often, draws the pixels that it showed."""
    lines = json.loads((folder / f"{host}-lines.json").read_text())
    assert len(lines) >= count
    wrong = {line["line"]: found[:5] for line in lines if (found := differs(line))}
    assert not wrong


def differs(line: dict[str, Any]) -> list[Any]:
    """Where a host shows another colour than the picture that its Python draws."""
    picture, fm = drawn(line["line"])
    palette, found = picture.palette(), []
    for channel, y, x, rgb in line["points"]:
        code = int(browser.units(picture, channel if line["what"] == "sheet" else 0, fm.spatial)[y, x])
        near = range(max(0, code - 2), min(240, code + 2) + 1) if code <= 240 else [code]
        if rgb not in palette[list(near)].tolist():
            found.append((channel, y, x, rgb, palette[code].tolist()))
    return found


def drawn(lines: str) -> tuple[Any, Any]:
    """The picture of the last line of a program, and its `fm`; a model that isn't named is the embedded one."""
    *first, last = ast.parse(lines).body
    assert isinstance(last, ast.Expr)
    names: dict[str, Any] = {"model": "demo"}
    exec(compile(ast.Module(first, []), "<page>", "exec"), names)
    return eval(compile(ast.Expression(last.value), "<page>", "eval"), names), names["fm"]
