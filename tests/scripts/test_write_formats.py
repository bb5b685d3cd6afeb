"""What README, docs/limits.md and SECURITY.md say of files and code is what the table says."""

import runpy
from pathlib import Path

import pytest

from layerscope.backends import SPECS
from layerscope.backends.formats import MODELS

ROOT = Path(__file__).parents[2]
SCRIPT = runpy.run_path(str(ROOT / "scripts" / "write_formats.py"))


@pytest.mark.parametrize("name", sorted(SCRIPT["sections"]()))
def test_the_pages_are_what_the_table_says(name):
    """`python scripts/write_formats.py` renews them."""
    page = (ROOT / name).read_text("utf-8")
    assert SCRIPT["sections"]()[name] in page
    assert SCRIPT["page"](name) == page


def test_the_table_has_every_file_that_a_backend_reads():
    assert {suffix for spec in SPECS for suffix in spec.suffixes} == {
        suffix for row in MODELS for suffix in row.suffixes
    }


def test_only_what_can_hold_code_has_a_use_for_trust():
    assert all(row.code for row in MODELS if row.trust)
