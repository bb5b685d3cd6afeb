"""The session answers what a page asks: manifest, maps, photos, single values, classes, uploads."""

import json

import numpy as np
import pytest

import layerscope as ls
from helpers.viewer import PHOTO, read, shapes_session, tiny_session, values_of
from layerscope.errors import BadOption
from layerscope.testing.tiny import Step, TinyBackend, TinyModel
from layerscope.viewer.session import Session


@pytest.fixture
def session():
    return tiny_session()


def test_the_manifest_is_json_and_lists_every_call(session):
    manifest = session.answer("manifest").result
    assert json.loads(json.dumps(manifest, allow_nan=False)) == manifest
    assert [layer["path"] for layer in manifest["layers"]] == ["conv1", "act:0", "conv2", "act:1", "head", "spare"]
    assert [layer["kind_of"] for layer in manifest["layers"]] == ["map", "map", "map", "map", "vector", "none"]
    assert manifest["first"] == {"input": "i0", "layer": "l1"}
    assert manifest["inputs"][0] | {"predictions": None} == {
        "id": "i0", "name": "array-0", "width": 16, "height": 12, "predictions": None
    }  # fmt: skip


def test_first_is_the_first_stage_with_more_channels_than_a_photo():
    steps = [
        Step("grey", "Conv", "bchw", lambda x: x[:, :1]),
        Step("stem", "Conv", "bchw", lambda x: np.repeat(x, 4, 1)[:, :, ::2, ::2]),
        Step("deep", "Conv", "bchw", lambda x: x[:, :, ::2, ::2]),
    ]
    scope = ls.open(TinyModel(steps), backend=TinyBackend(), preprocess="unit", size=16)
    for layers in (None, "stages", ["grey", "deep"]):
        manifest = Session(scope, PHOTO, layers).answer("manifest").result
        names = {layer["id"]: layer["path"] for layer in manifest["layers"]}
        assert names[manifest["first"]["layer"]] == ("grey" if isinstance(layers, list) else "stem")


def test_a_map_is_that_of_the_capture(session):
    fm = session.scope.capture(PHOTO, "act:1")["act:1"]
    reply = session.answer("map", {"input": "i0", "layer": "l3"})
    meta, _ = read(reply)
    assert meta["shape"] == [5, 3, 3] and meta["placement"]["photo"] == [12, 16]
    np.testing.assert_allclose(values_of(reply), fm.values[0], rtol=2**-11)


def test_a_single_value_is_exact(session):
    fm = session.scope.capture(PHOTO, "conv1")["conv1"]
    reply = session.answer("probe", {"input": "i0", "layer": "l0", "channel": 2, "position": [3, 5]})
    assert np.float32(reply.result["value"]) == fm.values[0, 3, 5, 2]


def test_a_photo_comes_with_its_true_size(session):
    meta, _ = read(session.answer("photo", {"input": "i0"}))
    assert meta == {"media": "image/png", "width": 16, "height": 12, "photo": [12, 16]}


@pytest.mark.parametrize(
    ("op", "params"),
    [
        ("nothing", {}),
        ("map", {}),
        ("map", {"input": "i0", "layer": "l99"}),
        ("map", {"input": "i0", "layer": "../l0"}),
        ("map", {"input": ["i0"], "layer": "l0"}),
        ("map", {"input": "i0", "layer": "l0", "encoding": "f64"}),
        ("photo", {"input": "i1"}),
        ("probe", {"input": "i0", "layer": "l0", "channel": 99, "position": [0, 0]}),
        ("probe", {"input": "i0", "layer": "l0", "channel": 0, "position": [0, 8]}),
        ("probe", {"input": "i0", "layer": "l0", "channel": 0, "position": [0]}),
        ("probe", {"input": "i0", "layer": "l0", "channel": [], "position": "00"}),
        ("classes", {"text": 3}),
        ("add", {"name": "cat.jpg"}),
    ],
)
def test_a_wrong_request_is_refused_in_a_sentence(session, op, params):
    with pytest.raises(BadOption):
        session.answer(op, params)


def test_predictions_are_those_of_the_model_and_none_where_its_output_means_no_classes(session):
    (expected,) = session.scope.predict(PHOTO)
    found = session.answer("predictions", {"input": "i0"}).result["predictions"]
    assert [(each["index"], each["label"]) for each in found] == [(each.index, each.label) for each in expected]
    assert found == session.answer("manifest").result["inputs"][0]["predictions"]
    assert shapes_session().answer("manifest").result["inputs"][0]["predictions"] is None


def test_predictions_of_every_image_where_they_are_asked_for():
    session = tiny_session([PHOTO, PHOTO[::-1]])
    known = [each["predictions"] is not None for each in session.answer("manifest").result["inputs"]]
    every = session.answer("manifest", {"predictions": "all"}).result["inputs"]
    assert known == [True, False] and all(each["predictions"] for each in every)


def test_classes_are_found_by_their_start_their_words_and_their_number():
    session = tiny_session()
    object.__setattr__(session.scope, "labels", ("catamaran", "tiger cat", "polecat", "dog", "Cat", "bird"))
    found = session.answer("classes", {"text": " CAT "}).result["classes"]
    assert [each["index"] for each in found] == [0, 4, 1, 2]
    assert session.answer("classes", {"text": "3"}).result["classes"] == [{"index": 3, "label": "dog"}]
    assert len(session.answer("classes", {"text": ""}).result["classes"]) == 6
    assert session.answer("classes", {"text": "²"}).result["classes"] == []


def test_the_one_class_that_is_typed_is_found_or_it_is_said_why_not():
    session = tiny_session()
    object.__setattr__(session.scope, "labels", ("catamaran", "tiger cat", "polecat", "dog", "Cat", "zebra"))
    for text, index in (("CAT", 4), ("Dog", 3), ("tiger", 1), ("zeb", 5)):
        (found,) = session.answer("classes", {"text": text, "one": True}).result["classes"]
        assert found["index"] == index
    with pytest.raises(ls.BadOption, match=r"no class 'zebbra'\. Did you mean 'zebra'"):
        session.answer("classes", {"text": "zebbra", "one": True})
    with pytest.raises(ls.BadOption, match=r"'ca' is part of 4 classes: catamaran \(0\), tiger cat \(1\)"):
        session.answer("classes", {"text": "ca", "one": True})


def test_names_from_a_model_stay_text():
    """What a layer or a label is called goes through JSON as it is; whoever shows it escapes it."""
    session = tiny_session()
    name = "</script><img src=x onerror=alert(1)>\u202e"
    object.__setattr__(session.scope, "name", name)
    manifest = json.loads(json.dumps(session.answer("manifest").result))
    assert manifest["model"]["name"] == name and manifest["title"].startswith(name)
