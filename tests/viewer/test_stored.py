"""A store in place of a model: the page has its layers, photos and maps, and says what it has not."""

import http.client

import numpy as np
import pytest

import layerscope as ls
from helpers.stores import small_store
from helpers.viewer import read, values_of
from helpers.wording import raises, wording
from layerscope import BadOption
from layerscope.cli import main
from layerscope.viewer.stored import StoredSession


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return small_store(tmp_path_factory.mktemp("stored"), 12, keep="maps", dtype="float32")


@pytest.fixture
def session(store):
    return StoredSession(store)


def test_the_manifest_is_that_of_the_store(store, session):
    manifest = session.answer("manifest").result
    assert [layer["path"] for layer in manifest["layers"]] == ["conv1", "conv2"]
    assert [entry["name"] for entry in manifest["inputs"]] == store.ids
    assert manifest["model"]["text"] == store.plan.preprocess
    assert not manifest["caps"]["upload"]
    assert {rule["needs"] for rule in manifest["combinations"]} == {"none"}
    (note,) = manifest["notes"]
    assert "what the model saw" in note


def test_maps_values_and_photos_are_those_of_the_store(store, session):
    fm = store.feature_map("conv2", 5)
    reply = session.answer("map", {"input": "i5", "layer": "l1"})
    meta, _ = read(reply)
    assert meta["placement"]["input"] == [8, 8]
    np.testing.assert_allclose(values_of(reply), fm.values[0], rtol=2**-11)
    asked = {"input": "i5", "layer": "l1", "channel": 3, "position": [1, 2]}
    assert np.float32(session.answer("probe", asked).result["value"]) == fm.values[0, 1, 2, 3]
    assert read(session.answer("photo", {"input": "i5"}))[0]["photo"] == [16, 16]


def test_a_value_of_float16_is_read_out_in_no_more_digits_than_that_has(tmp_path):
    store = small_store(tmp_path, 6, keep="maps")
    asked = {"input": "i0", "layer": "l1", "channel": 3, "position": [1, 2]}
    text = StoredSession(store).answer("probe", asked).result["text"].replace("−", "-")
    value = store.feature_map("conv2", 0).values[0, 1, 2, 3]
    assert np.float16(text) == value and len(text.strip("-0.").replace(".", "")) <= 5


def test_combinations_and_pictures_need_no_model(session):
    for rule in session.answer("manifest").result["combinations"]:
        name = rule["name"] + {"": "", "count": ":2", "unit": ":0,0", "token": ":0"}[rule["argument"]]
        if name == "nmf:2":  # of values that aren't all positive
            continue
        assert session.answer("combine", {"input": "i1", "layer": "l0", "name": name}).result["bytes"] > 0
    view = {"input": "i1", "layer": "l0", "mode": "mean"}
    for what in ("sheet", "combined", "overlay"):
        assert session.answer("picture", {"view": view, "what": what}).buffers[0][:4] == b"\x89PNG"


def test_what_needs_the_model_is_refused(session):
    asked = {"input": "i0", "layer": "l0", "name": "grad-cam", "target": 1}
    with raises(ls.GradientsUnavailable):
        session.answer("combine", asked)
    with raises(BadOption):
        session.answer("add", {"name": "cat.png"}, [b"bytes"])
    assert session.answer("predictions", {"input": "i0"}).result == {"predictions": None}


def test_a_page_is_served_for_a_store_and_for_its_folder(store):
    for given in (store, str(store.storage)):
        with ls.view(given, layers="conv2", browser=False) as viewer:
            manifest = viewer._lanes.session.answer("manifest").result
            assert [layer["path"] for layer in manifest["layers"]] == ["conv2"]
            connection = http.client.HTTPConnection("127.0.0.1", viewer.port, timeout=20)
            connection.request("GET", f"/?{viewer.url.partition('?')[2]}")
            assert connection.getresponse().status == 200
            connection.close()


def test_a_store_without_maps_and_images_beside_a_store_are_refused(store, tmp_path, capsys):
    pooled = small_store(tmp_path, 4)
    with raises(BadOption):
        ls.view(pooled, browser=False)
    with raises(BadOption):
        ls.view(store, "cat.png", browser=False)
    folder = str(store.storage)
    for line in (["view", "--store", str(pooled.storage)], ["view", "demo", "--store", folder], ["view"]):
        assert main([*line, "--no-browser"]) == 1
    wording(capsys.readouterr().err)


def test_what_opens_a_model_is_refused_beside_a_store(store, tmp_path, capsys):
    with raises(BadOption, "weights="):
        ls.view(store, weights="w.h5", browser=False)
    with raises(BadOption, "preprocess=", "device="):
        ls.report(str(store.storage), preprocess="unit", device="cpu", path=tmp_path / "r.html")
    folder = str(store.storage)
    for line in (
        ["--range", "0:1"],
        ["--size", "8", "--trust"],
        ["--import", "json"],
        ["--preprocess", "unit", "--fps", "2"],
    ):
        assert main(["report", "--store", folder, *line, "-o", str(tmp_path / "r.html")]) == 1
    assert not (tmp_path / "r.html").exists()
    wording(capsys.readouterr().err, "--range", "--size, --trust", "--import", "--preprocess, --fps")


def test_images_without_a_photo_are_counted(store, monkeypatch):
    photo = type(store.gallery).photo
    monkeypatch.setattr(type(store.gallery), "photo", lambda held, row: None if row == 3 else photo(held, row))
    manifest = StoredSession(store).answer("manifest").result
    assert len(manifest["inputs"]) == 11
    assert "11 of 12 images: those of which the store has photos" in manifest["notes"]
    reply = StoredSession(store).answer("map", {"input": "i3", "layer": "l0"})
    np.testing.assert_allclose(values_of(reply), store.feature_map("conv1", 4).values[0], rtol=2**-11)


def test_the_python_of_a_page_reads_the_store_and_draws_the_same(store, session):
    manifest = session.answer("manifest").result
    assert manifest["model"]["opening"] == f'import layerscope as ls\n\nstore = ls.open_store("{store.storage}")'
    assert manifest["model"]["store"]
    names = {}
    exec(manifest["model"]["opening"], names)
    names["fm"] = names["store"].feature_map("conv1", store.ids[3], photos=True)
    view = {"input": "i3", "layer": "l0", "opacity": 0.7}

    def saved(what, **more):
        return session.answer("picture", {"view": {**view, **more}, "what": what}).buffers[0]

    assert saved("sheet") == eval("ls.sheet(fm)", names).png()
    for rule in manifest["combinations"]:
        if rule["name"] == "nmf":  # of values that aren't all positive
            continue
        argument = ":2,3" if rule["name"] == "similarity" else ""
        drawn = rule["call"].replace("{}", ", (2, 3)" if argument else "")
        assert saved("combined", mode=rule["name"] + argument) == eval(f"ls.heatmap({drawn})", names).png()
    mean = eval("ls.overlay(ls.mean(fm), alpha=0.7)", names)
    assert saved("overlay", mode="mean") == mean.png()


def test_what_a_store_has_not_is_said_with_its_reason(session):
    manifest = session.answer("manifest").result
    (group,) = manifest["absent"]
    assert "store" in group["reason"]
    assert {"Grad-CAM", "Class activation map", "Score-CAM"} <= {*group["labels"]}
    assert not {*group["labels"]} & {rule["label"] for rule in manifest["combinations"]}


def test_photos_come_with_a_map_where_the_store_has_them(store, monkeypatch):
    fm = store.feature_map("conv1", [0, 2], photos=True)
    assert [photo.shape for photo in fm.photos] == [(16, 16, 3)] * 2
    assert [place.input for place in fm.placement] == [(8, 8)] * 2
    assert store.feature_map("conv1", 0).photos is None
    caption = "\n".join(ls.sheet(fm.image(0)).lines)
    assert "as the model saw" in caption and "16 × 16" not in caption, "the store has no photo in its own size"
    meta, _ = read(StoredSession(store).answer("map", {"input": "i0", "layer": "l0"}))
    assert not meta["notes"]
    monkeypatch.setattr(type(store.gallery), "photo", lambda held, row: None)
    with raises(BadOption, store.ids[2]):
        store.feature_map("conv1", 2, photos=True)
