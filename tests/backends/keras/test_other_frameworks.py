"""Keras on torch and on JAX: the tests that depend on the framework under Keras, in one process for each of the two."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

# Files, facts of a graph and the windows of receptive fields are Keras's own.
TESTS = (
    *("test_attention.py", "test_backend.py", "test_gradients.py", "test_kinds.py", "test_scores.py", "test_state.py"),
    *("test_suite.py", "test_field.py::test_tokens_gates_and_layers_that_say_nothing"),
    *("test_load.py::test_facts_of_a_flat_model", "test_load.py::test_digest_follows_the_weights"),
    *("test_load.py::test_own_scaling_wins", "test_load.py::test_weights_from_a_file"),
    *("../test_cams.py", "../test_real_weights.py::test_keras_and_onnx_agree"),
)


@pytest.mark.frameworks
@pytest.mark.parametrize("framework", ["torch", "jax"])
def test_keras_on_another_framework(framework: str) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *TESTS]
    result = subprocess.run(
        command,
        cwd=Path(__file__).parent,
        env={**os.environ, "KERAS_BACKEND": framework},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-2000:]
