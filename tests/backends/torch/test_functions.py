"""Functions called inside a module's forward are layers of their own, as far as their axes can be followed."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import layerscope as ls
from helpers import torchvision_ops  # noqa: F401  # before torchvision, whose operators it stands in for
from helpers.shared import SharedDict
from helpers.wording import raises
from layerscope.backends.torch.backend import TorchBackend

torchvision = pytest.importorskip("torchvision")
torch.set_num_threads(1)
BACKEND = TorchBackend()


def images(count=1, channels=3, size=8):
    return np.random.default_rng(1).standard_normal((count, channels, size, size)).astype(np.float32)


def rows(model, batch=None):
    return {layer.path: layer for layer in BACKEND.layers(model, images() if batch is None else batch)}


class Residual(nn.Module):
    """`relu` is a module and a function, `add` comes twice, one operation writes into its argument."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.seen = SharedDict()

    def forward(self, x):
        y = self.conv(x)
        self.seen["F.relu"] = F.relu(y).clone()
        y = F.relu(y) + 0.5
        self.seen["add"] = y.clone()
        y += x
        self.seen["+="] = y.clone()
        y = self.relu(y - 1)
        z = torch.cat([y, x], 1)
        self.seen["cat"] = z.clone()
        return z.mean((2, 3))


def equal(captured, expected):
    assert np.array_equal(captured.values, expected.detach().numpy())


def test_a_hardtanh_from_0_to_6_is_called_relu6():
    model = nn.Sequential(nn.Hardtanh(0, 6), nn.Hardtanh(), nn.ReLU6()).eval()
    rows = ls.open(model, preprocess=None).layers(torch.randn(1, 3, 4, 4))
    assert [row.usual_name for row in rows if row.path] == ["ReLU6", "", ""]


def test_functions_have_rows_in_the_order_in_which_they_ran():
    layers = rows(Residual())
    names = [path for path in layers if path.endswith("()")]
    assert names == ["relu()", "relu_1()", "add()", "add_1()", "sub()", "cat()", "mean()"]
    assert [layers[path].kind for path in names[:6]] == [
        "F.relu",
        "F.relu",
        "torch.add",
        "torch.add",
        "torch.sub",
        "torch.cat",
    ]
    assert layers["cat()"].axes == "bchw"
    assert layers["cat()"].shape == (1, 6, 8, 8)
    assert list(layers).index("conv") < list(layers).index("add()") < list(layers).index("relu")
    assert layers["mean()"].axes == layers[""].axes == "bc"


def test_values_are_those_the_model_computed_also_before_something_writes_into_them():
    model = Residual()
    captures = BACKEND.capture(model, images(2), ["relu()", "add()", "add_1()", "cat()", "relu"])
    by_model = {**model.seen}
    equal(captures["relu()"], by_model["F.relu"])
    equal(captures["add()"], by_model["add"])
    equal(captures["add_1()"], by_model["+="])
    equal(captures["cat()"], by_model["cat"])
    assert not np.array_equal(captures["add()"].values, captures["add_1()"].values)


def test_a_short_name_finds_a_function_unless_a_module_has_it():
    scope = ls.open(Residual(), preprocess=None)
    assert list(scope.capture(images(), ["cat", "relu"])) == ["relu", "cat()"]
    assert list(scope.capture(images(), "relu()")) == ["relu()"]
    assert list(scope.capture(images(), "kind:torch.add")) == ["add()", "add_1()"]


def test_the_run_stops_after_the_function():
    model = Residual()
    ls.open(model, preprocess=None).layers(images())
    model.seen.clear()
    BACKEND.capture(model, images(), ["add():0"])
    assert set(model.seen) == {"F.relu"}, "what comes after the addition did not run"


def test_a_module_called_twice_has_functions_with_calls():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.block = Block()

        def forward(self, x):
            return self.block(self.block(x))

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 1)

        def forward(self, x):
            return torch.tanh(self.conv(x)) + x

    model = Twice()
    layers = rows(model)
    assert layers["block.add()"].calls == 2
    assert [call.path for call in layers["block.add()"].per_call] == ["block.add():0", "block.add():1"]
    captured = BACKEND.capture(model, images(), ["block.add():1", "block.tanh():0", "block:0"])
    equal(captured["block.tanh():0"], torch.tanh(model.block.conv(torch.from_numpy(images()))))
    assert np.array_equal(captured["block.add():1"].values, BACKEND.capture(model, images(), [""])[""].values)


def test_the_last_function_of_a_module_without_children_is_the_module():
    class Swish(nn.Module):
        def forward(self, x):
            return x * torch.sigmoid(x)

    layers = rows(nn.Sequential(nn.Conv2d(3, 4, 1), Swish()))
    assert "1.sigmoid()" in layers and "1.mul()" not in layers


def test_moves_and_masks_are_no_layers_and_neither_is_what_torchs_own_layers_call():
    class Moving(nn.Module):
        def forward(self, x):
            y = x.permute(0, 2, 3, 1).contiguous().clone()
            mask = (y > 0).float()
            return torch.exp(y * mask).flatten(1)

    assert [path for path in rows(nn.Sequential(nn.Conv2d(3, 4, 1), Moving())) if path.endswith("()")] == [
        "1.mul()",
        "1.exp()",
    ]
    assert not [
        path for path in rows(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Softmax(1))) if "()" in path
    ]


def test_a_model_of_functions_alone_can_be_looked_into():
    class Functional(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(4, 3, 3, 3))

        def forward(self, x):
            x = F.max_pool2d(F.relu(F.conv2d(x, self.weight, padding=1)), 2)
            return F.adaptive_avg_pool2d(x, 1).flatten(1) @ torch.ones(4, 5)

    model = Functional()
    layers = rows(model)
    assert layers["conv2d()"].axes == "bchw"
    assert layers["conv2d()"].shape == (1, 4, 8, 8)
    equal(
        BACKEND.capture(model, images(), ["conv2d()"])["conv2d()"],
        F.conv2d(torch.from_numpy(images()), model.weight, padding=1),
    )


@pytest.mark.parametrize("path", ["relu_1()", "add()", "add_1()", "cat()", "sub()"])
def test_gradients_of_functions_are_those_of_a_shift_of_the_result(path):
    """The derivative of the score along the value of a function: moved by hand with a mode of its own, in float64."""
    torch.manual_seed(0)
    model = Residual().double().requires_grad_(False)
    batch = images().astype(np.float64)
    captured = BACKEND.capture(model, batch, [path], target=1)[path]
    assert captured.gradient.shape == captured.values.shape
    rng = np.random.default_rng(0)
    direction = rng.standard_normal(captured.values.shape)

    def score(step):
        watch = Shifted(path, torch.from_numpy(step * direction))
        handles = watch.register_hooks(model)
        try:
            with torch.no_grad(), watch:
                return model(torch.from_numpy(batch))[0, 1].item()
        finally:
            for handle in handles:
                handle.remove()

    slope = (score(1e-6) - score(-1e-6)) / 2e-6
    np.testing.assert_allclose((captured.gradient * direction).sum(), slope, rtol=1e-5, atol=1e-8)
    assert not any(parameter.requires_grad for parameter in model.parameters())


class Shifted(torch.overrides.TorchFunctionMode):
    """Adds to what the function of the path gives, found by counting the model's additions and the like by hand."""

    ORDER = ("relu", "relu", "add", "__iadd__", "sub", "cat")
    NAMES = ("relu", "relu", "add", "add_1", "sub", "cat")

    def __init__(self, path, by):
        super().__init__()
        names = ["relu()", "relu_1()", "add()", "add_1()", "sub()", "cat()"]
        self.at, self.by, self.count, self.inside = names.index(path), by, 0, False

    def register_hooks(self, model):
        return [
            model.register_forward_pre_hook(lambda *_: setattr(self, "inside", True)),
            model.relu.register_forward_pre_hook(lambda *_: setattr(self, "inside", False)),
            model.relu.register_forward_hook(lambda *_: setattr(self, "inside", True)),
        ]

    def __torch_function__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        name = func.__name__.strip("_").removeprefix("i")
        if self.inside and name in ("relu", "add", "sub", "cat"):
            if self.count == self.at:
                out = out.add_(self.by) if func.__name__ == "__iadd__" else out + self.by
            self.count += 1
        return out


def test_an_in_place_function_whose_result_is_dropped_has_its_gradient():
    class Dropped(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 2, 1)

        def forward(self, x):
            y = self.conv(x)
            y.mul_(2)
            return y.mean((2, 3))

    captured = BACKEND.capture(Dropped(), images(), ["mul()"], target=0)["mul()"]
    expected = np.zeros((1, 2, 8, 8), np.float32)
    expected[:, 0] = 1 / 64
    np.testing.assert_allclose(captured.gradient, expected, rtol=1e-6)


def test_an_error_in_a_function_leaves_the_model_as_it_was():
    class Failing(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 2, 1)

        def forward(self, x):
            y = self.conv(x) + 1
            return torch.cat([y, y[:, :, :2]], 1)

    model = Failing().train()
    for path in ("cat()", "add():0"):
        if path == "cat()":
            with pytest.raises(RuntimeError, match="Sizes of tensors must match"):
                BACKEND.capture(model, images(), [path])
        else:
            assert BACKEND.capture(model, images(), [path])
    assert model.training
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert torch.overrides._get_current_function_mode_stack() == []


def test_a_function_that_does_not_exist_is_reported_as_not_run():
    with raises(ls.LayerNotCalled, "'conv.tanh()'"):
        BACKEND.capture(Residual(), images(), ["conv.tanh()"])
    with raises(ls.LayerNotFound, "'cat()'"):
        ls.open(Residual(), preprocess=None).capture(images(), "catt()")


@pytest.mark.parametrize(
    ("name", "path", "kind"),
    [
        ("resnet18", "layer1.0.add()", "torch.add"),
        ("densenet121", "features.denseblock1.denselayer2.cat()", "torch.cat"),
        ("mobilenet_v3_small", "features.4.block.2.mul()", "torch.mul"),
        ("shufflenet_v2_x0_5", "stage2.1.cat()", "torch.cat"),
        ("squeezenet1_1", "features.3.cat()", "torch.cat"),
        ("convnext_tiny", "features.1.0.add()", "torch.add"),
    ],
)
def test_real_architectures(name, path, kind):
    model = getattr(torchvision.models, name)(weights=None).eval()
    batch = images(size=64)
    layers = rows(model, batch)
    if name == "squeezenet1_1":  # its cat makes the output of the module around it, which has children
        assert layers[path].shape == layers["features.3"].shape
    assert layers[path].kind == kind
    assert layers[path].axes == "bchw"
    short = path.removesuffix("()")
    scope = ls.open(model, preprocess=None)
    (captured,) = scope.capture(batch, short).values()
    assert captured.values.shape == (1, *layers[path].shape[2:], layers[path].shape[1])
    if kind == "torch.add":
        # The addition is what the block's last module, or the block itself, was given.
        block = model.get_submodule(path.rpartition(".")[0])
        tensors = []
        handle = (block.relu if name == "resnet18" else block).register_forward_hook(
            lambda module, inputs, output: tensors.append((inputs[0] if name == "resnet18" else output).clone())
        )
        relu = model.layer1[0].relu if name == "resnet18" else None
        if relu is not None:
            relu.inplace = False
        with torch.no_grad():
            model(torch.from_numpy(batch))
        handle.remove()
        np.testing.assert_array_equal(captured.values, tensors[-1].numpy().transpose(0, 2, 3, 1))
