"""Small TFLite models: from TensorFlow's converter, and changed by the schema that `ai_edge_litert` ships."""

from __future__ import annotations

import contextlib
import functools
import itertools
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import flatbuffers
import numpy as np
import pytest

keras = pytest.importorskip("keras", reason="the models are made with Keras and TensorFlow's converter")
tf = pytest.importorskip("tensorflow", reason="the models are made with Keras and TensorFlow's converter")
schema = pytest.importorskip("ai_edge_litert.schema_py_generated", reason="TFLite files are run by ai_edge_litert")
from ai_edge_litert.interpreter import Interpreter, OpResolverType  # noqa: E402  # after the skip

from layerscope.backends.tflite.backend import TfliteBackend  # noqa: E402  # after the skip
from layerscope.tiny import tiny_parameters  # noqa: E402  # after the skip

BACKEND = TfliteBackend()
K = keras.layers
if keras.backend.backend() != "tensorflow":
    pytest.skip("the converter reads Keras models on TensorFlow only", allow_module_level=True)


def converted(model: Any, quantise: str = "", samples: Callable[[], Iterator[list[np.ndarray]]] | None = None) -> bytes:
    """A Keras model as the bytes of a file: float, "dynamic", "float16", "int8", "uint8" or "int16"."""
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if quantise:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if quantise == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if quantise in ("int8", "uint8", "int16"):
        converter.representative_dataset = samples
        wide = tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
        converter.target_spec.supported_ops = [wide if quantise == "int16" else tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = getattr(tf, quantise)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Statistics for quantized inputs", UserWarning)  # for every such file
        return converter.convert()


def changed(content: bytes, change: Callable[[Any], None]) -> bytes:
    """The file after `change` has been made to its object tree (`schema.ModelT`)."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    change(model)
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def interpreted(
    content: bytes, feeds: Mapping[str, np.ndarray] | np.ndarray, delegate: bool = False
) -> dict[str, np.ndarray]:
    """Every tensor by name, as the plain interpreter gives them when it keeps them all."""
    kind = OpResolverType.BUILTIN if delegate else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    with pytest.warns(UserWarning, match="preserve_all_tensors") if delegate else contextlib.nullcontext():
        interpreter = Interpreter(
            model_content=content, experimental_preserve_all_tensors=True, experimental_op_resolver_type=kind
        )
    inputs = {details["name"]: details["index"] for details in interpreter.get_input_details()}
    batches = feeds if isinstance(feeds, Mapping) else {next(iter(inputs)): feeds}
    for name, value in batches.items():
        interpreter.resize_tensor_input(inputs[name], value.shape)
    interpreter.allocate_tensors()
    for name, value in batches.items():
        interpreter.set_tensor(inputs[name], value)
    interpreter.invoke()
    arrays = {}
    for details in interpreter.get_tensor_details():
        if details["name"] and details["name"] not in arrays:
            try:
                arrays[details["name"]] = np.array(interpreter.get_tensor(details["index"]))
            except ValueError:
                continue  # a tensor of the runtime's own
    return arrays


@functools.cache
def _converted_network() -> bytes:
    """The suite's network with weights that differ; every step is an output, so that none is fused."""
    inputs = keras.Input((8, 8, 3), name="image")
    a = K.Conv2D(4, 3, padding="same", bias_initializer="random_normal", name="conv1")(inputs)
    b = K.ReLU(name="act")(a)
    c = K.Conv2D(5, 3, strides=2, bias_initializer="random_normal", name="conv2")(b)
    d = K.ReLU(name="act_two")(c)
    e = K.Dense(6, bias_initializer="random_normal", name="head")(K.GlobalAveragePooling2D(name="pool")(d))
    return converted(keras.Model(inputs, [e, a, b, c, d], name="tiny"))


NAMES = {"CONV_2D": ["tiny/conv1/Conv2D", "tiny/conv2/Conv2D"], "RELU": ["tiny/act/Relu", "tiny/act_two/Relu"]}
ENDS = {"MEAN": ["tiny/pool/Mean"], "FULLY_CONNECTED": ["tiny/head/BiasAdd"]}
FAILING = "failed in the middle"


def network(parameters: Mapping[str, np.ndarray], fail: bool = False, batch: int = -1) -> bytes:
    """The suite's network from the converter, with these weights; its file states that it takes `batch` images."""

    def change(model: Any) -> None:
        graph = model.subgraphs[0]
        names = {kind_name: iter(ordered_names) for kind_name, ordered_names in {**NAMES, **ENDS}.items()}
        weights = itertools.cycle(["conv1", "conv2", "head"])
        operators = {}
        for node in graph.operators:
            kind = operator_name(model, node)
            output = graph.tensors[node.outputs[0]]
            output.name = next(names[kind])
            operators[output.name] = node
            if kind in ("CONV_2D", "FULLY_CONNECTED"):
                name = next(weights)
                weight = parameters[f"{name}.weight"]
                weight = weight.transpose(0, 2, 3, 1) if weight.ndim == 4 else weight
                for index, values in zip(node.inputs[1:3], (weight, parameters[f"{name}.bias"]), strict=True):
                    buffer = model.buffers[graph.tensors[index].buffer]
                    assert len(buffer.data) == values.nbytes
                    buffer.data = np.frombuffer(np.ascontiguousarray(values).tobytes(), np.uint8)
        for tensor in graph.tensors:
            if tensor.shapeSignature is not None and len(tensor.shapeSignature) and tensor.shapeSignature[0] == -1:
                tensor.shapeSignature = [batch, *tensor.shapeSignature[1:]]
        graph.outputs = operators["tiny/head/BiasAdd"].outputs
        model.signatureDefs = None
        if fail:
            _break(model, operators)

    return changed(_converted_network(), change)


def _break(model: Any, operators: Mapping[str, Any]) -> None:
    """Put a reshape between the activation and `conv2` whose size no picture has: 997 times what is found in the values."""
    graph = model.subgraphs[0]
    act = operators["tiny/act/Relu"].outputs[0]
    cast = constant_free(model, "tiny/cast/Cast", [1, 8, 8, 4], schema.TensorType.INT32)
    size = constant_free(model, "tiny/size/Max", [1], schema.TensorType.INT32)
    axes = constant(model, np.array([0, 1, 2], np.int32))
    wrong = constant_free(model, "tiny/wrong/Add", [4], schema.TensorType.INT32)
    large = constant(model, np.full(4, 997, np.int32))
    broken = constant_free(model, FAILING, [1, 8, 8, 4], schema.TensorType.FLOAT32)
    position = graph.operators.index(operators["tiny/conv2/Conv2D"])
    graph.operators[position:position] = [
        operator(model, "CAST", [act], [cast]),
        operator(model, "REDUCE_MAX", [cast, axes], [size], schema.ReducerOptionsT()),
        operator(model, "ADD", [size, large], [wrong], schema.AddOptionsT()),
        operator(model, "RESHAPE", [act, wrong], [broken]),
    ]
    operators["tiny/conv2/Conv2D"].inputs = [broken, *operators["tiny/conv2/Conv2D"].inputs[1:]]


def operator_name(model: Any, node: Any) -> str:
    number = model.operatorCodes[node.opcodeIndex].builtinCode
    return next(name for name, value in vars(schema.BuiltinOperator).items() if value == number)


def operator(model: Any, name: str, inputs: Sequence[int], outputs: Sequence[int], options: Any = None) -> Any:
    """A new operator of the file."""
    code = schema.OperatorCodeT(builtinCode=getattr(schema.BuiltinOperator, name), version=1)
    code.deprecatedBuiltinCode = min(code.builtinCode, 127)
    model.operatorCodes.append(code)
    node = schema.OperatorT(opcodeIndex=len(model.operatorCodes) - 1, inputs=list(inputs), outputs=list(outputs))
    if options is not None:
        node.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__.removesuffix("T"))
        node.builtinOptions = options
    return node


def constant_free(model: Any, name: str, shape: Sequence[int], kind: int) -> int:
    """The index of a new tensor that an operator will fill."""
    graph = model.subgraphs[0]
    graph.tensors.append(schema.TensorT(shape=list(shape), type=kind, buffer=0, name=name))
    return len(graph.tensors) - 1


def constant(model: Any, values: np.ndarray) -> int:
    """The index of a new tensor with these values."""
    model.buffers.append(schema.BufferT(data=np.frombuffer(values.tobytes(), np.uint8)))
    kind = schema.TensorType.INT32 if values.dtype == np.int32 else schema.TensorType.FLOAT32
    index = constant_free(model, f"constant{len(model.buffers)}", values.shape, kind)
    model.subgraphs[0].tensors[index].buffer = len(model.buffers) - 1
    return index


def rows(content: bytes, batch: Any) -> dict[str, Any]:
    """The table of layers by path."""
    return {layer.path: layer for layer in BACKEND.layers(content, batch)}


def captured(content: bytes, batch: Any, *paths: str) -> list[np.ndarray]:
    """The values of single layers, in the order of `paths`."""
    captures = BACKEND.capture(content, batch, list(paths))
    return [captures[path].values for path in paths]


def tiny() -> bytes:
    """The network of `layerscope.tiny`."""
    return network(tiny_parameters())


def of_function(function: Any, *specs: Any, flex: bool = False) -> bytes:
    """A `tf.function` as the bytes of a file."""
    concrete = tf.function(function).get_concrete_function(*specs)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete])
    if flex:
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]
    return converter.convert()


def with_a_determinant(x: Any) -> Any:
    """An operator that only TensorFlow itself has."""
    return tf.linalg.det(tf.nn.relu(x))
