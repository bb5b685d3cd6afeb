"""PyTorch: whatever goes wrong in a run, the error comes through and the model is as it was; unusual models are read right."""

import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import prune
from torch.utils.checkpoint import checkpoint

import layerscope as ls
from helpers.wording import raises, wording
from layerscope.backends.torch import recorder
from layerscope.backends.torch.backend import TorchBackend

torch.set_num_threads(1)
BACKEND = TorchBackend()


def images(count=2, size=8):
    return np.random.default_rng(1).standard_normal((count, 3, size, size)).astype(np.float32)


def capture(model, *paths, batch=None, **options):
    return BACKEND.capture(model, images() if batch is None else batch, list(paths), **options)


def rows(model, batch=None):
    return {layer.path: layer for layer in BACKEND.layers(model, images() if batch is None else batch)}


class Net(nn.Module):
    """Writes a buffer, draws a random number, then raises `error` between its two convolutions."""

    def __init__(self, error=None):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 5, 3)
        self.drop = nn.Dropout(0.5)
        self.register_buffer("runs", torch.zeros(1))
        self.error = error

    def forward(self, x):
        x.mul_(1.5)
        self.runs += 1
        x = self.drop(self.conv1(x)) + torch.randn(1)
        if self.error is not None:
            raise self.error
        return self.conv2(x).mean((2, 3))


def state(model):
    """Everything that a run could leave behind."""
    hooks = [
        len(module._forward_hooks) + len(module._forward_pre_hooks) + len(module._backward_hooks)
        for module in model.modules()
    ]
    flags = [module.training for module in model.modules()]
    tensors = [(name, tensor.tolist()) for name, tensor in model.state_dict().items()]
    grads = [
        (parameter.requires_grad, None if parameter.grad is None else parameter.grad.tolist())
        for parameter in model.parameters()
    ]
    around = (torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.get_rng_state().tolist())
    modes = len(torch.overrides._get_current_function_mode_stack())
    fast = torch.backends.mha.get_fastpath_enabled()
    return hooks, flags, tensors, grads, around, modes, fast


ERRORS = [RuntimeError("in the forward"), KeyboardInterrupt("by hand"), MemoryError("none left"), SystemExit(3)]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("path", ["conv2", "add()", "", "conv2:0"])
@pytest.mark.parametrize("target", [None, 1])
def test_an_exception_in_the_forward_comes_through_and_leaves_nothing(error, path, target):
    model = Net(error).train()
    model.drop.eval()
    before = state(model)
    with pytest.raises(type(error), match=str(error)):
        capture(model, path, target=target)
    assert state(model) == before
    with pytest.raises(type(error)):
        BACKEND.layers(model, images())
    assert state(model) == before


def test_an_exception_in_the_users_own_hook_comes_through_and_the_hook_stays():
    model = Net()
    handle = model.conv1.register_forward_hook(lambda *_: (_ for _ in ()).throw(RuntimeError("in the hook")))
    before = state(model)
    with pytest.raises(RuntimeError, match="in the hook"):
        capture(model, "conv2")
    assert state(model) == before
    handle.remove()
    assert capture(model, "conv2")


def test_an_exception_while_a_map_is_copied_comes_through(monkeypatch):
    def full(*_):
        raise MemoryError("no room for the copy")

    model = Net()
    before = state(model)
    monkeypatch.setattr(recorder, "as_captured", full)
    with pytest.raises(MemoryError, match="no room"):
        capture(model, "conv1", "conv2")
    assert state(model) == before


class Torn(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, gradient):
        raise RuntimeError("in the backward")


def test_an_exception_during_a_gradient_is_named_and_leaves_nothing():
    class Model(Net):
        def forward(self, x):
            return Torn.apply(super().forward(x))

    model = Model().requires_grad_(False)
    before = state(model)
    with raises(ls.GradientsUnavailable):
        capture(model, "conv1", target=0)
    assert state(model) == before


def test_a_model_that_changes_its_input_changes_neither_the_array_nor_the_tensor_of_the_user():
    model = Net().eval()
    array, tensor = images(), torch.from_numpy(images())
    first = capture(model, "conv1", batch=array)["conv1"].values
    again = capture(model, "conv1", batch=tensor)["conv1"].values
    assert np.array_equal(array, images())
    assert torch.equal(tensor, torch.from_numpy(images()))
    assert np.array_equal(first, again)
    assert model.runs.item() == 0


@pytest.mark.limit("weights without values")
def test_lazy_modules_and_weights_without_data_are_refused_with_a_remedy(limit):
    with limit.raises("0.weight", "0.bias"):
        rows(nn.Sequential(nn.LazyConv2d(4, 3)))
    with torch.device("meta"):
        empty = nn.Sequential(nn.Conv2d(3, 4, 3))
    with limit.raises("meta"):
        rows(empty)


def test_parametrized_weights_are_no_layers():
    model = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3)))
    layers = rows(model)
    assert layers["0"].axes == "bchw"
    assert not [path for path in layers if "()" in path], "the convolution is the module's own"
    inner = layers["0.parametrizations.weight.0"]
    assert inner.calls == 0
    wording(inner.note)
    with raises(ls.LayerNotCalled):
        ls.open(model, preprocess=None).capture(images(), "0.parametrizations.weight.0")
    with torch.no_grad():
        np.testing.assert_array_equal(capture(model, "0")["0"].values, model(torch.from_numpy(images())).numpy())


def test_pruned_modules_keep_their_own_hooks():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    prune.l1_unstructured(model[0], "weight", 0.5)
    before = state(model)
    with torch.no_grad():
        expected = model[0](torch.from_numpy(images())).numpy()
    assert np.array_equal(capture(model, "0")["0"].values, expected)
    assert state(model) == before


def test_a_checkpointed_part_is_captured_with_its_gradient():
    class Checkpointed(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.relu = nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True)

        def forward(self, x):
            inner = checkpoint(lambda y: self.relu(self.conv(y)), x, use_reentrant=False)
            return inner.mean((2, 3))

    model = Checkpointed()
    captured = capture(model, "conv", target=2)["conv"]
    assert (captured.values < 0).any(), "the in-place ReLU didn't reach it"
    expected = np.zeros_like(captured.values)
    expected[:, 2] = (captured.values[:, 2] > 0) / captured.values[0, 2].size
    np.testing.assert_allclose(captured.gradient, expected, rtol=1e-6)


@pytest.mark.parametrize("how", ["no_grad", "reentrant"])
@pytest.mark.limit("gradients of what the model runs in `torch.no_grad`")
def test_a_part_that_runs_without_gradients_is_named_instead_of_given_zeros(how, limit):
    class Frozen(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 3)

        def forward(self, x):
            if how == "no_grad":
                with torch.no_grad():
                    x = self.conv(x)
            else:
                x = checkpoint(self.conv, x.requires_grad_(), use_reentrant=True)
            return self.head(x).mean((2, 3))

    model = Frozen()
    with limit.raises("'conv'"):
        capture(model, "conv", target=0)
    assert capture(model, "head", target=0)["head"].gradient.any()
    assert capture(model, "conv")["conv"].values.any()


def test_a_forward_put_on_the_instance_counts():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    own = model[0].forward
    model[0].forward = lambda x: own(x) * 2
    with torch.no_grad():
        expected = own(torch.from_numpy(images())).numpy() * 2
    assert np.array_equal(capture(model, "0")["0"].values, expected)


class Inside(nn.Module):
    """Runs a function of its input as a module of its own."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


@pytest.mark.parametrize(
    ("function", "dtype", "expected"),
    [
        (torch.fft.fft2, "complex64", lambda x: np.abs(np.fft.fft2(x))),
        (lambda x: x > 0, "bool", lambda x: (x > 0).astype(np.float32)),
        (lambda x: (x * 10).to(torch.int8), "int8", lambda x: (x * 10).astype(np.int8).astype(np.float32)),
        (lambda x: torch.relu(x).to_sparse(), "float32", lambda x: np.maximum(x, 0)),
        (lambda x: x.bfloat16(), "bfloat16", lambda x: torch.from_numpy(x).bfloat16().float().numpy()),
        (
            lambda x: x.to(torch.float8_e4m3fn),
            "float8_e4m3fn",
            lambda x: torch.from_numpy(x).to(torch.float8_e4m3fn).float().numpy(),
        ),
    ],
    ids=["complex", "bool", "int8", "sparse", "bfloat16", "float8"],
)
def test_outputs_of_every_type_come_as_float32_with_their_own_type_kept(function, dtype, expected):
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.odd, self.end = Inside(function), nn.Identity()

        def forward(self, x):
            self.odd(x)
            return self.end(x)

    fm = ls.open(Model(), preprocess=None).capture(images(), "odd")["odd"]
    assert fm.values.dtype == np.float32
    assert fm.dtype == dtype
    np.testing.assert_allclose(fm.values, expected(images()).transpose(0, 2, 3, 1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_a_model_of_another_type_takes_the_batch_in_its_own(kind):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).to(kind)
    fm = ls.open(model, preprocess=None).capture(images(), "0")["0"]
    with torch.no_grad():
        expected = model[0](torch.from_numpy(images()).to(kind)).float().numpy()
    assert fm.dtype == str(kind).removeprefix("torch.")
    assert np.array_equal(fm.values, expected.transpose(0, 2, 3, 1))


def test_channels_last_memory_changes_nothing_but_the_strides():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3))
    plain = capture(model, "1")["1"].values
    model = model.to(memory_format=torch.channels_last)
    layers = rows(model)
    assert [layers[path].axes for path in ("0", "1", "2")] == ["bchw"] * 3
    np.testing.assert_allclose(capture(model, "1")["1"].values, plain, rtol=1e-5, atol=1e-6)


class Quantisable(nn.Module):
    def __init__(self):
        super().__init__()
        self.quant, self.dequant = torch.ao.quantization.QuantStub(), torch.ao.quantization.DeQuantStub()
        self.conv, self.relu, self.last = nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 3)

    def forward(self, x):
        return self.dequant(self.last(self.relu(self.conv(self.quant(x)))))


def quantised():
    """A statically quantised network (weights per channel), and the float one it was made from."""
    engine = torch.backends.quantized.engine
    name = next(
        name for name in ("fbgemm", "x86", "onednn", "qnnpack") if name in torch.backends.quantized.supported_engines
    )
    torch.manual_seed(0)
    plain = Quantisable().eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # this way of quantising is on its way out of torch; models made so remain
        torch.backends.quantized.engine = name
        try:
            fused = torch.ao.quantization.fuse_modules(plain, [["conv", "relu"]])
            fused.qconfig = torch.ao.quantization.get_default_qconfig(name)
            prepared = torch.ao.quantization.prepare(fused)
            prepared(torch.from_numpy(images(8)))
            return torch.ao.quantization.convert(prepared), plain
        finally:
            torch.backends.quantized.engine = engine


def test_maps_of_a_quantised_model_are_dequantised_and_keep_the_name_of_their_type():
    model, plain = quantised()
    before = BACKEND.digest(model)
    assert rows(model)["conv"].axes == "bchw"
    scope = ls.open(model, preprocess=None)
    maps = scope.capture(images(), ["quant", "conv", "last"])
    assert [fm.dtype for fm in maps.values()] == ["quint8"] * 3
    with torch.no_grad():
        expected = model.conv(model.quant(torch.from_numpy(images())))
        close = torch.relu(plain.conv(torch.from_numpy(images()))).numpy()
    assert np.array_equal(maps["conv"].values, expected.dequantize().numpy().transpose(0, 2, 3, 1))
    step = expected.q_scale()
    assert np.abs(maps["conv"].values - close.transpose(0, 2, 3, 1)).max() < 4 * step
    levels = maps["conv"].values / step
    np.testing.assert_allclose(levels, np.round(levels), atol=1e-3)
    assert BACKEND.digest(model) == before
    assert isinstance(model.conv.weight().q_per_channel_scales(), torch.Tensor), "weights per channel"


def test_the_digest_of_a_quantised_model_follows_its_weights():
    first, _ = quantised()
    second, _ = quantised()
    assert BACKEND.digest(first) == BACKEND.digest(second)
    weight = second.last.weight()
    moved = torch._make_per_channel_quantized_tensor(
        weight.int_repr().roll(1, 0), weight.q_per_channel_scales(), weight.q_per_channel_zero_points(), 0
    )
    second.last.set_weight_bias(moved, second.last.bias())
    assert BACKEND.digest(first) != BACKEND.digest(second)


def test_dynamically_quantised_layers_give_their_float_output():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as above
        model = torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Flatten(), nn.Linear(192, 4)), {nn.Linear})
        with torch.no_grad():
            expected = model(torch.from_numpy(images())).numpy()
        captured = capture(model, "1")["1"]
    assert np.array_equal(captured.values, expected)


def test_distributed_wrappers_are_taken_off(tmp_path):
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'meet'}", rank=0, world_size=1)
    try:
        inner = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
        wrapped = nn.parallel.DistributedDataParallel(inner)
        assert list(rows(wrapped)) == ["0", "1", ""]
        assert capture(wrapped, "0")["0"].values.shape == (2, 4, 6, 6)
        assert np.array_equal(capture(wrapped, "0")["0"].values, capture(inner, "0")["0"].values)
    finally:
        torch.distributed.destroy_process_group()


def test_an_encoders_fast_path_is_not_taken_where_layers_inside_are_wanted_and_gives_the_same():
    torch.manual_seed(0)
    model = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2).eval()
    tokens = np.random.default_rng(0).standard_normal((2, 5, 8)).astype(np.float32)
    with torch.no_grad():
        fast = model(torch.from_numpy(tokens)).numpy()
    for path in ("layers.1.linear1", "layers.0.self_attn", "layers.0.add()", "layers.0.norm1"):
        captures = capture(model, path, "", batch=tokens)
        assert captures[path].values.any()
        np.testing.assert_allclose(captures[""].values, fast, rtol=1e-4, atol=1e-5)
    table = rows(model, tokens)
    wording(table["layers.0.self_attn.out_proj"].note)
    assert torch.backends.mha.get_fastpath_enabled()


def test_a_layer_that_the_run_itself_adds_is_not_left_in_the_model():
    class Growing(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, x):
            if not hasattr(self, "late"):
                self.late = nn.Conv2d(4, 2, 1)
            return self.late(self.conv(x))

    model = Growing()
    scope = ls.open(model, preprocess=None)
    layer = {row.path: row for row in scope.layers(images())}["late"]
    assert not layer.calls and not hasattr(model, "late")
    wording(layer.note)
    with raises(ls.LayerNotCalled, "late"):
        scope.capture(images(), "late")
    model(torch.zeros(1, 3, 8, 8))
    assert capture(model, "late")["late"].values.shape == (2, 2, 6, 6)


def fail(*_, **__):
    return [][1]


@pytest.mark.parametrize("place", ["axes.Axes.layer", "field.Fields.get", "table.Record._parameters"])
def test_a_fault_in_our_hooks_is_ours(monkeypatch, place):
    monkeypatch.setattr(f"layerscope.backends.torch.{place}", fail)
    with pytest.raises(ls.InternalError) as raised:
        ls.open(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), preprocess=None).layers(
            np.zeros((2, 3, 8, 8), np.float32)
        )
    assert isinstance(raised.value.__cause__, IndexError)


@pytest.mark.parametrize(
    "module",
    [
        nn.Conv2d(4, 4, 3),
        nn.Linear(3, 3),
        nn.MultiheadAttention(5, 1),
        nn.TransformerEncoderLayer(6, 2),
        Inside(lambda x: x @ x.flatten(1)),
        Inside(lambda x: nn.functional.scaled_dot_product_attention(x, x, x[..., :3, :3])),
        Inside(lambda x: torch.einsum("ab,bc->ac", x, x)),
        Inside(lambda x: x.unknown()),
        Inside(lambda x: [][1]),
        Inside(lambda x: x[:, 7]),
    ],
    ids=lambda module: type(module).__name__,
)
def test_a_model_that_fails_is_to_blame_itself(module):
    scope = ls.open(nn.Sequential(nn.Identity(), module).eval(), preprocess=None)
    with pytest.raises(ls.ModelNotReadable):
        scope.layers(np.zeros((2, 3, 8, 8), np.float32))


@pytest.mark.parametrize("batch", [np.array([["a"]]), np.array([[None]]), np.zeros((1, 3), np.complex64)])
def test_a_batch_that_torch_does_not_take_is_no_fault_of_ours(batch):
    with pytest.raises(ls.ModelNotReadable):
        ls.open(nn.Linear(3, 3), preprocess=None).layers(batch)


class Squeezed(nn.Module):
    """What takes away all axes of size one, that of a single image as well."""

    def __init__(self, *layers):
        super().__init__()
        self.layers, self.last = nn.Sequential(*layers), nn.Hardtanh(-100, 100)

    def forward(self, x):
        return self.last(self.layers(x).squeeze())


SQUEEZED = {
    "a vector": ((nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1)), "bc"),
    "a map": ((nn.Conv2d(3, 1, 3), nn.Sigmoid()), "bhw"),
}


@pytest.mark.parametrize("case", SQUEEZED)
@pytest.mark.parametrize("counts", [(3, 1, 2), (1, 3)])
def test_squeezed_images_are_told_from_their_batch(case, counts):
    layers, axes = SQUEEZED[case]
    model, x = Squeezed(*layers).eval(), torch.randn(3, 3, 8, 8)
    scope = ls.open(model, preprocess=None)
    for count in counts:
        fm = scope.capture(x[:count], "last")["last"]
        with torch.no_grad():
            expected = model(x[:count]).reshape(count, *fm.values.shape[1:])
        assert (fm.layer.axes, fm.rows) == (axes if count > 1 else axes[1:], "image")
        np.testing.assert_array_equal(fm.values, expected)
    (fm,) = scope.capture(x, "last", batch=2).values()
    np.testing.assert_array_equal(fm.values, model(x).detach().reshape(fm.values.shape))


def test_a_number_that_is_squeezed_is_one_for_each_image():
    model, x = nn.Sequential(nn.Flatten(), nn.Linear(12, 1), Squeezed()).eval(), torch.randn(3, 3, 2, 2)
    scope = ls.open(model, preprocess=None)
    for _ in range(2):
        np.testing.assert_array_equal(scope.capture(x, "output")[""].values.ravel(), model(x).detach())
    assert [len(row) for row in scope.predict(x)] == [1, 1, 1]


@pytest.mark.parametrize("index", [torch.argmax, torch.argmin])
def test_the_numbers_of_the_strongest_channels_lie_where_the_channels_lay(index):
    class Segmented(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.last = nn.Conv2d(3, 4, 3), nn.Identity()

        def forward(self, x):
            return self.last(index(self.conv(x), dim=1))

    model, x = Segmented().eval(), torch.randn(2, 3, 8, 8)
    fm = ls.open(model, preprocess=None).capture(x, "last")["last"]
    assert fm.layer.axes == "bhw" and not fm.layer.doubt and fm.layer.lines is not None
    np.testing.assert_array_equal(fm.values[..., 0], model(x))


@pytest.mark.parametrize(("turn", "axes"), [(lambda y: y, "bhwc"), (lambda y: y.permute(0, 3, 1, 2), "bchw")])
def test_classes_as_ones_and_zeros_are_channels(turn, axes):
    class Masks(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.last = nn.Conv2d(3, 4, 3), nn.Identity()

        def forward(self, x):
            return self.last(turn(nn.functional.one_hot(self.conv(x).argmax(1), 5)))

    model, x = Masks().eval(), torch.randn(2, 3, 8, 10)
    fm = ls.open(model, preprocess=None).capture(x, "last")["last"]
    assert fm.layer.axes == axes and not fm.layer.doubt
    np.testing.assert_array_equal(fm.values, model.conv(x).argmax(1)[..., None] == torch.arange(5))
