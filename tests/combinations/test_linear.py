"""A linear combination keeps its weights: numpy makes the same map from the layer's values; others say `None`."""

from dataclasses import replace

import numpy as np
import pytest

import layerscope as ls
from layerscope.combinations.registry import RULES
from layerscope.core.progress import progress
from layerscope.testing import TinyBackend, tiny_model

CHANNELS = 7


def noise(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.fixture
def fm():
    """A map of two images with a gradient of its own."""
    return replace(ls.FeatureMap.of_array(noise(2, 6, 7, CHANNELS), "bhwc"), gradient=noise(2, 6, 7, CHANNELS, seed=1))


@pytest.fixture
def captured():
    scope = ls.open(tiny_model(), backend=TinyBackend(), preprocess=None)
    return scope.capture(np.abs(noise(2, 3, 8, 8)), "conv1")["conv1"]


def by_hand(linear, values):
    """`post(values @ W + b)` image by image."""
    images = []
    for index, image in enumerate(values):
        own = linear.weights.ndim == 3
        weights, bias = (linear.weights[index], linear.bias[index]) if own else (linear.weights, linear.bias)
        images.append(image @ weights + bias)
    return np.maximum(images, 0) if linear.post == "relu" else np.stack(images)


def holds(combined, values):
    expected = by_hand(combined.linear, values)
    finite = np.isfinite(combined.values)
    size = float(np.abs(combined.values[finite]).max())
    np.testing.assert_allclose(combined.values[finite], expected[finite], rtol=1e-5, atol=1e-5 * size)
    np.testing.assert_allclose(combined.linear.recombine(values)[finite], expected[finite], rtol=1e-5, atol=1e-5 * size)


NONLINEAR = {
    "max",
    "norm",
    "deviation",
    "nmf",
    "clusters",
    "similarity",
    "hires-cam",
    "layer-cam",
    "attention",
    "rollout",
}


def combine(rule, fm, captured):
    """(the map that goes in, the one that comes out), for any rule of the registry."""
    if rule.name == "cam":
        model = ls.open(ls.demo_model())
        last = model.capture([ls.demo_photo()], "last")["last"]
        return last, rule.function(last)
    if rule.model:
        return captured, rule.function(captured)
    if rule.name in ("attention", "rollout"):
        layer = ls.Layer("attention", "Softmax", "bcqk", (1, 3, 5, 5), calls=1, grid=(2, 2), prefix=("cls",))
        weights = ls.FeatureMap(np.full((1, 5, 5, 3), 0.2, np.float32), layer, ("one",), (0, 1, 2))
        return weights, rule.function(weights)
    arguments = {"weights": (noise(CHANNELS, seed=2),), "similarity": ((1, 2),)}.get(rule.name, ())
    source = replace(fm, values=np.abs(fm.values)) if rule.name == "nmf" else fm
    return source, rule.function(source, *arguments)


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_every_rule_of_the_registry_has_weights_or_states_that_it_has_none(rule, fm, captured):
    source, combined = combine(rule, fm, captured)
    assert (combined.linear is None) == (rule.name in NONLINEAR)
    if combined.linear:
        assert combined.linear.channels == source.channels
        holds(combined, source.values)


def test_positive_maps_are_rectified(fm):
    combined = ls.grad_cam(fm, positive=True)
    assert combined.linear.post == "relu" and combined.values.min() == 0
    holds(combined, fm.values)


@pytest.mark.parametrize("center", [False, True])
def test_eigen_cam_with_a_mean_of_its_own(fm, center):
    shifted = replace(fm, values=fm.values + 3)
    holds(ls.eigen_cam(shifted, center=center), shifted.values)


def test_a_saved_basis_projects_other_maps(fm, tmp_path):
    path = ls.pca_basis(fm).save(tmp_path / "basis.npz")
    other = ls.FeatureMap.of_array(noise(1, 4, 4, CHANNELS, seed=3), "bhwc")
    holds(ls.pca(other, basis=path), other.values)


def test_the_background_of_pca_stays_bare(fm):
    combined = ls.pca(fm, foreground=fm.values[..., 0] > 0)
    assert not np.isfinite(combined.values).all()
    holds(combined, fm.values)


def test_a_dot_product_with_a_place_is_linear(fm):
    holds(ls.similarity(fm, (1, 2), metric="dot"), fm.values)


def test_it_follows_the_chosen_channels_and_images(fm):
    some = fm.select([4, 1, 2])
    combined = ls.grad_cam(some)
    assert combined.linear.channels == (4, 1, 2)
    holds(combined.image(1), some.image(1).values)
    colors = ls.pca(fm)
    holds(colors.select([2, 0]), fm.values)


def test_a_chain_of_linear_combinations_is_one(fm):
    assert ls.mean(ls.pca(fm)).linear.weights.shape == (CHANNELS, 1)
    holds(ls.mean(ls.pca(fm)), fm.values)
    doubled = ls.weighted(ls.eigen_cam(replace(fm, values=fm.values + 3), center=True), [2.0])
    holds(doubled, fm.values + 3)


def test_a_chain_with_another_step_is_none(fm):
    assert ls.mean(ls.maximum(fm)).linear is None
    assert ls.total(ls.grad_cam(fm, positive=True)).linear is None
    assert ls.mean(ls.difference(fm.image(0), fm.image(1))).linear is None
    assert ls.maximum(ls.mean(fm)).linear is None


def test_a_smoothed_map_has_no_weights(captured):
    assert ls.eigen_cam(captured, flip=True).linear is None


@pytest.mark.parametrize("combination", [ls.grad_cam, ls.pca], ids=["by image", "shared"])
def test_it_survives_a_file(fm, combination, tmp_path):
    combined = combination(fm)
    again = ls.load(combined.save(tmp_path / "map.npz"))
    np.testing.assert_array_equal(again.linear.weights, combined.linear.weights)
    np.testing.assert_array_equal(again.linear.bias, combined.linear.bias)
    assert (again.linear.channels, again.linear.post) == (combined.linear.channels, combined.linear.post)
    assert ls.load(fm.save(tmp_path / "layer.npz")).linear is None


def test_values_of_other_channels_are_refused(fm):
    with pytest.raises(ls.BadLayout):
        ls.mean(fm).linear.recombine(np.zeros((1, 3, 3, CHANNELS + 1)))


@pytest.mark.parametrize(("method", "total"), [(ls.score_cam, 8), (ls.ablation_cam, 8)])
def test_masks_are_counted(captured, method, total):
    events = []
    with progress(events.append):
        method(captured, 1, batch=3)
    counts = [event.done for event in events if event.what == "masks"]
    assert counts == [0, 3, 4, 7, 8] and {event.total for event in events if event.what == "masks"} == {total}


def test_noisy_inputs_are_counted(captured):
    events = []
    with progress(events.append):
        ls.eigen_cam(captured, smooth=2, flip=True)
    counts = [event.done for event in events if event.what == "inputs"]
    assert counts == [0, 4, 8] and {event.total for event in events if event.what == "inputs"} == {8}


@pytest.mark.parametrize("method", [ls.score_cam, ls.ablation_cam, lambda fm: ls.eigen_cam(fm, smooth=3)])
def test_work_is_cancelled_between_two_steps(captured, method):
    """No further run of the model, and the next one finds everything as it was."""
    model = captured.origin.scope.model
    before = method(captured).values

    def observer(event):
        if event.what in ("masks", "inputs") and event.done:
            model.ran.clear()
            raise ls.errors.Cancelled

    with progress(observer), pytest.raises(ls.errors.Cancelled):
        method(captured)
    assert not model.ran
    np.testing.assert_array_equal(method(captured).values, before)
