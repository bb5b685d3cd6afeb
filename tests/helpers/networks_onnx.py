"""A random network of `networks` as an ONNX graph, written node by node."""

import numpy as np
from onnx import helper, numpy_helper
from onnx.helper import make_node

from helpers.networks import weights


class Graph:
    def __init__(self):
        self.nodes, self.held, self.calls, self.names = [], {}, 0, []

    def hold(self, name, value):
        self.held[name] = numpy_helper.from_array(np.asarray(value), name)
        return name

    def run(self, steps, x, within=()):
        for step in steps:
            path = (*within, step.name)
            if step.kind == "inner":
                x = self.run(step.branches[0], x, path)
            elif step.branches:
                ends = [self.run(branch, x, within) for branch in step.branches]
                node = ("Add", {}) if step.kind == "add" else ("Concat", {"axis": 1})
                x = self.node(node[0], ends, path, **node[1])
            else:
                x = self.layer(step, x, path)
        return x

    def node(self, kind, inputs, path, **attributes):
        """One node; its output's name tells nothing about the layer, as exporters' names often do."""
        self.calls += 1
        name = "/".join(path)
        if path[-1] == "act":
            name = f"{name}_{sum(earlier.startswith(f'{name}_') for earlier in self.names)}"
        self.names.append(name)
        self.nodes.append(make_node(kind, inputs, [f"val_{self.calls}"], name, **attributes))
        return f"val_{self.calls}"

    def layer(self, step, x, path):
        name = "/".join(path)
        parameters = [self.hold(f"{name}.{key}", value) for key, value in weights(step).items()]
        if step.kind == "conv":
            window = {
                "strides": [step["stride"]] * 2,
                "pads": [step["padding"]] * 4,
                "dilations": [step["dilation"]] * 2,
            }
            return self.node("Conv", [x, *parameters], path, **window)
        if step.kind == "depthwise":
            return self.node("Conv", [x, *parameters], path, pads=[1] * 4, group=step["channels"])
        if step.kind == "transposed":
            return self.node("ConvTranspose", [x, *parameters], path, strides=[2, 2])
        if step.kind == "norm":
            return self.node("BatchNormalization", [x, *parameters], path, epsilon=1e-3)
        if step.kind == "relu":
            return self.node("Relu", [x], path)
        if step.kind in ("pool", "mean_pool"):
            kind = "MaxPool" if step.kind == "pool" else "AveragePool"
            return self.node(kind, [x], path, kernel_shape=[2, 2], strides=[2, 2])
        if step.kind == "up":
            scales = self.hold(f"{name}.scales", np.array([1, 1, 2, 2], np.float32))
            return self.node(
                "Resize",
                [x, "", scales],
                path,
                mode="nearest",
                coordinate_transformation_mode="asymmetric",
                nearest_mode="floor",
            )
        flat = self.node("ReduceMean", [x, self.hold("axes", np.array([2, 3]))], (*path, "mean"), keepdims=0)
        return self.node("Gemm", [flat, *parameters], path, transB=1)


def build(steps):
    graph = Graph()
    end = graph.run(steps, "x")
    proto = helper.make_graph(
        graph.nodes,
        "random",
        [helper.make_tensor_value_info("x", 1, ["n", 3, 12, 12])],
        [helper.make_tensor_value_info(end, 1, None)],
        list(graph.held.values()),
    )
    return helper.make_model(proto, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
