"""Class activation maps by scores, gradients and weights, on every backend, against the model by hand."""

import numpy as np
import pytest

import layerscope as ls
from helpers.score_networks import expected, in_jax, in_keras, in_onnx, in_tflite, in_torch, weights
from helpers.wording import raises

MAKERS = {"torch": in_torch, "keras": in_keras, "jax": in_jax, "onnx": in_onnx, "tflite": in_tflite}
OTHERS = sorted(set(MAKERS) - {"keras"})


@pytest.fixture(scope="module", params=[pytest.param("keras", marks=pytest.mark.each_framework), *OTHERS])
def network(request):
    return MAKERS[request.param]()


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).normal(size=(3, 3, 8, 8)).astype(np.float32)


def test_maps_by_scores_are_the_same_everywhere(network, images):
    scope, own = network
    fm = scope.capture(own(images), "relu")["relu"]
    loss = expected(images)[:, 3, None] - np.stack([expected(images, [channel] * 3)[:, 3] for channel in range(5)], 1)
    weights = loss / np.abs(expected(images)[:, 3, None])
    by_hand = np.einsum("bhwc,bc->bhw", fm.values, weights)
    np.testing.assert_allclose(ls.ablation_cam(fm, 3).values[..., 0], by_hand, rtol=1e-3, atol=1e-5)
    assert np.isfinite(ls.score_cam(fm, 3).values).all()


def test_maps_by_gradients_are_the_same_everywhere(network, images):
    scope, own = network
    if not scope.backend.gradients:
        with raises(ls.GradientsUnavailable):
            scope.capture(own(images), "relu", target=3)
        return
    fm = scope.capture(own(images), "relu", target=3)["relu"]
    # Behind the layer come an average over 36 positions and a dense layer, so the gradient is its weight at every position.
    by_hand = fm.values @ (weights()[2][3] / 36)
    for method in (ls.grad_cam, ls.hires_cam, ls.xgrad_cam):
        np.testing.assert_allclose(method(fm).values[..., 0], by_hand, rtol=1e-4, atol=1e-6)
    positive = fm.values @ (np.maximum(weights()[2][3], 0) / 36)
    np.testing.assert_allclose(ls.layer_cam(fm).values[..., 0], positive, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(ls.class_cam(fm).values[..., 0], by_hand * 36, rtol=1e-4, atol=1e-5)
