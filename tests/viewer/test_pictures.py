"""What a page saves is the picture that Python draws of the same."""

import io

import numpy as np
import pytest
from PIL import Image

import layerscope as ls
from helpers.viewer import PHOTO, id_of, shapes_session, tiny_session


@pytest.fixture(scope="module")
def session():
    return tiny_session()


@pytest.fixture(scope="module")
def fm(session):
    return session.scope.capture(PHOTO, "conv1")["conv1"]


def png(session, what, page=None, dpi=None, **view):
    view = {"input": "i0", "layer": "l0", "scale": "channel", "norm": "linear", "colors": "", "mode": "mean"} | view
    return session.answer("picture", {"view": view, "what": what, "page": page, "dpi": dpi}).buffers[0]


VIEWS = {
    "as it is": ({}, {}),
    "one range": ({"scale": "layer", "clip": [1, 99]}, {"scale": "layer", "clip": (1, 99)}),
    "limits": ({"scale": [-1, 2], "clip": [1, 99]}, {"scale": (-1, 2)}),
    "order and colours": ({"sort": "mean", "colors": "magma"}, {"sort": "mean", "colors": "magma"}),
    "a condition": ({"find": " mean < 10 and not dead "}, {"channels": "mean < 10 and not dead"}),
    "a norm on dark paper": ({"norm": "symlog", "theme": "dark"}, {"norm": "symlog", "theme": "dark"}),
    "one channel": ({"single": True, "active": 2, "sort": "mean"}, {"channels": [2]}),
}


@pytest.mark.parametrize("name", VIEWS)
def test_a_sheet(session, fm, name):
    view, options = VIEWS[name]
    assert png(session, "sheet", **view) == ls.sheet(fm, **options).png()


def test_for_paper_letters_and_tiles_are_larger(session, fm):
    assert png(session, "sheet", dpi=300) == ls.sheet(fm, text=3).png(300)


MODES = {
    "mean": ({"mode": "mean"}, ls.mean),
    "weights": ({"mode": "weights", "weights": {"0": 1, "3": -0.5}}, lambda fm: ls.weighted(fm, {0: 1, 3: -0.5})),
    "channel": ({"mode": "channel", "active": 1}, lambda fm: fm.select([1])),
    "pca": ({"mode": "pca", "norm": "log"}, ls.pca),
    "norm": ({"mode": "norm", "colors": "gray"}, ls.norm),
    "score-cam": ({"mode": "score-cam", "target": 2}, lambda fm: ls.score_cam(fm, 2)),
}


@pytest.mark.parametrize("name", MODES)
def test_a_combined_map_alone_and_on_the_photo(session, fm, name):
    view, rule = MODES[name]
    colors = view.get("colors")
    assert png(session, "combined", **view) == ls.heatmap(rule(fm), colors=colors).png()
    assert png(session, "overlay", opacity=0.5, **view) == ls.overlay(rule(fm), colors=colors, alpha=0.5).png()


def test_clusters_have_colours_of_their_own_as_on_the_page(session, fm):
    view = {"mode": "clusters:2", "norm": "symlog", "colors": "magma"}
    assert png(session, "combined", **view) == ls.heatmap(ls.clusters(fm, 2)).png()


def test_a_single_channel_has_the_scale_of_its_tile(session, fm):
    view = {"mode": "channel", "active": 1, "scale": [-2, 2]}
    assert png(session, "combined", **view) == ls.heatmap(fm.select([1]), scale=(-2, 2)).png()


def test_of_a_weighted_sum_the_positive_part(session, fm):
    total = ls.weighted(fm, {0: 1, 3: -0.5})
    drawn = png(session, "combined", mode="weights", weights={"0": 1, "3": -0.5}, post="relu")
    assert drawn == ls.heatmap(total.combined(total.values.clip(min=0), "positive part")).png()


def test_a_slice_of_a_volume_and_a_query_of_attention():
    session = shapes_session()
    slices = {png(session, "sheet", layer=id_of(session, "volume"), slice=number) for number in (0, 4)}
    assert len(slices) == 2
    fm = session.scope.capture(PHOTO, "attention")["attention"]
    drawn = png(session, "sheet", layer=id_of(session, "attention"), query=7)
    assert drawn == ls.sheet(ls.attention(fm, 7)).png()


def colors(data):
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


@pytest.mark.parametrize("what", ["sheet", "combined", "overlay"])
def test_two_views_beside_each_other_are_one_picture(session, what):
    view = {"mode": "channel", "active": 1}
    one, other = colors(png(session, what, **view)), colors(png(session, what, **view, layer="l2"))
    both = colors(png(session, what, **view, beside={"layer": "l2"}))
    assert both.shape[1] == one.shape[1] + other.shape[1]
    assert np.array_equal(both[: len(one), : one.shape[1]], one)
    assert np.array_equal(both[: len(other), one.shape[1] :], other)
    assert (
        png(session, what, **view, beside={"layer": "l0"})
        == png(session, what, **view, beside={})
        == png(session, what, **view)
    )


def test_the_view_beside_may_have_fewer_channels_and_slices():
    session = shapes_session()
    few, many = (id_of(session, path) for path in ("windows", "volume"))
    for mode, more in (("channel", {"active": 2, "slice": 4}), ("weights", {"weights": {"0": 1, "2": 1}})):
        view = {"layer": many, "mode": mode, **more}
        both = colors(png(session, "combined", **view, beside={"layer": few}))
        assert both.shape[1] > colors(png(session, "combined", **view)).shape[1]


def test_pages_of_a_sheet_are_counted(session):
    view = {"input": "i0", "layer": "l0"}
    assert session.answer("picture", {"view": view, "what": "sheet"}).result["pages"] == 1
    with pytest.raises(ls.BadOption, match="page"):
        session.answer("picture", {"view": view, "what": "sheet", "page": 1})


@pytest.mark.parametrize(
    "view",
    [
        {"scale": "image"},
        {"scale": [2, 1]},
        {"scale": [1]},
        {"scale": {"low": 1}},
        {"clip": [99, 1]},
        {"clip": "1"},
        {"norm": "cubic"},
        {"norm": 3},
        {"colors": ["red"]},
        {"colors": "no such map"},
        {"find": "meen > 1"},
        {"find": "mean > 99999"},
        {"find": "0:" * 5000},
        {"find": 5},
        {"sort": "size"},
        {"sort": {"by": "mean"}},
        {"single": True, "active": 77},
        {"single": True, "active": "0"},
        {"input": "i7"},
        {"layer": "conv1"},
        {"beside": {"layer": "l9"}},
        {"beside": {"input": ["i0"]}},
    ],
)
def test_a_view_that_draws_nothing_is_refused_in_a_sentence(session, view):
    with pytest.raises(ls.LayerscopeError):
        png(session, "sheet", **view)


@pytest.mark.parametrize(
    "view",
    [
        {"mode": "weights"},
        {"mode": "weights", "weights": {}},
        {"mode": "weights", "weights": {"a": 1}},
        {"mode": "weights", "weights": {"0": "x"}},
        {"mode": "weights", "weights": {"0": float("nan")}},
        {"mode": "weights", "weights": {"9": 1}},
        {"mode": "weights", "weights": [1, 2]},
        {"mode": "weights:/etc/passwd"},
        {"mode": "nothing"},
        {"mode": "channel", "active": -1},
        {"mode": "mean", "opacity": 2},
        {"mode": "mean", "opacity": "all"},
    ],
)
def test_a_combination_that_cannot_be_drawn_is_refused_in_a_sentence(session, view):
    with pytest.raises(ls.LayerscopeError):
        png(session, "overlay", **view)


@pytest.mark.parametrize("params", [{}, {"view": 3}, {"view": {"input": "i0", "layer": "l0"}, "what": "all"}])
def test_a_request_for_a_picture_names_a_view(session, params):
    with pytest.raises(ls.BadOption):
        session.answer("picture", params)
