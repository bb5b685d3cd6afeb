"""HDF5 files that have other files read as weights, in every file of Keras that holds HDF5, and files that claim too much."""

from __future__ import annotations

import contextlib
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import tf_keras

from helpers.canary import SECRET
from layerscope.backends.keras.hdf5 import check_weights
from layerscope.backends.tf_keras.backend import TfKerasBackend
from layerscope.errors import ModelNotReadable

BACKEND = TfKerasBackend()
SHAPE = (4, 2)
pytestmark = pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file:UserWarning")


def external(file: h5py.File, name: str, secret: Path) -> None:
    file.create_dataset(name, SHAPE, "f4", external=[(str(secret / "raw"), 0, 32)])


def external_link(file: h5py.File, name: str, secret: Path) -> None:
    file[name] = h5py.ExternalLink(str(secret / "file.h5"), "/kernel")


def soft_link(file: h5py.File, name: str, secret: Path) -> None:
    file["elsewhere"] = h5py.ExternalLink(str(secret / "file.h5"), "/kernel")
    file[name] = h5py.SoftLink("/elsewhere")


def virtual(file: h5py.File, name: str, secret: Path) -> None:
    layout = h5py.VirtualLayout(SHAPE, "f4")
    layout[:] = h5py.VirtualSource(str(secret / "file.h5"), "kernel", SHAPE)
    file.create_virtual_dataset(name, layout)


ATTACKS = [external, external_link, soft_link, virtual]


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, Path]:
    """A model as each file of Keras, written once."""
    folder = tmp_path_factory.mktemp("models")
    model = tf_keras.Sequential([tf_keras.Input((4,)), tf_keras.layers.Dense(2, name="dense")])
    for name in ("model.h5", "model.keras"):
        model.save(folder / name)
    for name in ("new.weights.h5", "old.h5"):
        model.save_weights(folder / name)
    return {path.name: path for path in folder.iterdir()}


def attacked(source: Path, folder: Path, attack: Callable[..., None], secret: Path) -> Path:
    """A copy of a file, in which the kernel lies in the secret."""
    (secret / "raw").write_bytes(np.full(SHAPE, SECRET, "f4").tobytes())
    with h5py.File(secret / "file.h5", "w") as file:
        file["kernel"] = np.full(SHAPE, SECRET, "f4")
    copy = Path(shutil.copy(source, folder))
    inner = folder / "inner.h5" if copy.suffix == ".keras" else copy
    if copy.suffix == ".keras":
        with zipfile.ZipFile(copy) as archive:
            parts = {name: archive.read(name) for name in archive.namelist()}
        inner.write_bytes(parts["model.weights.h5"])
    with h5py.File(inner, "a") as file:
        names: list[str] = []
        file.visititems(lambda name, item: names.append(name) if getattr(item, "shape", None) == SHAPE else None)
        del file[names[0]]
        attack(file, names[0], secret)
    if copy.suffix == ".keras":
        with zipfile.ZipFile(copy, "w") as archive:
            for name, content in {**parts, "model.weights.h5": inner.read_bytes()}.items():
                archive.writestr(name, content)
    return copy


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("name", ["model.h5", "model.keras", "new.weights.h5", "old.h5"])
def test_numbers_of_another_file(canary, tmp_path, models, name, attack):
    file = attacked(models[name], tmp_path, attack, canary.secret)
    model, weights = (file, None) if name.startswith("model") else (models["model.h5"], file)
    with canary.refused(ModelNotReadable, file.name):
        BACKEND.load(model, weights, False)
    with canary.refused(ModelNotReadable, file.name):  # no trust in code is one in links
        BACKEND.load(model, weights, True)
    if name == "model.h5":  # the attack is one: whoever reads the file reads the secret
        with h5py.File(file) as opened:
            assert opened["model_weights/dense/dense/kernel:0"][0, 0] == SECRET


def test_a_compressed_archive(canary, tmp_path, models):
    file = attacked(models["model.keras"], tmp_path, external, canary.secret)
    with zipfile.ZipFile(file) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    with pytest.raises(ModelNotReadable, match="in other files"):
        check_weights(file)


@pytest.mark.limit("Keras weights with links")
def test_links(limit, canary, tmp_path, models):
    file = attacked(models["model.h5"], tmp_path, soft_link, canary.secret)
    with limit.raises("elsewhere"):
        BACKEND.load(file, None, True)
    limit.shows("trust=True")


def test_parts_of_weights_lie_beside_their_list(canary, tmp_path, models):
    shutil.copy(models["new.weights.h5"], tmp_path / "part.weights.h5")
    whole = tmp_path / "x.weights.json"
    for names in ("part.weights.h5", ["part.weights.h5"]):
        whole.write_text(json.dumps({"weight_map": {"/dense/vars": names}}))
        check_weights(whole)
    for name in ("../part.weights.h5", str(tmp_path / "part.weights.h5"), "x.weights.json", "missing.h5"):
        whole.write_text(json.dumps({"weight_map": {"/dense/vars": [name]}}))
        with canary.refused(ModelNotReadable):
            check_weights(whole)
    attacked(models["new.weights.h5"], canary.secret, external, canary.secret).rename(tmp_path / "evil.h5")
    whole.write_text(json.dumps({"weight_map": {"/dense/vars": "evil.h5"}}))
    with canary.refused(ModelNotReadable, "evil.h5"):
        check_weights(whole)


def test_a_part_of_weights_that_the_list_leaves_out(canary, tmp_path, models):
    """Keras opens the first one by its name, and reads what the list doesn't have from it."""
    attacked(models["new.weights.h5"], canary.secret, external, canary.secret).rename(tmp_path / "x_00000.weights.h5")
    (tmp_path / "x.weights.json").write_text(json.dumps({"weight_map": {}}))
    with canary.refused(ModelNotReadable, "x_00000"):
        check_weights(tmp_path / "x.weights.json")


def test_a_part_of_weights_that_links_elsewhere(canary, tmp_path, models):
    shutil.copy(models["new.weights.h5"], canary.secret / "part.h5")
    (tmp_path / "part.h5").symlink_to(canary.secret / "part.h5")
    (tmp_path / "x.weights.json").write_text(json.dumps({"weight_map": {"/dense/vars": "part.h5"}}))
    with canary.refused(ModelNotReadable, "part.h5"):
        check_weights(tmp_path / "x.weights.json")
    (canary.secret / "x.weights.json").write_bytes((tmp_path / "x.weights.json").read_bytes())
    (tmp_path / "x.weights.json").unlink()
    (tmp_path / "x.weights.json").symlink_to(canary.secret / "x.weights.json")  # both link to one folder, as in a cache
    check_weights(tmp_path / "x.weights.json")


def test_suffixes_in_capital_letters(tmp_path, models):
    for name in models:
        target = tmp_path / Path(name).with_suffix(Path(name).suffix.upper())
        shutil.copy(models[name], target)
        model, weights = (target, None) if name.startswith("model") else (models["model.h5"], target)
        BACKEND.load(model, weights, False)


def test_more_numbers_than_memory(tmp_path):
    """A data set that was never written takes no room in the file, and all of its size once it is read."""
    with h5py.File(tmp_path / "huge.h5", "w") as file:
        file.create_dataset("x", (10**6, 10**6), "f4", chunks=(1000, 1000))
    assert (tmp_path / "huge.h5").stat().st_size < 1e5
    with pytest.raises(ModelNotReadable, match="memory"):
        check_weights(tmp_path / "huge.h5")


@pytest.mark.parametrize("name", ["model.h5", "model.keras", "new.weights.h5"])
def test_damaged_files_are_one_named_error(tmp_path, models, name):
    """Cut off anywhere, or with bytes changed: opened, or refused by name; nothing else."""
    content, random = models[name].read_bytes(), np.random.default_rng(0)
    for case in range(12):
        damaged = bytearray(content[: random.integers(len(content))] if case % 2 else content)
        for place in random.integers(0, max(1, len(damaged)), 12) if case % 4 > 1 else ():
            damaged[place : place + 1] = bytes([random.integers(256)])
        file = tmp_path / f"damaged.{name}"
        file.write_bytes(damaged)
        model, weights = (file, None) if name.startswith("model") else (models["model.h5"], file)
        with contextlib.suppress(ModelNotReadable):
            BACKEND.load(model, weights, False)
