"""What can't be opened or read is refused with the reason and what to do instead."""

from __future__ import annotations

import json
import shutil
import zipfile
from typing import Any

import h5py
import numpy as np
import pytest

import layerscope as ls
from helpers.keras_models import K, images, keras, same, small_cnn, table, values
from helpers.wording import raises, wording

# Keras's own Variable, when Keras on TensorFlow turns it into an array
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


@pytest.fixture
def saved(tmp_path):
    model = small_cnn()
    model(images(1, 8, 8, 3))
    model.save(tmp_path / "model.keras")
    return tmp_path / "model.keras"


def changed(source: Any, target: Any, **files: bytes) -> Any:
    """A copy of a `.keras` file with other contents for some of its files."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            new.writestr(name, files.get(name.partition(".")[0], old.read(name)))
    return target


def test_a_file_of_a_newer_keras(saved, tmp_path):
    with zipfile.ZipFile(saved) as archive:
        config = json.loads(archive.read("config.json"))
    config["config"]["layers"][1]["class_name"] = "LayerOfTomorrow"
    config["config"]["layers"][1]["config"]["of_tomorrow"] = 1
    newer = changed(
        saved,
        tmp_path / "newer.keras",
        metadata=b'{"keras_version": "9.1.0"}',
        config=json.dumps(config).encode(),
    )
    with raises(ls.ModelNotReadable, "9.1.0"):
        ls.open(newer)


def test_damaged_files(saved, tmp_path):
    cut = tmp_path / "cut.keras"
    cut.write_bytes(saved.read_bytes()[: saved.stat().st_size // 2])
    with raises(ls.ModelNotReadable):
        ls.open(cut)
    with raises(ls.ModelNotReadable):
        ls.open(changed(saved, tmp_path / "weights.keras", model=b"no weights"))
    with raises(ls.ModelNotReadable):
        ls.open(changed(saved, tmp_path / "config.keras", config=b"{no json"))


def test_a_damaged_h5(tmp_path):
    model = small_cnn()
    model(images(1, 8, 8, 3))
    good, bad = tmp_path / "good.weights.h5", tmp_path / "bad.h5"
    model.save_weights(good)
    shutil.copy(good, bad)
    with h5py.File(bad, "r+") as file:
        file.attrs["model_config"] = "{no json"
    with raises(ls.ModelNotReadable, "bad.h5"):
        ls.open(bad)


def test_a_custom_object_can_be_built_by_a_factory_instead(tmp_path, monkeypatch):
    (tmp_path / "own_layers.py").write_text(
        "import keras\n"
        "class Twice(keras.layers.Layer):\n"
        "    def call(self, x):\n"
        "        return x * 2\n"
        "def build():\n"
        "    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name='dense'), Twice(name='twice')])\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    import own_layers

    model = own_layers.build()
    model.save_weights(tmp_path / "own.weights.h5")
    scope = ls.open("own_layers:build", weights=tmp_path / "own.weights.h5", preprocess=None)
    x = images(2, 3)
    same(scope.capture(x, "twice")["twice"].values, model(x))


def test_weights_of_another_shape_name_the_file(saved, tmp_path):
    other = keras.Sequential([keras.Input((8, 8, 3)), K.Conv2D(9, 3)])
    other.save_weights(tmp_path / "other.weights.h5")
    with raises(ls.ModelNotReadable):
        ls.open(saved, weights=tmp_path / "other.weights.h5")


def test_black_boxes_are_named_and_their_neighbours_shown():
    class KerasLayer(keras.Layer):
        """Stands for tensorflow_hub's, which runs a SavedModel's graph."""

        def call(self, x: Any) -> Any:
            return x * 3

    model, x = (
        keras.Sequential([K.ReLU(name="before"), KerasLayer(name="hub"), K.ReLU(name="after")]),
        images(1, 4, 4, 3),
    )
    wording(table(model, x)["hub"].note)
    same(values(model, x, "after")["after"], np.maximum(x, 0) * 3)


@pytest.mark.limit("a `.keras` file of a newer Keras")
def test_a_newer_keras(limit, tmp_path):
    keras.Sequential([keras.Input((3,)), K.Dense(2)]).save(tmp_path / "now.keras")
    with zipfile.ZipFile(tmp_path / "now.keras") as archive:
        config = json.loads(archive.read("config.json"))
    config["config"]["layers"][1]["class_name"] = "LayerOfTomorrow"
    newer = {"metadata": b'{"keras_version": "9.1.0"}', "config": json.dumps(config).encode()}
    with limit.raises("9.1.0", keras.__version__):
        ls.open(changed(tmp_path / "now.keras", tmp_path / "newer.keras", **newer))
