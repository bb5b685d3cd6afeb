"""Where models run: the device that was asked for, what is said where it isn't there, and the user's model as it was.

No accelerator is needed: ONNX Runtime gets a list of providers that it doesn't have, torch the device `meta`.
"""

import numpy as np
import pytest

import layerscope as ls
from helpers.wording import raises, warns, wording
from layerscope.backends.common.device import Device

PHOTO = ls.demo_photo()


# ---- ONNX Runtime ----------------------------------------------------------------------------------------------------
class Fake:
    """An ONNX Runtime that lists providers which it hasn't, and starts those in `works`."""

    def __init__(self, monkeypatch, available, works=()):
        onnxruntime = pytest.importorskip("onnxruntime")
        session, self.asked = onnxruntime.InferenceSession, []
        fake = self

        class Session(session):
            def __init__(self, content, options, providers):
                fake.asked.append(providers)
                self.names = [name if isinstance(name, str) else name[0] for name in providers]
                super().__init__(content, options, providers=["CPUExecutionProvider"])

            def get_providers(self):
                return [name for name in self.names if name in (*works, "CPUExecutionProvider")]

        monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
        monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [*available, "CPUExecutionProvider"])


CUDA = "CUDAExecutionProvider"


@pytest.mark.parametrize(
    ("device", "available", "chosen"),
    [
        ("cuda", [CUDA], CUDA),
        ("cuda:1", [CUDA], (CUDA, {"device_id": 1})),
        ("gpu", ["DmlExecutionProvider", CUDA], CUDA),
        ("gpu", ["CoreMLExecutionProvider"], "CoreMLExecutionProvider"),
        ("mps", ["CoreMLExecutionProvider"], "CoreMLExecutionProvider"),
        ("tensorrt", ["TensorrtExecutionProvider", CUDA], "TensorrtExecutionProvider"),
        ("cpu", [CUDA], "CPUExecutionProvider"),
        (None, [CUDA], "CPUExecutionProvider"),
    ],
)
def test_onnx_runtime_gets_the_provider_of_the_device(monkeypatch, device, available, chosen):
    fake = Fake(monkeypatch, available, works=available)
    scope = ls.open("demo", device=device)
    scope.capture(PHOTO, "_conv_stem")
    assert {str(asked[0]) for asked in fake.asked} == {str(chosen)}
    assert fake.asked[0][-1] == "CPUExecutionProvider"
    if device is not None:
        wording(scope.facts.framework.partition(", ")[2])


def test_a_model_proto_runs_on_the_device_too(monkeypatch):
    onnx = pytest.importorskip("onnx")
    fake = Fake(monkeypatch, [CUDA], works=[CUDA])
    ls.open(onnx.load(ls.demo_model()), device="cuda", preprocess="unit").capture(PHOTO, "_conv_stem")
    opened = ls.open("demo").model
    ls.open(opened, device="cuda:1").capture(PHOTO, "_conv_stem")
    assert [asked[0] for asked in fake.asked if asked[0] != "CPUExecutionProvider"][-1] == (CUDA, {"device_id": 1})
    assert list(opened.execution.providers) == ["CPUExecutionProvider"]


def test_a_provider_that_is_not_there_is_said_and_the_cpu_runs(monkeypatch):
    expected = ls.open("demo").capture(PHOTO, "_conv_stem")["_conv_stem"].values
    with warns(ls.DeviceWarning, "device='cuda'"):
        ls.show("demo", PHOTO, "_conv_stem", device="cuda")
    with warns(ls.DeviceWarning, "device='cuda'"):
        scope = ls.open("demo", device="cuda")
    assert np.array_equal(scope.capture(PHOTO, "_conv_stem")["_conv_stem"].values, expected)
    Fake(monkeypatch, [CUDA])  # listed, and its libraries don't load
    scope = ls.open("demo", device="cuda")
    with warns(ls.DeviceWarning, CUDA):
        maps = scope.capture(PHOTO, "_conv_stem")
    assert np.array_equal(maps["_conv_stem"].values, expected)


def test_words_that_are_no_device_are_named():
    assert [str(Device.of(word)) for word in ("CUDA:0", "cpu")] == ["cuda:0", "cpu"]
    for word in ("cudda", "cuda:x", "", 5):
        with raises(ls.BadOption, "cuda:1"):
            ls.open("demo", device=word)


def test_tflite_runs_on_the_cpu_alone():
    from layerscope.backends.registry import named

    backend = pytest.importorskip("ai_edge_litert") and named("tflite").backend()
    assert backend.on_device("cpu") is backend
    with raises(ls.BadOption, "tflite"):
        backend.on_device("cuda")


# ---- PyTorch ---------------------------------------------------------------------------------------------------------
@pytest.fixture
def net():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.ReLU())
    model[0].twin = model[1]
    return model.train()


def test_a_torch_model_that_is_there_is_itself_and_one_that_is_not_is_copied(net):
    assert ls.open(net, device="cpu", preprocess="unit").model is net
    scope = ls.open(net, device="meta", preprocess="unit", size=16)
    assert {tensor.device.type for tensor in scope.model.state_dict().values()} == {"meta"}
    assert {tensor.device.type for tensor in net.state_dict().values()} == {"cpu"}
    assert scope.model[0].twin is scope.model[1]
    assert net.training
    assert "meta" in repr(scope)
    with raises(ls.ModelNotReadable, "meta"):
        scope.capture(PHOTO, "0")


def test_torch_without_the_device_runs_on_the_cpu(net):
    with warns(ls.DeviceWarning, "xpu:7"):
        scope = ls.open(net, device="xpu:7", preprocess="unit", size=16)
    expected = ls.open(net, preprocess="unit", size=16).capture(PHOTO, "2")["2"].values
    assert np.array_equal(scope.capture(PHOTO, "2")["2"].values, expected)


def test_a_torch_model_that_accelerate_spreads_is_refused(net):
    net[0]._hf_hook = object()
    with raises(ls.BadOption, "accelerate"):
        ls.open(net, device="meta", preprocess="unit")


def test_torch_loads_a_file_to_the_device(net, tmp_path):
    import torch

    torch.save(net, tmp_path / "net.pt")
    scope = ls.open(tmp_path / "net.pt", device="meta", trust=True, preprocess="unit")
    assert {tensor.device.type for tensor in scope.model.state_dict().values()} == {"meta"}


def test_each_layer_elsewhere_is_copied_to_the_host_once(net, monkeypatch):
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    from layerscope.backends.torch import outputs, recorder

    class Copies(TorchDispatchMode):
        count = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            Copies.count += func is torch.ops.aten._to_copy.default
            return func(*args, **(kwargs or {}))

    for module in (outputs, recorder):
        monkeypatch.setattr(module, "is_plain", lambda tensor: False)  # as for all that isn't on the CPU
    with Copies():
        maps = outputs.as_captured(torch.ones(2, 3, 4, 4))
    assert (Copies.count, maps.values.shape) == (1, (2, 3, 4, 4))


# ---- the command line ------------------------------------------------------------------------------------------------
def test_the_command_line_says_the_device(capsys, tmp_path):
    from layerscope import cli

    arguments = ["show", "demo", str(PHOTO), "-l", "_conv_stem", "-o", str(tmp_path / "a.png"), "--device"]
    for device in ("cpu", "cuda"):
        assert cli.main([*arguments, device]) == 0
        wording([line for line in capsys.readouterr().err.splitlines() if "device" in line])
    assert cli.main([*arguments, "cudda"]) == 1
    wording(capsys.readouterr().err)
