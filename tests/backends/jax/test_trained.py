"""A small network of Flax NNX, trained on scikit-learn's digits: its maps, its gradients, and what its BatchNorm says."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from flax import nnx
from sklearn.datasets import load_digits

import layerscope as ls
from layerscope.backends.jax.backend import JaxBackend
from layerscope.inputs.input_check import fit

BACKEND = JaxBackend()


class Digits(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.conv1 = nnx.Conv(1, 8, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(8, momentum=0.9, rngs=rngs)
        self.conv2 = nnx.Conv(8, 32, (3, 3), rngs=rngs)
        self.dropout = nnx.Dropout(0.2, rngs=rngs)
        self.head = nnx.Linear(32, 10, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        x = nnx.max_pool(nnx.relu(self.norm(self.conv1(x))), (2, 2), strides=(2, 2))
        return self.head(self.dropout(nnx.relu(self.conv2(x)).mean((1, 2))))


@pytest.fixture(scope="module")
def digits() -> Any:
    """(model, images from 0 to 1, numbers), the last 297 not seen in training."""
    images, numbers = load_digits(return_X_y=True)
    images = (images.reshape(-1, 8, 8, 1) / 16).astype(np.float32)
    model = Digits(nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, optax.adam(1e-2), wrt=nnx.Param)

    @nnx.jit
    def step(model: Any, optimizer: Any, x: Any, y: Any) -> None:
        def loss(model: Any) -> Any:
            return optax.softmax_cross_entropy_with_integer_labels(model(x), y).mean()

        optimizer.update(model, nnx.grad(loss)(model))

    order = np.random.default_rng(0)
    for _ in range(300):
        batch = order.integers(0, 1500, 128)
        step(model, optimizer, jnp.asarray(images[batch]), jnp.asarray(numbers[batch]))
    return model, images, numbers


@pytest.mark.slow
def test_a_trained_network_shows_what_it_has_learned(digits: Any, tmp_path: Any) -> None:
    model, images, numbers = digits
    scope = ls.open(model, preprocess=None)
    captured = scope.capture(images[1500:], ["conv1", "head"])
    assert (captured["head"].values.argmax(-1) == numbers[1500:]).mean() > 0.9, "in evaluation it knows the digits"
    assert not model.dropout.deterministic, "and is left in training"
    picture = ls.sheet(captured["conv1"], columns=4)
    assert picture.save(tmp_path / "digits.png").exists()
    assert len([cell for cell in picture.cells if cell.channel is not None]) == 8
    own = int(numbers[1500])
    fm = scope.capture(images[1500:1501], "conv2", target=own)["conv2"]
    head = np.asarray(model.head.kernel[...])[:, own] * (fm.values > 0) / 16
    np.testing.assert_allclose(fm.gradient, head, atol=1e-5)
    assert ls.heatmap(ls.weighted(fm, fm.gradient.mean((0, 1, 2)))).png()


@pytest.mark.slow
def test_its_batchnorm_tells_the_scale_of_the_images(digits: Any) -> None:
    model, images, _ = digits
    right, wrong = (BACKEND.evidence(model, batch) for batch in (images[1500:], images[1500:] * 255))
    assert right.layer == "norm"
    assert fit(right).distance < 0.1 < 1 < fit(wrong).distance
    values = np.asarray(model.conv1(images[1500:]))
    np.testing.assert_allclose(right.mean, values.mean((1, 2)), atol=1e-5)
    np.testing.assert_allclose(right.variance, values.var((1, 2)), atol=1e-5)
    np.testing.assert_allclose(right.trained_mean, model.norm.mean[...])


class Late(nn.Module):
    """A BatchNorm behind two layers with weights, or in front."""

    early: bool

    @nn.compact
    def __call__(self, x: Any, train: bool) -> Any:
        if not self.early:
            x = nn.Conv(4, (1, 1))(nn.Conv(4, (1, 1))(x))
        return nn.Dense(3)(nn.BatchNorm(use_running_average=not train)(x))


def evidence(early: bool, batch: np.ndarray, trained: bool = True) -> Any:
    model = Late(early)
    variables = model.init(jax.random.PRNGKey(0), batch, train=False)
    if trained:
        variables = {**variables, "batch_stats": jax.tree.map(lambda leaf: leaf + 0.25, variables["batch_stats"])}
    return BACKEND.evidence((model, variables), batch)


def test_an_untrained_batchnorm_and_one_behind_two_layers_are_no_evidence() -> None:
    batch = np.random.default_rng(0).random((2, 5, 5, 4)).astype(np.float32)
    assert evidence(True, batch, trained=False) is None
    assert evidence(False, batch) is None


def test_evidence_of_linen_is_its_first_batchnorm_near_the_input() -> None:
    batch = np.random.default_rng(0).random((2, 5, 5, 4)).astype(np.float32)
    result = evidence(True, batch)
    assert result.layer == "BatchNorm_0"
    np.testing.assert_array_equal(result.trained_mean, np.full(4, 0.25))
    np.testing.assert_array_equal(result.trained_variance, np.full(4, 1.25))
    np.testing.assert_allclose(result.mean, batch.mean((1, 2)), rtol=1e-5)
    np.testing.assert_allclose(result.variance, batch.var((1, 2)), rtol=1e-5)
