"""Class activation maps by scores, gradients and weights, on every backend, against the model by hand."""

import sys

import numpy as np
import pytest

import layerscope as ls
from helpers.wording import raises


def weights():
    random = np.random.default_rng(4)
    return (
        random.normal(size=(5, 3, 3, 3)).astype(np.float32),
        random.normal(size=5).astype(np.float32),
        random.normal(size=(4, 5)).astype(np.float32),
    )


def expected(images, without=None):
    """`[image, class]` in numpy; `without` names the channel of each image that is set to 0."""
    kernel, bias, head = weights()
    windows = np.lib.stride_tricks.sliding_window_view(images, (3, 3), (2, 3))
    maps = np.maximum(np.einsum("bchwyx,ocyx->bohw", windows, kernel) + bias[:, None, None], 0)
    if without is not None:
        maps[np.arange(len(images)), without] = 0
    return maps.mean((2, 3)) @ head.T


def in_torch():
    torch = pytest.importorskip("torch", reason="this backend's framework")
    from torch import nn

    kernel, bias, head = map(torch.from_numpy, weights())

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.relu, self.head = nn.Conv2d(3, 5, 3), nn.ReLU(), nn.Linear(5, 4, bias=False)
            self.conv.weight.data, self.conv.bias.data, self.head.weight.data = kernel, bias, head

        def forward(self, x):
            return self.head(self.relu(self.conv(x)).mean((2, 3)))

    return ls.open(Net().eval(), preprocess=None), lambda images: images


def in_keras():
    keras = pytest.importorskip("keras", reason="this backend's framework")
    layers = keras.layers
    model = keras.Sequential(
        [
            layers.Conv2D(5, 3, name="conv"),
            layers.ReLU(name="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(4, use_bias=False, name="head"),
        ]
    )
    model.build((None, 8, 8, 3))
    kernel, bias, head = weights()
    model.set_weights([kernel.transpose(2, 3, 1, 0), bias, head.T])
    return ls.open(model, preprocess=None), lambda images: images.transpose(0, 2, 3, 1)


def in_jax():
    pytest.importorskip("flax", reason="this backend's framework")
    from flax import nnx

    kernel, bias, head = weights()

    class Relu(nnx.Module):
        def __call__(self, x):
            return nnx.relu(x)

    class Net(nnx.Module):
        def __init__(self, rngs):
            self.conv, self.relu = nnx.Conv(3, 5, (3, 3), padding="VALID", rngs=rngs), Relu()
            self.head = nnx.Linear(5, 4, use_bias=False, rngs=rngs)
            self.conv.kernel[...] = kernel.transpose(2, 3, 1, 0)
            self.conv.bias[...] = bias
            self.head.kernel[...] = head.T

        def __call__(self, x):
            return self.head(self.relu(self.conv(x)).mean((1, 2)))

    return ls.open(Net(nnx.Rngs(0)), preprocess=None), lambda images: images.transpose(0, 2, 3, 1)


def in_onnx():
    onnx = pytest.importorskip("onnx", reason="this backend's framework")
    kernel, bias, head = weights()
    make = onnx.helper.make_node
    graph = onnx.helper.make_graph(
        [
            make("Conv", ["x", "kernel", "bias"], ["conv"], name="conv"),
            make("Relu", ["conv"], ["relu"], name="relu"),
            make("GlobalAveragePool", ["relu"], ["pool"], name="pool"),
            make("Flatten", ["pool"], ["flat"], name="flat"),
            make("Gemm", ["flat", "head"], ["scores"], name="head", transB=1),
        ],
        "net",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 3, 8, 8])],
        [onnx.helper.make_tensor_value_info("scores", onnx.TensorProto.FLOAT, ["n", 4])],
        [
            onnx.numpy_helper.from_array(tensor, name)
            for name, tensor in (("kernel", kernel), ("bias", bias), ("head", head))
        ],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    return ls.open(model, preprocess=None), lambda images: images


def in_tflite():
    tensorflow = pytest.importorskip("tensorflow", reason="makes the file")
    pytest.importorskip("ai_edge_litert", reason="this backend's framework")
    scope, own = in_keras()
    if sys.modules["keras"].backend.backend() != "tensorflow":
        pytest.skip("the converter takes Keras models on TensorFlow")
    return ls.open(tensorflow.lite.TFLiteConverter.from_keras_model(scope.model).convert(), preprocess=None), own


MAKERS = {"torch": in_torch, "keras": in_keras, "jax": in_jax, "onnx": in_onnx, "tflite": in_tflite}


OTHERS = sorted(set(MAKERS) - {"keras"})


@pytest.fixture(scope="module", params=[pytest.param("keras", marks=pytest.mark.each_framework), *OTHERS])
def network(request):
    return MAKERS[request.param]()


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).normal(size=(3, 3, 8, 8)).astype(np.float32)


def test_maps_by_scores_are_the_same_everywhere(network, images):
    scope, own = network
    fm = scope.capture(own(images), "relu")["relu"]
    loss = expected(images)[:, 3, None] - np.stack([expected(images, [channel] * 3)[:, 3] for channel in range(5)], 1)
    weights = loss / np.abs(expected(images)[:, 3, None])
    by_hand = np.einsum("bhwc,bc->bhw", fm.values, weights)
    np.testing.assert_allclose(ls.ablation_cam(fm, 3).values[..., 0], by_hand, rtol=1e-3, atol=1e-5)
    assert np.isfinite(ls.score_cam(fm, 3).values).all()


def test_maps_by_gradients_are_the_same_everywhere(network, images):
    scope, own = network
    if not scope.backend.gradients:
        with raises(ls.GradientsUnavailable):
            scope.capture(own(images), "relu", target=3)
        return
    fm = scope.capture(own(images), "relu", target=3)["relu"]
    # Behind the layer come an average over 36 positions and a dense layer, so the gradient is its weight at every position.
    by_hand = fm.values @ (weights()[2][3] / 36)
    for method in (ls.grad_cam, ls.hires_cam, ls.xgrad_cam):
        np.testing.assert_allclose(method(fm).values[..., 0], by_hand, rtol=1e-4, atol=1e-6)
    positive = fm.values @ (np.maximum(weights()[2][3], 0) / 36)
    np.testing.assert_allclose(ls.layer_cam(fm).values[..., 0], positive, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(ls.class_cam(fm).values[..., 0], by_hand * 36, rtol=1e-4, atol=1e-5)
