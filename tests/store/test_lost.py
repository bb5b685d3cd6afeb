"""Results of images that are gone are kept, or the scan refuses before it writes; other images and places are refused."""

import os
import shutil

import numpy as np
import pytest
from PIL import Image

import layerscope as ls
from helpers.stores import contents, small_scan, write_images
from helpers.wording import raises
from layerscope.store import scan
from layerscope.store.arrays import import_zarr
from layerscope.store.storage import Folder


@pytest.fixture
def images(tmp_path):
    return write_images(tmp_path / "images", 12)


@pytest.fixture
def store(tmp_path):
    return tmp_path / "store"


def means(store):
    return import_zarr().open_array(store.storage.zarr(), path="pooled.zarr/conv1/mean", mode="r")[...]


def test_new_images_beside_ones_that_are_gone_are_refused_before_anything_is_written(images, store):
    small_scan(images, store)
    before, runs = contents(store), (store / "provenance.json").read_bytes()
    for name in ("9.png", "11.png", "2.png"):
        (images / name).rename(images.parent / name)
    shutil.copy(images / "0.png", images / "new.png")
    with raises(ls.BadOption, "2 images", "9.png, 11.png", "1 new image", "store="):
        small_scan(images, store)
    assert contents(store) == before and (store / "provenance.json").read_bytes() == runs
    for name in ("9.png", "11.png"):
        (images.parent / name).rename(images / name)
    made = small_scan(images, store)
    assert made.outcomes["already there"] == 8 and made.outcomes["done"] == 5 and not made.failures
    assert len(means(made)) == 13 and not np.isnan(means(made)).any()


def maps_of(store, row):
    """The maps of an image that the last stage has left, by layer and channel."""
    places = [(kept.name, channel) for kept in store.plan.layers for channel in kept.channels]
    maps = {place: store.gallery.map(*place, row) for place in places}
    return {place: values for place, values in maps.items() if values is not None}


@pytest.mark.parametrize("interrupted", [False, True])
def test_new_images_of_a_new_unit_leave_those_that_are_gone_alone(images, store, monkeypatch, interrupted):
    for number in range(12, 16):
        shutil.copy(images / f"{number - 12}.png", images / f"{number}.png")
    first = small_scan(images, store)
    old, photo, shown = means(first), first.gallery.photo(9), maps_of(first, 9)
    assert photo is not None and shown
    (images / "9.png").unlink()
    shutil.copy(images / "0.png", images / "new.png")
    if interrupted:  # once the first part of the last stage is written over
        put = Folder.put

        def full(storage, name, data):
            put(storage, name, data)
            if name == "top/receipts/000000.json":
                raise KeyboardInterrupt

        monkeypatch.setattr(Folder, "put", full)
        with pytest.raises(KeyboardInterrupt):
            small_scan(images, store)
        monkeypatch.undo()
    made = small_scan(images, store)
    assert np.array_equal(means(made)[:16], old) and not made.failures and not (store / "top/gone.npz").exists()
    assert np.array_equal(made.gallery.photo(9), photo)
    again = maps_of(made, 9)
    assert again.keys() >= shown.keys() and all(np.array_equal(again[key], shown[key]) for key in shown)


def test_a_changed_image_and_damage_beside_one_that_is_gone_are_refused(images, store):
    small_scan(images, store)
    before = contents(store)
    (images / "1.png").rename(images.parent / "1.png")
    kept = (images / "3.png").read_bytes()
    shutil.copy(images / "10.png", images / "3.png")
    with raises(ls.BadOption, "1.png", "3.png"):
        small_scan(images, store)
    assert contents(store) == before
    (images / "3.png").write_bytes(kept)
    shard = next((store / "pooled.zarr/conv1/mean").rglob("c/0/0"))
    shard.write_bytes(shard.read_bytes()[:-1])
    torn = contents(store)
    with raises(ls.BadOption, "1.png", "pooled.zarr/conv1/mean/c/0/0"):
        small_scan(images, store)
    receipt = store / "receipts/000000.json"
    receipt.write_bytes(receipt.read_bytes()[:-9])
    with raises(ls.BadOption, "1.png", "receipts/000000.json"):
        small_scan(images, store)
    receipt.write_bytes(before["receipts/000000.json"])
    assert contents(store) == torn
    (images.parent / "1.png").rename(images / "1.png")
    small_scan(images, store)
    assert contents(store) == before


def test_an_image_of_which_other_bytes_are_there_has_changed_though_they_are_none(images, store):
    small_scan(images, store)
    (images / "3.png").write_bytes(b"no image any more")
    made = small_scan(images, store)
    assert [image.id for image in made.failures] == ["3.png"]
    (images / "3.png").unlink()  # of which there are no results
    shutil.copy(images / "0.png", images / "1.png")
    made = small_scan(images, store)
    assert [(image.id, image.outcome) for image in made.failures] == [("3.png", "missing")]


def test_an_image_that_is_gone_is_not_changed_though_its_size_in_the_manifest_is_another(images, store, monkeypatch):
    small_scan(images, store)
    before = contents(store)
    Image.new("RGB", (40, 40)).save(images / "3.png")

    def stopped(self, storage):
        raise KeyboardInterrupt

    monkeypatch.setattr("layerscope.store.unit.Filled.write", stopped)
    with pytest.raises(KeyboardInterrupt):
        small_scan(images, store)
    monkeypatch.undo()
    assert contents(store)["manifest.jsonl.gz"] != before["manifest.jsonl.gz"]
    (images / "3.png").unlink()
    made = small_scan(images, store)
    assert made.outcomes["already there"] == 12 and not made.failures


@pytest.mark.parametrize("workers", [1, 2])
def test_an_image_that_goes_between_listing_and_reading_leaves_the_unit_as_it_was(images, store, monkeypatch, workers):
    small_scan(images, store)
    before = {name: data for name, data in contents(store).items() if "/c/0/" in name or "000000" in name}
    assert len(before) > 6
    for name in ("3.png", "9.png"):  # both units are done again
        shutil.copy(images / "0.png", images / name)

    run = scan.run

    def begun(job):
        (images / "5.png").rename(images.parent / "5.png")
        return run(job)

    monkeypatch.setattr(scan, "run", begun)
    with raises(ls.BadOption, "5.png", "store="):
        small_scan(images, store, workers=workers)
    monkeypatch.undo()
    after = contents(store)
    assert {name: after[name] for name in before} == before
    (images.parent / "5.png").rename(images / "5.png")
    made = small_scan(images, store)
    assert not made.failures and not np.isnan(means(made)).any()


def test_arrays_that_are_not_given_any_more_keep_their_results(store):
    arrays = [np.full((8, 8, 3), grey, np.uint8) for grey in range(0, 240, 20)]
    old = means(small_scan(arrays, store))
    made = small_scan(arrays[:9], store)
    assert np.array_equal(means(made), old) and not made.failures
    with raises(ls.BadOption, "array-3"):
        small_scan([*arrays[:2], np.zeros((8, 8, 3), np.uint8)], store)


def test_images_none_of_which_the_store_has_are_another_data_set(images, store, tmp_path):
    small_scan(images, store)
    before = contents(store)
    nested = write_images(tmp_path / "nested", 12, classes=("cat", "dog"))
    with raises(ls.BadOption, str(images), str(nested), "store="):
        small_scan(nested, store)
    (store / "provenance.json").unlink()
    with raises(ls.BadOption, str(nested)):
        small_scan(nested, store)
    assert contents(store) == before


def test_a_store_and_the_images_lie_beside_one_another(images, tmp_path, monkeypatch):
    nested = write_images(tmp_path / "nested", 4, classes=("cat", "dog"))
    (tmp_path / "link").symlink_to(nested, target_is_directory=True)
    monkeypatch.chdir(nested)
    refused = [
        (images, images),
        (nested, nested / "store"),
        (".", "cat/store"),
        (tmp_path / "link", nested / "store"),
        (images, tmp_path),
        (f"{images}/*.png", images),
        (f"{nested}/*/*.png", nested / "cat"),
        ([nested / "cat", images / "1.png"], nested),
        ([images / "0.png", images / "1.png"], images),
    ]
    for given, store in refused:
        with raises(ls.BadOption, "store="):
            small_scan(given, store)
        assert not os.path.exists(os.path.join(store, "lock"))
    (images / "list.csv").write_text("path\n../nested/cat/0.png\n")
    small_scan(images / "list.csv", images / "store")  # no image lies in it
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "list.csv").write_text("path\n../nested/cat/0.png\n")
    small_scan(tmp_path / "lists" / "list.csv", tmp_path / "lists")
    small_scan(f"{images}/*.png", images / "run")
    small_scan(images, tmp_path / "images-store")
