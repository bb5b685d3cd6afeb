"""docs/architecture.md names every module, and none that doesn't exist."""

import re
import runpy
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCRIPT = runpy.run_path(str(ROOT / "scripts" / "write_modules.py"))
TEXT = (ROOT / "docs" / "architecture.md").read_text("utf-8")


def listed(text):
    """The folders and modules of the list, without what is said of each."""
    return re.findall(r"(?m)^(?:- `[^`]+`|\*\*`[^`]+`\*\*)", text)


def test_the_list_has_every_module():
    """`python scripts/write_modules.py` renews it."""
    assert listed(SCRIPT["modules"]()) == listed(TEXT.split("<!-- modules -->")[1])
    assert "- `feature_map.py`" in listed(TEXT)


def test_every_file_that_the_text_names_exists():
    files = {path.as_posix() for folder in ("src", "tests", "scripts") for path in (ROOT / folder).rglob("*.py")}
    named = set(re.findall(r"`((?:[a-z_0-9]+/)*[a-z_0-9]+\.py)`", TEXT))
    assert len(named) > 100
    assert not [name for name in named if not any(file.endswith(f"/{name}") for file in files)]
