"""Files for Keras 3 that hold or name code, in every place that its loader reads, and ordinary ones beside them."""

from __future__ import annotations

import json
import threading
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from keras.src.backend.common import global_state

import layerscope as ls
from layerscope.backends.keras import load
from layerscope.backends.keras.backend import KerasBackend
from layerscope.backends.keras.load import from_reference
from layerscope.errors import ModelNotReadable, TrustRequired

K = keras.layers
BACKEND = KerasBackend()
OTHER = {"module": "antigravity", "class_name": "Evil", "registered_name": "Evil", "config": {}}
pytestmark = [
    pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file:UserWarning"),
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"),
]


def save(path: Path, *layers: Any) -> Path:
    model = keras.Sequential([keras.Input((4,)), *layers])
    model.save(path)
    return path


def change(path: Path, layer: dict[str, Any], **top: Any) -> Path:
    """The file with this in place of what its configuration says of the last layer, and of the model."""
    if path.suffix == ".h5":
        with h5py.File(path, "a") as file:
            config = json.loads(file.attrs["model_config"])
            config["config"]["layers"][-1] |= layer
            file.attrs["model_config"] = json.dumps(config | top)
        return path
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(parts["config.json"])
    config["config"]["layers"][-1] |= layer
    parts["config.json"] = json.dumps(config | top).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_a_lambda(canary, tmp_path, suffix):
    code = eval(f"lambda x: {canary.code} or x")
    file = save(tmp_path / f"evil{suffix}", K.Lambda(code, output_shape=(4,)))
    canary.hush()
    with canary.refused():
        ls.open(file, preprocess=None)
    keras.config.enable_unsafe_deserialization()  # a switch of the process isn't trust in this file
    try:
        with canary.refused():
            ls.open(file, preprocess=None)
    finally:
        global_state.set_global_attribute("safe_mode_saving", None)
    with canary.sung():
        ls.open(file, preprocess=None, trust=True).layers(np.zeros((1, 4), np.float32))


def function(module: str, name: str) -> dict[str, Any]:
    return {"module": module, "class_name": "function", "config": name, "registered_name": name}


LAMBDA = {"class_name": "__lambda__", "config": {"value": {"code": "x", "defaults": None, "closure": None}}}
REFUSED = {
    "code as a value": {"config": {"units": 2, "activation": LAMBDA}},
    "unsafe mode": {"config": {"units": 2, "activation": function("keras.config", "enable_unsafe_deserialization")}},
    "download": {"config": {"units": 2, "activation": function("keras.utils", "get_file")}},
    "another file": {"config": {"units": 2, "activation": function("keras.saving", "load_model")}},
    "applications": {"config": {"units": 2, "activation": function("keras.applications", "VGG16")}},
    "saved model": {"class_name": "TFSMLayer", "config": {"filepath": "/", "call_endpoint": "serve"}},
    "module of torch": {"class_name": "TorchModuleWrapper", "config": {"module": "gASVCw==", "output_shape": None}},
    "flax": {"class_name": "FlaxLayer", "config": {}},
    "jax": {"class_name": "JaxLayer", "config": {}},
    "wrapped": {"class_name": "TimeDistributed", "config": {"layer": {"class_name": "Lambda", "config": {}}}},
    "vocabulary": {"class_name": "StringLookup", "config": {"vocabulary": "/etc/hostname"}},
    "vocabulary in bytes": {
        "class_name": "TextVectorization",
        "config": {"vocabulary": {"class_name": "__bytes__", "config": {"value": "/etc/hostname"}}},
    },
    "class without a name": {"class_name": 3},
}


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
@pytest.mark.parametrize("name", REFUSED)
def test_what_may_run_code_or_read_files_is_refused(canary, tmp_path, name, suffix):
    file = change(save(tmp_path / f"evil{suffix}", K.Dense(2)), REFUSED[name])
    with canary.refused():
        BACKEND.load(file, None, False)


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
@pytest.mark.parametrize(
    "layer",
    [
        OTHER,
        {"config": {"units": 2, "kernel_initializer": OTHER}},
        {"build_config": {"input_shape": OTHER}},
        {"compile_config": {"loss": OTHER}},
        {"module": "keras.utils", "class_name": "FeatureSpace"},
        {"module": "keras.src.layers", "class_name": "deserialize"},
    ],
)
def test_classes_that_arent_known(canary, tmp_path, suffix, layer):
    file = change(save(tmp_path / f"evil{suffix}", K.Dense(2)), layer)
    with canary.refused(ModelNotReadable):
        BACKEND.load(file, None, False)


def test_the_model_itself(canary, tmp_path):
    file = change(save(tmp_path / "evil.keras", K.Dense(2)), {}, module="keras.saving", class_name="load_model")
    with canary.refused(ModelNotReadable):
        BACKEND.load(file, None, False)
    file = change(save(tmp_path / "evil.keras", K.Dense(2)), {}, **function("keras.utils", "get_file"))
    with canary.refused(TrustRequired):
        BACKEND.load(file, None, False)


@keras.saving.register_keras_serializable("Tests")
class Twice(K.Layer):
    """Registered, as users do."""

    def call(self, x: Any) -> Any:
        return x * 2


class Thrice(K.Layer):
    def call(self, x: Any) -> Any:
        return x * 3


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_ordinary_files_need_no_trust(tmp_path, sealed, suffix):
    """Operations, registered layers and functions, nested models, dtypes, regularizers, what training needs."""
    inputs = keras.Input((8, 8, 3))
    operations = keras.ops if suffix == ".keras" else None  # Keras doesn't read them from .h5 itself
    x = operations.relu(inputs * 2.0 - 1.0) if operations else inputs
    conv = K.Conv2D(4, 3, kernel_initializer="he_normal", kernel_regularizer="l2", kernel_constraint="max_norm")
    x = keras.Sequential([conv, K.BatchNormalization(dtype="mixed_bfloat16"), K.Activation("silu")])(x)
    x = Thrice()(Twice()(x))
    x = operations.mean(x, axis=(1, 2)) if operations else K.GlobalAveragePooling2D()(x)
    x = K.TimeDistributed(K.Dense(2))(K.Reshape((1, -1))(x))
    model = keras.Model(inputs, K.Dense(2, activation=keras.activations.gelu)(K.Flatten()(x)))
    model.compile(loss=keras.losses.MeanSquaredError(), optimizer="adam")
    model.save(tmp_path / f"new{suffix}")
    batch = np.ones((1, 8, 8, 3), np.float32)
    with keras.saving.custom_object_scope({"Thrice": Thrice}):
        opened = BACKEND.load(tmp_path / f"new{suffix}", None, False)
    np.testing.assert_allclose(np.asarray(opened(batch)), np.asarray(model(batch)), rtol=1e-5)


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_quantized_models_need_no_trust(tmp_path, suffix):
    model = keras.Sequential([keras.Input((4,)), K.Dense(2)])
    model.layers[0].quantize("int8")
    model.save(tmp_path / f"int8{suffix}")
    assert BACKEND.load(tmp_path / f"int8{suffix}", None, False).layers[0].quantization_mode == "int8"


@pytest.mark.parametrize("suffix", [".H5", ".KERAS"])
def test_suffixes_in_capital_letters(canary, tmp_path, suffix):
    file = save(tmp_path / f"new{suffix.lower()}", K.Dense(2)).rename(tmp_path / f"new{suffix}")
    BACKEND.load(file, None, False)
    file = change(save(tmp_path / f"evil{suffix.lower()}", K.Dense(2)), {"class_name": "Lambda"})
    with canary.refused():
        BACKEND.load(file.rename(tmp_path / f"evil{suffix}"), None, False)


def test_a_reference_replaces_nothing_that_another_thread_uses(tmp_path, monkeypatch):
    """While a model is opened by name, another thread still finds Keras's own `get_file`."""
    from keras.src.applications import resnet_v2
    from keras.src.utils import file_utils

    monkeypatch.setattr("keras.src.backend.config._KERAS_DIR", str(tmp_path))
    original, seen, done = file_utils.get_file, [], threading.Event()
    watcher = threading.Thread(target=lambda: seen.extend(_sample(file_utils, done)))
    watcher.start()
    with pytest.warns(ls.errors.RandomWeights):
        from_reference("MobileNet")
    done.set()
    watcher.join()
    assert set(seen) == {original}
    files = SimpleNamespace()
    copies = load._copies(resnet_v2, files)  # the weights are asked for in the module `resnet`
    assert copies["resnet"].ResNet.__globals__["file_utils"] is files
    assert resnet_v2.resnet.ResNet.__globals__["file_utils"] is file_utils


def _sample(module: Any, done: threading.Event) -> set[Any]:
    found = {module.get_file}
    while not done.wait(0.0005):
        found.add(module.get_file)
    return found
