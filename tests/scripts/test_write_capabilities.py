"""The page of capabilities is what the marks in the backends' classes say."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CODE = "import write_capabilities as script; print(script.page(), end='')"


@pytest.mark.frameworks
def test_the_page_is_what_the_backends_say():
    """`python scripts/write_capabilities.py` renews it. In a process of its own, as it imports every framework."""
    path = os.pathsep.join([str(ROOT / "scripts"), str(ROOT / "src")])
    environment = {**os.environ, "PYTHONPATH": path, "KERAS_BACKEND": "tensorflow"}
    found = subprocess.run(
        [sys.executable, "-c", CODE], env=environment, capture_output=True, text=True, encoding="utf-8", check=False
    )
    assert found.returncode == 0, found.stderr
    assert found.stdout == (ROOT / "docs" / "capabilities.md").read_text("utf-8")
    assert "|  |" not in found.stdout, "a verb is neither offered nor marked with a reason"
