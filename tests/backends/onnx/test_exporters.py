"""Files of PyTorch's two exporters, against the hooks of PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.onnx_files import export
from helpers.onnx_models import BACKEND, random, table


def hooked(torch: Any, model: Any, images: Any) -> dict[str, list[np.ndarray]]:
    """What each module returns at each of its calls, by forward hooks."""
    outputs: dict[str, list[np.ndarray]] = {}
    handles = [
        module.register_forward_hook(
            lambda _m, _i, out, name=name: outputs.setdefault(name, []).append(out.detach().numpy().copy())
        )
        for name, module in model.named_modules()
    ]
    with torch.no_grad():
        model(images)
    for handle in handles:
        handle.remove()
    return outputs


def torch_cnn(torch: Any) -> Any:
    nn = torch.nn

    class Block(nn.Module):  # type: ignore[misc,name-defined]  # torch is only known when the test runs
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(8, 8, 3, padding=1)
            self.bn = nn.BatchNorm2d(8)
            self.relu = nn.ReLU()

        def forward(self, x: Any) -> Any:
            return self.relu(self.relu(self.bn(self.conv(x))) * 0.5 + x)

    torch.manual_seed(0)
    model = nn.Sequential()
    model.features = nn.Sequential(
        nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Sequential(Block(), nn.MaxPool2d(2))
    )
    model.head = nn.Sequential(nn.Conv2d(8, 6, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5))
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.bias, module.running_mean):
                nn.init.normal_(tensor)
            nn.init.uniform_(module.running_var, 0.5, 2)
    return model.eval()


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[bool], tuple[Any, Any, Any]]:
    """The small network, two images, and its file from one of the exporters, which is written once."""
    torch = pytest.importorskip("torch")
    network, images = torch_cnn(torch), torch.from_numpy(random(2, 3, 10, 12))
    folder = tmp_path_factory.mktemp("cnn")
    return cache(lambda dynamo: (network, images, export(torch, network, images, folder / f"{dynamo}.onnx", dynamo)))


@pytest.mark.parametrize("dynamo", [False, True])
def test_module_scopes_of_both_torch_exporters(exported: Any, dynamo: bool) -> None:
    torch = pytest.importorskip("torch")
    network, images, model = exported(dynamo)
    batch = images.numpy()
    layers, expected = table(model, batch), hooked(torch, network, images)
    modules = ["features.2", "features.3.0.conv", "features.3.1", "head.0", "head.1", "head.3", ""]
    assert ["features.0", *modules] == [path for path in layers if path in ("features.0", *modules)]
    values = BACKEND.capture(model, batch, modules)
    for path in modules:
        # a folded convolution gives what its BatchNorm gave
        module = path.replace("conv", "bn")
        np.testing.assert_allclose(values[path].values, expected[module][0], rtol=1e-4, atol=1e-5, err_msg=path)
    for path in ("features.0", "features.3.0.conv"):
        assert layers[path].kind == "Conv"
        assert layers[path].note.startswith("BatchNorm ")
    folded = BACKEND.capture(model, batch, ["features.0"])["features.0"].values
    np.testing.assert_allclose(folded, expected["features.1"][0], rtol=1e-4, atol=1e-5)
    assert layers["head.0"].note == ""
    for outer in ("features", "head", "features.3"):
        inner = BACKEND.capture(model, batch, [outer])[outer].values
        np.testing.assert_allclose(inner, expected[outer][0], rtol=1e-4, atol=1e-5)


def test_a_module_that_runs_twice_has_two_calls(exported: Any) -> None:
    torch = pytest.importorskip("torch")
    network, images, model = exported(True)
    path = "features.3.0.relu"
    layer = table(model, images.numpy())[path]
    assert (layer.calls, [call.path for call in layer.per_call]) == (2, [f"{path}:0", f"{path}:1"])
    expected = hooked(torch, network, images)[path]
    both = BACKEND.capture(model, images.numpy(), [path])
    assert list(both) == [f"{path}:0", f"{path}:1"]
    for call in range(2):
        alone = BACKEND.capture(model, images.numpy(), [f"{path}:{call}"])[f"{path}:{call}"].values
        np.testing.assert_allclose(alone, expected[call], rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(alone, both[f"{path}:{call}"].values)
    assert BACKEND.capture(model, images.numpy(), ["features.3.0.bn"])["features.3.0.bn"].values.shape[1] == 8


def test_a_computed_weight_is_not_called_batchnorm(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    normed = torch.nn.utils.parametrizations.weight_norm(torch.nn.Conv2d(3, 4, 3))
    network = torch.nn.Sequential(normed, torch.nn.ReLU()).eval()
    for dynamo in (False, True):
        images = torch.from_numpy(random(2, 3, 6, 6))
        model = export(torch, network, images, tmp_path / f"{dynamo}.onnx", dynamo)
        assert not any("BatchNorm" in layer.note for layer in BACKEND.layers(model, images.numpy()))


def torch_vit(torch: Any) -> Any:
    nn = torch.nn

    class Vit(nn.Module):  # type: ignore[misc,name-defined]  # torch is only known when the test runs
        def __init__(self) -> None:
            super().__init__()
            self.patch = nn.Conv2d(3, 16, 8, 8)
            self.cls = nn.Parameter(torch.zeros(1, 1, 16))
            self.norm = nn.LayerNorm(16)
            self.qkv = nn.Linear(16, 48)
            self.mlp = nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16))
            self.head = nn.Linear(16, 4)

        def forward(self, x: Any) -> Any:
            x = self.patch(x).flatten(2).transpose(1, 2)
            x = torch.cat([self.cls.expand(x.shape[0], -1, -1), x], 1)
            q, k, v = self.qkv(self.norm(x)).reshape(-1, 13, 3, 4, 4).permute(2, 0, 3, 1, 4).unbind(0)
            a = (q @ k.transpose(-2, -1)).softmax(-1) @ v
            x = x + a.transpose(1, 2).reshape(-1, 13, 16)
            return self.head((x + self.mlp(x))[:, 0])

    torch.manual_seed(0)
    return Vit().eval()


@pytest.mark.parametrize("dynamo", [False, True])
def test_tokens_of_a_vision_transformer_lie_on_their_grid(dynamo: bool, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    network = torch_vit(torch)
    images = torch.from_numpy(random(2, 3, 24, 32))
    model = export(torch, network, images, tmp_path / "vit.onnx", dynamo)
    layers, expected = table(model, images.numpy()), hooked(torch, network, images)
    for path in ("norm", "qkv", "mlp.0", "mlp.1", "mlp.2"):
        assert (layers[path].axes, layers[path].grid) == ("bnc", (3, 4)), path
        values = BACKEND.capture(model, images.numpy(), [path])[path].values
        np.testing.assert_allclose(values, expected[path][0], rtol=1e-4, atol=1e-5)
    assert (layers["patch"].axes, layers["patch"].spatial) == ("bchw", (3, 4))
    assert layers["head"].axes == "bc"
    attention = next(layer for layer in layers.values() if layer.kind == "Softmax")
    assert (attention.axes, attention.shape) == ("bcqk", (1, 4, 13, 13))
    assert not any("assumed" in layer.note for layer in layers.values())
