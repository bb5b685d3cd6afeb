"""Principal components of a part of the positions: foreground, positions without outliers, saved bases."""

import numpy as np
import pytest
from sklearn.decomposition import PCA

import layerscope as ls
from helpers.arrays import noise
from helpers.wording import raises, wording
from layerscope.core.note import kind_of
from layerscope.core.placement import Placement


def planted(images=2, size=10, channels=12):
    """An object in the middle whose vectors differ from the ground's along one direction, with a spread of its own."""
    values = noise(images, size, size, channels) * 0.3
    mask = np.zeros((images, size, size), bool)
    mask[:, 3:7, 2:6] = True
    along = noise(channels, seed=7)
    values[mask] += 6 * along / np.linalg.norm(along) + noise(int(mask.sum()), channels, seed=3)
    return values, mask


def agree(basis, rows):
    expected = PCA(3, svd_solver="full").fit(rows.astype(np.float64))
    np.testing.assert_allclose(basis.variance, expected.explained_variance_ratio_, rtol=1e-5)
    np.testing.assert_allclose(np.abs((basis.components * expected.components_).sum(1)), 1, rtol=1e-5)
    np.testing.assert_allclose(basis.mean, expected.mean_, atol=1e-6)


def test_a_mask_fits_the_basis_to_its_positions_alone():
    values, mask = planted()
    fm = ls.pca(values, foreground=mask)
    agree(ls.pca_basis(values, foreground=mask), values[mask])
    assert (fm.values[~mask] == -np.inf).all()
    assert np.isfinite(fm.values[mask]).all()
    (note,) = [note for note in fm.notes if kind_of(note) == "foreground"]
    wording(note, "16.0%")
    single = ls.pca(values[:1], foreground=mask[0])
    np.testing.assert_array_equal(single.values, ls.pca(values[:1], foreground=mask[:1].astype(int)).values)


def test_auto_is_the_first_component_cut_at_0_by_scikit_learn_and_takes_the_side_inside():
    values, mask = planted()
    first = PCA(1, svd_solver="full").fit_transform(values.reshape(-1, 12).astype(np.float64)).reshape(mask.shape)
    expected = first > 0 if (first > 0).mean() < 0.5 else first < 0
    np.testing.assert_array_equal(expected, mask)
    for flipped in (values, -values):
        fm = ls.pca(flipped, foreground="auto")
        np.testing.assert_array_equal(fm.values[..., 0] != -np.inf, mask)
    agree(ls.pca_basis(values, foreground="auto"), values[mask])
    above = ls.pca(values, foreground="above").values[..., 0] != -np.inf
    below = ls.pca(values, foreground="below").values[..., 0] != -np.inf
    np.testing.assert_array_equal(above, ~below)


def test_a_saved_basis_carries_its_foreground_to_other_images(tmp_path):
    values, mask = planted()
    path = ls.pca_basis(values, foreground="auto", robust=True).save(tmp_path / "basis.npz")
    for source in (path, str(path), ls.Basis.load(path)):
        again = ls.pca(values[1:], basis=source)
        np.testing.assert_array_equal(again.values[..., 0] != -np.inf, mask[1:])
        assert "robust" in map(kind_of, again.notes)
    whole = ls.pca(values[1:], basis=path, foreground=np.ones((10, 10), bool))
    assert np.isfinite(whole.values).all()
    plain = ls.pca_basis(values).save(tmp_path / "plain.npz")
    with raises(ls.BadOption):
        ls.pca(values, basis=plain, foreground="auto")


def test_robust_leaves_out_the_places_that_are_far_longer():
    values = noise(1, 12, 12, 16)
    out = np.zeros((1, 12, 12), bool)
    out[0, [1, 5, 9], [2, 7, 7]] = True
    values[out] = 200 * noise(3, 16, seed=9)
    agree(ls.pca_basis(values, robust=True), values[~out])
    fm = ls.pca(values, robust=True)
    assert np.isfinite(fm.values).all(), "outliers get colours all the same"
    (note,) = [note for note in fm.notes if kind_of(note) == "robust"]
    wording(note, "3", "144")
    assert ls.pca_basis(values).variance[0] > 0.4 > ls.pca_basis(values, robust=True).variance[0]


def test_robust_does_not_take_an_object_for_outliers():
    values, mask = planted()
    assert mask.mean() > 0.1
    agree(ls.pca_basis(values, robust=True), values.reshape(-1, 12))
    (note,) = ls.pca_basis(values, robust=True).notes
    wording(note, "32", "200")


def test_robust_of_vectors_of_one_length_leaves_out_nothing():
    values = np.repeat(np.eye(4, dtype=np.float32), 4, 0).reshape(1, 4, 4, 4)
    (note,) = [note for note in ls.pca(values, robust=True).notes if kind_of(note) == "robust"]
    wording(note)


def test_background_is_paper_on_a_map_and_bare_on_a_photo():
    values, mask = planted(1)
    values[0, 4, 4] = np.nan
    photo = np.full((1, 40, 40, 3), (10, 200, 30), np.uint8)
    fm = ls.FeatureMap.of_array(values)
    fm = ls.FeatureMap(
        fm.values, fm.layer, fm.ids, fm.channels, tuple(photo), (Placement.whole((40, 40), (40, 40)),), of=fm.of
    )
    components = ls.pca(fm, foreground=mask[:1])
    assert np.isnan(components.values[0, 4, 4]).all()
    picture = ls.heatmap(components)
    cell = picture.cells[0]
    zoom = cell.width // 10
    assert picture.rgb()[cell.y, cell.x].tolist() == [255, 255, 255]
    assert picture.rgb()[cell.y + 4 * zoom, cell.x + 4 * zoom].tolist() == [255, 0, 255]
    legend = (picture.rgb()[cell.y + cell.height :] == (255, 0, 255)).all(-1)
    assert legend.any(), "the mark is explained"
    picture = ls.overlay(components, on="photo", zoom=1)
    cell, overlay = picture.cells[0], picture.rgb()
    under = ls.overlay(components, on="photo", zoom=1, alpha=0.0).rgb()
    assert np.array_equal(overlay[cell.y, cell.x], under[cell.y, cell.x])
    assert not np.array_equal(overlay[cell.y + 14, cell.x + 10], under[cell.y + 14, cell.x + 10])


def test_places_that_are_not_finite_become_nan_in_every_component():
    values = noise(1, 6, 6, 5)
    values[0, 1, 1, 2], values[0, 2, 2, 3] = np.inf, -np.inf
    components = ls.pca(values).values
    assert np.isnan(components[0, [1, 2], [1, 2]]).all()
    assert np.isfinite(components).all(-1).sum() == 34


@pytest.mark.parametrize(
    "options",
    [
        {"foreground": "abov"},
        {"foreground": np.ones((5, 5), bool)},
        {"foreground": np.full((10, 10), 0.5)},
        {"foreground": np.zeros((10, 10), bool)},
        {"basis": 3},
        {"basis": np.eye(3, 12)},
        {"basis": "nowhere.npz"},
    ],
)
def test_bad_options_are_named(options):
    with raises(ls.BadOption):
        ls.pca(planted()[0], **options)


def test_a_basis_is_of_one_kind(tmp_path):
    values = np.abs(noise(1, 4, 4, 6))
    path = ls.nmf_basis(values, 2).save(tmp_path / "factors.npz")
    with raises(ls.BadOption):
        ls.pca(values, basis=path)
    with raises(ls.BadOption, "robust=True"):
        ls.pca(values, basis=ls.pca_basis(values), robust=True)
    with raises(ls.BadOption):
        ls.pca_basis(values).save(tmp_path / "basis.npy")
    for bad in (0, -1, 2.5, True):
        with raises(ls.BadOption, "1"):
            ls.pca_basis(values, bad)


def test_files_that_hold_something_else_are_named(tmp_path):
    values = np.abs(noise(1, 4, 4, 6))
    path = tmp_path / "made.npz"
    three, whole = np.zeros(3), {"mean": np.zeros(6), "components": np.eye(3, 6), "variance": np.zeros(3)}
    for arrays in (
        {"a": three},
        {**whole, "components": np.array("abc")},
        {**whole, "components": np.eye(3, 6) * np.nan},
        {**whole, "mean": np.zeros(7)},
        {**whole, "split": np.zeros((2, 2))},
    ):
        np.savez(path, **arrays)
        with raises(ls.BadOption):
            ls.pca(values, basis=path)
    np.savez(path, kind=np.array("FactorBasis"), components=-np.ones((2, 6)), energy=np.zeros(2))
    with raises(ls.BadOption):
        ls.nmf(values, basis=path)
    np.savez(path, kind=np.array("ClusterBasis"), centers=np.ones(6), share=np.zeros(2))
    with raises(ls.BadOption, "2"):
        ls.clusters(values, basis=path)
    good = ls.pca_basis(values).save(path).read_bytes()
    for bytes_ in (good[: len(good) // 2], good.replace(b"\x93NUMPY", b"\x93NUMPI"), b"PK and no more", b"text", b""):
        path.write_bytes(bytes_)
        with raises(ls.BadOption) as caught:
            ls.pca(values, basis=path)
        assert "allow_pickle" not in str(caught.value), "no advice to load it unsafely"


def test_blocks_are_counted_and_change_no_digit():
    values, events = noise(3, 40, 40, 64), []
    plain = ls.pca_basis(values)
    with ls.progress(events.append):
        counted = ls.pca_basis(values)
    assert np.array_equal(counted.components, plain.components)
    assert len(events) > 3 and events == [ls.Progress(done, events[-1].total, "blocks") for done in range(len(events))]
    assert events[-1].done == events[-1].total
