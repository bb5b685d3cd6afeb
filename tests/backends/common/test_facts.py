"""A model that scales its pixels itself shows by its constants which pixels it takes."""

import numpy as np
import pytest

import layerscope as ls
from helpers.photos import CAT
from helpers.wording import wording
from layerscope.backends.common.facts import recipe_of_scaling

MEAN, STD = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32)


@pytest.mark.parametrize(
    ("scale", "offset", "taken"),
    [
        (1 / 255, 0, "raw"),
        (1 / 127.5, -1, "raw"),
        (1 / 128, -127 / 128, "raw"),
        (1, [-103.939, -116.779, -123.68], "raw"),
        (1 / (STD * 255), -MEAN / STD, "raw"),
        (1 / STD, -MEAN / STD, "unit"),
        (2, -1, "unit"),
        (255, 0, "unit"),
        (1, 0.5, None),
        (1, 0, None),
        (0, 1, None),
        (np.nan, 0, None),
    ],
)
def test_the_pixels_that_a_scale_and_an_offset_are_made_for(scale, offset, taken):
    assert recipe_of_scaling(scale, offset) == taken


def keras_model(first):
    import keras

    return keras.Sequential([keras.Input((16, 16, 3)), first, keras.layers.Conv2D(2, 3, name="conv")])


def keras_adapted(scale):
    import keras

    first = keras.layers.Normalization()
    first.adapt(np.random.default_rng(0).random((8, 16, 16, 3), np.float32) * scale)
    return first


def test_keras_layers_in_front():
    keras = pytest.importorskip("keras", reason="builds Keras models")
    own = {
        "raw": [
            keras.layers.Rescaling(1 / 255),
            keras_adapted(255),
            keras.layers.Normalization(mean=MEAN * 255, variance=STD),
        ],
        "unit": [
            keras.layers.Rescaling(2, -1),
            keras_adapted(1),
            keras.layers.Normalization(mean=MEAN, variance=STD**2),
        ],
    }
    for recipe, layers in own.items():
        for layer in layers:
            scope = ls.open(keras_model(layer))
            assert scope.preprocess.name == recipe, layer.name
            assert layer.name in scope.plan.note
            assert not scope.facts.assumed


BGR_MEANS = np.array([103.939, 116.779, 123.68], np.float32)
WRITTEN = {
    "VGG16's preprocess_input": ("raw", lambda x, keras: keras.applications.vgg16.preprocess_input(x)),
    "as a Lambda": ("raw", lambda x, keras: keras.layers.Lambda(keras.applications.vgg16.preprocess_input)(x)),
    "reversed, less the means": ("raw", lambda x, keras: x[..., ::-1] - BGR_MEANS),
    "DenseNet's preprocess_input": ("raw", lambda x, keras: keras.applications.densenet.preprocess_input(x)),
    "mean and deviation of 0-1": ("unit", lambda x, keras: (x - MEAN) / STD),
    "nothing": ("caffe", lambda x, keras: x),
}


@pytest.mark.parametrize("library", ["keras", "tf_keras"])
@pytest.mark.parametrize("written", WRITTEN)
def test_preprocessing_written_into_a_keras_graph_is_not_done_twice(library, written):
    keras = pytest.importorskip(library, reason="builds its models")
    recipe, front = WRITTEN[written]
    inputs = keras.Input((32, 32, 3))
    front = front(inputs, keras)
    base = keras.applications.VGG16(weights=None, include_top=False, input_shape=(32, 32, front.shape[-1]))
    scope = ls.open(keras.Model(inputs, base(front)))
    assert scope.preprocess.name == recipe, scope.plan.note
    assert scope.facts.assumed == (recipe == "caffe")


@pytest.mark.parametrize(("scale", "recipe"), [(1, "unit"), (255, "raw")])
def test_a_normalize_module_of_torch(scale, recipe):
    torch = pytest.importorskip("torch", reason="builds torch modules")

    class Normalize(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("mean", torch.from_numpy(MEAN * scale)[:, None, None])
            self.register_buffer("std", torch.from_numpy(STD * scale)[:, None, None])

        def forward(self, x):
            return (x - self.mean) / self.std

    network = torch.nn.Sequential(Normalize(), torch.nn.Conv2d(3, 2, 3))
    scope = ls.open(network, size=32)
    assert (scope.preprocess.name, scope.plan.known) == (recipe, True)
    wording(scope.plan.note, "Normalize", "'0'")
    late = torch.nn.Sequential(torch.nn.Conv2d(3, 3, 1), Normalize())
    assert not ls.open(late, size=32).plan.known


def onnx_model(steps, dtype="FLOAT"):
    """Arithmetic `[(operator, constant)]` on the input, then a convolution."""
    import onnx

    kind = getattr(onnx.TensorProto, dtype)
    weights = [onnx.numpy_helper.from_array(np.ones((2, 3, 1, 1), np.float32), "w")]
    nodes, tensor = [], "x"
    for number, (operator, constant) in enumerate(steps):
        value = np.asarray(constant, np.float32)
        weights.append(onnx.numpy_helper.from_array(value.reshape(1, -1, 1, 1) if value.ndim else value, f"c{number}"))
        pair = [f"c{number}", tensor] if operator.startswith("-") else [tensor, f"c{number}"]
        nodes.append(onnx.helper.make_node(operator.strip("-"), pair, [f"t{number}"]))
        tensor = f"t{number}"
    nodes.append(onnx.helper.make_node("Conv", [tensor, "w"], ["y"], "conv"))
    feed = onnx.helper.make_tensor_value_info("x", kind, ["b", 3, 16, 16])
    end = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["b", 2, 16, 16])
    graph = onnx.helper.make_graph(nodes, "one", [feed], [end], weights)
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)


@pytest.mark.parametrize(
    ("steps", "recipe", "source"),
    [
        ([("Sub", MEAN * 255), ("Div", STD * 255)], "raw", "(Sub, Div)"),
        ([("Sub", MEAN), ("Div", STD)], "unit", "(Sub, Div)"),
        ([("Div", 255), ("Sub", MEAN), ("Mul", 1 / STD)], "raw", "(Div, Sub, Mul)"),
        ([("Mul", 2), ("Add", -1)], "unit", "(Mul, Add)"),
        ([("Mul", 1 / 255), ("-Sub", 1)], "raw", "(Mul)"),
    ],
)
def test_arithmetic_in_front_of_an_onnx_model(steps, recipe, source):
    pytest.importorskip("onnxruntime", reason="runs ONNX models")
    scope = ls.open(onnx_model(steps))
    assert (scope.preprocess.name, scope.plan.known) == (recipe, True)
    wording(scope.plan.note, source)
    assert scope.capture(CAT.pixels, "conv")["conv"].shape == (1, 16, 16, 2)


@pytest.mark.parametrize("steps", [[], [("-Sub", 1)], [("Add", 0.5)]])
def test_arithmetic_that_tells_nothing(steps):
    pytest.importorskip("onnxruntime", reason="runs ONNX models")
    assert not ls.open(onnx_model(steps)).plan.known


@pytest.mark.parametrize("library", ["keras", "tf_keras"])
@pytest.mark.parametrize(
    ("arithmetic", "recipe"),
    [
        (lambda x: x * 2.0 - 1.0, "unit"),
        (lambda x: (x - 0.5) / 0.5, "unit"),
        (lambda x: x / 255.0, "raw"),
        (lambda x: x / 127.5 - 1.0, "raw"),
        (lambda x: 1.0 - x, "raw"),  # its numbers don't tell
    ],
)
def test_arithmetic_in_front_of_a_keras_model(library, arithmetic, recipe):
    lib = pytest.importorskip(library)
    inputs = lib.Input((16, 16, 3))
    scope = ls.open(lib.Model(inputs, lib.layers.Conv2D(2, 3)(arithmetic(inputs))))
    assert scope.preprocess.name == recipe
    wording(scope.plan.note)
