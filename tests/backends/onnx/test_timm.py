"""Models of timm in files of PyTorch's two exporters: each layer as the PyTorch model itself shows it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest

from helpers.onnx_files import export
from helpers.onnx_models import BACKEND

torch = pytest.importorskip("torch")
pytest.importorskip("helpers.torchvision_ops")
timm = pytest.importorskip("timm")

from layerscope.backends.torch.backend import TorchBackend  # noqa: E402  # after the check that torch is there

MODELS = {
    "resnet": (lambda: timm.models.resnet.ResNet(BLOCK, (1, 1, 1, 1), 5, channels=(8, 8, 16, 16)), (64, 64), 23),
    "convnext": (lambda: timm.models.convnext.ConvNeXt(depths=(1, 1, 1, 1), dims=(8, 16, 24, 32)), (64, 64), 50),
    "vit": (
        lambda: timm.models.VisionTransformer((32, 48), 8, num_classes=5, depth=2, reg_tokens=2, **NARROW),
        *((32, 48), 25),
    ),
    "swin": (
        lambda: timm.models.SwinTransformer(
            (64, 64), 4, window_size=4, embed_dim=16, depths=(2, 1), num_heads=(2, 4), num_classes=5
        ),
        *((64, 64), 45),
    ),
    "swin stage": (
        lambda: timm.models.SwinTransformer(
            (32, 32), 4, window_size=4, embed_dim=16, depths=(2,), num_heads=(2,), num_classes=5
        ),
        *((32, 32), 30),
    ),
}
NARROW = {"embed_dim": 32, "num_heads": 4}
BLOCK = timm.models.resnet.BasicBlock
LONG = pytest.mark.slow  # torch.export alone takes seconds for these


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, bool], tuple[Any, Any, Any]]:
    """The network of a name, two random images, and its file; each file is written once."""

    @cache
    def write(name: str, dynamo: bool) -> tuple[Any, Any, Any]:
        build, size, _ = MODELS[name]
        torch.manual_seed(0)
        network = build().eval()
        images = torch.randn(2, 3, *size)
        return network, images, export(torch, network, images, tmp_path_factory.mktemp(name) / "model.onnx", dynamo)

    return write


@pytest.mark.parametrize(
    ("name", "dynamo"),
    [
        *((name, False) for name in ("resnet", "convnext", "vit", "swin")),
        ("vit", True),
        *(pytest.param(name, True, marks=LONG) for name in ("resnet", "convnext", "swin stage")),
    ],
)
def test_each_module_of_the_file_is_the_module_of_the_model(exported: Any, name: str, dynamo: bool) -> None:
    network, images, model = exported(name, dynamo)
    by_name = {name: layer for layer in BACKEND.layers(model, images.numpy()) for name in (layer.path, *layer.aliases)}
    expected = [row for row in TorchBackend().layers(network, images) if row.showable and row.calls == 1]
    shared = [row for row in expected if row.path in by_name and by_name[row.path].calls == 1]
    assert len(shared) >= MODELS[name][2]
    paths = [row.path for row in shared]
    values, true = BACKEND.capture(model, images.numpy(), paths), TorchBackend().capture(network, images, paths)
    for row in shared:
        layer: Any = by_name[row.path]
        described = (layer.axes, layer.shape, layer.grid, layer.prefix)
        assert described == (row.axes, row.shape, row.grid, row.prefix), row.path
        if not layer.note.startswith("BatchNorm "):
            np.testing.assert_allclose(
                values[row.path].values, true[row.path].values, rtol=1e-3, atol=1e-4, err_msg=row.path
            )


@pytest.mark.parametrize("dynamo", [False, True])
def test_attention_weights_of_the_file_are_those_of_the_model(exported: Any, dynamo: bool) -> None:
    network, images, model = exported("vit", dynamo)
    rows = [layer for layer in BACKEND.layers(model, images.numpy()) if layer.kind == "Softmax"]
    assert [layer.path for layer in rows] == [f"blocks.{index}.attn/Softmax" for index in range(2)]
    true = TorchBackend().capture(network, images, [f"blocks.{index}.attn.attention_map" for index in range(2)])
    captures = BACKEND.capture(model, images.numpy(), [layer.path for layer in rows])
    for layer, expected in zip(rows, true.values(), strict=True):
        assert (layer.axes, layer.grid, layer.prefix) == ("bcqk", (4, 6), ("cls", "reg1", "reg2"))
        np.testing.assert_allclose(captures[layer.path].values, expected.values, rtol=1e-3, atol=1e-5)
