"""Keras on torch and on JAX alone: the tests marked `each_framework`, in one process for each of the two."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.frameworks
@pytest.mark.parametrize("framework", ["torch", "jax"])
def test_keras_on_another_framework(framework: str) -> None:
    which = ("-m", "each_framework", "--only", f"keras_on_{framework}", ".", "../test_cams.py")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *which]
    result = subprocess.run(
        command,
        cwd=Path(__file__).parent,
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        | {"KERAS_BACKEND": framework},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-2000:]
    passed = re.search(r"(\d+) passed", result.stdout)
    assert passed and int(passed[1]) > 110, "those of Keras that this worker of pytest-xdist leaves to another run here"
