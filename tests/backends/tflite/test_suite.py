"""The TFLite backend in the suite that every backend passes: bytes, files, and files that take one image at a time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.tflite_models import network
from layerscope.backends.tflite.backend import TfliteBackend
from layerscope.testing import BackendTests


class TestTflite(BackendTests):
    axes = "bhwc"
    shared = False  # an operator stands for itself, so no layer has two calls
    paths = {"conv1": "tiny/conv1", "act": "tiny/act|tiny/act_two", "conv2": "tiny/conv2", "head": "tiny/head"}

    def backend(self) -> TfliteBackend:
        return TfliteBackend()

    def build(self, parameters: Mapping[str, np.ndarray], fail: bool = False) -> Any:
        return network(parameters, fail)

    def state(self, model: Any) -> bytes:
        return bytes(model)


class TestOneImageAtATime(TestTflite):
    """The file fixes the batch at one image."""

    def build(self, parameters: Mapping[str, np.ndarray], fail: bool = False) -> Any:
        return network(parameters, fail, batch=1)


class TestFile(TestTflite):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path

    def build(self, parameters: Mapping[str, np.ndarray], fail: bool = False) -> Any:
        path = self.folder / f"{'bad' if fail else 'good'}-{len(list(self.folder.iterdir()))}.tflite"
        path.write_bytes(network(parameters, fail))
        return self.backend().load(path)

    def state(self, model: Any) -> bytes:
        return b"".join(file.read_bytes() for file in sorted(self.folder.iterdir()))
