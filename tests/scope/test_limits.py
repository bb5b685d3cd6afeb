"""Rows of docs/limits.md on what is no model: each is provoked, and the answer is the one that it promises."""

from __future__ import annotations

import pytest

import layerscope as ls


@pytest.mark.limit("files of other kinds")
def test_files_of_other_kinds(limit, tmp_path):
    for name in ("frozen.pb", "model.mlmodel", "model.engine"):
        (tmp_path / name).write_bytes(b"x")
        with limit.raises(name, ".onnx", ".tflite"):
            ls.open(tmp_path / name)
    (tmp_path / "folder").mkdir()
    with limit.raises("folder", "saved_model.pb"):
        ls.open(tmp_path / "folder")


@pytest.mark.limit("a state dict or another file of weights alone")
def test_weights_alone(limit, tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"x")
    with limit.raises("model.safetensors", "weights="):
        ls.open(tmp_path / "model.safetensors")


@pytest.mark.limit("addresses on the network")
def test_nothing_is_fetched(limit):
    with limit.raises("https://example.org/m.onnx"):
        ls.open("https://example.org/m.onnx")
    with limit.raises("https://example.org/cat.jpg"):
        ls.open("demo").capture("https://example.org/cat.jpg", "_conv_stem")
