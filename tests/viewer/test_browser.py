"""The viewer in a real browser: one specification (frontend/test/browser) for the local page and for the report."""

import ast
import json
import subprocess
from pathlib import Path

import pytest

import layerscope as ls
from helpers import browser
from helpers.browser import CAT, HOSTILE, Slow

SHAPES = ["odd", "volume", "sequence", "vector", "attention", HOSTILE, "slow"]


@pytest.fixture(scope="module")
def staged(tmp_path_factory):
    """The models as page and report, and a file with what Python says of them."""
    browser.check_installed()
    folder = tmp_path_factory.mktemp("browser")
    plain, hostile, added = browser.photos(folder)
    slow, cat = Slow(), ls.open("demo")
    shapes = browser.shapes_scope(slow)
    facts = {
        "cat": {"layers": browser.model_facts(cat, ls.demo_photo(), CAT)},
        "shapes": {"layers": browser.model_facts(shapes, plain, SHAPES)},
    }
    maps = cat.capture(ls.demo_photo(), CAT[0])
    facts["cat"] |= browser.combined_facts(maps[CAT[0]])
    facts["shapes"]["added"] = browser.model_facts(shapes, added, ["odd"])["odd"]
    given = {"cat": ("demo", ls.demo_photo(), CAT), "shapes": (shapes, [plain, hostile], None)}
    reports = {name: ls.report(*args, folder / f"{name}.html") for name, args in given.items()}
    pages = {name: ls.view(*args, browser=False) for name, args in given.items()}
    for name, page in pages.items():
        manifest = page._lanes.session.answer("manifest").result
        facts[name]["ids"] = {layer["path"]: layer["id"] for layer in manifest["layers"]}
        facts[name]["photo"] = [manifest["inputs"][0][side] for side in ("height", "width")]
    (folder / "facts.json").write_text(json.dumps(facts))
    slow.seconds = 0.7
    yield {
        "folder": folder,
        "page": {name: {"url": page.url} for name, page in pages.items()},
        "report": {name: {"url": path.as_uri()} for name, path in reports.items()},
        "added": added,
    }
    for page in pages.values():
        page.close()


def run(staged, host):
    """All checks of a host, and the Python that it gave with the pixels that it showed."""
    folder = staged["folder"]
    setting = {
        "chromium": browser.chromium(),
        "host": host,
        "urls": staged[host],
        "facts": str(folder / "facts.json"),
        "lines": str(folder / f"{host}-lines.json"),
        "added": str(staged["added"]),
    }
    (folder / f"{host}.json").write_text(json.dumps(setting))
    command = [
        browser.node(),
        "--test-reporter=spec",
        str(browser.FRONTEND / "test/browser/run.mjs"),
        str(folder / f"{host}.json"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400, check=False)
    print(done.stdout, done.stderr, sep="\n")
    assert done.returncode == 0, f"the {host} doesn't hold its specification: see above"
    return json.loads((folder / f"{host}-lines.json").read_text())


def drawn(lines):
    """The picture of the last line of a program."""
    *first, last = ast.parse(lines).body
    names: dict[str, object] = {}
    exec(compile(ast.Module(first, []), "<page>", "exec"), names)
    return eval(compile(ast.Expression(last.value), "<page>", "eval"), names), names["fm"]


def differs(line):
    """Where the page shows another colour than the picture that its Python draws."""
    picture, fm = drawn(line["line"])
    palette, found = picture.palette(), []
    for channel, y, x, rgb in line["points"]:
        code = int(browser.units(picture, channel if line["what"] == "sheet" else 0, fm.spatial)[y, x])
        near = range(max(0, code - 2), min(240, code + 2) + 1) if code <= 240 else [code]
        if rgb not in palette[list(near)].tolist():
            found.append((channel, y, x, rgb, palette[code].tolist()))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("host", ["page", "report"])
def test_the_specification_holds(staged, host, monkeypatch):
    lines = run(staged, host)
    monkeypatch.chdir(Path(ls.demo_photo()).parent)  # a report has the name of a file alone
    assert len(lines) == 10
    wrong = {line["line"]: found[:5] for line in lines if (found := differs(line))}
    assert not wrong
