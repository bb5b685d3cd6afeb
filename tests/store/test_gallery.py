"""The last stage of a scan: photos and maps of top images and samples, and the pictures made of them."""

import numpy as np
import pytest
from PIL import Image

import layerscope as ls
from helpers.stores import OPENING, contents, small_scan, write_images
from layerscope import BadOption
from layerscope.cli import main
from layerscope.store.held import BINS
from layerscope.store.passing import SAMPLE, sample_rows
from layerscope.store.store import open_store
from layerscope.testing import tiny_model

COUNT = 40


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("gallery")


@pytest.fixture(scope="module")
def store(folder):
    images = write_images(folder / "images", COUNT, classes=("cat", "dog"))
    return small_scan(images, folder / "store", top=5)


@pytest.fixture(scope="module")
def maps(store, folder):
    scope = ls.open(tiny_model(), **OPENING)
    captured = scope.capture([folder / "images" / id for id in store.ids], list(store.layers))
    return {path: np.moveaxis(fm.values, -1, 1) for path, fm in captured.items()}


def test_top_images_are_those_with_the_largest_values_and_their_maps_are_held(store, maps):
    for kept in store.plan.layers:
        values = maps[kept.layer.path]
        high = values.reshape(*values.shape[:2], -1).max(2)
        for channel in range(values.shape[1]):
            rows = np.argsort(-high[:, channel], kind="stable")[:5].tolist()
            assert store.tally(kept.layer.path).top_image[channel].tolist() == rows
            for row in rows:
                np.testing.assert_allclose(
                    store.gallery.map(kept.name, channel, row), values[row, channel], rtol=2e-3, atol=1e-3
                )


def test_photos_are_what_the_model_saw_and_small_ones_are_exact(store, folder):
    row = int(store.tally("conv1").top_image[0, 0])
    photo = store.gallery.photo(row)
    np.testing.assert_array_equal(photo, np.asarray(Image.open(folder / "images" / store.ids[row]).convert("RGB")))
    place = store.gallery.placement(row, photo)
    assert (place.photo, place.input) == ((16, 16), (8, 8))


def test_samples_are_one_of_each_eighth(store, maps):
    high = maps["conv1"].reshape(COUNT, maps["conv1"].shape[1], -1).max(2)
    for channel in range(high.shape[1]):
        rows = store.gallery.shown[store.plan.layers[0].name][channel, -BINS:]
        order = np.argsort(-high[:, channel], kind="stable").tolist()
        assert [order.index(row) // (COUNT // BINS) for row in rows] == list(range(BINS))


def test_sampled_images_lie_evenly():
    assert sample_rows(3).tolist() == [0, 1, 2]
    assert sample_rows(0).tolist() == []
    rows = sample_rows(10_000)
    assert len(rows) == SAMPLE
    assert set(np.diff(rows)) <= {39, 40}


def test_the_pictures_name_images_and_values(store):
    picture = store.top("conv1", 1, k=3)
    row = store.tally("conv1").top_image[1, 0]
    assert picture.cells[0].note == store.ids[row]
    assert picture.title == "conv1 · channel 1 · top 3 of 40 images"
    assert any("99% of the values" in line for line in picture.lines)
    assert len(store.top("conv1", 1, samples=True).cells) == BINS
    assert len(store.scatter("conv2").cells) == COUNT
    for view in ("masked", "crop", "contour", "photo"):
        assert len(store.top("conv2", 0, view=view).cells) == 5


def test_more_images_than_are_remembered_are_refused(store):
    with pytest.raises(BadOption, match="remembers 5"):
        store.top("conv1", 1, k=6)
    with pytest.raises(BadOption, match="overlay"):
        store.top("conv1", 1, k=2, view="overlap")
    with pytest.raises(BadOption, match="pca"):
        store.scatter("conv1", method="tsne")


def test_a_stage_that_was_cut_short_goes_on_with_the_same_bytes(store, folder):
    again = folder / "again"
    small_scan(folder / "images", again, top=5)
    whole = contents(again)
    assert whole == contents(folder / "store")
    (again / "top" / "receipts" / "000001.json").unlink()
    damaged = again / "top" / "000000.npz"
    damaged.write_bytes(damaged.read_bytes()[:-9])
    (again / "top" / "000099.npz").write_bytes(b"of another summary")
    small_scan(folder / "images", again, top=5)
    assert contents(again) == whole


def test_an_image_that_is_gone_before_the_stage_has_no_photo(folder):
    images = write_images(folder / "going", 12)
    small_scan(images, folder / "of_going")
    for file in (folder / "of_going" / "top").rglob("*.*"):
        file.unlink()
    store = open_store(folder / "of_going")
    first = store.ids[int(store.tally("conv1").top_image[0, 0])]
    (images / first).unlink()
    again = small_scan(images, folder / "of_going")
    assert first not in [cell.note for cell in again.top("conv1", 0, k=3).cells]
    picture = again.top("conv1", 0, k=3)
    assert len(picture.cells) == 2
    assert picture.title == "conv1 · channel 0 · 2 of the top 3 of 12 images"


def test_a_label_that_is_a_folder_of_the_path_is_named_once(folder):
    images = write_images(folder / "split" / "images" / "test", 6, classes=("0", "1")).parent
    store = small_scan(images, folder / "split" / "store", ["conv1"])
    assert set(store.labels) == {"0", "1"}
    assert all(cell.note.startswith("test/") for cell in store.top(None, 0).cells)


def test_an_unfinished_scan_says_so(folder):
    images = write_images(folder / "short", 9)
    small_scan(images, folder / "of_short")
    (folder / "of_short" / "top" / "index.npz").unlink()
    with pytest.raises(BadOption, match="isn't finished"):
        open_store(folder / "of_short").top("conv1", 0)


def test_the_command_draws_them_and_lists_channels(folder, store, capsys):
    out = folder / "top.png"
    assert main(["top", str(folder / "store"), "-l", "conv1", "-c", "2", "-k", "4", "-o", str(out)]) == 0
    with Image.open(out) as picture:
        assert picture.size[0] > 400
    assert main(["top", str(folder / "store"), "-l", "conv1", "-c", "2", "--samples", "-o", str(out)]) == 0
    assert main(["top", str(folder / "store"), "-l", "conv1"]) == 0
    assert "channels of conv1 in 40 images" in capsys.readouterr().out
    table = folder / "stats.csv"
    assert main(["top", str(folder / "store"), "-l", "conv1", "-o", str(table)]) == 0
    assert table.read_text().startswith("channel,min")
    assert main(["top", str(folder / "store"), "-l", "conv1", "-o", str(folder / "all.png")]) == 1
    assert "-c" in capsys.readouterr().err and not (folder / "all.png").exists()
    assert main(["top", str(folder / "store"), "-l", "conv9", "-c", "2"]) == 1
    assert "conv1, conv2" in capsys.readouterr().err
    assert main(["top", str(folder / "store")]) == 1
    assert "the store holds 2 layers, conv1, conv2: choose one with -l" in capsys.readouterr().err


def test_the_padding_of_a_letterbox_has_its_colour_on_the_photo(folder):
    images = folder / "wide"
    images.mkdir()
    for number in range(4):
        Image.fromarray(np.full((10, 20, 3), (250, 40 * number, 0), np.uint8)).save(images / f"{number}.png")
    recipe = {"resize": "letterbox", "size": (8, 8), "fill": (0, 200, 100)}
    store = small_scan(images, folder / "of_wide", preprocess=recipe, size=None)
    photo = store.gallery.photo(0)
    assert photo.shape == (20, 20, 3)
    assert (photo[:4] == (0, 200, 100)).all()
    assert (photo[-4:] == (0, 200, 100)).all()
    assert (photo[7:13] == (250, 0, 0)).all()


def test_a_scatter_has_dots_without_boxes_around_them(store):
    from layerscope.picture.canvas import Frame
    from layerscope.plots.scatter import Points, draw_scatter

    places = np.array([[0.0, 0.0], [1.0, 1.0], [0.2, 0.8]])
    picture = draw_scatter(Points(places, ["a", "b", "c"], ("x", "y")), Frame("points"))
    for cell in picture.cells:
        around = picture.rgb()[cell.y - 6 : cell.y + cell.height + 6, cell.x - 6 : cell.x + cell.width + 6]
        assert len(np.unique(around.reshape(-1, 3), axis=0)) == 2  # paper and dot
