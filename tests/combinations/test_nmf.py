"""Non-negative factors against scikit-learn run by hand on the same matrix."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import NMF

import layerscope as ls
from helpers.arrays import planes_first
from helpers.wording import raises, wording
from layerscope.combinations.registry import combined


def parts(images=2, size=6, channels=10, kinds=3, seed=0):
    """Sums of a few patterns, with a little noise; its root mean square is near 1."""
    random = np.random.default_rng(seed)
    strengths = random.random((images, size, size, kinds)) * (random.random((images, size, size, kinds)) > 0.5)
    values = strengths @ random.random((kinds, channels)) + 0.01 * random.random((images, size, size, channels))
    return (values / np.sqrt(np.square(values).mean())).astype(np.float32)


@pytest.mark.parametrize("order", [np.ascontiguousarray, planes_first], ids=["nhwc", "nchw"])
def test_the_factors_are_scikit_learns(order):
    values = parts()
    flat = values.reshape(-1, 10)
    model = NMF(3, init="nndsvda", random_state=0, max_iter=400)
    strengths = model.fit_transform(flat)
    size = np.linalg.norm(model.components_, axis=1)
    fm, basis = ls.nmf(order(values), 3), ls.nmf_basis(order(values), 3)
    assert fm.shape == (2, 6, 6, 3) and fm.role == "factors"
    # Each of theirs is one of ours, in another order.
    match = np.argmax(basis.components @ (model.components_ / size[:, None]).T, axis=1)
    assert sorted(match.tolist()) == [0, 1, 2]
    np.testing.assert_allclose(basis.components, (model.components_ / size[:, None])[match], atol=1e-4)
    np.testing.assert_allclose(fm.values.reshape(-1, 3), (strengths * size)[:, match], atol=1e-3)


def test_shares_of_the_energy_add_up_to_what_the_whole_explains_and_order_the_factors():
    values = parts(kinds=5)
    fm, basis = ls.nmf(values, 4), ls.nmf_basis(values, 4)
    rebuilt = fm.values.astype(np.float64) @ basis.components
    expected = 1 - np.square(values - rebuilt).sum() / np.square(values.astype(np.float64)).sum()
    assert basis.energy.sum() == pytest.approx(expected, abs=1e-6)
    assert (np.diff(basis.energy) <= 0).all() and (basis.energy > 0).all()
    wording(fm.notes, "4", f"{expected:.1%}")
    wording(fm.notes[-4], "0", f"{basis.energy[0]:.1%}")
    assert [group["share"] for group in fm.provenance["groups"]] == basis.energy.tolist()


def test_the_strongest_channels_have_their_true_numbers():
    fm = ls.FeatureMap.of_array(parts(channels=30)).select([25, 4, 17, 9])
    basis = ls.nmf_basis(fm, 2)
    for row, group in zip(basis.components, ls.nmf(fm, 2).provenance["groups"], strict=True):
        order = [position for position in np.argsort(-row) if row[position] > 0]
        assert group["channels"] == [(25, 4, 17, 9)[position] for position in order]


def test_a_saved_basis_gives_other_images_the_same_factors(tmp_path):
    values = parts(3)
    together, basis = ls.nmf(values, 3), ls.nmf_basis(values, 3)
    path = basis.save(tmp_path / "factors.npz")
    for source in (basis, path, ls.FactorBasis.load(path)):
        again = ls.nmf(values[1:2], basis=source)
        np.testing.assert_allclose(again.values, together.values[1:2], atol=0.02)
        wording(again.notes)
    with raises(ls.BadOption, "10", "4"):
        ls.nmf(values[..., :4], basis=basis)


@settings(deadline=None, max_examples=15)
@given(st.integers(1, 4), st.integers(0, 50))
def test_no_factor_is_negative_and_none_beats_the_values(count, seed):
    values = parts(1, 5, 6, seed=seed)
    fm, basis = ls.nmf(values, count), ls.nmf_basis(values, count)
    assert (fm.values >= 0).all() and (basis.components >= 0).all()
    np.testing.assert_allclose(np.linalg.norm(basis.components, axis=1), 1, rtol=1e-5)
    assert 0.5 < basis.energy.sum() <= 1 + 1e-6


@pytest.mark.parametrize("size", [1e-30, 1e-6, 1e6, 1e30])
def test_the_size_of_the_values_changes_nothing_but_the_strengths(size):
    values = parts()
    plain, scaled = ls.nmf(values, 3), ls.nmf(values * np.float32(size), 3)
    np.testing.assert_allclose(scaled.values / np.float32(size), plain.values, atol=5e-2)
    assert scaled.provenance["groups"][0]["share"] == pytest.approx(plain.provenance["groups"][0]["share"], abs=1e-2)


def test_negative_values_are_refused_with_two_remedies():
    values = parts()
    values[0, 0, 0, :3] = -0.5
    with raises(ls.BadOption, "0.4%", "-0.5"):
        ls.nmf(values, 2)
    fm = ls.nmf(values, 2, negative="clip")
    np.testing.assert_array_equal(fm.values, ls.nmf(np.maximum(values, 0), 2).values)
    wording(fm.notes, "0.4%", "-0.5", "0")
    with raises(ls.BadOption):
        ls.nmf(values, 2, negative="drop")


def test_broken_places_are_left_out_and_marked():
    values = parts()
    clean = np.delete(values.reshape(-1, 10), [7, 40], 0)
    values.reshape(-1, 10)[7, 2], values.reshape(-1, 10)[40, 0] = np.nan, np.inf
    fm = ls.nmf(values, 3)
    flat = fm.values.reshape(-1, 3)
    assert np.isnan(flat[[7, 40]]).all()
    np.testing.assert_array_equal(np.delete(flat, [7, 40], 0), ls.nmf(clean[None, None], 3).values.reshape(-1, 3))
    wording(fm.notes, "2", "72")


def test_a_dead_layer_has_no_energy_to_explain():
    fm = ls.nmf(np.zeros((1, 4, 4, 5), np.float32), 2)
    assert (fm.values == 0).all()
    wording(fm.notes, "0")
    ls.heatmap(fm)


@pytest.mark.parametrize(
    ("values", "factors"),
    [
        (parts(), 0),
        (parts(), 2.0),
        (parts(), 11),
        (parts(1, 1), 2),
        (np.full((1, 3, 3, 4), np.nan, np.float32), 2),
    ],
)
def test_what_can_not_be_is_named(values, factors):
    with raises(ls.BadOption):
        ls.nmf(values, factors)


@pytest.mark.slow
def test_two_runs_are_equal_to_the_last_digit():
    script = """
import numpy as np, layerscope as ls
v = np.random.default_rng(5).random((1, 40, 40, 12), dtype="f4")
result = ls.nmf(v, 3).values.tobytes().hex()[-4000:], ls.clusters(v, 5).values.astype(int).ravel().tolist()
"""
    command = [sys.executable, "-c", script + "print(*result, sep='|')"]
    output = subprocess.run(command, capture_output=True, check=True, text=True).stdout.strip()
    here = {}
    exec(script, here)
    assert output == "|".join(map(str, here["result"]))


@pytest.mark.parametrize("rule", [ls.nmf, ls.clusters])
def test_without_scikit_learn_the_error_has_the_pip_line(rule, monkeypatch):
    for name in ("sklearn.decomposition", "sklearn.cluster"):
        monkeypatch.setitem(sys.modules, name, None)
    with raises(ls.LibraryMissing, '"layerscope[factors]"'):
        rule(parts(), 2)


def test_sums_are_taken_in_one_thread_and_threads_and_arrays_are_left_as_found(monkeypatch):
    from threadpoolctl import threadpool_info, threadpool_limits

    values, threads_used = parts(), []
    before, fit = values.copy(), NMF.fit_transform

    def watched(model, matrix):
        threads_used.append({pool["num_threads"] for pool in threadpool_info()})
        return fit(model, matrix)

    with threadpool_limits(2):
        threads = threadpool_info()
        monkeypatch.setattr(NMF, "fit_transform", watched)
        ls.nmf(values, 2), ls.clusters(values, 2)
        assert threads_used == [{1}]
        monkeypatch.setattr(NMF, "fit_transform", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            ls.nmf(values, 2)
        assert threadpool_info() == threads
    assert np.array_equal(values, before)


def test_rounds_are_counted_and_change_no_digit(monkeypatch):
    values, events, fits = parts(1, 12, 10, kinds=5), [], []
    fit = NMF.fit_transform
    monkeypatch.setattr(NMF, "fit_transform", lambda model, matrix: fits.append((model, matrix)) or fit(model, matrix))
    with ls.progress(events.append):
        basis = ls.nmf_basis(values, 4)
    ((ours, matrix),) = fits
    plain = NMF(4, init="nndsvda", random_state=0, max_iter=400)
    fit(plain, matrix)
    assert np.array_equal(ours.components_, plain.components_) and ours.n_iter_ == plain.n_iter_
    assert 5 < plain.n_iter_ < 399
    # scikit-learn asks once more when it has settled; rounds that aren't needed are done.
    assert [event.done for event in events] == [*range(plain.n_iter_ + 2), 400]
    events.clear()
    with ls.progress(events.append):
        ls.nmf(values, basis=basis)
    assert len(events) > 3 and events[-1] == ls.Progress(400, 400, "rounds")


def test_a_long_fit_ends_in_the_round_in_which_it_is_cancelled():
    from threadpoolctl import threadpool_info

    values = parts(1, 12, 10, kinds=5)
    before, found, threads = values.copy(), ls.nmf(values, 4).values, threadpool_info()

    def cancel(event):
        if event.done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), ls.progress(cancel):
        ls.nmf(values, 4)
    assert np.array_equal(values, before) and threadpool_info() == threads
    assert np.array_equal(ls.nmf(values, 4).values, found)


def test_a_saved_map_is_drawn_as_before(tmp_path):
    for fm in (ls.nmf(parts(), 3), ls.clusters(parts(), 3)):
        again = ls.load(fm.save(tmp_path / "map.npz"))
        assert np.array_equal(ls.heatmap(again, image=1).pixels, ls.heatmap(fm, image=1).pixels)


def test_a_map_of_no_image_is_named():
    fm = ls.FeatureMap.of_array(parts())
    empty = replace(fm, values=fm.values[:0], ids=())
    for rule in (ls.nmf, ls.clusters, ls.pca):
        with raises(ls.BadOption, "0", "6", "10"):
            rule(empty)
    with raises(ls.BadOption, "0"):
        ls.similarity(empty, (0, 0))
    with raises(ls.BadLayout):
        ls.difference(empty, empty)


@pytest.mark.parametrize(
    ("rule", "role", "channels"),
    [("nmf", "factors", 6), ("nmf:3", "factors", 3), ("clusters:4", "labels", 1), ("similarity:2,3", "", 1)],
)
def test_they_have_names_for_show(rule, role, channels):
    scope = ls.open("demo")
    (fm,) = scope.capture(ls.demo_photo(), "_swish:1").values()
    fm = combined(fm, rule)
    assert (fm.role, fm.shape[-1]) == (role, channels)
    assert ls.show(scope, ls.demo_photo(), "_swish:1", combine=rule, overlay=True).cells


@pytest.mark.parametrize(
    "rule",
    [
        "nmf:x",
        "similarity",
        "similarity:1;2",
        "cluster",
    ],
)
def test_a_name_that_is_wrong_is_named(rule):
    with raises(ls.BadOption):
        combined(ls.FeatureMap.of_array(parts()), rule)


def test_more_factors_than_dimensions_of_the_values():
    # One strong position alone: the second singular vector is 0, and the usual start divides by its length.
    values = np.zeros((1, 5, 7, 6), np.float32)
    values[0, 2, 3, 1] = 4
    fm = ls.nmf(values, 6)
    assert np.isfinite(fm.values).all()
    np.testing.assert_allclose(fm.values.sum(-1), values.sum(-1), atol=1e-3)
