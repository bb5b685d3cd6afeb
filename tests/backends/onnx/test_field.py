"""Receptive fields of ONNX graphs, against what moves when a line of the image is changed, with ONNX Runtime computing."""

import numpy as np
import onnxruntime
import pytest
from hypothesis import HealthCheck, given, settings
from onnx import TensorProto, helper, numpy_helper
from onnx.helper import make_node
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument, RuntimeException

import layerscope as ls
from helpers import field_probe
from helpers.onnx_models import model_of, random
from layerscope.backends.onnx.backend import OnnxBackend
from layerscope.core.receptive_field import describe

BACKEND = OnnxBackend(threads=1)


class GraphBuilder:
    """A graph under construction."""

    def __init__(self):
        self.nodes, self.stored = [], []

    def add(self, kind, *inputs, **attributes):
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=f"n{len(self.nodes)}", **attributes))
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
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, None) for output in outputs],
            self.stored,
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def applied(graph, x, channels, name, options):
    if name == "up":
        scales = graph.weight(np.float32([1, 1, 2, 3]))
        coordinates = "asymmetric" if options == "nearest" else "half_pixel"
        rounding = {"nearest_mode": "floor"} if options == "nearest" else {}
        return graph.add(
            "Resize", x, "", scales, mode=options, coordinate_transformation_mode=coordinates, **rounding
        ), channels
    if name in ("add", "cat"):
        first, second = (
            graph.add("Conv", x, graph.ones(1, channels, 2 * k + 1, 2 * k + 1), pads=[k] * 4) for k in options
        )
        return (
            (graph.add("Add", first, second), 1) if name == "add" else (graph.add("Concat", first, second, axis=1), 2)
        )
    kernel, stride, dilation = options["kernel"], options["stride"], options["dilation"]
    pads = {"auto_pad": "SAME_LOWER"} if options["pad"] and dilation == (1, 1) else {}
    if name == "conv":
        weight = graph.ones(1, channels, *kernel)
        return graph.add("Conv", x, weight, strides=stride, dilations=dilation, **pads), 1
    if name == "turned":
        pads = {"pads": [0, 1, 0, 0]} if options["pad"] else {}
        weight = graph.ones(channels, 1, *kernel)
        return graph.add("ConvTranspose", x, weight, strides=stride, dilations=dilation, **pads), 1
    kind = {"max": "MaxPool", "avg": "AveragePool"}[name]
    return graph.add(kind, x, kernel_shape=kernel, strides=stride, **pads), channels


def values_of(model, pictures):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": pictures})[0]


def test_the_field_is_what_moves_a_unit():
    compared = []

    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(field_probe.networks)
    def holds(network):
        graph, x, channels = GraphBuilder(), "x", 1
        for step in network:
            x, channels = applied(graph, x, channels, *step)
        pictures = field_probe.line_images()
        model = graph.model([None, 1, *field_probe.SIZE], x)
        try:
            values = values_of(model, pictures)
        except (Fail, InvalidArgument, RuntimeException):  # the image has become smaller than the next kernel
            return
        if min(values.shape) and 1 not in values.shape[2:]:
            last = next(layer for layer in BACKEND.layers(model, pictures) if layer.path == "")
            compared.append(field_probe.check_boxes(values, last.receptive, network))

    holds()
    assert sum(compared) > 200


def test_tokens_gates_slices_and_what_is_not_followed():
    graph = GraphBuilder()
    patches = graph.add("Conv", "x", graph.ones(8, 3, 4, 4), strides=[4, 4])
    tokens = graph.add("Transpose", graph.add("Reshape", patches, graph.weight(np.int64([0, 8, -1]))), perm=[0, 2, 1])
    dense = graph.add("MatMul", tokens, graph.ones(8, 8))
    scores = graph.add("MatMul", dense, graph.add("Transpose", dense, perm=[0, 2, 1]))
    attention = graph.add("MatMul", graph.add("Softmax", scores, axis=-1), dense)
    gate = graph.add("Sigmoid", graph.add("ReduceMean", patches, graph.weight(np.int64([2, 3])), keepdims=1))
    gated = graph.add("Mul", patches, gate)
    start, axis = graph.weight(np.int64([1])), graph.weight(np.int64([2]))
    sliced = graph.add("Slice", patches, start, graph.weight(np.int64([9])), axis)
    odd = graph.add("Relu", graph.add("CumSum", patches, graph.weight(np.int64(2))))
    model = graph.model([1, 3, 16, 24], attention, gated, sliced, odd)
    rows = BACKEND.layers(model, np.zeros((1, 3, 16, 24), np.float32))
    by_kind = [(layer.kind, describe(layer.receptive)) for layer in rows]
    assert by_kind[:4] == [(kind, "4×4 /4 @1.5") for kind in ("Conv", "Reshape", "Transpose", "MatMul")]
    assert ("Slice", "4×4 /4 @5.5,1.5") in by_kind
    assert ("Mul", "whole image") in by_kind
    assert ("Softmax", "whole image") in by_kind
    assert ("CumSum", "?") in by_kind
    assert [layer.receptive[0].unknown for layer in rows if layer.kind == "Relu"] == ["CumSum isn't followed"]


def test_the_embedded_model():
    """EfficientNet-Lite0 worked out by hand: kernels 3 and 5 at the strides where they stand."""
    rows = {layer.path: layer for layer in ls.open(ls.demo_model()).layers()}
    blocks = [(3, 1, 1), (3, 2, 2), (5, 2, 2), (3, 2, 3), (5, 1, 3), (5, 2, 4), (3, 1, 1)]
    jump, size = 2, 3
    for kernel, stride, count in blocks:
        for position in range(count):
            size += (kernel - 1) * jump
            jump *= stride if position == 0 else 1
    assert [(axis.size, axis.stride) for axis in rows["_conv_head"].receptive] == [(size, jump)] * 2
    assert describe(rows[""].receptive) == "whole image"


@pytest.mark.parametrize("stored", ["shared", "apart"])
def test_parameters_are_counted_once(stored):
    graph = GraphBuilder()
    weight = graph.ones(3, 3, 1, 1)
    first = graph.add("Conv", "x", weight)
    last = graph.add("Conv", first, weight if stored == "shared" else graph.ones(3, 3, 1, 1))
    rows = BACKEND.layers(graph.model([1, 3, 8, 8], last), np.zeros((1, 3, 8, 8), np.float32))
    assert [layer.parameters for layer in rows] == [9, 9, 9 if stored == "shared" else 18]


def test_a_resize_by_a_factor_places_units_by_the_factor():
    """28 of 48 pixels by 0.6: the units are 1/0.6 pixels apart, not 48/28."""
    graph = GraphBuilder()
    scales = graph.weight(np.float32([1, 1, 0.6, 0.6]))
    small = graph.add("Resize", "x", "", scales, mode="linear", coordinate_transformation_mode="half_pixel")
    layer = BACKEND.layers(graph.model([1, 1, 48, 48], small), np.zeros((1, 1, 48, 48), np.float32))[0]
    assert layer.shape == (1, 1, 28, 28)
    assert [line.spacing for line in layer.lines] == pytest.approx([1 / 0.6] * 2)


GRIDS = (
    "half_pixel",
    "half_pixel_symmetric",
    "pytorch_half_pixel",
    "align_corners",
    "asymmetric",
    "tf_crop_and_resize",
)
NEAREST = [{"nearest_mode": mode} for mode in ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil")]
RESIZES = [{"mode": "linear"}, {"mode": "cubic"}, *NEAREST]


@pytest.mark.parametrize("grid", GRIDS)
def test_a_resize_reads_where_the_standard_says(grid):
    compared = 0
    pictures = field_probe.line_images((16, 20)) + 1  # of ones, as cubic weights of both signs leave none of a line
    for options in [*RESIZES, {"mode": "linear", "antialias": 1}] if grid == "half_pixel" else RESIZES:
        for scales in ([2, 1.5], [0.5, 0.25], [3, 0.6], [1.45, 0.33]):
            graph = GraphBuilder()
            region = graph.weight(np.float32([0, 0, 0.25, 0.5, 1, 1, 0.75, 0.9]))
            scales = graph.weight(np.float32([1, 1, *scales]))
            model = graph.model(
                [None, 1, 16, 20],
                graph.add("Resize", "x", region, scales, coordinate_transformation_mode=grid, **options),
            )
            moved = np.abs(values_of(model, pictures) - values_of(model, np.ones_like(pictures[:1]))) > 1e-4
            (layer, *_) = BACKEND.layers(model, pictures[:1])
            compared += boxes_hold(moved[:, 0], layer.receptive, (16, 20))
    assert compared > 200


def boxes_hold(moved, fields, size):
    """That what moves a unit lies in its box; returns how many boxes are no larger than that."""
    exact = 0
    for axis, (part, extent) in enumerate(((moved[: size[0]], size[0]), (moved[size[0] :], size[1]))):
        reached = part.any(axis=2 - axis)
        for unit in range(reached.shape[1]):
            lines, (low, high) = np.flatnonzero(reached[:, unit]), fields[axis].box(unit)
            if len(lines):
                assert low <= lines[0] <= lines[-1] <= high, (axis, unit, fields[axis])
                exact += (lines[0], lines[-1]) == (max(low, 0), min(high, extent - 1))
    return exact


def moving(graph, name):
    """What cuts, turns or spreads a picture in the ways of which exporters and the standard have several."""
    w = graph.weight
    if name.startswith("turned to a size"):
        options = {} if name.endswith("size") else {"auto_pad": name.split()[-1]}
        return graph.add("ConvTranspose", "x", graph.ones(1, 1, 4, 4), strides=[2, 2], output_shape=[89, 79], **options)
    if name == "parts":
        parts = helper.make_node("Split", ["x", w(np.int64([8, 20, 16]))], ["front", "part", "rest"], "parts", axis=2)
        graph.nodes.append(parts)
        return graph.add("Relu", "part")
    if name == "gathered":
        return graph.add("Gather", "x", w(np.int64(range(39, 0, -2))), axis=3)
    if name == "height and width exchanged":
        turned = graph.add("Transpose", "x", perm=[0, 1, 3, 2])
        return graph.add("Conv", turned, graph.ones(1, 1, 3, 1), strides=[2, 1], pads=[1, 0, 1, 0])
    policy = {"axes": [2, 3], "keep_aspect_ratio_policy": name}
    return graph.add("Resize", "x", "", "", w(np.int64([30, 30])), mode="linear", **policy)


MOVES = [
    *("turned to a size", "turned to a size SAME_UPPER", "turned to a size SAME_LOWER", "parts", "gathered"),
    *("height and width exchanged", "not_larger", "not_smaller"),
]


@pytest.mark.parametrize("name", MOVES)
def test_the_field_of_what_moves_pixels_is_what_moves_a_unit(name):
    graph, pictures = GraphBuilder(), field_probe.line_images()
    model = graph.model([None, 1, *field_probe.SIZE], moving(graph, name))
    last = next(layer for layer in BACKEND.layers(model, pictures[:1]) if layer.path == "")
    values = values_of(model, pictures).transpose([last.axes.index(axis) for axis in "bchw"])
    assert field_probe.check_boxes(values, last.receptive) > 20


def test_a_picture_that_goes_on_at_its_other_end_has_no_place():
    graph = GraphBuilder()
    pads = graph.weight(np.int64([0, 0, 2, 0, 0, 0, 2, 0]))
    nodes = graph.add("Conv", graph.add("Pad", "x", pads, mode="wrap"), graph.ones(1, 1, 3, 3))
    model = graph.model([1, 1, 8, 8], nodes)
    model.opset_import[0].version = 19
    (_, conv, *_) = BACKEND.layers(model, np.zeros((1, 1, 8, 8), np.float32))
    assert [bool(field.unknown) for field in conv.receptive] == [True, True]
    assert conv.lines is None or conv.lines == (None, None)


def test_a_channel_that_is_picked_and_stacked_again_is_one():
    """What PyTorch's export makes of `torch.stack([x[:, 2], x[:, 1], x[:, 0]], 1)`."""
    weights = {"w": random(4, 3, 3, 3), "one": np.int64([1]), **{f"at{i}": np.int64(i) for i in range(3)}}
    nodes = [make_node("Gather", ["x", f"at{i}"], [f"plane{i}"], axis=1) for i in (2, 1, 0)]
    nodes += [make_node("Unsqueeze", [f"plane{i}", "one"], [f"channel{i}"]) for i in (2, 1, 0)]
    nodes += [
        make_node("Concat", ["channel2", "channel1", "channel0"], ["stacked"], axis=1),
        make_node("Conv", ["stacked", "w"], ["y"], "conv", strides=[2, 2], pads=[1, 1, 1, 1]),
    ]
    model = model_of(nodes, [1, 3, 32, 32], ["y"], weights, opset=17)
    scope = ls.open(model, preprocess="unit")
    fm = scope.capture(np.zeros((32, 32, 3), np.uint8), "conv")["conv"]
    assert (scope.facts.inputs[0].axes, fm.layer.axes, fm.unit_grid().unknown) == ("bchw", "bchw", "")
