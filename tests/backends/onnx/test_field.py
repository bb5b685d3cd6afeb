"""Receptive fields of ONNX graphs, against what moves when a line of the image is changed, with ONNX Runtime computing."""

import numpy as np
import onnxruntime
import pytest
from hypothesis import HealthCheck, given, settings
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument, RuntimeException

import layerscope as ls
from helpers import field_probe
from layerscope.backends.onnx.backend import OnnxBackend
from layerscope.core.receptive_field import describe

BACKEND = OnnxBackend(threads=1)


class Made:
    """A graph under construction."""

    def __init__(self):
        self.nodes, self.stored = [], []

    def add(self, kind, *inputs, **said):
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=f"n{len(self.nodes)}", **said))
        return name

    def weight(self, values):
        name = f"w{len(self.stored)}"
        self.stored.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def ones(self, *shape):
        return self.weight(np.ones(shape, np.float32))

    def model(self, shape, *outputs):
        graph = helper.make_graph(
            self.nodes,
            "made",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info(each, TensorProto.FLOAT, None) for each in outputs],
            self.stored,
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def applied(made, x, channels, name, options):
    if name == "up":
        scales = made.weight(np.float32([1, 1, 2, 3]))
        place = "asymmetric" if options == "nearest" else "half_pixel"
        said = {"nearest_mode": "floor"} if options == "nearest" else {}
        return made.add("Resize", x, "", scales, mode=options, coordinate_transformation_mode=place, **said), channels
    if name in ("add", "cat"):
        one, two = (made.add("Conv", x, made.ones(1, channels, 2 * k + 1, 2 * k + 1), pads=[k] * 4) for k in options)
        return (made.add("Add", one, two), 1) if name == "add" else (made.add("Concat", one, two, axis=1), 2)
    kernel, stride, dilation = options["kernel"], options["stride"], options["dilation"]
    pads = {"auto_pad": "SAME_LOWER"} if options["pad"] and dilation == (1, 1) else {}
    if name == "conv":
        weight = made.ones(1, channels, *kernel)
        return made.add("Conv", x, weight, strides=stride, dilations=dilation, **pads), 1
    if name == "turned":
        pads = {"pads": [0, 1, 0, 0]} if options["pad"] else {}
        weight = made.ones(channels, 1, *kernel)
        return made.add("ConvTranspose", x, weight, strides=stride, dilations=dilation, **pads), 1
    kind = {"max": "MaxPool", "avg": "AveragePool"}[name]
    return made.add(kind, x, kernel_shape=kernel, strides=stride, **pads), channels


def values_of(model, pictures):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": pictures})[0]


def test_the_field_is_what_moves_a_unit():
    compared = []

    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(field_probe.networks)
    def holds(network):
        made, x, channels = Made(), "x", 1
        for each in network:
            x, channels = applied(made, x, channels, *each)
        pictures = field_probe.line_images()
        model = made.model([None, 1, *field_probe.SIZE], x)
        try:
            values = values_of(model, pictures)
        except (Fail, InvalidArgument, RuntimeException):  # the image has become smaller than the next kernel
            return
        if min(values.shape) and 1 not in values.shape[2:]:
            last = next(each for each in BACKEND.layers(model, pictures) if each.path == "")
            compared.append(field_probe.check_boxes(values, last.receptive, network))

    holds()
    assert sum(compared) > 200


def test_tokens_gates_slices_and_what_is_not_followed():
    made = Made()
    patches = made.add("Conv", "x", made.ones(8, 3, 4, 4), strides=[4, 4])
    tokens = made.add("Transpose", made.add("Reshape", patches, made.weight(np.int64([0, 8, -1]))), perm=[0, 2, 1])
    dense = made.add("MatMul", tokens, made.ones(8, 8))
    scores = made.add("MatMul", dense, made.add("Transpose", dense, perm=[0, 2, 1]))
    attention = made.add("MatMul", made.add("Softmax", scores, axis=-1), dense)
    gate = made.add("Sigmoid", made.add("ReduceMean", patches, made.weight(np.int64([2, 3])), keepdims=1))
    gated = made.add("Mul", patches, gate)
    one, two = made.weight(np.int64([1])), made.weight(np.int64([2]))
    sliced = made.add("Slice", patches, one, made.weight(np.int64([9])), two)
    odd = made.add("Relu", made.add("CumSum", patches, made.weight(np.int64(2))))
    model = made.model([1, 3, 16, 24], attention, gated, sliced, odd)
    rows = BACKEND.layers(model, np.zeros((1, 3, 16, 24), np.float32))
    by_kind = [(each.kind, describe(each.receptive)) for each in rows]
    assert by_kind[:4] == [(kind, "4×4 /4 @1.5") for kind in ("Conv", "Reshape", "Transpose", "MatMul")]
    assert ("Slice", "4×4 /4 @5.5,1.5") in by_kind
    assert ("Mul", "whole image") in by_kind
    assert ("Softmax", "whole image") in by_kind
    assert ("CumSum", "?") in by_kind
    assert [each.receptive[0].unknown for each in rows if each.kind == "Relu"] == ["CumSum isn't followed"]


def test_the_embedded_model():
    """EfficientNet-Lite0 worked out by hand: kernels 3 and 5 at the strides where they stand."""
    rows = {each.path: each for each in ls.open(ls.demo_model()).layers()}
    blocks = [(3, 1, 1), (3, 2, 2), (5, 2, 2), (3, 2, 3), (5, 1, 3), (5, 2, 4), (3, 1, 1)]
    jump, size = 2, 3
    for kernel, stride, count in blocks:
        for at in range(count):
            size += (kernel - 1) * jump
            jump *= stride if at == 0 else 1
    assert [(each.size, each.stride) for each in rows["_conv_head"].receptive] == [(size, jump)] * 2
    assert describe(rows[""].receptive) == "whole image"


@pytest.mark.parametrize("stored", ["shared", "apart"])
def test_parameters_are_counted_once(stored):
    made = Made()
    weight = made.ones(3, 3, 1, 1)
    first = made.add("Conv", "x", weight)
    last = made.add("Conv", first, weight if stored == "shared" else made.ones(3, 3, 1, 1))
    rows = BACKEND.layers(made.model([1, 3, 8, 8], last), np.zeros((1, 3, 8, 8), np.float32))
    assert [each.parameters for each in rows] == [9, 9, 9 if stored == "shared" else 18]
