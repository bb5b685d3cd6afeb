"""The viewer in a real browser: one specification (frontend/test/browser) for the local page and for the report."""

import json
from pathlib import Path

import pytest

import layerscope as ls
from helpers import browser, browser_classes, specification


@pytest.fixture(scope="module")
def staged(tmp_path_factory):
    """A folder with what Python says of the models, and where each is as a page and as a report."""
    browser.check_installed()
    pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("browser")
    photos, squares = browser.photos(folder), browser_classes.class_photos(folder)
    model, slow = browser_classes.network(), browser.Slow()
    classes = ls.open(model, preprocess="unit", size=browser_classes.SIDE, labels=browser_classes.LABELS)
    facts = browser.all_facts(photos) | {"classes": browser_classes.class_facts(model, classes, squares)}
    (folder / "facts.json").write_text(json.dumps(facts))
    models = {
        "cat": ("demo", ls.demo_photo(), browser.CAT),
        "shapes": (browser.shapes_scope(slow), photos[:2], None),
        "classes": (classes, squares, browser_classes.LAYERS),
    }
    small = models | {"classes": (classes, squares[0], ["last", "act"])}
    reports = {name: ls.report(*given, folder / f"{name}.html") for name, given in small.items()}
    pages = {name: ls.view(*given, browser=False) for name, given in models.items()}
    slow.seconds = 0.7
    yield {
        "folder": folder,
        "page": {name: {"url": page.url} for name, page in pages.items()},
        "report": {name: {"url": path.as_uri()} for name, path in reports.items()},
        "added": str(photos[2]),
    }
    for page in pages.values():
        page.close()


@pytest.mark.slow
@pytest.mark.parametrize("host", ["page", "report"])
def test_the_specification_holds(staged, host, monkeypatch):
    folder = staged["folder"]
    given = {"urls": staged[host], "facts": f"{folder}/facts.json", "added": staged["added"]}
    specification.run(folder, host, **given)
    monkeypatch.chdir(Path(ls.demo_photo()).parent)  # a report has the name of a file alone
    specification.check_lines(folder, host, 11)
