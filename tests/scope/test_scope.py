"""Scope: from images to feature maps, on the backend without a framework."""

import logging
import random
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import layerscope as ls
from helpers.wording import raises, warns, wording
from layerscope.backends import Facts, Input
from layerscope.cli import arguments
from layerscope.testing import Step, TinyBackend, TinyModel, tiny_model


def test_only_the_latest_tables_are_kept_and_threads_may_ask_for_them_at_once():
    from layerscope.scope.run import TABLES, Cache, Kept

    cache, made = Cache(), []

    def table(size):
        kept = cache.find(size)
        if kept is None:
            made.append(size)
            kept = Kept(ls.LayerTable([]))
            cache.keep(size, kept)
        return kept

    for size in range(TABLES):
        table(size)
    first = table(0)  # used last, so it stays
    table(TABLES)
    assert table(0) is first
    assert len(cache.tables) == TABLES
    assert made == [*range(TABLES + 1)]
    table(1)
    assert made[-1] == 1, "the one that wasn't used for longest is gone"
    with ThreadPoolExecutor(8) as pool:
        assert len(list(pool.map(table, range(4000)))) == 4000
    assert len(cache.tables) == TABLES


def photo(seed=0, height=20, width=30):
    return np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)


def open_scope(model=None, **options):
    return ls.open(model or tiny_model(), backend=TinyBackend(), **{"preprocess": "unit", **options})


def test_maps_come_in_execution_order_with_all_that_describes_them():
    maps = open_scope().capture(photo(), ["head", "conv1", "act"])
    assert list(maps) == ["conv1", "act:0", "act:1", "head"]
    fm = maps["conv1"]
    assert fm.shape == (1, 8, 8, 4)
    assert fm.ids == ("array-0",)
    assert np.array_equal(fm.photos[0], photo())
    assert fm.placement[0].photo == (20, 30)
    assert fm.provenance["model_digest"] == tiny_model().facts.digest
    wording(fm.provenance["preprocess"])
    assert maps["act:1"].shape == (1, 3, 3, 5)
    assert "conv1" in repr(maps)


def test_the_run_stops_after_the_last_layer_it_needs():
    model = tiny_model()
    scope = open_scope(model)
    scope.layers()
    model.ran.clear()
    scope.capture(photo(), "conv1")
    assert model.ran == ["conv1"]
    model.ran.clear()
    scope.capture(photo(), "act")
    assert model.ran == ["conv1", "act", "conv2", "act"]


def test_a_map_is_found_by_its_short_name():
    step = Step("net/conv1", "Conv", "bchw", lambda x: x)
    maps = open_scope(TinyModel((step,))).capture(photo(), "conv1")
    assert maps["conv1"] is maps["net/conv1"]
    with raises(ls.LayerNotFound):
        maps["conv9"]


def test_batches_give_what_one_run_gives(tmp_path):
    for index in range(7):
        Image.fromarray(photo(index)).save(tmp_path / f"{index}.png")
    scope = open_scope()
    whole = scope.capture(tmp_path, ["conv1", "head"])
    assert whole["conv1"].ids == tuple(f"{index}.png" for index in range(7))
    for batch in (1, 2, 3):
        parts = scope.capture(tmp_path, ["conv1", "head"], batch=batch)
        for path in whole:
            np.testing.assert_allclose(parts[path].values, whole[path].values, atol=1e-6)
    streamed = list(scope.stream(tmp_path, "conv1", batch=3))
    assert [len(maps["conv1"].ids) for maps in streamed] == [3, 3, 1]
    np.testing.assert_allclose(
        np.concatenate([maps["conv1"].values for maps in streamed]), whole["conv1"].values, atol=1e-6
    )
    with raises(ls.BadOption):
        scope.capture(tmp_path, "conv1", batch=0)


def test_one_truncated_jpeg_in_a_thousand_costs_no_other(tmp_path):
    for index in range(1000):
        Image.fromarray(photo(index, 8, 8)).save(tmp_path / f"{index}.jpg")
    broken = tmp_path / "500.jpg"
    broken.write_bytes(broken.read_bytes()[:300])
    with warns(ls.ImagesSkipped, "1", "1000"):
        parts = list(open_scope().stream(tmp_path, "head", batch=64))
    ids = [id for part in parts if part for id in part["head"].ids]
    assert len(ids) == 999
    assert "500.jpg" not in ids
    assert [id for part in parts for id, _ in part.skipped] == ["500.jpg"]


def test_a_bad_image_in_a_folder_is_skipped_and_listed(tmp_path):
    for index in range(5):
        Image.fromarray(photo(index)).save(tmp_path / f"{index}.png")
    (tmp_path / "2.png").write_bytes((tmp_path / "2.png").read_bytes()[:60])
    with warns(ls.ImagesSkipped, "1", "5"):
        maps = open_scope().capture(tmp_path, "conv1")
    assert maps["conv1"].ids == ("0.png", "1.png", "3.png", "4.png")
    assert [id for id, _ in maps.skipped] == ["2.png"]
    with warns(ls.ImagesSkipped):
        streamed = list(open_scope().stream(tmp_path, "conv1", batch=2))
    assert [id for maps in streamed for id, _ in maps.skipped] == ["2.png"]
    with raises(ls.ImageNotReadable, "2.png"):
        open_scope().capture(tmp_path / "2.png", "conv1")


def test_chosen_channels_are_the_only_ones_kept():
    scope = open_scope()
    whole = scope.capture(photo(), "conv1")["conv1"]
    some = scope.capture(photo(), "conv1", channels=[3, 1])["conv1"]
    assert some.channels == (3, 1)
    assert some.of == 4
    assert np.array_equal(some.values, whole.values[..., [3, 1]])
    assert scope.capture(photo(), "conv1", channels=slice(2))["conv1"].channels == (0, 1)
    for wrong in ([4], [], [-1]):
        with raises(ls.BadChannels, "0", "3"):
            scope.capture(photo(), "conv1", channels=wrong)


def test_ready_batches_go_into_the_model_unchanged():
    scope = open_scope(preprocess=None)
    batch = np.random.default_rng(0).standard_normal((5, 3, 8, 8)).astype(np.float32)
    fm = scope.capture(batch, "conv1")["conv1"]
    assert fm.ids == tuple(f"image {index}" for index in range(5))
    assert fm.photos is None
    parts = scope.capture(batch, "conv1", batch=2)["conv1"]
    np.testing.assert_allclose(parts.values, fm.values, atol=1e-6)
    for wrong in ("cat.jpg", [], batch[:0], 3.0):
        with raises(ls.BadOption):
            scope.capture(wrong, "conv1")
    with raises(ls.BadOption, "layers(batch)"):
        scope.layers()


def test_a_model_that_takes_a_fixed_number_of_images_gets_it():
    model = tiny_model()
    fixed = TinyModel(model.steps, facts=Facts("fixed", (Input("image", "bchw", (4, 3, 8, 8)),)))
    photos = [photo(index) for index in range(6)]
    fm = open_scope(fixed).capture(photos, "head")["head"]
    expected = open_scope().capture(photos, "head")["head"]
    assert fm.shape[0] == 6
    np.testing.assert_allclose(fm.values, expected.values, atol=1e-6)
    assert len(open_scope(fixed).layers()) == 4


def test_predictions_are_probabilities_with_labels():
    scores = np.array([[1.0, 3.0, 2.0]], np.float32)
    for values in (scores, np.exp(scores) / np.exp(scores).sum()):
        model = TinyModel((Step("out", "Dense", "bc", lambda x, values=values: values.astype(np.float32)),))
        with warns(ls.LayerscopeWarning, "2 names", "3 classes"):
            (top,) = open_scope(model, labels=["cat", "dog"]).predict(photo(), top=2)
        assert [prediction.label for prediction in top] == ["dog", "class 2"]
        assert top[0].probability == pytest.approx(np.exp(3) / np.exp([1, 2, 3]).sum())
    with raises(ls.BadOption):
        open_scope(TinyModel(tiny_model().steps[:1])).predict(photo())


def classes(count, **options):
    scores = np.arange(count, dtype=np.float32)[None]
    return open_scope(TinyModel((Step("out", "Dense", "bc", lambda x: scores),)), **options)


@pytest.mark.parametrize("labels", [["cat", "dog", "fox"], "imagenet"])
def test_labels_that_are_not_as_many_as_the_classes_are_warned_of_once(labels):
    scope = classes(10, labels=labels)
    with warns(ls.LayerscopeWarning, "labels= has", f"{len(scope.labels):,} names", "10 classes"):
        picture = ls.show(scope, photo(), "output")
    assert "10 classes" in " ".join(picture.lines)
    scope.predict(photo())  # warnings are errors
    with warns(ls.LayerscopeWarning, "10 classes"):
        classes(10, labels=labels).predict(photo())


@pytest.mark.parametrize("fitting", [list("abcdefghij"), None])
def test_labels_that_fit_or_come_with_the_model_are_no_cause_to_warn(fitting):
    scope = classes(10, labels=fitting)
    scope = replace(scope, facts=replace(scope.facts, labels=scope.labels))
    scope.predict(photo())
    stated = replace(scope, labels=("a", "b"), facts=replace(scope.facts, labels=("a", "b")))
    assert stated.capture(photo(), "output")["output"].notes == ()


def test_a_label_beyond_the_classes_is_answered_in_the_words_of_the_user():
    scope = open_scope(tiny_model(), labels="imagenet")
    fm = scope.capture(photo(), "conv1")["conv1"]
    with warns(ls.LayerscopeWarning, "6 classes"), raises(ls.BadOption, "'tiger cat'", "282", "6 classes"):
        ls.score_cam(fm, "tiger cat")


def test_an_error_of_the_model_is_reported_with_the_model_input():
    with raises(ls.ModelNotReadable, "1×3×8×8"):
        open_scope(tiny_model(fail=True)).capture(photo(), "head")


def test_random_states_survive_a_model_that_draws():
    def noisy(x):
        return x + random.random() + np.random.rand()

    scope = open_scope(TinyModel((Step("noisy", "Noise", "bchw", noisy),)))
    random.seed(1)
    np.random.seed(1)
    expected = random.random(), np.random.rand()
    random.seed(1)
    np.random.seed(1)
    scope.capture(photo(), "noisy")
    assert (random.random(), np.random.rand()) == expected


def test_unknown_preprocessing_is_warned_of_once_a_run_and_named_ones_are_not():
    with warns(ls.PreprocessWarning, "0", "1", "preprocess="):
        open_scope(preprocess="auto").capture(photo(), "conv1")
    open_scope(preprocess="tf").capture(photo(), "conv1")
    with raises(ls.PreprocessUnknown, "'imagenet'"):
        open_scope(preprocess="imagnet")


def test_gradients_are_refused_where_there_are_none():
    with raises(ls.GradientsUnavailable):
        open_scope().capture(photo(), "conv1", target=0)


def test_a_large_capture_is_announced(monkeypatch, caplog):
    monkeypatch.setattr("layerscope.scope.memory.ANNOUNCED_BYTES", 4000)
    with caplog.at_level(logging.WARNING, "layerscope"):
        open_scope().capture(photo(), "conv1")
        assert not caplog.records, "one image stays below the limit"
        open_scope().capture([photo(), photo(1)], "conv1", batch=1)
    assert len(caplog.records) == 1
    # 4 × 8 × 8 float32 and a photo of 20 × 30 × 3, for each of 2.
    wording(caplog.messages, "2", f"{(4 * 8 * 8 * 4 + 20 * 30 * 3) / 1e6:.1f} MB", "stream()")


def test_tokens_are_laid_on_their_grid_with_the_prefix_apart():
    class Tokens(TinyBackend):
        def layers(self, model, batch):
            from dataclasses import replace

            return [replace(layer, grid=(2, 3)) for layer in super().layers(model, batch)]

    def tokens(x):
        return np.broadcast_to(np.arange(8, dtype=np.float32)[None, :, None], (len(x), 8, 5)).copy()

    scope = ls.open(TinyModel((Step("block", "Block", "bnc", tokens),)), backend=Tokens(), preprocess="unit")
    fm = scope.capture(photo(), "block")["block"]
    assert fm.shape == (1, 2, 3, 5)
    assert fm.values[0, ..., 0].tolist() == [[2, 3, 4], [5, 6, 7]]
    assert fm.tokens.shape == (1, 2, 5)
    assert fm.prefix().shape == (1, 2, 5)
    wording(ls.sheet(fm).alt(), "2")
    assert len(ls.sheet(fm.prefix()).cells) == 2 * 5
    assert fm.layer.prefix == ("prefix1", "prefix2")


def test_rows_that_are_not_images_get_no_photos():
    def windows(x):
        return np.concatenate([x, x])

    fm = open_scope(TinyModel((Step("windows", "Windows", "bchw", windows),))).capture(photo(), "windows")["windows"]
    assert fm.ids == ("row 0", "row 1")
    assert fm.rows == "row"
    assert fm.photos is None
    assert open_scope().capture(photo(), "conv1")["conv1"].rows == "image"


def test_show_is_the_whole_thing_in_one_call():
    model, options = tiny_model(), {"backend": TinyBackend(), "preprocess": "unit"}
    picture = ls.show(model, photo(), "conv1", columns=2, **options)
    assert len(picture.cells) == 4
    assert picture.cells[2].y > picture.cells[1].y
    assert ls.show(model, photo(), "conv1", combine="mean", **options).bar is not None
    assert ls.show(model, photo(), "conv1", combine=ls.norm, overlay=True, **options).pixels.ndim == 3
    assert ls.show(open_scope(), photo(), "conv1", channels=[2]).cells[0].channel == 2
    with raises(ls.BadOption, "0", "1", "capture()"):
        ls.show(model, photo(), "act", **options)
    with raises(ls.BadOption, "2"):
        ls.show(model, [photo(), photo()], "conv1", **options)
    with raises(ls.BadOption, "'mean'"):
        ls.show(model, photo(), "conv1", combine="meen", **options)


def test_what_cannot_be_opened_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.xyz").write_text("x")
    (tmp_path / "factories.py").write_text("def broken():\n    raise KeyError('k')\nvalue = 3\n")
    for model in (
        "nowhere.onnx",
        "model.xyz",
        object(),
        TinyModel,
        {"conv.weight": np.zeros((8, 3, 3, 3))},
        "factories:broken",
        "factories:nothing",
        "no_such_package:make",
        "factories:value",
    ):
        with raises(ls.ModelNotReadable):
            ls.open(model)
    with raises(ls.BackendMissing):
        ls.open(object(), backend="caffe")
    with raises(ls.BadOption):
        ls.open(tiny_model(), backend=TinyBackend(), weights="w.npz")


def test_labels_come_from_files_and_lists(tmp_path):
    (tmp_path / "labels.txt").write_text("cat\ndog\n")
    (tmp_path / "labels.json").write_text('["cat", "dog"]')
    (tmp_path / "wrong.json").write_text('{"a": 1}')
    for labels in (tmp_path / "labels.txt", tmp_path / "labels.json", ["cat", "dog"]):
        assert open_scope(labels=labels).labels == ("cat", "dog")
    for labels in (tmp_path / "none.txt", tmp_path / "wrong.json"):
        with raises(ls.BadOption):
            open_scope(labels=labels)


def test_the_names_of_imagenet_are_packed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "imagenet").write_text("cat\ndog\n")
    scope = ls.open(ls.demo_model(), labels="imagenet")
    assert (len(scope.labels), scope.labels[282]) == (1000, "tiger cat")
    assert scope.labels == ls.open(ls.demo_model()).labels
    for own in ("./imagenet", tmp_path / "imagenet"):
        assert open_scope(labels=own).labels == ("cat", "dog")
    assert arguments.labels("imagenet").name == "imagenet-labels.txt"
    assert arguments.labels("./imagenet").read_text() == "cat\ndog\n"


def test_a_missing_framework_is_named_with_its_pip_line(monkeypatch, tmp_path):
    import importlib.util

    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "onnx" else find_spec(name, *a))
    (tmp_path / "m.onnx").write_bytes(b"")
    with raises(ls.BackendMissing, 'layerscope[onnx]"'):
        ls.open(tmp_path / "m.onnx")


def test_maps_are_a_mapping():
    maps = open_scope().capture(photo(), ["conv1", "act"])
    assert list(maps) == ["conv1", "act:0", "act:1"]
    for path in ("conv1", "act:1", "nowhere", "act", 7, None):
        try:
            fm = maps[path]
        except KeyError:
            fm = None
        assert (path in maps) == (fm is not None), path
        assert maps.get(path) is fm
    inner = ls.Maps({"net/conv1": maps["conv1"]})
    assert "conv1" in inner
    assert inner.get("conv1") is maps["conv1"]


def test_what_last_is_does_not_depend_on_what_was_captured_before():
    scope = ls.open(tiny_model(), backend=TinyBackend(), preprocess=None)
    small, large = (np.zeros((1, 3, side, side), np.float32) for side in (8, 16))
    text = scope.explained("last", large)
    scope.capture(small)
    assert scope.explained("last", large) == text
    assert scope.explained("last", small) != text


def test_a_scope_shows_what_a_user_calls():
    names = {name for name in dir(ls.Scope) if not name.startswith("_")}
    assert names - {*ls.Scope.__dataclass_fields__} == {
        *("layers", "explained", "capture", "stream", "predict", "head", "kernel", "label", "widget")
    }


def test_a_pass_is_kept_by_nobody_once_it_is_joined():
    """Of a capture in a type that must be converted, the framework's own arrays are gone as soon as the maps are there."""
    arrays = []

    class Half(TinyBackend):
        def capture(self, model, batch, paths, target=None):
            outputs = super().capture(model, batch, paths, target)
            halves = {
                path: replace(output, values=output.values.astype(np.float16)) for path, output in outputs.items()
            }
            arrays.extend(weakref.ref(output.values) for output in halves.values())
            return halves

    scope = ls.open(tiny_model(), backend=Half(), preprocess=None)
    array = np.zeros((4, 3, 8, 8), np.float32)
    maps = scope.capture(array, ["conv1", "conv2"], batch=2)
    assert len(arrays) == 8  # two of each batch, and of the images that tell whether it may be cut
    assert [reference() for reference in arrays] == [None] * 8
    arrays.clear()
    for _ in scope.stream(array, "conv1", batch=2):
        assert [reference() for reference in arrays] == [None] * len(arrays)
    assert len(arrays) == 4
    del maps
