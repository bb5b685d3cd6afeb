"""What watching a layer costs beyond computing it, and whether memory stays flat."""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import layerscope as ls

from .measure import Measured, Row, Target, child, keep_freed_memory, parts_of, side_by_side
from .peers import beside_torchvision

TITLE = "Capturing one layer"
WITHIN = Target("within", 1.05)
COPIED = Target("within", 1.1)  # with the copy that every capture must make on both sides
BLOCKS = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))
ROUNDS_OF_MEMORY = 200
FLAT = """
import json, os, bench, gc
from bench.capture import torch_vgg16, batch_first
import layerscope as ls
def used():
    gc.collect()
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
scope = ls.open(torch_vgg16(), preprocess=None)
for _ in range(10):
    scope.capture(batch_first(), "features.block1_conv2")
before = used()
for _ in range({rounds}):
    scope.capture(batch_first(), "features.block1_conv2")
print(json.dumps([before, used()]))
"""


def rows() -> Iterator[Row]:
    keep_freed_memory()
    for of in (_torch, _replica, _onnx, _tflite, _jax, _keras):
        try:
            yield from of()
        except Exception:
            # One framework missing or one backend in the making leaves the others to be measured, with a message.
            print(f"{of.__name__[1:]} could not be measured:")
            traceback.print_exc(limit=-3)
    yield from _flat()


def batch_first() -> Any:
    """A batch of one image as torch takes it."""
    import torch

    return torch.from_numpy(_image().transpose(0, 3, 1, 2).copy())


def _image() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(1, 224, 224, 3)).astype(np.float32)


def torch_vgg16() -> Any:
    """VGG16 with random weights and torchvision's layout, its layers named as in Keras."""
    from collections import OrderedDict

    import torch
    from torch import nn

    torch.set_num_threads(1)
    torch.manual_seed(0)
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    before = 3
    for block, (count, channels) in enumerate(BLOCKS, 1):
        for index in range(1, count + 1):
            layers[f"block{block}_conv{index}"] = nn.Conv2d(before, channels, 3, padding=1)
            layers[f"block{block}_relu{index}"] = nn.ReLU(inplace=True)
            before = channels
        layers[f"block{block}_pool"] = nn.MaxPool2d(2)
    head = nn.Sequential(
        nn.Flatten(), nn.Linear(25088, 4096), nn.ReLU(True), nn.Linear(4096, 4096), nn.ReLU(True), nn.Linear(4096, 1000)
    )
    return nn.Sequential(OrderedDict(features=nn.Sequential(layers), head=head)).eval()


def _compared(what: str, against: str, ours: Callable[[], Any], bare: Callable[[], Any]) -> Iterator[Row]:
    """Against the bare forward pass, and against one whose result is then copied into numpy, which every capture must."""
    times = side_by_side({"ours": ours, "bare": bare, "copied": lambda: np.array(bare())}, seconds=6)
    yield Row(what, times["ours"], against, times["bare"], WITHIN)
    yield Row(what, times["ours"], "the same and np.array() of it", times["copied"], COPIED)


def _torch() -> Iterator[Row]:
    import torch

    from layerscope.backends.torch import backend, capture, outputs

    model, image = torch_vgg16(), batch_first()
    scope = ls.open(model, preprocess=None)
    for name in ("block1_conv2", "block3_conv3"):
        part = model.features[: list(model.features._modules).index(name) + 1]

        def bare(part: Any = part) -> Any:
            with torch.no_grad():
                return part(image)

        def ours(name: str = name) -> Any:
            return scope.capture(image, f"features.{name}")

        yield from _compared(f"torch VGG16 {name}", "the model cut there, no_grad", ours, bare)
        inside = parts_of(
            ours,
            {"weights digest": (backend.TorchBackend, "digest"), "the forward pass": (capture, "forward")},
        )
        # The copy is made in a hook inside the forward pass, so it is timed apart.
        (captured,) = scope.capture(image, f"features.{name}").values()
        tensor = torch.from_numpy(np.ascontiguousarray(captured.values))
        copy = side_by_side({"copy": lambda tensor=tensor: outputs.as_captured(tensor)}, seconds=0.3)["copy"]
        for part_name in ("weights digest", "the forward pass", "rest"):
            yield Row(
                f"torch VGG16 {name}: {part_name}", inside[part_name], "the whole capture", inside["whole"], part=True
            )
        yield Row(f"torch VGG16 {name}: the copy in it", copy, "the whole capture", inside["whole"], part=True)


def _replica() -> Iterator[Row]:
    """What it costs that a PyTorch model is never touched: a module tree of its own for each capture."""
    import copy

    import torch

    from layerscope.backends.torch.replica import replicate
    from layerscope.backends.torch.tree import weights_of

    models = beside_torchvision("torchvision.models")
    image = batch_first()
    for name in ("mobilenet_v3_small", "resnet18", "densenet121"):
        model = models.get_model(name, weights=None).eval()
        scope = ls.open(model, preprocess=None)
        first = next(path for path, module in model.named_modules() if isinstance(module, torch.nn.Conv2d))

        def bare(model: Any = model) -> Any:
            with torch.no_grad():
                return model(image)

        def deepcopy(model: Any = model) -> Any:
            return copy.deepcopy(model, {id(weight): weight for weight in weights_of(model)})

        times = side_by_side(
            {
                "replica": lambda model=model: replicate(model),
                "deepcopy": deepcopy,
                "bare": bare,
                "ours": lambda scope=scope, first=first: scope.capture(image, f"{first}:0"),
                "last": lambda scope=scope: scope.capture(image, "output"),
            },
            seconds=6,
        )
        yield Row(f"replica of {name}", times["replica"], "copy.deepcopy that shares the weights", times["deepcopy"])
        yield Row(f"replica of {name}", times["replica"], "its forward pass, no_grad", times["bare"], part=True)
        yield Row(f"torch {name}, output", times["last"], "its forward pass, no_grad", times["bare"])
        yield Row(f"torch {name}, first convolution", times["ours"], "the replica in it", times["replica"])


def _onnx() -> Iterator[Row]:
    import onnx
    import onnxruntime

    file = ls.demo_model()
    scope = ls.open(file, preprocess=None)
    model = onnx.load(file)
    (first,) = [value for value in model.graph.input if value.name not in {w.name for w in model.graph.initializer}]
    size = [dim.dim_value or 1 for dim in first.type.tensor_type.shape.dim]
    image = np.random.default_rng(0).normal(size=size).astype(np.float32)
    output_of = {node.name: node.output[0] for node in model.graph.node}
    for name in ("_blocks.0._project_conv", "_blocks.8._project_conv"):
        tensor = output_of[name]
        cut = _cut(model, tensor)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(cut.SerializeToString(), options, providers=["CPUExecutionProvider"])
        yield from _compared(
            f"ONNX EfficientNet-Lite0 {name}",
            "an InferenceSession cut there",
            lambda name=name: scope.capture(image, name),
            lambda session=session: session.run(None, {first.name: image}),
        )


def _cut(model: Any, tensor: str) -> Any:
    """The model with the nodes that `tensor` needs and no others: the runtime wouldn't leave them out by itself."""
    import onnx

    cut = onnx.ModelProto()
    cut.CopyFrom(model)
    needed, kept = {tensor}, []
    for node in reversed(model.graph.node):
        if needed & set(node.output):
            needed |= set(node.input)
            kept.insert(0, node)
    weights = [tensor for tensor in model.graph.initializer if tensor.name in needed]
    for field, values in (("node", kept), ("initializer", weights)):
        cut.graph.ClearField(field)
        getattr(cut.graph, field).extend(values)
    cut.graph.ClearField("output")
    cut.graph.output.append(onnx.helper.make_tensor_value_info(tensor, onnx.TensorProto.FLOAT, None))
    return cut


def _tflite() -> Iterator[Row]:
    import keras
    import tensorflow as tf
    from ai_edge_litert.interpreter import Interpreter

    keras.utils.set_random_seed(0)
    content = tf.lite.TFLiteConverter.from_keras_model(keras.applications.MobileNetV2(weights=None)).convert()
    scope, image = ls.open(content, preprocess=None), _image()
    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    first, last = (
        details[0]["index"] for details in (interpreter.get_input_details(), interpreter.get_output_details())
    )

    def invoked() -> Any:
        interpreter.set_tensor(first, image)
        interpreter.invoke()
        return interpreter.get_tensor(last)

    for name in ("block_6_project", "output"):
        yield from _compared(
            f"TFLite MobileNetV2 {name}",
            "the Interpreter's whole invoke",
            lambda name=name: scope.capture(image, name),
            invoked,
        )


def _jax() -> Iterator[Row]:
    import jax.numpy as jnp
    from flax import nnx

    class VGG16(nnx.Module):
        """The convolutions of VGG16; `until` cuts it as a script would."""

        def __init__(self, rngs: nnx.Rngs) -> None:
            before, self.names = 3, []
            for block, (count, channels) in enumerate(BLOCKS, 1):
                for index in range(1, count + 1):
                    self.names.append(f"block{block}_conv{index}")
                    setattr(self, self.names[-1], nnx.Conv(before, channels, (3, 3), rngs=rngs))
                    before = channels

        def __call__(self, x: Any, until: str = "") -> Any:
            for name in self.names:
                x = getattr(self, name)(x)
                if name == until:
                    return x
                x = nnx.relu(x)
                if name in ("block1_conv2", "block2_conv2", "block3_conv3", "block4_conv3", "block5_conv3"):
                    x = nnx.max_pool(x, (2, 2), strides=(2, 2))
            return x

    model, image = VGG16(nnx.Rngs(0)), jnp.asarray(_image())
    scope = ls.open(model, preprocess=None)
    for name in ("block1_conv2", "block3_conv3"):
        yield from _compared(
            f"Flax NNX VGG16 {name}",
            "the model's own call, cut there",
            lambda name=name: scope.capture(image, name),
            lambda name=name: model(image, until=name).block_until_ready(),
        )


def _keras() -> Iterator[Row]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import keras
        import tensorflow

        model = keras.applications.VGG16(weights=None)
    image = tensorflow.constant(_image())
    scope = ls.open(model, preprocess=None)
    from layerscope.backends.keras import backend
    from layerscope.backends.keras.model import KerasModel

    yield from _keras_all(model, scope, image)
    for name in ("block1_conv2", "block3_conv3"):
        part = keras.Model(model.inputs, model.get_layer(name).output)

        def ours(name: str = name) -> Any:
            return scope.capture(image, name)

        def bare(part: Any = part) -> Any:
            return part(image, training=False)

        yield from _compared(f"Keras VGG16 {name}, TensorFlow", "a sub-model called eagerly", ours, bare)
        parts = {"weights digest": (backend.KerasBackend, "digest"), "the forward pass": (KerasModel, "forward")}
        inside = parts_of(ours, parts)
        for part_name in (*parts, "rest"):
            yield Row(
                f"Keras VGG16 {name}: {part_name}", inside[part_name], "the whole capture", inside["whole"], part=True
            )


def _keras_all(model: Any, scope: ls.Scope, image: Any) -> Iterator[Row]:
    """Every layer at once, against a forward pass without captures and against keract's way: one model with all outputs."""
    import keras

    names = [layer.name for layer in model.layers[1:]]
    every = keras.Model(model.inputs, [layer.output for layer in model.layers[1:]])
    times = side_by_side(
        {
            "ours": lambda: scope.capture(image, names),
            "bare": lambda: model(image, training=False),
            "keract": lambda: every.predict(image, verbose=0),
        },
        seconds=4,
    )
    what = f"Keras VGG16, all {len(names)} layers, TensorFlow"
    yield Row(what, times["ours"], "an eager forward pass", times["bare"], Target("within", 1.2))
    yield Row(what, times["ours"], "keract's way: predict() of a model with all outputs", times["keract"])


def _flat() -> Iterator[Row]:
    before, after = child(FLAT.format(rounds=ROUNDS_OF_MEMORY))
    print(f"{ROUNDS_OF_MEMORY} captures in a row: {before:,.0f} MB resident before, {after:,.0f} MB after")
    yield Row(
        f"resident memory after {ROUNDS_OF_MEMORY} captures",
        Measured((after,), "MB"),
        "after 10 captures",
        Measured((before,), "MB"),
        Target("over", 20),
    )
