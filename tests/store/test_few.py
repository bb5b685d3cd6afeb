"""Stores with little in them, or nothing: one image, none that can be read, one class, a layer of NaN, 1, 2 and 3 axes."""

import numpy as np
import pytest

import layerscope as ls
from helpers.stores import small_scan, small_store, write_images
from helpers.wording import raises
from layerscope import BadOption
from layerscope.cli import main
from layerscope.store.held import Held
from layerscope.testing.tiny import Step, TinyModel


def tiny(**layers):
    """A model of layers by axes and a function."""
    return TinyModel([Step(name, "Odd", axes, function) for name, (axes, function) in layers.items()])


def means(x):
    return x.mean((2, 3))


def test_a_store_without_an_image_that_could_be_read_says_so_and_has_a_report(tmp_path):
    images = write_images(tmp_path / "images", 5, classes=("cat", "dog"))
    for file in images.rglob("*.png"):
        file.write_bytes(b"no image")
    store = small_scan(images, tmp_path / "store", keep="maps")
    for ask in (lambda: store.top("conv1", 0), lambda: store.top("conv1", 0, samples=True)):
        with raises(BadOption, "5 images"):
            ask()
    for ask in (store.classes, store.class_means, store.scatter):
        with raises(BadOption, "0"):
            ask("conv1")
    with raises(BadOption):
        store.similar_channels("conv1", 0)
    with raises(BadOption, "there are 0"):
        store.cka()
    assert np.isnan(store.stats("conv1")["mean"]).all()
    assert main(["report", "--store", str(tmp_path / "store"), "-o", str(tmp_path / "r.html")]) == 0
    assert "0 of 5 images were read" in (tmp_path / "r.html").read_text()


def test_a_store_of_one_image_answers(tmp_path):
    store = small_store(tmp_path, 1, classes=("",), keep="maps")
    assert store.top("conv1", 0).title == "conv1 · channel 0 · top 1 of 1 image"
    assert len(store.top("conv1", 0, samples=True).cells) == 1
    assert np.isnan(store.similar_channels("conv1", 0)["correlation"]).all()
    assert len(store.similar_images("conv1", 0)) == 0
    assert ls.report(store, path=tmp_path / "r.html").exists()


def test_of_two_images_every_correlation_would_be_one(tmp_path):
    store = small_store(tmp_path, 2)
    assert np.isnan(store.similar_channels("conv1", 0)["correlation"]).all()


def test_one_class_tells_nothing_apart_and_is_in_the_report(tmp_path):
    images = write_images(tmp_path / "images", 6, classes=("cat", "dog"))
    for file in (images / "dog").iterdir():
        file.write_bytes(b"no image")
    store = small_scan(images, tmp_path / "store")
    for ask in (store.classes, store.class_means):
        with raises(BadOption, "1 class"):
            ask("conv1")
    assert "in the order of how many deviations" in ls.report(store, path=tmp_path / "r.html").read_text()


def test_a_layer_of_nan_leaves_the_others_alone(tmp_path):
    images = write_images(tmp_path / "images", 9, classes=("cat", "dog"))
    model = tiny(good=("bc", means), bad=("bc", lambda x: x * np.float32(np.nan)))
    store = small_scan(images, tmp_path / "store", ["good", "bad"], model=model)
    table = store.cka()
    assert table["good"][0] == pytest.approx(1)
    assert np.isnan(table["bad"]).all()
    assert "doesn't tell the images apart" in str(table)
    with raises(BadOption, "aren't finite"):
        store.similar_images("bad", 0)
    report = ls.report(store, path=tmp_path / "r.html").read_text()
    assert "No plane of images: a plane needs" in report
    assert "Answers most to" in report


def test_a_layer_that_is_the_same_for_all_images_lies_at_one_point(tmp_path):
    images = write_images(tmp_path / "images", 7)
    store = small_scan(images, tmp_path / "store", ["same"], model=tiny(same=("bc", lambda x: means(x) * 0 + 0.1)))
    picture = store.scatter()
    assert "all lie at one point" in " ".join(picture.lines)
    assert any("PC1 · 0% of the variance" in text.text for text in picture.drawing.lines)


@pytest.mark.parametrize(
    ("axes", "function"),
    [
        ("bc", lambda x: x.mean((1, 2, 3))[:, None]),
        ("bnc", lambda x: x.reshape(len(x), 3, -1).transpose(0, 2, 1)),
        ("bcdhw", lambda x: np.stack([x, 2 * x], 2)),
        ("bcqk", lambda x: x),
    ],
)
def test_layers_without_rows_and_columns_are_shown_as_photos(tmp_path, axes, function):
    images = write_images(tmp_path / "images", 5, classes=("cat", "dog"))
    store = small_scan(images, tmp_path / "store", ["a/b:1"], model=tiny(**{"a/b:1": (axes, function)}), keep="maps")
    values = store.feature_map("a/b:1", range(5)).values
    flat = values.reshape(5, -1, values.shape[-1])
    np.testing.assert_allclose(store.stats()["mean"], flat.mean((0, 1)), rtol=2e-3)
    order = np.argsort(-flat[..., 0].max(1), kind="stable")
    picture = store.top(None, 0, view="crop")
    assert [cell.note for cell in picture.cells] == [store.ids[row] for row in order]
    assert "What the model saw of each photo" in " ".join(picture.lines)
    assert store.maps().dims[0] == "image"
    assert ls.report(store, path=tmp_path / "r.html").exists()


def test_images_without_a_photo_keep_their_rank(tmp_path, monkeypatch):
    store = small_store(tmp_path, 9)
    first = int(store.tally("conv1").top_image[0, 0])
    photo = Held.photo
    monkeypatch.setattr(Held, "photo", lambda held, row: None if row == first else photo(held, row))
    picture = store.top("conv1", 0, k=3)
    drawn = [text.text for text in picture.drawing.lines]
    assert {"2", "3"} <= set(drawn)
    assert "1" not in drawn
    assert "1 image had gone" in " ".join(picture.lines)


def test_the_peak_is_the_value_above_the_photo_and_not_its_float16(tmp_path):
    store = small_store(tmp_path, 9)
    tally = store.tally("conv1")
    picture = store.top("conv1", 1, k=2)
    assert picture.cells[0].high == tally.top_value[1, 0] != np.float16(tally.top_value[1, 0])


def test_umap_is_refused_for_fewer_images_than_it_takes(tmp_path):
    with raises(BadOption, "5", "4"):
        small_store(tmp_path, 4).scatter("conv1", method="umap")


def test_stores_of_other_files_of_the_same_names_are_compared_and_it_is_said(tmp_path):
    one = small_store(tmp_path / "one", 9)
    images = write_images(tmp_path / "other" / "images", 9, classes=("cat", "dog"), seed=1)
    other = small_scan(images, tmp_path / "other" / "store")
    for table in (one.compare(other, "conv1"), one.cka(other)):
        assert "other files of the same names in the two stores: cat/0.png and 8 more" in table.notes
    assert not one.compare(one, "conv1").notes
    assert not one.cka(small_scan(tmp_path / "one" / "images", tmp_path / "again")).notes


def test_a_file_in_place_of_a_store_is_refused(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    for ask in (ls.open_store, ls.check_store):
        with raises(BadOption, "a.png"):
            ask(tmp_path / "a.png")
    (tmp_path / "b" / "store.json").mkdir(parents=True)
    with raises(BadOption, "store.json"):
        ls.open_store(tmp_path / "b")


def test_classes_named_as_columns_keep_all_their_columns(tmp_path):
    store = small_store(tmp_path, 9, classes=("channel", "channel (2)", "z"))
    assert list(store.class_means("conv1").columns) == ["channel", "channel (2)", "channel (2) (2)", "z"]


def test_what_a_unit_left_that_isnt_done_is_no_answer(tmp_path):
    whole = small_store(tmp_path, 24, keep="maps")
    vectors = whole.vectors("conv1")
    (tmp_path / "store" / "receipts" / "000001.json").unlink()
    store = ls.open_store(tmp_path / "store")
    assert np.isnan(store.vectors("conv1")[8:16]).all()
    np.testing.assert_array_equal(
        np.delete(store.vectors("conv1"), range(8, 16), 0), np.delete(vectors, range(8, 16), 0)
    )
    assert len(store.similar_images("conv1", 0, count=99)) == 15
    for ask in (lambda: store.similar_images("conv1", 9), lambda: store.feature_map("conv1", [0, 9])):
        with raises(BadOption, store.ids[9]):
            ask()
