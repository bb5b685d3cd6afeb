"""Combinations for a page: what it makes of the weights, or gets as a map, is what Python's own function gives."""

import numpy as np
import pytest
from torch import nn

import layerscope as ls
from helpers.viewer import PHOTO, id_of, read, shapes_session, tiny_session, values_of
from layerscope.combinations.registry import combined
from layerscope.errors import BadOption
from layerscope.viewer.session import Session


class Network(nn.Module):
    """A classifier with global average pooling, so that every combination has a meaning."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, padding=1)
        self.act = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(6, 4)

    def forward(self, x):
        return self.head(self.pool(self.act(self.conv(x))).flatten(1))


@pytest.fixture(scope="module")
def session():
    import torch

    torch.manual_seed(0)
    scope = ls.open(Network().eval(), preprocess="unit", size=12, labels=["ant", "bee", "cat", "dog"])
    return Session(scope, PHOTO, "act")


def expected(session, name, target=None):
    needs = {each["name"]: each["needs"] for each in session.answer("manifest").result["combinations"]}
    aimed = needs[name.partition(":")[0]] == "target" and name not in ("cam", "score-cam", "ablation-cam")
    fm = session.scope.capture(PHOTO, "act", target=target if aimed else None)["act"]
    return combined(fm, name, None if aimed else target)


NAMES = (
    *("mean", "total", "max", "norm", "deviation", "pca", "nmf:3", "clusters", "cam", "grad-cam", "grad-cam++"),
    *("xgrad-cam", "hires-cam", "layer-cam", "eigen-cam", "score-cam", "ablation-cam"),
)


def test_a_model_with_gradients_has_every_combination_but_those_of_attention(session):
    assert sorted(each["name"] for each in session.answer("manifest").result["combinations"]) == sorted(
        [*(name.partition(":")[0] for name in NAMES), "similarity"]
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_combination_is_what_python_gives(session, name):
    about = next(
        each for each in session.answer("manifest").result["combinations"] if each["name"] == name.partition(":")[0]
    )
    target = 2 if about["needs"] == "target" else None
    result = expected(session, name, target)
    meta, tensors = read(session.answer("combine", {"input": "i0", "layer": "l0", "name": name, "target": target}))
    assert meta["linear"] is about["linear"] is ("weights" in tensors)
    assert meta["shape"] == [result.shape[-1], *result.spatial] and meta["channels"] == result.shape[-1]
    assert meta["target"] == (None if target is None else "cat")
    assert meta["rgb"] is (name == "pca") and meta["role"] == result.role
    if meta["linear"]:
        page = values_of(session.answer("map", {"input": "i0", "layer": "l0"}))
        values = page @ tensors["weights"].T + tensors["bias"]
        values = np.maximum(values, 0) if meta["post"] == "relu" else values
    else:
        values = np.moveaxis(tensors["values"], 0, -1)
    reach = np.abs(result.values).max()
    np.testing.assert_allclose(values, result.values[0], rtol=0, atol=2e-3 * reach)
    assert meta["notes"] == [str(note) for note in result.notes]


def test_colours_of_components_have_the_ranges_of_the_picture(session):
    result = expected(session, "pca")
    _, tensors = read(session.answer("combine", {"input": "i0", "layer": "l0", "name": "pca"}))
    cell = ls.heatmap(result).cells[0]
    np.testing.assert_allclose(tensors["limits"][0], [cell.low, cell.high], rtol=1e-6)
    np.testing.assert_allclose(
        tensors["limits"], np.percentile(result.values[0].reshape(-1, 3), (1, 99), 0).T, rtol=1e-5
    )


def test_without_a_target_it_is_that_of_the_first_class(session):
    (top,) = [each["label"] for each in session.answer("manifest").result["inputs"][0]["predictions"][:1]]
    meta, tensors = read(session.answer("combine", {"input": "i0", "layer": "l0", "name": "grad-cam"}))
    _, named = read(session.answer("combine", {"input": "i0", "layer": "l0", "name": "grad-cam", "target": top}))
    assert meta["target"] == top
    np.testing.assert_array_equal(tensors["weights"], named["weights"])


def test_similarity_is_that_to_the_unit_named(session):
    fm = session.scope.capture(PHOTO, "act")["act"]
    meta, tensors = read(session.answer("combine", {"input": "i0", "layer": "l0", "name": "similarity:3,4"}))
    np.testing.assert_allclose(tensors["values"][0], ls.similarity(fm, (3, 4)).values[0, ..., 0], rtol=1e-5, atol=1e-6)
    assert not meta["linear"]


@pytest.mark.parametrize(("name", "count"), [("nmf:3", 3), ("clusters:4", 4)])
def test_factors_and_clusters_have_names_and_colours(session, name, count):
    meta, _ = read(session.answer("combine", {"input": "i0", "layer": "l0", "name": name}))
    assert [group["number"] for group in meta["groups"]] == list(range(count))
    assert len({tuple(group["color"]) for group in meta["groups"]}) == count
    assert all("%" in group["text"] for group in meta["groups"])


@pytest.mark.parametrize("name", ["attention", "attention:3", "rollout"])
def test_attention_lies_on_the_grid(name):
    session = shapes_session()
    id = id_of(session, "attention")
    meta, tensors = read(session.answer("combine", {"input": "i0", "layer": id, "name": name}))
    fm = session.scope.capture(PHOTO, "attention")["attention"]
    argument = name.partition(":")[2]
    result = ls.attention_rollout([fm]) if name == "rollout" else ls.attention(fm, int(argument) if argument else "cls")
    assert meta["shape"] == [1, 4, 4] and not meta["linear"]
    np.testing.assert_allclose(tensors["values"][0], result.values[0].mean(-1), rtol=1e-6)


def test_the_mean_of_any_layer_is_linear():
    session = shapes_session()
    for layer in session.answer("manifest").result["layers"]:
        if layer["kind_of"] != "none":
            meta, tensors = read(session.answer("combine", {"input": "i0", "layer": layer["id"], "name": "mean"}))
            assert meta["linear"] and tensors["weights"].shape == (1, layer["channels"])


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("weights:/etc/passwd", None),
        ("weights", None),
        ("meen", None),
        ("nmf:0", None),
        ("nmf:9999999", None),
        ("nmf:" + "9" * 5000, None),
        ("similarity:99,99", None),
        ("similarity:a,b", None),
        ("similarity", None),
        (None, None),
        (["mean"], None),
        ("grad-cam", "dragon"),
        ("grad-cam", 4.5),
        ("grad-cam", True),
        ("grad-cam", {"index": 2}),
        ("grad-cam", 10**30),
    ],
)
def test_what_is_no_combination_is_refused(session, name, target):
    with pytest.raises(ls.LayerscopeError):
        session.answer("combine", {"input": "i0", "layer": "l0", "name": name, "target": target})


def test_a_model_without_gradients_offers_none_that_need_them():
    names = {each["name"] for each in tiny_session().answer("manifest").result["combinations"]}
    assert {"mean", "pca", "score-cam"} <= names and not names & {"grad-cam", "cam", "attention", "weights"}
    with pytest.raises(ls.GradientsUnavailable):
        tiny_session().answer("combine", {"input": "i0", "layer": "l0", "name": "grad-cam", "target": 1})


def test_no_file_is_read_for_a_page(session, tmp_path):
    np.save(tmp_path / "w.npy", np.ones(6))
    with pytest.raises(BadOption, match="there is no combination"):
        session.answer("combine", {"input": "i0", "layer": "l0", "name": f"weights:{tmp_path / 'w.npy'}"})


def test_what_a_framework_has_not_is_listed_with_its_reason():
    onnx = Session(ls.open("demo"), ls.demo_photo(), "_conv_stem").answer("manifest").result
    (group,) = onnx["absent"]
    assert group["reason"] == "Need gradients: ONNX Runtime computes none"
    assert group["labels"] == ["Grad-CAM", "Grad-CAM++", "XGrad-CAM", "HiRes-CAM", "Layer-CAM"]
    assert not {*group["labels"]} & {rule["label"] for rule in onnx["combinations"]}


def test_a_model_with_gradients_lacks_nothing(session):
    assert session.answer("manifest").result["absent"] == []
