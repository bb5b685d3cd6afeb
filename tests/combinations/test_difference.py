"""What has changed between two maps, against numpy."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import layerscope as ls
from helpers.arrays import noise, planes_first
from helpers.wording import raises, wording
from layerscope.core.note import kind_of

FINITE = st.floats(-1e3, 1e3, width=32)


def noted(fm, kind):
    """The notes of one kind."""
    return [note for note in fm.notes if kind_of(note) == kind]


@settings(deadline=None)
@given(
    hnp.arrays(np.float32, (2, 3, 4, 5), elements=FINITE),
    hnp.arrays(np.float32, (2, 3, 4, 5), elements=FINITE),
    st.booleans(),
)
def test_it_is_a_minus_b(a, b, first):
    order = planes_first if first else np.ascontiguousarray
    fm = ls.difference(ls.FeatureMap.of_array(order(a), "bhwc"), ls.FeatureMap.of_array(order(b), "bhwc"))
    np.testing.assert_array_equal(fm.values, a - b)
    back = ls.difference(ls.FeatureMap.of_array(b, "bhwc"), ls.FeatureMap.of_array(a, "bhwc"))
    np.testing.assert_array_equal(fm.values, -back.values)
    assert fm.method == "difference" and fm.channels == (0, 1, 2, 3, 4)


@pytest.mark.parametrize("order", [np.ascontiguousarray, planes_first], ids=["nhwc", "nchw"])
def test_the_notes_name_what_changed_most_and_how_much_in_all(order):
    b = noise(1, 20, 20, 12)
    a = b + noise(1, 20, 20, 12, seed=1) * np.array([0, 5, 0.1, 0, 3, 0, 0, 0, 1, 0, 0, 0], np.float32)
    fm = ls.difference(order(a), order(b))
    rms = np.sqrt(np.square(a.astype(float) - b).mean((0, 1, 2)))
    wording(fm.notes, "1", f"{rms[1]:.3g}", "4", f"{rms[4]:.3g}", "8", f"{rms[8]:.3g}", "2", f"{rms[2]:.3g}")
    share = np.linalg.norm((a - b).ravel()) / np.linalg.norm(b.ravel())
    wording(fm.notes, f"{share:.3g}")
    cells = ls.sheet(fm, sort="energy").cells
    assert [cell.channel for cell in cells[:4]] == [1, 4, 8, 2]
    assert ls.sheet(fm, scale="layer").scale.center == 0


def test_relative_divides_each_channel_by_its_size_in_b():
    a, b = noise(2, 5, 4, 3), noise(2, 5, 4, 3, seed=1)
    b[..., 1] = 0
    a[..., 1] = 0
    a[0, 0, 0, 1] = 2
    fm = ls.difference(a, b, relative=True)
    expected = (a - b)[..., 0] / np.sqrt(np.square(b[..., 0]).mean())
    np.testing.assert_allclose(fm.values[..., 0], expected, rtol=1e-5)
    assert fm.values[0, 0, 0, 1] == np.inf
    assert (fm.values[..., 1] == 0).sum() == 39
    assert fm.method == "relative difference"
    wording(fm.rule, "3")


def test_the_most_changed_channels_of_a_relative_difference_are_the_first_of_its_sheet():
    b = noise(1, 6, 6, 4) * np.float32([100, 1, 10, 1])
    a = b + noise(1, 6, 6, 4, seed=1) * np.float32([10, 2, 3, 0])
    fm = ls.difference(a, b, relative=True)
    rms = np.sqrt(np.square((a - b).astype(float)).mean((0, 1, 2)) / np.square(b.astype(float)).mean((0, 1, 2)))
    assert rms.argsort().tolist() == [3, 0, 2, 1]
    wording(fm.notes, "1", f"{rms[1]:.3g}", "2", f"{rms[2]:.3g}", "0", f"{rms[0]:.3g}")
    assert [cell.channel for cell in ls.sheet(fm, sort="energy").cells] == [1, 2, 0, 3]
    b[..., 3], a[..., 3] = 0, 1
    most_changed = noted(ls.difference(a, b, relative=True), "most-changed")
    wording(most_changed, "3 (inf), 1")


def test_two_images_of_one_map_are_the_pair():
    values = noise(2, 4, 4, 3)
    fm = ls.difference(values)
    np.testing.assert_array_equal(fm.values[0], values[0] - values[1])
    assert fm.ids == ("image 0 − image 1",)
    assert fm.photos is None
    wording(noted(fm, "sides"), "a", "0", "b", "1")
    with raises(ls.BadOption, "3"):
        ls.difference(noise(3, 4, 4, 3))


def test_images_without_a_name_are_called_as_in_every_picture():
    two = replace(ls.FeatureMap.of_array(noise(2, 4, 4, 3)), ids=("image-0", "image-1"))
    fm = ls.difference(two)
    assert fm.ids == ("image 0 − image 1",)
    assert noted(fm, "sides") == ["difference a − b: a is image 0, b is image 1"]


def test_the_notes_tell_a_from_b_by_what_differs():
    fm = ls.FeatureMap.of_array(noise(1, 4, 4, 3))
    about = {"model": "net", "model_digest": "sha256:0123456789abcdef"}
    a = replace(fm, provenance=about)
    b = replace(fm, provenance={**about, "model_digest": "sha256:fedcba9876543210"}, dtype="int8")
    notes = ls.difference(a, b).notes
    wording(notes, "01234567")
    wording(notes)
    same = ls.difference(a, a)
    wording(same.notes)
    assert (same.values == 0).all()
    assert ls.difference(a, b).provenance["minus"]["model_digest"] == "sha256:fedcba9876543210"


def test_a_quantised_network_can_be_compared_with_itself_in_float():
    """Captured from one model twice: the photo stays, so an overlay has its place."""
    scope = ls.open("demo")
    fm = scope.capture(ls.demo_photo(), "_blocks.0._swish")["_blocks.0._swish"]
    difference = ls.difference(fm, replace(fm, values=fm.values * np.float32(0.5)))
    assert difference.photos is not None and "0.5" not in difference.ids[0]
    wording(difference.notes, "1")
    ls.overlay(ls.norm(difference))


def test_units_that_are_not_finite_do_not_count():
    a, b = noise(1, 4, 4, 3), noise(1, 4, 4, 3, seed=1)
    a[0, 0, 0, 0] = b[0, 0, 0, 0] = np.inf
    b[0, 1, 1, 1] = np.nan
    fm = ls.difference(a, b)
    assert np.isnan(fm.values).sum() == 2
    wording(fm.notes, "2", "48")
    a[0, 0, 0, 0] = np.nan
    finite = np.isfinite(a - b)
    rms = np.sqrt(np.square((a - b)[..., 0][finite[..., 0]]).mean())
    assert f"0 ({rms:.3g})" in " ".join(fm.notes)


@pytest.mark.parametrize(
    "other",
    [
        noise(1, 5, 4, 3),
        noise(2, 4, 4, 6),
        ls.FeatureMap.of_array(noise(1, 4, 3), "bnc"),
        ls.FeatureMap.of_array(noise(1, 4, 4, 5)).select([0, 1, 4]),
        ls.FeatureMap.of_array(noise(1, 4, 4, 3)).select([0, 2, 1]),
    ],
)
def test_maps_that_do_not_fit_are_named(other):
    with raises(ls.BadLayout):
        ls.difference(noise(1, 4, 4, 3), other)


def test_the_numbers_of_clusters_have_no_difference():
    with raises(ls.BadLayout):
        ls.difference(ls.clusters(noise(2, 4, 4, 3), 3))
