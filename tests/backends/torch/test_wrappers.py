"""Models inside other libraries' wrappers, and modules whose tensors are no plain ones."""

from __future__ import annotations

import sys
import types
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._pytree import tree_map

import layerscope as ls
from layerscope.backends.torch import hub
from layerscope.backends.torch.backend import TorchBackend

BACKEND = TorchBackend()
X = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def values(model: nn.Module, batch: Any, path: str) -> np.ndarray:
    return BACKEND.capture(model, batch, [path])[path].values


def same(model: nn.Module, path: str, right: torch.Tensor) -> None:
    np.testing.assert_allclose(values(model, X, path), right.detach().numpy(), rtol=1e-5, atol=1e-6)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Sequential(nn.Conv2d(4, 5, 3), nn.ReLU())).eval()


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_a_scripted_child_in_a_plain_model():
    model = network()
    right, inner = model(X), model[2](model[1](model[0](X)))
    model[2] = torch.jit.script(model[2])
    table = {layer.path: layer for layer in BACKEND.layers(model, X)}
    assert table["2"].calls == 1
    assert table["2.0"].calls == 0
    same(model, "2", inner)
    same(model, "", right)
    assert list(ls.open(model, preprocess=None).capture(X, "*")) == ["0", "1", "2"]


class Scaled(torch.Tensor):
    """Weights as a quantising library holds them: codes and a scale in a tensor that only some operators know."""

    @staticmethod
    def __new__(cls, codes: torch.Tensor, scale: float) -> Any:
        return torch.Tensor._make_wrapper_subclass(cls, codes.shape, dtype=torch.float32)

    def __init__(self, codes: torch.Tensor, scale: float) -> None:
        self.codes, self.scale = codes, scale

    def __tensor_flatten__(self) -> tuple[list[str], float]:
        return ["codes"], self.scale

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten.detach.default:
            return cls(args[0].codes, args[0].scale)
        if func not in (torch.ops.aten.addmm.default, torch.ops.aten.t.default, torch.ops.aten.linear.default):
            raise NotImplementedError(str(func))
        plain = tree_map(lambda value: value.codes * value.scale if isinstance(value, cls) else value, args)
        return func(*plain, **(kwargs or {}))


def test_weights_of_a_tensor_subclass():
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 5)).eval()
    codes = torch.randint(-9, 9, (5, 192), dtype=torch.int8)
    model[1].weight = nn.Parameter(Scaled(codes, 0.1), requires_grad=False)
    before = BACKEND.digest(model)
    same(model, "1", model(X))
    model[1].weight = nn.Parameter(Scaled(codes + 1, 0.1), requires_grad=False)
    assert BACKEND.digest(model) != before


@pytest.fixture
def group(tmp_path):
    import torch.distributed as dist

    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_fully_sharded(group):
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    model = network()
    right, first = model(X).detach(), model[0](X).detach()
    mesh = init_device_mesh("cpu", (1,))
    fully_shard(model[2], mesh=mesh)
    fully_shard(model, mesh=mesh)
    kinds = [type(weight) for weight in model.parameters()]
    scope = ls.open(model, preprocess=None)
    assert list(scope.capture(X, "*")) == ["0", "1", "2.0", "2.1", "2"]
    same(model, "0", first)
    same(model, "2", right)
    assert BACKEND.capture(model, X, ["0"], 1)["0"].gradient.any()
    assert kinds == [type(weight) for weight in model.parameters()]
    np.testing.assert_allclose(model(X).detach(), right, rtol=1e-5)


class Offloaded:
    """What `accelerate.cpu_offload` hangs on a module: weights come before its forward, and go after it."""

    def __init__(self, weights: Mapping[str, torch.Tensor]) -> None:
        self.weights, self.execution_device = weights, "cpu"

    def wrap(self, module: nn.Module) -> None:
        module._hf_hook, module._old_forward = self, module.forward
        for name in self.weights:
            module._parameters[name] = nn.Parameter(module._parameters[name].to("meta"))

        def forward(module: Any, *args: Any) -> Any:
            for name, tensor in module._hf_hook.weights.items():
                module._parameters[name] = nn.Parameter(tensor)
            out = module._old_forward(*args)
            for name, tensor in module._hf_hook.weights.items():
                module._parameters[name] = nn.Parameter(tensor.to("meta"))
            return out

        import functools

        module.forward = functools.update_wrapper(functools.partial(forward, module), module._old_forward)


def test_weights_that_come_when_they_are_needed():
    model = network()
    right = model(X)
    for module in (model[0], model[2][0]):
        Offloaded({name: weight.detach() for name, weight in module.named_parameters()}).wrap(module)
    same(model, "2", right)
    assert all(weight.is_meta for weight in model.parameters())


class Predicting(nn.Module):
    """As the model class of a detection library: calling it predicts, training it trains, and the network is in `.model`."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.model, self.predictor = network, None

    def __call__(self, source: Any) -> Any:
        self.predictor = object()
        return [source]

    def train(self, mode: bool = True) -> Any:
        raise RuntimeError("it would train")


def test_an_object_that_predicts():
    model = Predicting(network())
    scope = ls.open(model, preprocess=None)
    assert list(scope.capture(X, "*")) == ["0", "1", "2.0", "2.1", "2"]
    assert model.predictor is None
    same(model, "2", model.model(X))


class Broken(types.ModuleType):
    """A library that was imported, and fails at the first look."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise RuntimeError(f"operator torchvision::nms does not exist ({name})")


@pytest.mark.parametrize("name", ["transformers", "timm", "torchvision", "peft", "accelerate"])
def test_a_broken_library_that_is_merely_imported(name, monkeypatch):
    monkeypatch.setitem(sys.modules, name, Broken(name))
    model = network()
    same(model, "2", model(X))
    assert ls.open(model, preprocess=None).facts.labels is None


class Mapped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.last = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 5, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(torch.vmap(self.conv)(x[:, None])[:, 0])


@pytest.mark.limit("layers inside `torch.vmap`")
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_what_runs_inside_vmap_or_torchscript_has_no_picture_and_a_reason(limit):
    model = Mapped().eval()
    table = {layer.path: layer for layer in BACKEND.layers(model, X)}
    assert table["conv"].axes == ""
    assert "vmap" in str(table["conv"].note)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scope = ls.open(model, preprocess=None)
        assert list(scope.capture(X, "*")) == list(scope.capture(X, "stages")) == list(scope.capture(X, "last"))
        assert list(scope.capture(X, "*")) == ["last"]
    limit.notes(table["conv"])
    with limit.raises("torch.vmap"):
        scope.capture(X, "conv")
    scripted = network()
    scripted[2] = torch.jit.script(scripted[2])
    with limit.raises("2.0"):
        ls.open(scripted, preprocess=None).capture(X, "2.0")
    limit.shows("* last")


class Padded(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 4, 4)
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return self.encoder(self.patches(x).flatten(2).transpose(1, 2), src_key_padding_mask=mask)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
@pytest.mark.parametrize("path", ["encoder", "encoder.layers.0", "encoder.layers.1.norm2", "encoder.layers.0.linear1"])
def test_an_encoder_with_a_padding_mask(path):
    model = Padded().eval()
    mask = torch.tensor([[False] * 4, [False] * 3 + [True]])
    captured = values(model, (X, mask), path)
    assert captured.shape[:2] == (2, 4)
    if path == "encoder":
        with torch.no_grad():
            np.testing.assert_allclose(captured, model(X, mask), rtol=1e-4, atol=1e-5)


class Jagged(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner, self.head = nn.Linear(8, 6), nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows = torch.nested.nested_tensor([row[: 2 + index] for index, row in enumerate(x)], layout=torch.jagged)
        return self.head(torch.nested.to_padded_tensor(self.inner(rows), 0.0))


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
def test_jagged_tensors():
    model, x = Jagged().eval(), torch.rand(2, 8, 8)
    assert list(ls.open(model, preprocess=None).capture(x, "*"))[-1] == "head"
    captured = values(model, x, "inner")
    np.testing.assert_allclose(captured[1], model.inner(x[1, :3]).detach(), rtol=1e-5)
    np.testing.assert_array_equal(captured[0, 2], 0)


class PeftModel(nn.Module):
    """As peft's models: the model of transformers lies two steps inside."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.base_model = nn.Module()
        self.base_model.model = model

    def get_base_model(self) -> Any:
        return self.base_model.model


def test_an_adapted_model_of_transformers_is_recognised():
    class PreTrainedModel(nn.Module):
        pass

    PreTrainedModel.__module__ = "transformers.modeling_utils"
    PeftModel.__module__ = "peft.peft_model"
    base = PreTrainedModel()
    assert hub.hf_model(base) is base
    assert hub.hf_model(PeftModel(base)) is base
    assert hub.hf_model(network()) is None
