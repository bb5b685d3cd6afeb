"""Ready batches in files: one array, several by name or in order, numbers for all images, foreign orders of bytes."""

from __future__ import annotations

import numpy as np
import pytest

import layerscope as ls
from helpers.wording import raises
from layerscope.inputs.arrays import read_ready
from layerscope.inputs.recipe import READY
from layerscope.scope.batches import count_images
from layerscope.testing import TinyBackend, tiny_model

X, S = np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype(np.float32), np.ones((2, 1))


def saved(tmp_path, *arrays, **named):
    np.savez(tmp_path / "batch.npz", *arrays, **named)
    return [str(tmp_path / "batch.npz")]


def test_arrays_without_names_come_in_order(tmp_path):
    batch = read_ready(saved(tmp_path, *[X + number for number in range(12)]))
    assert isinstance(batch, tuple)
    assert [round(float((part - X).mean())) for part in batch] == list(range(12))
    assert isinstance(read_ready(saved(tmp_path, X)), np.ndarray)
    assert list(read_ready(saved(tmp_path, scale=S, image=X))) == ["scale", "image"]
    with raises(ls.BadOption, "arr_0", "scale"):
        read_ready(saved(tmp_path, X, scale=S))


def test_files_are_joined_and_numbers_for_all_images_stay(tmp_path):
    (path,) = saved(tmp_path, image=X, scale=np.float32(2))
    batch = read_ready([path, path])
    assert batch["image"].shape == (4, 3, 8, 8) and batch["scale"].shape == ()
    (path,) = saved(tmp_path, X, S)
    assert [part.shape for part in read_ready([path, path])] == [(4, 3, 8, 8), (4, 1)]


def test_images_are_counted_past_numbers():
    assert count_images({"scale": np.float32(2), "image": X}, READY) == 2
    with raises(ls.BadOption):
        count_images(np.float32(2), READY)


def test_objects_are_named_and_never_unpickled(tmp_path):
    with raises(ls.BadOption, "'odd'"):
        read_ready(saved(tmp_path, odd=np.array([{}, 1], object), image=X))
    np.save(tmp_path / "odd.npy", np.array([{}, 1], object))
    with raises(ls.BadOption, "odd.npy"):
        read_ready([str(tmp_path / "odd.npy")])


@pytest.mark.parametrize("dtype", [">f4", "<f4"])
def test_foreign_orders_of_bytes_are_read(dtype):
    scope = ls.open(tiny_model(), backend=TinyBackend(), preprocess=None)
    expected = scope.capture(X, "conv1")["conv1"].values
    np.testing.assert_array_equal(scope.capture(X.astype(dtype), "conv1")["conv1"].values, expected)
