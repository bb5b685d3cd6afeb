"""What the documents promise is so: examples run, links lead somewhere, names exist."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import layerscope as ls

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.frameworks
@pytest.mark.parametrize("example", sorted((ROOT / "examples").glob("*.py")), ids=lambda path: path.stem)
def test_an_example_runs(example, tmp_path):
    command = [sys.executable, str(example)]
    if any(each in example.read_text("utf-8") for each in ("torchvision", "timm", "transformers")):
        # all of them import torchvision, whose operators may not fit the torch that is installed here
        start = f"import sys, runpy; sys.path.insert(0, {str(ROOT / 'tests')!r}); import torchvision_ops"
        command[1:] = ["-c", f"{start}; runpy.run_path({str(example)!r})"]
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    assert list(tmp_path.glob("*.png"))


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text("utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_every_name_in_the_documents_exists(page):
    for name in re.findall(r"\bls\.(\w+)", page.read_text("utf-8")):
        assert name in ls.__all__, name


def test_the_readme_quotes_both_wordings_of_the_error():
    text = (ROOT / "README.md").read_text("utf-8")
    assert "Invalid dimensions for image data" in text
    assert "Invalid shape (1, 224, 224, 64) for image data" in text
