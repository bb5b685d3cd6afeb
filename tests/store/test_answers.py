"""What a store answers, against the same computed from the maps that a capture gives of the same images."""

import json

import numpy as np
import pytest

import layerscope as ls
from helpers.stores import OPENING, small_scan, small_store, write_images
from helpers.wording import raises
from layerscope import BadChannels, BadOption, LayerNotFound
from layerscope.cli import main
from layerscope.store.store import open_store
from layerscope.store.table import Table
from layerscope.testing import tiny_model

COUNT = 24


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("answers")


@pytest.fixture(scope="module")
def store(folder):
    """A store with maps, of which one image couldn't be read."""
    images = write_images(folder / "images", COUNT, classes=("cat", "dog", "owl"))
    (images / "dog" / "1.png").write_bytes(b"no image")
    small_scan(images, folder / "store", keep="maps", dtype="float32")
    return open_store(folder / "store")


@pytest.fixture(scope="module")
def maps(store, folder):
    """What a capture gives of the images that could be read, `[image, channel, *spatial]` by layer, and their rows."""
    rows = [row for row, id in enumerate(store.ids) if id != "dog/1.png"]
    scope = ls.open(tiny_model(), **OPENING)
    captured = scope.capture([folder / "images" / store.ids[row] for row in rows], list(store.layers), batch=4)
    return rows, {path: np.moveaxis(fm.values, -1, 1) for path, fm in captured.items()}


def test_images_have_their_classes_and_outcomes(store):
    table = store.images
    assert len(table) == COUNT
    assert set(table["label"]) == {"cat", "dog", "owl"}
    (broken,) = [row for row in table if row["outcome"] != "done"]
    assert broken["image"] == "dog/1.png"
    assert broken["reason"]
    assert [outcome.id for outcome in store.failures] == ["dog/1.png"]


def test_statistics_are_those_of_all_values(store, maps):
    for layer, values in maps[1].items():
        table, flat = store.stats(layer), np.moveaxis(values, 1, 0).reshape(values.shape[1], -1).astype(np.float64)
        np.testing.assert_allclose(table["min"], flat.min(1), rtol=1e-5)  # batches of other sizes round otherwise
        np.testing.assert_allclose(table["max"], flat.max(1), rtol=1e-5)
        np.testing.assert_allclose(table["mean"], flat.mean(1), rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(table["deviation"], flat.std(1), rtol=1e-5)
        np.testing.assert_array_equal(table["sparsity"], (flat == 0).mean(1))
        np.testing.assert_array_equal(table["positive"], (flat > 0).mean(1))
        for name, level in (("q05", 0.05), ("median", 0.5), ("q95", 0.95)):
            exact = np.quantile(flat, level, axis=1)
            np.testing.assert_allclose(table[name], exact, rtol=0.04, atol=0.04 * np.abs(flat).max())
        assert int(table.title.split(" in ")[1].split()[0]) == (COUNT - 1)


def test_a_histogram_counts_every_value_between_its_edges(store, maps):
    values = maps[1]["conv1"][:, 2].ravel().astype(np.float16)
    table = store.histogram("conv1", 2)
    assert table["count"].sum() == values.size
    for row in table:
        assert ((values >= row["low"]) & (values <= row["high"])).sum() >= row["count"] > 0
    assert (np.diff(table["low"]) > 0).all()


def test_vectors_and_maps_are_those_of_a_capture(store, maps):
    rows, captured = maps
    for layer, values in captured.items():
        flat = values.reshape(*values.shape[:2], -1)
        np.testing.assert_allclose(store.vectors(layer)[rows], flat.mean(2), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(store.vectors(layer, "max")[rows], flat.max(2), rtol=1e-5)
        assert np.isnan(store.vectors(layer)[store.ids.index("dog/1.png")]).all()
        fm = store.feature_map(layer, [store.ids[rows[3]], rows[5]], channels=[3, 1])
        np.testing.assert_allclose(np.moveaxis(fm.values, -1, 1), values[[3, 5]][:, [3, 1]], rtol=1e-4, atol=1e-5)
        assert fm.channels == (3, 1)
        array = store.maps(layer)
        np.testing.assert_allclose(array[rows].values, values, rtol=1e-4, atol=1e-5)
        assert array.dims[0] == "image"
        assert array.coords["image"].values.tolist() == store.ids
    assert ls.sheet(store.feature_map("conv1", 0)).cells


def test_classes_are_those_with_the_largest_means(store, maps):
    rows, captured = maps
    labels = np.array([store.labels[row] for row in rows])
    high = captured["conv2"].reshape(len(rows), captured["conv2"].shape[1], -1).max(2)
    means = {name: high[labels == name].mean(0) for name in ("cat", "dog", "owl")}
    table = store.class_means("conv2")
    for name, mean in means.items():
        np.testing.assert_allclose(table[name], mean, rtol=1e-6)
    best = np.array(list(means))[np.stack(list(means.values())).argmax(0)]
    assert store.classes("conv2")["class"].tolist() == best.tolist()


def test_similar_channels_and_images_are_in_order(store, maps):
    rows, captured = maps
    flat = captured["conv1"].reshape(len(rows), captured["conv1"].shape[1], -1)
    together = np.corrcoef(flat.max(2), rowvar=False)
    table = store.similar_channels("conv1", 1, count=2)
    others = [channel for channel in np.argsort(-together[1]) if channel != 1][:2]
    assert table["channel"].tolist() == others
    np.testing.assert_allclose(table["correlation"], together[1, others], rtol=1e-5)
    mean = flat.mean(2)
    cosines = mean @ mean[4] / (np.linalg.norm(mean, axis=1) * np.linalg.norm(mean[4]))
    nearest = [store.ids[rows[row]] for row in np.argsort(-cosines) if row != 4][:5]
    assert store.similar_images("conv1", store.ids[rows[4]], count=5)["image"] == nearest


def test_two_stores_tell_which_channels_moved(store, folder):
    model = tiny_model()
    other = small_scan(folder / "images", folder / "same", keep="pooled")
    table = store.compare(other, "conv1")
    np.testing.assert_allclose(table["correlation"], 1, atol=1e-6)
    np.testing.assert_array_equal(table["distance"], 0)
    assert model is not None
    few = small_store(folder / "few", 9, classes=("cat", "dog", "owl"))
    with pytest.raises(BadOption, match="one has 24 images, the other 9"):
        store.compare(few, "conv1")
    with pytest.raises(BadOption, match="channels"):
        store.compare(other, "conv1", other_layer="conv2")


def test_images_of_other_names_are_refused_with_the_first_that_differs(store, folder):
    images = write_images(folder / "renamed", COUNT, classes=("cat", "dog", "owl"))
    (images / "cat" / "0.png").rename(images / "cat" / "zero.png")
    other = small_scan(images, folder / "of_renamed", ["conv1"])
    with pytest.raises(BadOption, match=r"0\.png in one and .* in the other"):
        store.cka(other)


def test_cka_of_layers_is_a_square_with_ones(store):
    table = store.cka()
    square = np.array([table[name] for name in store.layers])
    np.testing.assert_allclose(np.diag(square), 1)
    np.testing.assert_allclose(square, square.T)
    assert table["layer"] == list(store.layers)


def test_wrong_names_are_refused_with_what_there_is(store, folder):
    with pytest.raises(LayerNotFound, match="Did you mean"):
        store.stats("convl")
    with pytest.raises(LayerNotFound, match="conv1, conv2"):
        store.stats("conv")
    with raises(LayerNotFound, "holds 2 layers, conv1, conv2: choose one"):
        store.stats()
    with pytest.raises(BadChannels, match="no channel 99"):
        store.histogram("conv1", 99)
    with pytest.raises(BadOption, match="mean"):
        store.vectors("conv1", "median")
    with pytest.raises(BadOption, match="no store here"):
        open_store(folder / "nowhere")
    with raises(BadOption, f"{COUNT} images"):
        store.similar_images("conv1", "zebra.jpg")
    with raises(BadOption):
        store.feature_map("conv1", "cat/3.pmg")
    with raises(BadOption, "8 names"):
        store.feature_map("conv1", "cat/")
    for image in (COUNT, 1.5, None):
        with raises(BadOption, f"0 to {COUNT - 1}"):
            store.similar_images("conv1", image)
    with raises(BadOption, "k=3"):
        store.top("conv1", 0, k=3, samples=True)


def test_a_store_says_what_it_doesnt_hold(folder):
    plain = small_store(folder / "plain", 6, classes=("",), keep="stats")
    assert len(plain.stats("conv1"))
    with pytest.raises(BadOption, match="statistics alone"):
        plain.vectors("conv1")
    with pytest.raises(BadOption, match="no labels"):
        plain.classes("conv1")
    with pytest.raises(BadOption, match="no maps"):
        plain.feature_map("conv1")


def test_a_scan_that_isnt_finished_answers_for_what_is_done(store, folder):
    unfinished = folder / "unfinished"
    small_scan(folder / "images", unfinished, ["conv1"])
    (unfinished / "receipts" / "000001.json").unlink()
    for file in (unfinished / "summary").iterdir():
        file.unlink()
    part = open_store(unfinished)
    assert [row["outcome"] for row in part.images].count("not done") == 8
    whole = store.tally("conv1")
    assert 0 < part.tally("conv1").count[0] < whole.count[0]
    assert part.stats("conv1").title == "4 channels of conv1 in 16 images"
    said = "unfinished: 2 of 3 units done so far; the same scan goes on"
    tables = [part.stats(), part.histogram(None, 1), part.classes(), part.class_means(), part.cka()]
    tables += [part.similar_channels(None, 1), part.similar_images(None, 0)]
    assert [str(table).splitlines()[-1] for table in tables] == [said] * len(tables)
    assert not any("unfinished" in str(table) for table in (store.stats("conv1"), store.cka()))
    assert str(store.compare(part, "conv1")).splitlines()[-1] == f"the other store is {said}"


def test_a_scan_that_has_done_nothing_says_so_and_not_that_images_are_broken(folder):
    begun = folder / "begun"
    small_scan(folder / "images", begun, ["conv1"])
    for name in ("receipts", "summary", "top"):
        for file in (begun / name).rglob("*.*"):
            file.unlink()
    part = open_store(begun)
    with raises(BadOption, "the scan has done no unit yet"):
        part.top("conv1", 0)
    with raises(BadOption, "the scan has done no unit yet"):
        part.similar_channels("conv1", 0)
    with raises(BadOption, "this scan isn't finished"):
        part.scatter()
    assert str(part.stats()).endswith("unfinished: 0 of 3 units done so far; the same scan goes on")


def test_a_layer_that_one_of_two_stores_lacks_is_missed_in_that_one(store, folder):
    one = small_scan(folder / "images", folder / "of_conv1", ["conv1"])
    with raises(LayerNotFound, "the other store has no layer 'conv2'"):
        store.compare(one, "conv2")
    with raises(LayerNotFound, "this store has no layer 'conv2'"):
        one.compare(store, "conv2")


def test_the_words_that_chose_layers_of_a_scan_name_them_in_its_store(store, folder):
    one = small_scan(folder / "images", folder / "of_last", ["last"])
    assert one.stats("last").title == one.stats(one.layers[0]).title
    assert "of conv2 in" in store.stats("last").title
    assert "of conv1 in" in store.stats("*1").title
    with raises(LayerNotFound, "'kind:Conv' names conv1, conv2: give one of them"):
        store.stats("kind:Conv")
    with raises(LayerNotFound, "no layer 'kind:Dense'"):
        store.stats("kind:Dense")
    assert main(["top", str(folder / "of_last"), "-l", "last", "-c", "0", "-o", str(folder / "last.png")]) == 0


def test_stores_of_images_in_other_sizes_are_compared_with_a_remark(store, folder):
    wide = small_scan(folder / "images", folder / "wide", ["conv1"], size=16)
    said = "the two models saw the images otherwise prepared"
    assert said in str(store.compare(wide, "conv1"))
    assert said in str(store.cka(wide))
    assert said not in str(store.compare(store, "conv1"))


def test_rows_of_a_table_are_taken_by_number_or_as_how_many(store):
    table = store.classes("conv1")
    assert [row["channel"] for row in table.take(2)] == [0, 1]
    assert len(table.take(np.int64(99))) == 4
    assert table.take([-1, 0])["channel"].tolist() == [3, 0]
    assert len(table.take([])) == 0
    assert str(table.take(0)).startswith("channel")
    for wrong in (-1, 1.5, "3", True, None, [[0]], [0.5], ["class"], [True, False], slice(3)):
        with pytest.raises(BadOption, match="how many of the first"):
            table.take(wrong)
    with pytest.raises(BadOption, match="no row 4; the table has 4 rows"):
        table.take([0, 4])


def test_a_column_that_isnt_there_is_no_column_of_words(store):
    with raises(BadOption, "no column 'meen'", "Did you mean 'mean'"):
        store.stats("conv1").sort("meen")
    with raises(BadOption, "column 'class' holds words"):
        store.classes("conv1").sort("class")


def test_tables_are_for_other_programs_too(store, tmp_path):
    table = store.stats("conv1")
    assert json.loads(table.json())[0]["channel"] == 0
    lines = table.to_csv(tmp_path / "stats.csv").read_text().splitlines()
    assert lines[0].startswith("channel,min,mean")
    assert len(lines) == len(table) + 1
    assert table.to_dataframe().shape == (len(table), len(table.columns))
    assert table.sort("mean")["mean"][0] == table["mean"].max()
    with pytest.raises(BadOption, match="Did you mean 'mean'"):
        table["maen"]


def test_damaged_files_and_stores_that_are_gone_are_named(folder):
    small_store(folder / "damaged", 8, keep="maps")
    root = folder / "damaged" / "store"
    asked = {
        "summary/conv1.npz": lambda store: store.stats("conv1"),
        "top/index.npz": lambda store: store.top("conv1", 0),
        "top/000000.npz": lambda store: store.top("conv1", 0),
        "pooled.zarr/conv1/max/zarr.json": lambda store: store.vectors("conv1", "max"),
        "maps.zarr/conv1/zarr.json": lambda store: store.feature_map("conv1"),
    }
    for name, ask in asked.items():
        whole = (root / name).read_bytes()
        ask(open_store(root))
        (root / name).write_bytes(whole[: len(whole) // 2])
        with pytest.raises(BadOption, match="layerscope check"):
            ask(open_store(root))
        (root / name).write_bytes(whole)
    store = open_store(root)
    root.rename(folder / "damaged" / "moved")
    for ask in (store.stats, store.vectors, store.feature_map):
        with pytest.raises(BadOption, match="isn't here any more"):
            ask("conv1")
    assert len(open_store(folder / "damaged" / "moved").top("conv1", 0).cells) == 8


def test_names_that_are_no_unicode_are_written_as_escapes(tmp_path):
    table = Table({"image": ["bad\udcff.png"]})
    assert table.to_csv(tmp_path / "a.csv").read_text() == "image\nbad\\udcff.png\n"
    assert table.to_dataframe().image.tolist() == ["bad\\udcff.png"]
    assert json.loads(table.json())[0]["image"] == "bad\udcff.png"
