"""One small network on every backend, whose scores are known by hand: a convolution, ReLU, average and a dense layer."""

import sys

import numpy as np
import pytest

import layerscope as ls


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
