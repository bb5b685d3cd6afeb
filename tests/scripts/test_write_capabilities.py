"""The page of capabilities is what the marks in the backends' classes say."""

import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_the_page_is_what_the_backends_say():
    """`python scripts/write_capabilities.py` renews it."""
    for framework in ("keras", "tensorflow", "tf_keras", "torch", "flax"):
        pytest.importorskip(framework, reason="the class of every backend is read")
    page = runpy.run_path(str(ROOT / "scripts" / "write_capabilities.py"))["page"]()
    assert page == (ROOT / "docs" / "capabilities.md").read_text("utf-8")
    assert "|  |" not in page, "a verb is neither offered nor marked with a reason"
