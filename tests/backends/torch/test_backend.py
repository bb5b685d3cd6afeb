"""PyTorch: the conformance suite, and what only PyTorch does."""

import collections
import dataclasses
import gc
import io
import os

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import layerscope as ls
from helpers.shared import SharedList
from helpers.wording import raises, wording
from layerscope.backends.torch import recorder
from layerscope.backends.torch import target as gradients
from layerscope.backends.torch.backend import TorchBackend
from layerscope.testing import BackendTests

torch.set_num_threads(1)
BACKEND = TorchBackend()


class Suite(nn.Module):
    def __init__(self, fail=False):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3, padding=1)
        self.act = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(4, 5, 3, stride=2)
        self.head = nn.Linear(5, 6)
        self.spare = nn.Conv2d(3, 4, 3)
        self.fail = fail
        self.seen = SharedList()
        for name in ("conv1", "head"):
            getattr(self, name).register_forward_hook(lambda *_, name=name: self.seen.append(name))

    def forward(self, x):
        x = self.act(self.conv1(x))
        if self.fail:
            raise RuntimeError("failed in the middle")
        return self.head(self.act(self.conv2(x)).mean((2, 3)))


class TestTorch(BackendTests):
    paths = {"conv1": "conv1", "act": "act", "conv2": "conv2", "head": "head", "spare": "spare"}

    def backend(self):
        return TorchBackend()

    def build(self, parameters, fail=False):
        model = Suite(fail)
        for name, value in parameters.items():
            model.get_parameter(name).data = torch.from_numpy(value.copy())
        nn.init.zeros_(model.spare.weight)
        nn.init.zeros_(model.spare.bias)
        return model

    def state(self, model):
        flags = [(name, module.training, len(module._forward_hooks)) for name, module in model.named_modules()]
        weights = [
            (name, tensor.numpy().tobytes(), tensor.requires_grad) for name, tensor in model.state_dict().items()
        ]
        grads = [parameter.grad for parameter in model.parameters()]
        return repr((flags, weights, grads, torch.get_rng_state().tolist(), torch.is_grad_enabled())).encode()

    def ran(self, model):
        return model.seen

    def answer(self, model, batch):
        with torch.no_grad():
            return model(torch.from_numpy(batch)).numpy()

    def normed(self, parameters, mean, variance):
        model = self.build(parameters)
        norm = nn.BatchNorm2d(4)
        norm.running_mean, norm.running_var = torch.from_numpy(mean), torch.from_numpy(variance)
        return nn.Sequential(model.conv1, norm, model.act, model.conv2)


def capture(model, batch, *paths):
    return BACKEND.capture(model, batch, list(paths))


def rows(model, batch):
    return {layer.path: layer for layer in BACKEND.layers(model, batch)}


def images(count=1, channels=3, size=8):
    return np.random.default_rng(1).standard_normal((count, channels, size, size)).astype(np.float32)


def test_an_in_place_relu_does_not_reach_the_layer_before_it():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True))
    captures = capture(model, images(), "0", "1")
    expected = F.conv2d(torch.from_numpy(images()), model[0].weight, model[0].bias).detach().numpy()
    assert np.array_equal(captures["0"].values, expected)
    assert (captures["0"].values < 0).any()
    assert np.array_equal(captures["1"].values, np.maximum(expected, 0))


def test_modes_and_statistics_are_left_alone_with_mixed_flags():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Conv2d(4, 4, 3)).train()
    model[1].eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    torch.manual_seed(3)
    state = torch.get_rng_state()
    first = capture(model, images(), "2")["2"].values
    second = capture(model, images(), "2")["2"].values
    assert np.array_equal(first, second), "dropout is off"
    assert [module.training for module in model] == [True, False, True, True]
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)


def test_buffers_that_the_model_writes_are_put_back():
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 2, 3)
            self.register_buffer("steps", torch.zeros(1))
            self.register_buffer("last", torch.zeros(1))

        def forward(self, x):
            self.steps += 1
            self.last = x.mean()
            return self.conv(x)

    model = Counting()
    capture(model, images(), "conv")
    assert model.steps.item() == 0
    assert model.last.item() == 0


def test_a_models_own_train_method_is_not_called():
    class Frozen(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 2, 3)

        def forward(self, x):
            return self.conv(x)

        def train(self, mode=True):
            raise AssertionError("train() has effects of its own")

    assert capture(Frozen(), images(), "conv")["conv"].values.shape == (1, 2, 6, 6)


def resident():
    """The memory of this process, in bytes."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_no_hooks_stay_and_memory_is_flat_over_200_runs():
    model, x = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), images(size=256)
    for _ in range(5):
        capture(model, x, "0", "1")
    gc.collect()
    before = resident()
    for _ in range(200):
        capture(model, x, "0", "1")
    gc.collect()
    # One capture is 2 MB, so a leak of each would be 400.
    assert resident() - before < 20e6
    assert not any(module._forward_hooks for module in model.modules())


def test_the_parts_of_tuples_dicts_and_dataclasses_have_names():
    @dataclasses.dataclass
    class Output:
        logits: torch.Tensor
        hidden: torch.Tensor

    Named = collections.namedtuple("Named", "first second")

    class Encoder(nn.Module):
        def forward(self, x):
            return x + 1, {"half": x / 2}

    class Pair(nn.Module):
        def forward(self, x):
            return Named(x * 3, x * 4)

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder, self.pair = Encoder(), Pair()

        def forward(self, x):
            return Output(hidden=self.encoder(x)[0], logits=self.pair(x).first.mean((2, 3)))

    x = images()
    table = rows(Model(), x)
    wording(table["encoder"].note, "0", "'encoder[1].half'")
    assert table[""].aliases == (".logits",)
    captures = capture(Model(), x, "encoder", "encoder[0]", "encoder[1].half", "pair.second", "", ".hidden")
    assert np.array_equal(captures["encoder"].values, x + 1)
    assert np.array_equal(captures["encoder[0]"].values, x + 1)
    assert np.array_equal(captures["encoder[1].half"].values, x / 2)
    assert np.array_equal(captures["pair.second"].values, x * 4)
    np.testing.assert_allclose(captures[""].values, (x * 3).mean((2, 3)), rtol=1e-6)
    assert np.array_equal(captures[".hidden"].values, x + 1)
    scope = ls.open(Model(), preprocess=None)
    assert scope.layers(x).choose("output")[0].path == ""
    assert scope.layers(x).choose(".logits")[0].path == ""
    with raises(ls.LayerNotCalled, "5"):
        capture(Model(), x, "encoder[5]")


def test_attention_gives_tokens_and_weights_as_a_picture():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.mha = nn.MultiheadAttention(8, 2, batch_first=True)

        def forward(self, x):
            return self.mha(x, x, x)[0]

    x = np.random.default_rng(0).standard_normal((1, 5, 8)).astype(np.float32)
    table = rows(Model().eval(), x)
    assert (table["mha"].axes, table["mha[1]"].axes) == ("bnc", "bqk")
    wording(table["mha.out_proj"].note)
    scope = ls.open(Model(), preprocess=None)
    with raises(ls.LayerNotCalled, "'mha'"):
        scope.capture(x, "mha.out_proj")


def test_layers_that_never_run_have_a_reason():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.blocks = nn.ModuleList([nn.Conv2d(3, 3, 1), nn.ReLU()])
            self.direct = nn.Conv2d(3, 3, 1)

        def forward(self, x):
            for block in self.blocks:
                x = block(x)
            return self.direct.forward(x)

    table = rows(Model(), images())
    wording(table["blocks"].note)
    wording(table["direct"].note, ".forward()")
    scope = ls.open(Model(), preprocess=None)
    with raises(ls.LayerNotCalled, "'blocks.0'", "'blocks.1'"):
        scope.capture(images(), "blocks")


def test_compiled_models_give_what_eager_ones_do():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    expected = capture(model, images(), "0")["0"].values
    compiled = torch.compile(model, backend="eager")
    with torch.no_grad():
        compiled(torch.from_numpy(images()))
    assert np.array_equal(capture(compiled, images(), "0")["0"].values, expected)

    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = torch.compile(model, backend="eager")

        def forward(self, x):
            return self.body(x)

    outer = Outer()
    with torch.no_grad():
        outer(torch.from_numpy(images()))
    path = next(row for row in rows(outer, images()) if row.endswith(".0"))
    assert np.array_equal(capture(outer, images(), path)[path].values, expected)


def test_data_parallel_is_looked_through():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    values = capture(nn.DataParallel(model), images(3), "0")["0"].values
    assert values.shape[0] == 3
    assert np.array_equal(values, capture(model, images(3), "0")["0"].values)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # torch calls its own jit deprecated
def test_torchscript_is_refused_with_a_remedy(tmp_path):
    script = torch.jit.trace(nn.Conv2d(3, 4, 3), torch.from_numpy(images()))
    with raises(ls.ModelNotReadable, "torch.export"):
        capture(script, images(), "0")
    torch.jit.save(script, tmp_path / "script.pt")
    with raises(ls.ModelNotReadable):
        ls.open(tmp_path / "script.pt", trust=True)


@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")  # torch's unflatten trips over its own deprecation
def test_exported_programs_keep_their_module_paths(tmp_path):
    model = nn.Sequential(collections.OrderedDict(conv=nn.Conv2d(3, 4, 3), act=nn.ReLU())).eval()
    program = torch.export.export(model, (torch.from_numpy(images()),))
    torch.export.save(program, tmp_path / "model.pt2")
    expected = capture(model, images(), "conv")["conv"].values
    np.testing.assert_allclose(capture(program, images(), "conv")["conv"].values, expected, atol=1e-6)
    scope = ls.open(tmp_path / "model.pt2", preprocess=None)
    np.testing.assert_allclose(scope.capture(images(), "conv")["conv"].values, np.moveaxis(expected, 1, -1), atol=1e-6)
    (tmp_path / "broken.pt2").write_bytes(b"nothing")
    with raises(ls.ModelNotReadable, "torch.export"):
        ls.open(tmp_path / "broken.pt2")


def test_a_missing_file_is_named(tmp_path):
    for name in ("missing.pt2", "missing.pt"):
        with raises(ls.ModelNotReadable, name) as caught:
            BACKEND.load(tmp_path / name)
        assert isinstance(caught.value.__cause__, FileNotFoundError)
    with raises(ls.ModelNotReadable, "missing.pth"):
        BACKEND.load_weights(nn.Linear(2, 2), tmp_path / "missing.pth")


def test_types_are_read_as_float32_and_named():
    class Types(nn.Module):
        def forward(self, x):
            return {
                "bf16": x.bfloat16(),
                "fp16": x.half(),
                "int8": (x * 10).to(torch.int8),
                "bool": x > 0,
                "complex": torch.complex(x, x),
            }

    x = images()
    maps = ls.open(Types(), preprocess=None).capture(x, [".bf16", ".fp16", ".int8", ".bool", ".complex"])
    expected = {
        ".bf16": torch.from_numpy(x).bfloat16().float().numpy(),
        ".fp16": x.astype(np.float16),
        ".int8": (x * 10).astype(np.int8),
        ".bool": x > 0,
        ".complex": np.hypot(x, x),
    }
    assert maps[".fp16"].dtype == "float16"
    by_path = {fm.layer.path or ".bf16": fm for fm in maps.values()}
    for path, values in expected.items():
        assert by_path[path].values.dtype == np.float32
        np.testing.assert_allclose(by_path[path].values, np.moveaxis(values, 1, -1).astype(np.float32), rtol=1e-6)
    assert by_path[".bf16"].dtype == "bfloat16"
    wording(by_path[".complex"].notes[0])


def test_models_of_other_precisions_get_their_own_input_type():
    x = images()
    for kind in (torch.float64, torch.bfloat16):
        model = nn.Sequential(nn.Conv2d(3, 4, 3)).to(kind)
        captured = capture(model, x, "0")["0"]
        assert captured.dtype == str(kind).removeprefix("torch.")
        expected = model(torch.from_numpy(x).to(kind)).detach().float().numpy()
        assert np.array_equal(captured.values.astype(np.float32), expected)


def test_several_inputs_are_passed_by_place_and_by_name():
    class Towers(nn.Module):
        def __init__(self):
            super().__init__()
            self.left, self.right = nn.Conv2d(3, 2, 3), nn.Conv2d(3, 2, 3)

        def forward(self, a, *, b):
            return self.left(a) + self.right(b)

    class Positional(Towers):
        def forward(self, a, b):
            return self.left(a) + self.right(b)

    a, b = images(2), images(2) + 1
    model = Towers()
    right = capture(model, {"a": a, "b": b}, "right")["right"].values
    assert np.array_equal(right, model.right(torch.from_numpy(b)).detach().numpy())
    positional = Positional()
    right = ls.open(positional, preprocess=None).capture((a, b), "right")["right"].values
    assert np.array_equal(right, np.moveaxis(positional.right(torch.from_numpy(b)).detach().numpy(), 1, -1))


def test_gradients_of_weights_that_were_made_in_inference_mode():
    with torch.inference_mode():
        model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5)).eval()
    x = torch.randn(2, 3, 8, 8)
    fm = ls.open(model, preprocess=None).capture(x, "0", target=3)["0"]
    ordinary = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5)).eval()
    ordinary.load_state_dict({name: value.clone() for name, value in model.state_dict().items()})
    conv = ordinary[0](x)
    (gradient,) = torch.autograd.grad(ordinary[1:](conv)[:, 3].sum(), conv)
    np.testing.assert_allclose(fm.gradient, gradient.permute(0, 2, 3, 1), atol=1e-6)
    assert all(weight.is_inference() and weight.grad is None for weight in model.parameters())


def test_inference_mode_and_inference_tensors_are_no_obstacle():
    with torch.inference_mode():
        model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
        assert capture(model, images(), "1")["1"].values.shape == (1, 4, 6, 6)
    assert capture(model, images(), "1")["1"].values.shape == (1, 4, 6, 6)


def test_channels_last_blocks_inside_torch_are_read_as_such():
    """The shape of torchvision's Swin: Permute, LayerNorm and Linear on [b, h, w, c], a permute back before the pool."""

    class Permute(nn.Module):
        def __init__(self, *order):
            super().__init__()
            self.order = order

        def forward(self, x):
            return torch.permute(x, self.order)

    class Block(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.norm = nn.LayerNorm(width)
            self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

        def forward(self, x):
            return x + self.mlp(self.norm(x))

    class Swin(nn.Module):
        def __init__(self):
            super().__init__()
            self.patch = nn.Sequential(nn.Conv2d(3, 6, 4, 4), Permute(0, 2, 3, 1), nn.LayerNorm(6))
            self.blocks = nn.Sequential(Block(6), Block(6))
            self.back = Permute(0, 3, 1, 2)
            self.pool = nn.AdaptiveAvgPool2d(1)

        def forward(self, x):
            return self.pool(self.back(self.blocks(self.patch(x)))).flatten(1)

    model = Swin().eval()
    x = np.random.default_rng(0).standard_normal((1, 3, 16, 24)).astype(np.float32)
    table = rows(model, x)
    assert table["patch.0"].axes == "bchw"
    for path in (
        "patch.1",
        "patch.2",
        "patch",
        "blocks.0.norm",
        "blocks.0.mlp.1",
        "blocks.0.mlp",
        "blocks.0",
        "blocks",
    ):
        assert table[path].axes == "bhwc", path
    assert table["back"].axes == "bchw"
    assert table["pool"].axes == "bchw"
    maps = ls.open(model, preprocess=None).capture(x, ["patch.0", "patch.1"])
    assert maps["patch.0"].shape == maps["patch.1"].shape == (1, 4, 6, 6)
    assert np.array_equal(maps["patch.0"].values, maps["patch.1"].values)


def test_tokens_lie_on_the_grid_of_the_patch_embedding():
    """224 × 160 with patches of 16, one class token and four registers; positions show where a token came from."""

    class ViT(nn.Module):
        def __init__(self):
            super().__init__()
            self.patch = nn.Conv2d(3, 4, 16, 16)
            self.prefix = nn.Parameter(torch.full((1, 5, 4), -1.0))
            self.norm = nn.Identity()

        def forward(self, x):
            tokens = self.patch(x).flatten(2).transpose(1, 2)
            positions = torch.arange(tokens.shape[1], dtype=torch.float32)[None, :, None].expand_as(tokens)
            return self.norm(torch.cat([self.prefix.expand(len(x), -1, -1), tokens * 0 + positions], 1))

    fm = ls.open(ViT(), preprocess=None).capture(np.zeros((2, 3, 224, 160), np.float32), "norm")["norm"]
    assert fm.layer.grid == (14, 10)
    assert fm.shape == (2, 14, 10, 4)
    rows_, columns = np.mgrid[:14, :10]
    assert np.array_equal(fm.values[1, ..., 0], rows_ * 10 + columns)
    assert fm.tokens.shape == (2, 5, 4)
    assert (fm.tokens == -1).all()
    assert fm.prefix().values.shape == (2, 5, 4)


def test_a_shared_module_is_found_by_all_its_names_and_calls():
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Conv2d(3, 3, 3, padding=1)
            self.b = self.a

        def forward(self, x):
            return self.b(self.a(x))

    model, x = Shared(), images()
    scope = ls.open(model, preprocess=None)
    maps = scope.capture(x, "b")
    assert list(maps) == ["a:0", "a:1"]
    once = F.conv2d(torch.from_numpy(x), model.a.weight, model.a.bias, padding=1)
    twice = F.conv2d(once, model.a.weight, model.a.bias, padding=1)
    np.testing.assert_allclose(np.moveaxis(maps["a:1"].values, -1, 1), twice.detach().numpy(), atol=1e-6)
    with raises(ls.LayerNotFound, "0", "1", "2"):
        scope.capture(x, "a:2")


def test_weights_files_are_read_safely(tmp_path, monkeypatch):
    from safetensors.torch import save_file

    (tmp_path / "my_net.py").write_text(
        "from torch import nn\ndef build():\n    return nn.Sequential(nn.Conv2d(3, 4, 3))\n"
    )
    monkeypatch.chdir(tmp_path)
    model = nn.Sequential(nn.Conv2d(3, 4, 3))
    expected = capture(model, images(), "0")["0"].values
    save_file(model.state_dict(), tmp_path / "w.safetensors")
    torch.save({"state_dict": {f"module.{k}": v for k, v in model.state_dict().items()}}, tmp_path / "w.pth")
    for name in ("w.safetensors", "w.pth"):
        scope = ls.open("my_net:build", weights=tmp_path / name, preprocess=None)
        assert np.array_equal(scope.capture(images(), "0")["0"].values, np.moveaxis(expected, 1, -1))
    torch.save({"other.weight": torch.zeros(1)}, tmp_path / "wrong.pth")
    with raises(ls.ModelNotReadable, "0.weight", "0.bias", "other.weight"):
        ls.open("my_net:build", weights=tmp_path / "wrong.pth")
    with raises(ls.ModelNotReadable):
        ls.open(tmp_path / "w.pth")


class Evil:
    """Unpickling this would leave a mark."""

    def __reduce__(self):
        return (exec, ("import builtins; builtins.layerscope_was_fooled = True",))


def test_pickled_modules_need_trust(tmp_path):
    import builtins

    model = nn.Sequential(nn.Conv2d(3, 4, 3))
    torch.save(model, tmp_path / "whole.pt")
    with raises(ls.TrustRequired, "--trust"):
        ls.open(tmp_path / "whole.pt")
    scope = ls.open(tmp_path / "whole.pt", trust=True, preprocess=None)
    assert scope.capture(images(), "0")["0"].shape == (1, 6, 6, 4)
    stream = io.BytesIO()
    torch.save(Evil(), stream)
    (tmp_path / "evil.pt").write_bytes(stream.getvalue())
    with raises(ls.LayerscopeError):
        ls.open(tmp_path / "evil.pt")
    assert not hasattr(builtins, "layerscope_was_fooled")


def test_the_digest_follows_the_weights():
    model = nn.Sequential(nn.Conv2d(3, 4, 3))
    before = BACKEND.facts(model).digest
    assert before.startswith("sampled-sha256:")
    assert BACKEND.facts(model).digest == before
    with torch.no_grad():
        model[0].bias[2] += 1
    assert BACKEND.facts(model).digest != before


def test_a_timm_configuration_is_the_recipe():
    model = nn.Sequential(nn.Conv2d(3, 4, 3))
    model.pretrained_cfg = {
        "input_size": (3, 224, 224),
        "mean": (0.5, 0.5, 0.5),
        "std": (0.5, 0.5, 0.5),
        "interpolation": "bicubic",
        "crop_pct": 0.9,
    }
    scope = ls.open(model)
    assert scope.plan.known
    assert (scope.preprocess.mean, scope.preprocess.short, scope.preprocess.interpolation) == (
        (0.5,) * 3,
        248,
        "bicubic",
    )
    wording(scope.plan.note)


def cam_model(frozen=False):
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.ReLU(inplace=True),
        nn.Conv2d(4, 5, 3),
        nn.ReLU(inplace=True),
        nn.Flatten(),
        nn.Linear(80, 6),
    )
    return model.requires_grad_(not frozen).eval()


def by_hand(model, x, target):
    """The gradient of each step's output, by autograd over a chain without in-place operations."""
    value, steps = torch.from_numpy(x).requires_grad_(), []
    for module in model:
        value = F.relu(value) if isinstance(module, nn.ReLU) else module(value)
        steps.append(value)
    by_autograd = torch.autograd.grad(value[:, target].sum(), steps)
    return [gradient.numpy() for gradient in by_autograd]


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("around", [torch.enable_grad, torch.no_grad, torch.inference_mode])
def test_gradients_need_nothing_from_the_caller(frozen, around):
    x, expected = images(2), by_hand(cam_model(), images(2), 3)
    model = cam_model(frozen)
    with around():
        captures = BACKEND.capture(model, x, ["0", "1", "2", "4", "5"], 3)
    for path, captured in captures.items():
        np.testing.assert_allclose(captured.gradient, expected[int(path)], atol=1e-6, err_msg=path)
    assert captures["0"].values.min() < 0, "the in-place ReLU reached neither value nor gradient"
    assert all(parameter.requires_grad is not frozen and parameter.grad is None for parameter in model.parameters())


def test_gradients_through_the_scope_make_a_grad_cam():
    model, x = cam_model(), images(2)
    fm = ls.open(model, preprocess=None, labels=list("abcdef")).capture(x, "2", target="d")["2"]
    assert fm.gradient.shape == fm.values.shape
    assert (fm.provenance["target"], fm.provenance["class"]) == ('"d"', 3)
    first = fm.image(0)
    cam = ls.weighted(first, first.gradient.mean((0, 1, 2)))
    expected = (first.gradient.mean((1, 2), keepdims=True) * first.values).sum(-1)
    np.testing.assert_allclose(cam.values[..., 0], expected, rtol=1e-5, atol=1e-6)
    wording(ls.heatmap(cam).alt(), "5")
    some = ls.open(model, preprocess=None).capture(x, "2", target=3, channels=[4, 1])["2"]
    np.testing.assert_allclose(some.gradient, fm.gradient[..., [4, 1]], atol=1e-7)


def test_targets_are_classes_or_functions_and_wrong_ones_are_named():
    model, x = cam_model(), images(2)
    number = BACKEND.capture(model, x, ["2"], 3)["2"].gradient
    function = BACKEND.capture(model, x, ["2"], lambda output: output[:, 3])["2"].gradient
    assert np.array_equal(number, function)
    scope = ls.open(model, preprocess=None, labels=["cat", "dog", "owl", "fox", "bat", "cow"])
    with raises(ls.BadOption, "6", "0", "5"):
        scope.capture(x, "2", target=6)
    with raises(ls.BadOption, "'cat'"):
        scope.capture(x, "2", target="cut")
    with raises(ls.GradientsUnavailable):
        scope.capture(x, "2", target=lambda output: 3.0)
    with raises(ls.GradientsUnavailable):
        scope.capture(x, "2", target=lambda output: torch.zeros(1))


def test_a_layer_that_the_target_does_not_see_has_a_gradient_of_zero():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.seen, self.aside = nn.Conv2d(3, 2, 8), nn.Conv2d(3, 2, 8)

        def forward(self, x):
            self.aside(x)
            return self.seen(x).flatten(1)

    captures = BACKEND.capture(Two(), images(), ["seen", "aside"], 1)
    assert (captures["aside"].gradient == 0).all()
    assert captures["seen"].gradient.ravel().tolist() == [0, 1]


def test_an_error_while_differentiating_leaves_the_model_as_it_was():
    class Broken(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, gradient):
            raise RuntimeError("no way back")

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 2, 8)

        def forward(self, x):
            return Broken.apply(self.conv(x)).flatten(1)

    model = Model().train()
    with raises(ls.GradientsUnavailable):
        BACKEND.capture(model, images(), ["conv"], 0)
    assert model.training
    assert not model.conv._forward_hooks
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("channels", [[1, 2], [3, 0], [2], range(0, 4, 2)])
@pytest.mark.parametrize("target", [None, 2])
def test_channels_are_chosen_before_the_copy_and_equal_those_of_the_whole(channels, target, monkeypatch):
    model = Suite()
    scope = ls.open(model, preprocess=None)
    whole = scope.capture(images(2), ["conv1", "act", "head"], target=target)
    copied = []
    as_captured = recorder.as_captured

    def counted(tensor, pick=None):
        captured = as_captured(tensor, pick)
        copied.append(captured.values.size)
        return captured

    for module in (recorder, gradients):
        monkeypatch.setattr(module, "as_captured", counted)
    some = scope.capture(images(2), ["conv1", "act", "head"], target=target, channels=channels)
    for path, fm in some.items():
        assert fm.channels == tuple(channels)
        assert np.array_equal(fm.values, whole[path].values[..., list(channels)])
        if target is not None:
            assert np.array_equal(fm.gradient, whole[path].gradient[..., list(channels)])
    sizes = [fm.values[0, ..., 0].size for fm in some.values()]
    assert sorted(copied) == sorted([2 * size * len(channels) for size in sizes] * (1 if target is None else 2))


class TwoInputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, image, scale):
        return self.conv(image) * scale


def test_a_failed_forward_pass_advises_what_fits_the_input():
    with raises(ls.ModelNotReadable, "'scale'", "preprocess=None"):
        ls.open(TwoInputs(), preprocess="unit", size=8).layers()
    with raises(ls.ModelNotReadable, "3×8×8"):
        ls.open(TwoInputs(), preprocess=None).capture(torch.zeros(3, 8, 8), "conv")
