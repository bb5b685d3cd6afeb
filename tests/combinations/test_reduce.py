"""Combinations against numpy's and scikit-learn's own sums."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.decomposition import PCA

import layerscope as ls
from helpers.arrays import noise, planes_first
from helpers.wording import raises, wording
from layerscope.core.note import kind_of

RULES = {
    ls.mean: lambda v: v.mean(-1),
    ls.total: lambda v: v.sum(-1),
    ls.maximum: lambda v: v.max(-1),
    ls.norm: lambda v: np.linalg.norm(v, axis=-1),
    ls.deviation: lambda v: v.std(-1),
}


@pytest.mark.parametrize("order", [np.ascontiguousarray, planes_first], ids=["nhwc", "nchw"])
@pytest.mark.parametrize("rule", list(RULES), ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("shape", [(2, 9, 7, 12), (3, 5), (1, 6, 8), (2, 3, 4, 5, 6)])
def test_each_rule_is_numpys_own(rule, shape, order):
    values = noise(*shape)
    fm = ls.FeatureMap.of_array(order(values), {2: "bc", 3: "bnc", 4: "bhwc", 5: "bdhwc"}[len(shape)])
    combined = rule(fm)
    assert combined.shape == (*shape[:-1], 1)
    np.testing.assert_allclose(combined.values[..., 0], RULES[rule](values.astype(np.float64)), rtol=1e-5, atol=1e-5)
    assert combined.of == shape[-1]
    assert str(shape[-1]) in combined.rule


@given(
    hnp.arrays(np.float32, (2, 4, 5, 6), elements=st.floats(-100, 100, width=32)),
    hnp.arrays(np.float64, 6, elements=st.floats(-10, 10)),
)
def test_weighted_is_the_sum_of_values_times_weights(values, weights):
    expected = np.sum(values.astype(np.float64) * weights, axis=-1)
    for array in (values, planes_first(values)):
        combined = ls.weighted(ls.FeatureMap.of_array(array, "bhwc"), weights)
        np.testing.assert_allclose(combined.values[..., 0], expected, rtol=1e-4, atol=2e-2)


def test_weights_come_as_arrays_dicts_and_files(tmp_path):
    values, weights = noise(1, 4, 5, 3), np.array([0.5, -2.0, 1.0])
    expected = (values * weights).sum(-1)
    np.save(tmp_path / "w.npy", weights)
    (tmp_path / "column.csv").write_text("0.5\n-2\n1\n")
    (tmp_path / "row.csv").write_text("0.5,-2,1\n")
    (tmp_path / "pairs.csv").write_text("0,0.5\n2,1\n1,-2\n")
    for form in (
        weights,
        weights.tolist(),
        weights[:, None],
        {0: 0.5, 1: -2.0, 2: 1},
        tmp_path / "w.npy",
        str(tmp_path / "column.csv"),
        tmp_path / "row.csv",
        tmp_path / "pairs.csv",
    ):
        np.testing.assert_allclose(ls.weighted(values, form).values[..., 0], expected, rtol=1e-5, atol=1e-6)


def test_a_dict_names_true_channels_and_leaves_the_others_out():
    values = noise(1, 4, 4, 8)
    values[..., 5] = np.nan
    fm = ls.FeatureMap.of_array(values).select([2, 5, 7])
    combined = ls.weighted(fm, {7: 2.0})
    np.testing.assert_allclose(combined.values[..., 0], 2 * values[..., 7], rtol=1e-6)
    wording(combined.rule, "1", "3")


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ({4: 0.5, 17: 2.0}, "0.5 × channel 4 + 2 × channel 17"),
        ({0: 1.0, 5: -1.0}, "is channel 0 − channel 5"),
        ({5: -1.0}, "is −channel 5"),
        (np.arange(20) - 9.5, "the 6 largest of 20 weights: −9.5 × channel 0, 9.5 × channel 19, −8.5 × channel 1"),
    ],
)
def test_a_weighted_sum_names_channels_and_weights(weights, said):
    combined = ls.weighted(noise(1, 4, 4, 20), weights)
    (note,) = (note for note in combined.notes if kind_of(note) == "weights")
    assert said in note


@pytest.mark.parametrize("order", [np.ascontiguousarray, planes_first], ids=["nhwc", "nchw"])
def test_a_weight_of_zero_looks_at_no_value(order):
    values = noise(1, 4, 4, 3)
    values[..., 1] = np.nan
    combined = ls.weighted(order(values), [1.0, 0.0, 2.0])
    np.testing.assert_allclose(combined.values[..., 0], values[..., 0] + 2 * values[..., 2], rtol=1e-6)


@pytest.mark.parametrize(
    "weights",
    [
        [1, 2],
        np.zeros((2, 3)),
        [1, np.nan, np.inf],
        {},
        {7: 1.0},
        {0: "x"},
        "nowhere.npy",
        "abc",
        ["a", "b", "c"],
        [1, 2j, 3],
    ],
)
def test_bad_weights_are_named(weights):
    with raises(ls.LayerscopeError):
        ls.weighted(noise(1, 4, 4, 3), weights)


def test_bad_weight_files_are_named(tmp_path):
    (tmp_path / "w.csv").write_text("a,b,c\n")
    (tmp_path / "w.json").write_text("[1]")
    np.save(tmp_path / "objects.npy", np.array([{}], object), allow_pickle=True)
    for name in ("w.csv", "w.json", "objects.npy"):
        with raises(ls.BadWeights):
            ls.weighted(noise(1, 4, 4, 3), tmp_path / name)


def test_a_sum_without_a_positive_value_is_noted_and_keeps_its_signs():
    values = np.abs(noise(1, 4, 4, 3))
    combined = ls.weighted(values, [-1, -2, 0])
    assert kind_of(combined.notes[-1]) == "no-evidence"
    np.testing.assert_allclose(combined.values[..., 0], values @ [-1, -2, 0], rtol=1e-5)
    picture = ls.heatmap(combined)
    wording(picture.alt())
    assert "evidence" not in picture.alt(), "whose weights they are nobody knows"
    assert picture.bar.high < 0, "neither zeroed nor stretched to look like evidence"
    assert "no-evidence" not in map(kind_of, ls.weighted(values, [1, -1, 0]).notes)
    dark = ls.heatmap(ls.weighted(values, [0.0, 0.0, 1e-30]))
    assert dark.bar is not None


def test_combinations_chain_and_draw():
    fm = ls.FeatureMap.of_array(noise(1, 8, 8, 6))
    assert ls.mean(ls.norm(fm)).method == "mean"
    wording(ls.mean(ls.norm(fm)).rule, "6")
    assert ls.heatmap(ls.mean(fm)).bar is not None
    assert ls.sheet(ls.mean(fm)).cells[0].channel == 0


def test_norms_neither_overflow_nor_vanish():
    for size in (3e30, 1e-30):
        norms = ls.norm(np.full((1, 2, 2, 4), size, np.float32)).values
        np.testing.assert_allclose(norms, 2 * size, rtol=1e-5)
    assert (ls.norm(np.zeros((1, 2, 2, 4), np.float32)).values == 0).all()


@pytest.mark.parametrize("size", [1e30, 1e-30])
def test_deviations_neither_overflow_nor_vanish(size):
    values = np.random.default_rng(0).random((2, 3, 4, 5)) * size
    for order in (values, np.ascontiguousarray(values.transpose(0, 3, 1, 2)).transpose(0, 2, 3, 1)):
        deviations = ls.deviation(order.astype(np.float32)).values[..., 0]
        np.testing.assert_allclose(deviations, values.std(-1), rtol=1e-5)


def test_pca_agrees_with_scikit_learn():
    values = noise(2, 12, 10, 16) @ noise(16, 16, seed=1)
    basis = ls.pca_basis(values)
    expected = PCA(3, svd_solver="full").fit(values.reshape(-1, 16).astype(np.float64))
    np.testing.assert_allclose(basis.variance, expected.explained_variance_ratio_, rtol=1e-6)
    signs = np.sign((basis.components * expected.components_).sum(1))
    np.testing.assert_allclose(basis.components, expected.components_ * signs[:, None], atol=1e-6)
    projected = expected.transform(values.reshape(-1, 16)) * signs
    for array in (values, planes_first(values)):
        components = ls.pca(ls.FeatureMap.of_array(array, "bhwc"))
        np.testing.assert_allclose(components.values.reshape(-1, 3), projected, atol=1e-3)


def test_pca_of_more_channels_than_places_takes_the_other_route():
    values = noise(1, 3, 4, 300)
    expected = PCA(3, svd_solver="full").fit(values.reshape(-1, 300).astype(np.float64))
    basis = ls.pca_basis(values)
    np.testing.assert_allclose(basis.variance, expected.explained_variance_ratio_, rtol=1e-6)
    np.testing.assert_allclose(np.abs((basis.components * expected.components_).sum(1)), 1, rtol=1e-6)


def test_pca_keeps_small_components_of_layers_with_a_large_mean():
    values = (1e4 + noise(1, 20, 20, 8) * 0.1).astype(np.float32)
    expected = PCA(3, svd_solver="full").fit(values.reshape(-1, 8).astype(np.float64))
    np.testing.assert_allclose(ls.pca_basis(values).variance, expected.explained_variance_ratio_, rtol=1e-4)


def test_pca_signs_and_colours_are_the_same_in_every_run():
    script = "import numpy as np, layerscope as ls; v = np.random.default_rng(5).random((1, 9, 9, 12), dtype='f4');"
    script += (
        "print(ls.heatmap(ls.pca(v)).pixels.tobytes().hex()[-2000:], ls.pca_basis(v).components.round(6).tolist())"
    )
    runs = {subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stdout for _ in range(2)}
    assert len(runs) == 1
    for row in ls.pca_basis(np.random.default_rng(5).random((1, 9, 9, 12), dtype="f4")).components:
        assert row[np.abs(row).argmax()] > 0


def test_images_share_one_basis_and_a_saved_one_goes_on(tmp_path):
    values = noise(2, 8, 8, 10)
    values[1] = values[0]
    together = ls.pca(values)
    assert np.array_equal(together.values[0], together.values[1]), "equal images have equal colours"
    wording(together.notes, "2")
    basis = ls.Basis.load(ls.pca_basis(values).save(tmp_path / "basis.npz"))
    again = ls.pca(values[:1], basis=basis)
    np.testing.assert_allclose(again.values[0], together.values[0], atol=1e-5)
    wording(again.notes)
    with raises(ls.BadOption, "3", "4"):
        ls.pca(noise(1, 4, 4, 4), basis=basis)
    (tmp_path / "no.npz").write_bytes(b"no")
    with raises(ls.BadOption):
        ls.Basis.load(tmp_path / "no.npz")


def test_pca_of_flat_short_or_broken_maps_is_no_error():
    assert (ls.pca(np.ones((1, 4, 4, 5), np.float32)).values == 0).all()
    assert ls.pca(noise(1, 4, 4, 2)).values[..., 2].max() == 0
    values = noise(1, 6, 6, 5)
    values[0, 0, 0] = np.nan
    components = ls.pca(values)
    assert np.isnan(components.values[0, 0, 0]).all()
    assert np.isfinite(components.values[0, 1:]).all()
    assert np.isnan(ls.pca(np.full((1, 2, 2, 3), np.nan, np.float32)).values).all()
    ls.heatmap(components)
    ls.heatmap(ls.pca(np.ones((1, 4, 4, 5), np.float32)))


def test_pca_of_an_early_layer_stays_under_a_gigabyte():
    """50,176 positions × 64 channels: the SVD of the whole would take 10 GB."""
    script = (
        "import resource, numpy as np, layerscope as ls\n"
        "v = np.random.default_rng(0).random((1, 224, 224, 64), dtype='f4')\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "ls.pca(v)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    process = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True)
    assert int(process.stdout) < 300_000, "kilobytes on top of the map itself"


def test_the_callers_array_is_not_written_to():
    values = noise(1, 6, 6, 5)
    before = values.copy()
    for rule in (*RULES, ls.pca):
        rule(values)
    ls.weighted(values, np.arange(5))
    assert np.array_equal(values, before)
