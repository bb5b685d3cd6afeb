"""What a store answers where values aren't finite, are all the same, or beyond a float16: against numpy."""

import json
from functools import partial

import numpy as np
import pytest
from PIL import Image

from helpers.stores import small_scan, write_images
from helpers.wording import raises
from layerscope import BadChannels, BadOption, LayerscopeWarning
from layerscope.store import vectors
from layerscope.store.halves import narrow
from layerscope.store.table import Table
from layerscope.testing.tiny import Step, TinyModel

PLAIN, HOLES, NAN, FLAT, HUGE, RARE, INF = range(7)
COUNT = 24


def odd(x):
    """Channels that aren't as they should be: NaN in some images, NaN, 0, beyond float16, a single 1, infinite somewhere."""
    one = x[:, 0] - 0.5
    values = np.stack([one] * 7, 1).astype(np.float32)
    values[one.mean((1, 2)) > 0.1, HOLES] = np.nan
    values[:, NAN], values[:, FLAT], values[:, RARE] = np.nan, 0, 0
    values[:, HUGE] *= 1e6
    values[:, RARE, 2, 5] = np.where(one.mean((1, 2)) > 0, 1 + one.mean((1, 2)), 0)
    values[:, INF, 0, 0] = np.inf
    return values


def model():
    return TinyModel([Step("odd", "Odd", "bchw", odd), Step("flat", "Mean", "bc", lambda x: x[:, :2].mean((2, 3)))])


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("odd")
    images = write_images(folder / "images", COUNT, classes=("channel", "layer"))
    (images / "layer" / "1.png").write_bytes(b"no image")
    return small_scan(images, folder / "store", ["odd"], model=model(), keep="maps", dtype="float32")


@pytest.fixture(scope="module")
def maps(store):
    """`[image, channel, y, x]` of the images that could be read."""
    rows = [row for row, id in enumerate(store.ids) if id != "layer/1.png"]
    return rows, np.moveaxis(store.feature_map("odd", rows).values, -1, 1)


def test_a_channel_that_is_nan_leaves_all_answers_to_the_others(store, maps):
    rows, values = maps
    high = np.where(np.isfinite(values), values, -np.inf).max((2, 3))
    labels = np.array([store.labels[row] for row in rows])
    holes = np.isnan(values[:, HOLES]).all((1, 2))
    assert 0 < holes.sum() < len(rows)
    means = store.class_means("odd")
    for name, column in (("channel", "channel (2)"), ("layer", "layer")):  # a class is called as the first column
        here = labels == name
        np.testing.assert_allclose(means[column][PLAIN], high[here, PLAIN].mean(), rtol=1e-6)
        np.testing.assert_allclose(means[column][HOLES], high[here & ~holes, HOLES].mean(), rtol=1e-6)
        assert np.isnan(means[column][NAN])
    best = store.classes("odd")
    assert best["class"][NAN] == best["class"][FLAT] == ""
    assert best["class"][PLAIN] in ("channel", "layer")
    similar = store.similar_channels("odd", PLAIN)
    np.testing.assert_allclose(
        similar["correlation"][similar["channel"].tolist().index(RARE)],
        np.corrcoef(high[:, PLAIN], high[:, RARE])[0, 1],
        rtol=1e-5,
    )
    assert f"over {np.count_nonzero(~holes)} images" in store.similar_channels("odd", HOLES).title
    assert len(store.scatter("odd").cells) == len(rows)
    assert any("Without 2 channels" in line for line in store.scatter("odd").lines)
    assert store.cka()["odd"].tolist() == pytest.approx([1])


def test_a_constant_channel_goes_with_no_other_and_says_so(store):
    with raises(BadOption, "the max of channel", "in every image"):
        store.similar_channels("odd", FLAT)
    table = store.similar_channels("odd", PLAIN)
    assert np.isnan(table["correlation"]).any()
    assert "NaN: the channel is the same in every image" in str(table)
    assert "by the max over" in str(table)
    assert "by the mean over" in str(store.similar_channels("odd", PLAIN, by="mean"))
    assert "in odd by the mean" in str(store.similar_images("odd", 0))


def test_cosines_near_1_have_the_digits_that_rank_them(store, monkeypatch):
    near = np.ones((COUNT, len(store.vectors("odd")[0])), np.float32)
    near[:, 0] += np.arange(COUNT) * 1e-2
    monkeypatch.setattr(type(store), "vectors", lambda self, layer=None, by="mean": near)
    table = store.similar_images("odd", 0, count=4)
    assert table["cosine"].min() > 0.999
    printed = [line.split()[1] for line in str(table).splitlines()[1:5]]
    assert len(set(printed)) == 4 and printed == sorted(printed, reverse=True)
    html = table.take([0, 1])._repr_html_()
    assert printed[0] in html and printed[1] in html


def test_images_are_compared_by_the_channels_that_are_finite_in_all(store, maps):
    rows, _ = maps
    table = store.similar_images("odd", store.ids[rows[0]], count=99)
    assert len(table) == len(rows) - 1
    assert "layer/1.png" not in table["image"]
    kept = [PLAIN, FLAT, HUGE, RARE, INF]
    mean = store.vectors("odd")[rows][:, kept].astype(np.float64)
    cosines = mean[1:] @ mean[0] / (np.linalg.norm(mean[1:], axis=1) * np.linalg.norm(mean[0]))
    np.testing.assert_allclose(table["cosine"], np.sort(cosines)[::-1])
    assert "without 2 channels" in str(table)
    with pytest.raises(BadOption, match="couldn't be read"):
        store.similar_images("odd", "layer/1.png")


def test_channels_without_a_number_are_refused_and_not_the_scan_blamed(store):
    for ask in (store.top, partial(store.top, samples=True), store.similar_channels):
        with pytest.raises(BadOption, match="no finite value in any image"):
            ask("odd", NAN)


def test_quantiles_beyond_float16_are_not_known_and_not_made_up(store, maps):
    values = maps[1][:, HUGE].ravel()
    table = store.stats("odd")
    for name, level in (("q01", 0.01), ("q25", 0.25), ("median", 0.5), ("q95", 0.95)):
        exact = np.quantile(values, level)
        if abs(exact) > 70_000:
            assert np.isnan(table[name][HUGE])
        elif abs(exact) < 60_000:
            assert table[name][HUGE] == pytest.approx(exact, rel=0.05, abs=4000)
    assert np.isnan(table["q01"][HUGE])
    assert not table["saturated"][HUGE]
    assert any("65,504" in note for note in table.notes)
    for row in store.histogram("odd", HUGE):
        assert ((values >= row["low"]) & (values <= row["high"])).sum() >= row["count"]


def test_tables_are_json_and_html_whatever_they_hold():
    table = Table({"a\u202e": np.array([1.0, np.inf, np.nan]), "name": ["a\nb", "<b>", None]}, "odd")
    assert json.loads(table.json())[1] == {"a\u202e": None, "name": "<b>"}
    assert json.loads(table.json())[2] == {"a\u202e": None, "name": None}
    page = table._repr_html_()
    assert "\u202e" not in page
    assert "&lt;b&gt;" in page
    with pytest.raises(BadOption, match="holds words"):
        table.sort("name")
    assert str(Table({"a": []}, "none")).startswith("a")


def test_stores_are_compared_by_their_folders_too(store):
    assert len(store.compare(str(store.storage), "odd")) == 7
    assert store.cka(str(store.storage), layers="odd")["odd"].tolist() == pytest.approx([1])
    with pytest.raises(BadOption, match="no store here"):
        store.compare("nowhere", "odd")
    with pytest.raises(BadOption, match="at least one layer"):
        store.cka(layers=[])


def test_empty_lists_of_images_and_channels_are_refused(store):
    with pytest.raises(BadOption, match="no image in the list"):
        store.feature_map("odd", [])
    with pytest.raises(BadOption, match="no channel in the list"):
        store.feature_map("odd", 0, channels=[])
    assert store.feature_map("odd", 0, channels=HUGE).channels == (HUGE,)
    with pytest.raises(BadChannels, match="holds 0 to 6"):
        store.feature_map("odd", 0, channels=[7])


def test_a_class_without_values_in_a_channel_doesnt_count_there():
    values = np.array([[1.0, np.nan], [3.0, np.nan], [5.0, 1.0], [np.nan, np.nan]])
    one = vectors.selectivity(values, np.array([0, 0, 2, 2]), 3)
    np.testing.assert_array_equal(one.means, [[2, np.nan, 5], [np.nan, np.nan, 1]])
    assert one.best.tolist() == [2, -1]
    assert one.auc[0] == 1
    assert np.isnan(one.auc[1])
    assert np.isnan(one.others[1])


def caption(picture):
    return " ".join(picture.lines)


def test_a_channel_that_is_rarely_active_isnt_active_everywhere(store):
    picture = store.top("odd", RARE, view="masked", k=1)
    cell = picture.cells[0]
    pixels = picture.rgb()[cell.y : cell.y + cell.height, cell.x : cell.x + cell.width].astype(int)
    coloured = np.ptp(pixels, -1) > 20
    rows, columns = np.nonzero(coloured)
    side = len(coloured)
    assert 0 < coloured.mean() < 0.1
    assert 2 / 8 * side - 8 < rows.mean() < 3 / 8 * side + 8  # the unit in row 2 and column 5 of 8
    assert 5 / 8 * side - 8 < columns.mean() < 6 / 8 * side + 8
    assert "half of the largest value over the data set" in caption(picture)


def test_captions_say_what_is_dead_infinite_or_tied(store):
    assert "Dead: 0 everywhere in every image" in caption(store.top("odd", FLAT, k=3))
    assert "More images have the value 0" in caption(store.top("odd", FLAT, k=3))
    assert "infinite and aren't counted" in caption(store.top("odd", INF, k=3))
    assert store.top("odd", INF, k=3).height > store.top("odd", PLAIN, k=3).height  # a legend of what is infinite
    assert "isn't known for this layer" in caption(store.top("odd", PLAIN, k=3, view="crop"))


def test_maps_beyond_float16_are_drawn_as_they_are(store, maps, tmp_path):
    rows, values = maps
    for keep in ("maps", "pooled"):
        made = store if keep == "maps" else small_scan(images_of(store), tmp_path, ["odd"], model=model())
        for row in made.tally("odd").top_image[HUGE][:3].tolist():
            found = made.gallery.map("odd", HUGE, row)
            np.testing.assert_allclose(found, values[rows.index(row), HUGE], rtol=1e-3)
            assert np.abs(found).max() > 65_504
        assert made.top("odd", HUGE, k=2).cells[0].high == made.tally("odd").top_value[HUGE, 0]


def images_of(store):
    return store.storage.path("").parent / "images"


def test_the_peak_is_that_of_the_values_and_not_of_their_float16(tmp_path):
    def close(x):
        values = np.zeros((len(x), 1, 8, 8), np.float32)
        values[:, 0, 1, 1], values[:, 0, 6, 6] = 1, 1.0001  # the same as float16
        return values

    images = write_images(tmp_path / "images", 4)
    store = small_scan(images, tmp_path / "store", ["close"], model=TinyModel([Step("close", "Odd", "bchw", close)]))
    assert store.tally("close").top_place[0, 0] == 6 * 8 + 6
    picture = store.top("close", 0, k=1)
    assert picture.provenance["places"] == [[6, 6]]


def test_what_lies_at_a_ceiling_is_active_without_gaps(tmp_path):
    def ceiling(x):
        values = np.full((len(x), 1, 8, 8), 5.7, np.float32)
        values[:, :, 2:6] = 6
        return values

    images = write_images(tmp_path / "images", 4)
    store = small_scan(images, tmp_path / "store", ["six"], model=TinyModel([Step("six", "ReLU6", "bchw", ceiling)]))
    picture = store.top("six", 0, k=1, view="masked")
    cell = picture.cells[0]
    pixels = picture.rgb()[cell.y : cell.y + cell.height, cell.x : cell.x + cell.width].astype(int)
    middle = pixels[len(pixels) * 3 // 8 : len(pixels) * 5 // 8]
    assert (np.ptp(middle, -1).max(1) > 0).all()  # every row in colour
    assert np.ptp(pixels[: len(pixels) // 8], -1).max() == 0


def sized(sizes):
    """A model of one channel whose values are those of the photo's red times a number, which `sizes` chooses by it."""
    return TinyModel(
        [Step("sized", "Odd", "bchw", lambda x: x[:, :1] * sizes(x[:, 0].mean((1, 2)))[:, None, None, None])]
    )


def plain_images(folder, count=12):
    """`00.png` … in rising shades of grey."""
    folder.mkdir()
    for number in range(count):
        Image.fromarray(np.full((8, 8, 3), 255 * (number + 1) // count, np.uint8)).save(folder / f"{number:02}.png")
    return folder


@pytest.mark.parametrize(("size", "words"), [(1e6, "beyond ±65,504 are infinite"), (1e-6, "below 0.00006")])
def test_maps_that_float16_cant_hold_are_refused_before_the_work(tmp_path, size, words):
    images = plain_images(tmp_path / "images")
    wrong = sized(lambda mean: np.full(len(mean), size, np.float32))
    with pytest.raises(BadOption, match=f"sized: .*{words}.*float32"):
        small_scan(images, tmp_path / "store", ["sized"], model=wrong, keep="maps")
    assert not (tmp_path / "store" / "store.json").exists()
    store = small_scan(images, tmp_path / "store", ["sized"], model=wrong, keep="maps", dtype="float32")
    assert store.notes == ()
    np.testing.assert_allclose(store.feature_map("sized", 11).values, size, rtol=1e-6)
    np.testing.assert_allclose(store.gallery.map("sized", 0, 11), size, rtol=1e-6)
    assert store.top("sized", 0, k=1).cells[0].high == np.float32(size)


def test_maps_that_turn_out_beyond_float16_are_warned_of_and_their_top_is_exact(tmp_path):
    images = plain_images(tmp_path / "images")
    late = sized(lambda mean: np.where(mean > 0.95, 1e6, 1).astype(np.float32))
    with pytest.warns(LayerscopeWarning, match="sized: 64 values beyond ±65,504 are infinite.*float32"):
        store = small_scan(images, tmp_path / "store", ["sized"], model=late, keep="maps")
    assert sum(receipt.beyond.get("sized", 0) for receipt in store.receipts) == 64
    assert np.isinf(store.feature_map("sized", 11).values).all()
    assert any("keeps float16" in note for note in store.feature_map("sized", 11).notes)
    assert store.feature_map("sized", 0).notes == ()
    with pytest.warns(LayerscopeWarning, match="64 values"):
        store.maps("sized")
    np.testing.assert_array_equal(store.gallery.map("sized", 0, 11), 1e6)
    assert "∞" not in caption(store.top("sized", 0, k=2))


def test_no_maps_are_none_as_float16_too():
    for shape in ((0, 8, 8), (0,)):
        assert narrow(np.empty(shape, np.float32)).dtype == np.float16
        assert narrow(np.empty(shape, np.float32)).shape == shape
