"""The weights of convolutions on every backend, against what the layer itself makes of a single 1 at each input."""

from dataclasses import dataclass

import numpy as np
import pytest

import layerscope as ls
from helpers.wording import raises, wording
from layerscope.plots.kernel_weights import arranged

INPUTS, SIZE = 4, 7
# (inputs of a filter, filters) of a plain, a grouped and a depthwise convolution of 4 inputs, kernels of 3 × 2.
KINDS = {"plain": 1, "grouped": 2, "depthwise": 4}


@dataclass
class Case:
    """A model of one convolution: how it takes `[image, channel, y, x]`, and whether it is transposed."""

    model: object
    last: bool
    transposed: bool = False

    def as_input(self, images):
        return np.ascontiguousarray(images.transpose(0, 2, 3, 1)) if self.last else images


def responses(scope, case):
    """What the convolution gives for a 1 in the middle of each input in turn, `[input, y, x, filter]`."""
    images = np.zeros((INPUTS, INPUTS, SIZE, SIZE), np.float32)
    images[np.arange(INPUTS), np.arange(INPUTS), 3, 3] = 1
    (path,) = [layer.path for layer in scope.layers(case.as_input(images)[:1]) if "conv" in layer.kind.lower()][:1]
    kernel = scope.kernel(path, case.as_input(images)[:1])
    return kernel, scope.capture(case.as_input(images), path)[path].values


def check(case, tolerance=1e-6):
    scope = ls.open(case.model, preprocess=None)
    kernel, answers = responses(scope, case)
    filters = arranged(kernel)
    count, inputs, height, width = filters.shape
    assert (height, width) == (3, 2)
    assert answers.shape[-1] == count
    groups = kernel.values.shape[kernel.axes.index("i")] if "m" in kernel.axes else kernel.groups
    assert inputs * groups == INPUTS
    expected = np.zeros((INPUTS, count, height, width), np.float32)
    for filter in range(count):
        first = filter // (count // groups) * inputs
        expected[first : first + inputs, filter] = filters[filter]
    # A correlation answers a single 1 with its kernel flipped, a transposed one with the kernel itself.
    answer = answers.transpose(0, 3, 1, 2)
    rows, columns = np.nonzero(np.abs(answer).max((0, 1)) > 0)
    answer = answer[:, :, rows.min() : rows.min() + 3, columns.min() : columns.min() + 2]
    expected = expected if case.transposed else expected[..., ::-1, ::-1]
    np.testing.assert_allclose(answer, expected, atol=tolerance)
    assert np.abs(answer).sum((2, 3)).astype(bool).sum() == count * inputs, "every other input leaves a filter alone"
    return kernel


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("transposed", [False, True])
def test_torch(groups, transposed):
    torch = pytest.importorskip("torch", reason="this backend's framework")
    kind = torch.nn.ConvTranspose2d if transposed else torch.nn.Conv2d
    model = torch.nn.Sequential(kind(INPUTS, 8, (3, 2), groups=groups, bias=False), torch.nn.ReLU())
    kernel = check(Case(model, last=False, transposed=transposed))
    assert (kernel.axes, kernel.groups) == ("oihw", groups)
    if not transposed:
        assert (kernel.values == model[0].weight.detach().numpy()).all()
    kernel.values[:] = 0
    assert model[0].weight.detach().any(), "a copy"


def test_torch_computes_a_parametrised_weight_and_reads_other_ranks():
    torch = pytest.importorskip("torch", reason="this backend's framework")
    normed = torch.nn.utils.parametrizations.weight_norm(torch.nn.Conv2d(INPUTS, 6, (3, 2), bias=False))
    check(Case(torch.nn.Sequential(normed), last=False))
    for kind, shape, axes in ((torch.nn.Conv1d, (1, 3, 9), "oin"), (torch.nn.Conv3d, (1, 3, 5, 5, 5), "oidhw")):
        model = torch.nn.Sequential(kind(3, 5, 3))
        kernel = ls.open(model, preprocess=None).kernel("0", np.zeros(shape, np.float32))
        assert kernel.axes == axes
        assert (kernel.values == model[0].weight.detach().numpy()).all()


def keras_layers():
    keras = pytest.importorskip("keras", reason="this backend's framework")
    layers = keras.layers
    return keras, {
        "plain": layers.Conv2D(6, (3, 2), use_bias=False),
        "grouped": layers.Conv2D(8, (3, 2), groups=2, use_bias=False),
        "depthwise": layers.DepthwiseConv2D((3, 2), depth_multiplier=2, use_bias=False, depthwise_initializer="normal"),
        "transposed": layers.Conv2DTranspose(6, (3, 2), use_bias=False),
    }


@pytest.mark.parametrize(
    ("kind", "axes"), [("plain", "hwio"), ("grouped", "hwio"), ("depthwise", "hwim"), ("transposed", "hwoi")]
)
def test_keras(kind, axes):
    keras, layers = keras_layers()
    model = keras.Sequential([keras.Input((SIZE, SIZE, INPUTS)), layers[kind]])
    kernel = check(Case(model, last=True, transposed=kind == "transposed"))
    assert kernel.axes == axes
    np.testing.assert_array_equal(kernel.values, np.asarray(model.get_weights()[0]))


def test_keras_gives_the_depthwise_half_of_a_separable_convolution_with_a_note():
    keras, _ = keras_layers()
    model = keras.Sequential([keras.Input((8, 8, 4)), keras.layers.SeparableConv2D(6, 3, name="both")])
    kernel = ls.open(model, preprocess=None).kernel("both", np.zeros((1, 8, 8, 4), np.float32))
    assert kernel.axes == "hwim"
    wording(kernel.note)
    np.testing.assert_array_equal(kernel.values, np.asarray(model.get_weights()[0]))


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_flax_nnx(groups):
    pytest.importorskip("flax", reason="this backend's framework")
    from flax import nnx

    class Net(nnx.Module):
        def __init__(self):
            self.conv = nnx.Conv(INPUTS, 8, (3, 2), feature_group_count=groups, use_bias=False, rngs=nnx.Rngs(0))

        def __call__(self, x):
            return self.conv(x)

    kernel = check(Case(Net(), last=True))
    assert (kernel.axes, kernel.groups) == ("hwio", groups)


@pytest.mark.parametrize("groups", [1, 2])
def test_flax_linen(groups):
    pytest.importorskip("flax", reason="this backend's framework")
    import jax
    from flax import linen as nn

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.Conv(8, (3, 2), feature_group_count=groups, use_bias=False, name="conv")(x)

    module = Net()
    variables = module.init(jax.random.key(0), np.zeros((1, SIZE, SIZE, INPUTS), np.float32))
    kernel = check(Case((module, variables), last=True))
    assert (kernel.axes, kernel.groups) == ("hwio", groups)
    np.testing.assert_array_equal(kernel.values, np.asarray(variables["params"]["conv"]["kernel"]))


@pytest.mark.parametrize("transposed", [False, True])
def test_equinox(transposed):
    equinox = pytest.importorskip("equinox", reason="this backend's framework")
    import jax

    kind = equinox.nn.ConvTranspose2d if transposed else equinox.nn.Conv2d

    class Net(equinox.Module):
        conv: equinox.Module

        def __call__(self, x):
            return self.conv(x)

    model = Net(kind(INPUTS, 8, (3, 2), groups=2, use_bias=False, key=jax.random.key(0)))
    # Equinox lets a transposed convolution correlate, so it answers with its kernel flipped as well.
    kernel = check(Case(model, last=False))
    assert (kernel.axes, kernel.groups) == ("oihw", 2)


def onnx_model(kind, groups, filters, quantised=False):
    onnx = pytest.importorskip("onnx", reason="this backend's framework")
    make, floats = onnx.helper.make_node, onnx.TensorProto.FLOAT
    shape = (INPUTS, filters // groups, 3, 2) if kind == "ConvTranspose" else (filters, INPUTS // groups, 3, 2)
    random = np.random.default_rng(3)
    nodes, stored = [], {}
    if quantised:
        stored["codes"] = random.integers(-100, 100, shape).astype(np.int8)
        stored["scale"] = random.uniform(0.01, 0.1, filters).astype(np.float32)
        stored["zero"] = random.integers(-5, 5, filters).astype(np.int8)
        nodes.append(make("DequantizeLinear", ["codes", "scale", "zero"], ["w"], axis=0))
    else:
        stored["w"] = random.normal(size=shape).astype(np.float32)
    nodes.append(make(kind, ["x", "w"], ["y"], name="conv", group=groups))
    graph = onnx.helper.make_graph(
        nodes,
        "net",
        [onnx.helper.make_tensor_value_info("x", floats, ["n", INPUTS, SIZE, SIZE])],
        [onnx.helper.make_tensor_value_info("y", floats, None)],
        [onnx.numpy_helper.from_array(array, name) for name, array in stored.items()],
    )
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("kind", ["Conv", "ConvTranspose"])
def test_onnx(kind, groups):
    kernel = check(Case(onnx_model(kind, groups, 8), last=False, transposed=kind == "ConvTranspose"))
    assert (kernel.axes, kernel.groups) == ("oihw", groups)


def test_onnx_weights_behind_codes_have_one_scale_a_filter():
    check(Case(onnx_model("Conv", 1, 6, quantised=True), last=False), 1e-5)


@pytest.mark.parametrize("each", [False, True])
def test_onnx_weights_of_integer_sums_have_the_scale_of_the_product_behind_them(each, tmp_path):
    quantization = pytest.importorskip("onnxruntime.quantization", reason="quantises the file")
    model, onnx = onnx_model("Conv", 1, 6), pytest.importorskip("onnx")
    onnx.save(model, tmp_path / "plain.onnx")
    quantization.quantize_dynamic(tmp_path / "plain.onnx", tmp_path / "codes.onnx", per_channel=each)
    scope = ls.open(tmp_path / "codes.onnx", preprocess=None)
    batch = np.zeros((1, INPUTS, SIZE, SIZE), np.float32)
    (path,) = [layer.path for layer in scope.layers(batch) if layer.kind == "ConvInteger"]
    plain = ls.open(tmp_path / "plain.onnx", preprocess=None).kernel("conv", batch)
    kernel = scope.kernel(path, batch)
    assert (kernel.axes, kernel.values.shape) == (plain.axes, plain.values.shape)
    np.testing.assert_allclose(kernel.values, plain.values, atol=np.abs(plain.values).max() / 127)
    assert (kernel.values != plain.values).any(), "codes, not the original weights"


@pytest.mark.parametrize(("kind", "axes"), [("plain", "ohwi"), ("depthwise", "hwim"), ("transposed", "ohwi")])
def test_tflite(kind, axes):
    models = pytest.importorskip("helpers.tflite_models", reason="made with TensorFlow's converter")
    keras, layers = keras_layers()
    model = keras.Sequential([keras.Input((SIZE, SIZE, INPUTS)), layers[kind]])
    kernel = check(Case(models.converted(model), last=True, transposed=kind == "transposed"))
    assert kernel.axes == axes


@pytest.mark.parametrize("quantise", ["float16", "dynamic"])
def test_tflite_codes_are_dequantised(quantise):
    models = pytest.importorskip("helpers.tflite_models", reason="made with TensorFlow's converter")
    keras, _ = keras_layers()
    # The converter leaves small weights as they are.
    model = keras.Sequential([keras.Input((8, 8, 16)), keras.layers.Conv2D(32, 3, use_bias=False)])
    scope = ls.open(models.converted(model, quantise), preprocess=None)
    batch = np.zeros((1, 8, 8, 16), np.float32)
    (path,) = [
        layer.path for layer in scope.layers(batch) if layer.kind.startswith("Conv2D") or "CONV_2D" in layer.kind
    ][:1]
    kernel = scope.kernel(path, batch)
    expected = np.asarray(model.get_weights()[0]).transpose(3, 0, 1, 2)
    step = np.abs(expected).max() / 127
    np.testing.assert_allclose(kernel.values, expected, atol=step * 0.51)
    assert (kernel.values != expected).any(), "codes, not the original weights"


def test_a_layer_without_a_kernel_names_those_that_have_one():
    scope = ls.open(ls.demo_model())
    with raises(ls.BadOption, "'_swish:1'", "'_conv_stem'", "49"):
        scope.kernel("last")
    with raises(ls.LayerNotFound, "'_conv_stem'"):
        scope.kernel("_conv_sten")
    with raises(ls.BadOption, "2"):
        scope.kernel(["_conv_stem", "_blocks.0._project_conv"])
