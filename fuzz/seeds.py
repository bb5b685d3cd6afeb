"""The files that mutations start from, built by the code: small, and with everything in them that a reader looks at."""

from __future__ import annotations

import io
import json
import tempfile
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

import layerscope as ls

from .formats import zipped

Seeds = dict[str, bytes]  # by the name of the file


def values(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def images() -> Seeds:
    """A picture with some structure in each format and mode."""
    from PIL import Image

    rows = np.add.outer(np.arange(24), np.arange(32)) * 4 % 256
    photo = Image.fromarray(
        np.stack([rows, rows.T.repeat(2, 0)[:24, :24].repeat(2, 1)[:, :32], 255 - rows], -1).astype("u1")
    )
    exif = Image.Exif()
    exif[0x0112] = 6
    kinds: dict[str, tuple[Any, dict[str, Any]]] = {
        "rgb.jpg": (photo, {"exif": exif.tobytes(), "quality": 80}),
        "steps.jpg": (photo, {"progressive": True}),
        "cmyk.jpg": (photo.convert("CMYK"), {}),
        "rgb.png": (photo, {"exif": exif.tobytes()}),
        "palette.png": (photo.convert("P"), {"transparency": 3}),
        "deep.png": (Image.fromarray(rows.astype(np.uint16) * 200), {}),
        "alpha.webp": (photo.convert("RGBA"), {"lossless": True}),
        "lossy.webp": (photo, {"exif": exif.tobytes()}),
        "frames.gif": (photo, {"save_all": True, "append_images": [photo.rotate(90)]}),
        "packed.tif": (photo, {"compression": "tiff_lzw"}),
        "float.tif": (Image.fromarray(rows.astype(np.float32)), {}),
        "rgb.bmp": (photo, {}),
    }
    seeds = {}
    for name, (image, options) in kinds.items():
        stream = io.BytesIO()
        image.save(stream, {"jpg": "JPEG", "tif": "TIFF"}.get(name[-3:], name.partition(".")[2].upper()), **options)
        seeds[name] = stream.getvalue()
    return seeds


def onnx_models() -> Seeds:
    """A small network with BatchNorm and two heads, a quantised one, one of functions and control flow."""
    from onnx import TensorProto, helper, numpy_helper
    from onnx.helper import make_node

    def model(
        nodes: list[Any], weights: dict[str, np.ndarray], output: str, functions: list[Any] | None = None
    ) -> bytes:
        graph = helper.make_graph(
            nodes,
            "tiny",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 8, 6])],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
            [numpy_helper.from_array(array, name) for name, array in weights.items()],
        )
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
        built = helper.make_model(graph, opset_imports=opsets, ir_version=8, functions=functions or [])
        helper.set_model_props(built, {"labels": '["cat", "dog"]', "names": "{0: 'cat'}"})
        return built.SerializeToString(deterministic=True)

    network = [
        make_node("Conv", ["x", "w1"], ["c1"], "conv1", pads=[1, 1, 1, 1]),
        make_node("BatchNormalization", ["c1", "s", "s", "m", "s"], ["n1"], "norm1"),
        make_node("Relu", ["n1"], ["r1"], "relu1"),
        make_node("Conv", ["r1", "w2"], ["c2"], "conv2", pads=[1, 1, 1, 1], group=2),
        make_node("Add", ["c2", "r1"], ["sum"], "add"),
        make_node("MaxPool", ["sum"], ["p"], "pool", kernel_shape=[2, 2], strides=[2, 2]),
        make_node("GlobalAveragePool", ["p"], ["g"], "gap"),
        make_node("Flatten", ["g"], ["f"], "flatten"),
        make_node("Gemm", ["f", "w3", "b3"], ["y"], "fc"),
    ]
    weights = {"w1": values(4, 3, 3, 3), "w2": values(4, 2, 3, 3), "w3": values(4, 2), "b3": values(2),
               "s": np.abs(values(4)) + 1, "m": values(4)}  # fmt: skip
    codes = [
        make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"], "quantise"),
        make_node("DequantizeLinear", ["q", "scale", "zero"], ["d"], "dequantise"),
        make_node("Transpose", ["d"], ["t"], "turn", perm=[0, 2, 3, 1]),
        make_node("Reshape", ["t", "sizes"], ["r"], "fold"),
        make_node("MatMul", ["r", "w"], ["y"], "mix"),
        make_node("Softmax", ["y"], ["z"], "softmax", axis=-1),
    ]
    coded = {"scale": np.array(0.1, np.float32), "zero": np.array(3, np.uint8), "w": values(3, 4),
             "sizes": np.array([0, -1, 3], np.int64)}  # fmt: skip
    branch = [helper.make_graph([make_node("Relu", ["x"], [name])], name, [], [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None)]) for name in ("yes", "no")]  # fmt: skip
    nested = [
        make_node("Twice", ["x"], ["a"], "twice", domain="own"),
        make_node("If", ["true"], ["b"], "if", then_branch=branch[0], else_branch=branch[1]),
        make_node("Add", ["a", "b"], ["y"], "add"),
    ]
    twice = helper.make_function(
        "own", "Twice", ["v"], ["w"], [make_node("Add", ["v", "v"], ["u"], "sum"), make_node("Relu", ["u"], ["w"], "relu")],
        [helper.make_opsetid("", 17)],
    )  # fmt: skip
    return {
        "network.onnx": model(network, weights, "y"),
        "codes.onnx": model(codes, coded, "z"),
        "nested.onnx": model(nested, {"true": np.array(True)}, "y", [twice]),
    }


def tflite_models() -> Seeds:
    """A small network, float and with codes, with metadata and zipped labels behind it."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT(version=3, description="tiny")
    graph = schema.SubGraphT(tensors=[], inputs=[0], outputs=[], operators=[], name="main")
    model.subgraphs, model.operatorCodes, model.buffers, model.metadata = [graph], [], [schema.BufferT()], []

    def tensor(name: str, shape: list[int], content: np.ndarray | None = None, kind: int = 0) -> int:
        buffer = 0
        if content is not None:
            model.buffers.append(schema.BufferT(data=np.frombuffer(content.tobytes(), np.uint8)))
            buffer = len(model.buffers) - 1
        graph.tensors.append(schema.TensorT(shape=shape, type=kind, buffer=buffer, name=name.encode()))
        if kind == schema.TensorType.INT8:
            codes = schema.QuantizationParametersT(scale=[0.1], zeroPoint=[3])
            graph.tensors[-1].quantization = codes
        return len(graph.tensors) - 1

    def operator(name: str, inputs: list[int], outputs: list[int], options: Any = None) -> None:
        code = getattr(schema.BuiltinOperator, name)
        model.operatorCodes.append(schema.OperatorCodeT(deprecatedBuiltinCode=code, builtinCode=code, version=1))
        node = schema.OperatorT(opcodeIndex=len(model.operatorCodes) - 1, inputs=inputs, outputs=outputs)
        if options is not None:
            node.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__.removesuffix("T"))
            node.builtinOptions = options
        graph.operators.append(node)

    image = tensor("image", [1, 8, 6, 3])
    first = tensor("conv1", [1, 8, 6, 4])
    weights = tensor("w1", [4, 3, 3, 3], values(4, 3, 3, 3)), tensor("b1", [4], values(4))
    options = schema.Conv2DOptionsT(strideW=1, strideH=1, fusedActivationFunction=1)
    operator("CONV_2D", [image, *weights], [first], options)
    pooled = tensor("pool", [1, 4, 3, 4])
    pooling = schema.Pool2DOptionsT(strideW=2, strideH=2, filterWidth=2, filterHeight=2)
    operator("MAX_POOL_2D", [first], [pooled], pooling)
    codes = tensor("codes", [1, 4, 3, 4], kind=schema.TensorType.INT8)
    operator("QUANTIZE", [pooled], [codes], schema.QuantizeOptionsT())
    plain = tensor("plain", [1, 4, 3, 4])
    operator("DEQUANTIZE", [codes], [plain], schema.DequantizeOptionsT())
    mean = tensor("mean", [1, 4])
    axes = tensor("axes", [2], np.array([1, 2], np.int32), schema.TensorType.INT32)
    operator("MEAN", [plain, axes], [mean], schema.ReducerOptionsT())
    scores = tensor("scores", [1, 2])
    dense = tensor("w2", [2, 4], values(2, 4)), tensor("b2", [2], values(2))
    operator("FULLY_CONNECTED", [mean, *dense], [scores], schema.FullyConnectedOptionsT())
    graph.outputs = [scores]
    named = (
        [schema.TensorMapT(name=b"image", tensorIndex=image)],
        [schema.TensorMapT(name=b"scores", tensorIndex=scores)],
    )
    model.signatureDefs = [
        schema.SignatureDefT(inputs=named[0], outputs=named[1], signatureKey=b"serving", subgraphIndex=0)
    ]
    model.metadata.append(schema.MetadataT(name=b"TFLITE_METADATA", buffer=len(model.buffers)))
    model.buffers.append(schema.BufferT(data=np.frombuffer(tflite_metadata(), np.uint8)))
    builder = flatbuffers.Builder(4096)
    builder.Finish(model.Pack(builder), b"TFL3")
    plain_file = bytes(builder.Output())
    return {
        "network.tflite": plain_file,
        "labels.tflite": plain_file + zipped([("labels.txt", b"cat\ndog\n", zipfile.ZIP_DEFLATED)]),
    }


def tflite_metadata() -> bytes:
    """The metadata of a model: its normalization, and the file of its labels (metadata_schema.fbs)."""
    import flatbuffers

    b = flatbuffers.Builder(512)

    def table(fields: dict[int, Any], size: int) -> int:
        b.StartObject(size)
        for slot, value in fields.items():
            if isinstance(value, bytes):
                b.PrependUint8Slot(slot, value[0], 0)
            else:
                b.PrependUOffsetTRelativeSlot(slot, value, 0)
        return int(b.EndObject())

    def vector(offsets: list[int]) -> int:
        b.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            b.PrependUOffsetTRelative(offset)
        return int(b.EndVector())

    def floats(*numbers: float) -> int:
        b.StartVector(4, len(numbers), 4)
        for value in reversed(numbers):
            b.PrependFloat32(value)
        return int(b.EndVector())

    normalization = table({0: floats(127.5), 1: floats(127.5)}, 2)
    unit = table({0: b"\1", 1: normalization}, 3)
    inputs = vector([table({4: vector([unit])}, 7)])
    label_file = b.CreateString("labels.txt")
    files = vector([table({0: label_file, 2: b"\2"}, 4)])
    outputs = vector([table({6: files}, 7)])
    graphs = vector([table({2: inputs, 3: outputs}, 10)])
    b.Finish(table({0: b.CreateString("tiny"), 3: graphs}, 8), b"M001")
    return bytes(b.Output())


def keras_models() -> Seeds:
    """A functional model and a nested one as `.keras` and `.h5`, and the file of an old Keras."""
    import keras

    keras.utils.set_random_seed(0)
    K = keras.layers
    inputs = keras.Input((8, 6, 3), name="image")
    x = K.ReLU(name="relu1")(K.BatchNormalization(name="norm1")(K.Conv2D(4, 3, padding="same", name="conv1")(inputs)))
    x = K.Add(name="add")([x, K.DepthwiseConv2D(3, padding="same", activation="swish", name="depth")(x)])
    outputs = K.Dense(2, activation="softmax", name="fc")(K.GlobalAveragePooling2D(name="gap")(x))
    models = {"network": keras.Model(inputs, outputs, name="tiny")}
    inside = keras.Sequential([K.Input((8, 6, 3)), K.Rescaling(1 / 255), K.Conv2D(2, 3, name="conv")], name="inside")
    models["nested"] = keras.Sequential([inside, K.Flatten(), K.Dense(2)], name="outside")
    return saved({f"{name}{suffix}": model.save for name, model in models.items() for suffix in (".keras", ".h5")})


def saved(writers: dict[str, Any]) -> Seeds:
    """The bytes of the files that some writers write; entries of a zip get a fixed date."""
    seeds = {}
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, write in writers.items():
            path = Path(folder, name)
            write(str(path))
            seeds[name] = path.read_bytes()
            if name.endswith(".keras"):
                with zipfile.ZipFile(path) as archive:
                    seeds[name] = zipped([(entry.filename, archive.read(entry), 0) for entry in archive.infolist()])
    return seeds


def torch_network() -> Any:
    import torch

    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3, padding=1), torch.nn.BatchNorm2d(4), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(), torch.nn.Linear(4, 2),
    ).eval()  # fmt: skip


def torch_models() -> Seeds:
    """A network as an exported program, pickled whole, and its state dict in both formats of zip and pickle."""
    import torch

    network = torch_network()
    program = torch.export.export(network, (torch.zeros(1, 3, 8, 6),))
    return saved(
        {
            "network.pt2": lambda path: torch.export.save(program, path),
            "whole.pt": lambda path: torch.save(network, path),
            "state.pt": lambda path: torch.save(network.state_dict(), path),
        }
    )


def torch_weights() -> Seeds:
    import torch
    from safetensors.torch import save

    state = torch_network().state_dict()
    old = {"_use_new_zipfile_serialization": False}
    files = saved(
        {
            "state.pth": lambda path: torch.save({"state_dict": state, "epoch": 3}, path),
            "old.pth": lambda path: torch.save(state, path, **old),
        }
    )
    return {**files, "state.safetensors": save(state)}


def maps() -> Seeds:
    """Feature maps with all that they keep, and the bases of two combinations that learn one."""
    fm = ls.FeatureMap.of_array(np.abs(values(2, 6, 5, 4)))
    bases = {"pca.npz": ls.pca_basis(fm, 2).save, "clusters.npz": ls.cluster_basis(fm, 2).save}
    return saved({"map.npz": fm.save, "mean.npz": ls.mean(fm).save, **bases})


def labels() -> Seeds:
    names = ["cat", "dog", "Ω", "a, b"]
    return {"labels.txt": "\n".join(names).encode(), "labels.json": json.dumps(names).encode()}


def weight_tables() -> Seeds:
    stream = io.BytesIO()
    np.save(stream, values(4))
    return {"weights.npy": stream.getvalue(), "line.csv": b"0.5,1,2,-3e-2\n", "table.csv": b"0,0.5\n2,1\n3,-1\n"}


def commands() -> Seeds:
    return {
        "layers.json": json.dumps(["layers", "model.onnx"]).encode(),
        "show.json": json.dumps(["show", "model.onnx", "photo.png", "-o", "out"]).encode(),
    }
