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
        "thin.png": (Image.fromarray(np.zeros((1, 20_000, 3), np.uint8)), {}),
        "palette.png": (photo.convert("P"), {"transparency": 3}),
        "deep.png": (Image.fromarray(rows.astype(np.uint16) * 200), {}),
        "alpha.webp": (photo.convert("RGBA"), {"lossless": True}),
        "lossy.webp": (photo, {"exif": exif.tobytes()}),
        "frames.gif": (photo, {"save_all": True, "append_images": [photo.rotate(90)]}),
        "packed.tif": (photo, {"compression": "tiff_lzw"}),
        "float.tif": (Image.fromarray((rows / 255).astype(np.float32)), {}),
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
