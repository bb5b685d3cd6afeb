"""What `predict` makes of a JAX model's output: by the activation that the head really has, functions included."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

import layerscope as ls

IMAGES = np.random.default_rng(0).random((2, 6, 6, 3)).astype(np.float32)


class Nnx(nnx.Module):
    def __init__(self, units, function):
        self.dense = nnx.Linear(3, units, rngs=nnx.Rngs(0))
        self.function = function

    def __call__(self, x):
        return self.function(self.dense(x.mean((1, 2))))


class Linen(linen.Module):
    units: int
    function: object

    @linen.compact
    def __call__(self, x):
        return self.function(linen.Dense(self.units)(x.mean((1, 2))))


class Equinox(eqx.Module):
    dense: eqx.nn.Linear
    function: object = eqx.field(static=True)

    def __init__(self, units, function):
        self.dense = eqx.nn.Linear(3, units, key=jax.random.key(0))
        self.function = function

    def __call__(self, x):
        return self.function(self.dense(x.mean((1, 2))))


def opened(library, units, function):
    """The model, and its output for the images."""
    if library == "nnx":
        model = Nnx(units, function)
        return model, model(IMAGES)
    if library == "linen":
        module = Linen(units, function)
        variables = module.init(jax.random.key(0), IMAGES)
        return (module, variables), module.apply(variables, IMAGES)
    model = Equinox(units, function)
    return model, jax.vmap(model)(IMAGES.transpose(0, 3, 1, 2))


def looks_at_its_values(x):
    return jax.nn.sigmoid(x) if float(x.sum()) < 1e9 else x


@pytest.mark.parametrize("library", ["nnx", "linen", "equinox"])
@pytest.mark.parametrize(
    ("units", "function", "labels", "kind", "expected"),
    [
        (1, jax.nn.sigmoid, None, "", lambda x: x),
        (3, lambda x: jax.nn.sigmoid(x).reshape(x.shape), "abc", "", lambda x: x),
        (3, jax.nn.log_softmax, None, "exponential", jnp.exp),
        (3, jax.nn.tanh, "abc", "own-numbers", lambda x: x),
        (3, lambda x: x, None, "own-numbers", lambda x: x),
        (3, lambda x: x, "abc", "softmax", jax.nn.softmax),
        (3, jax.nn.softmax, "abc", "", lambda x: x),
        (3, lambda x: 100 * jax.nn.sigmoid(x - 9), "abc", "own-numbers", lambda x: x),
        (3, lambda x: x[..., 0], None, "own-numbers", lambda x: x[:, None]),
        (3, lambda x: jax.nn.sigmoid(x[..., 0]), None, "", lambda x: x[:, None]),
    ],
)
def test_the_head_decides(library, units, function, labels, kind, expected):
    model, output = opened(library, units, function)
    images = IMAGES.transpose(0, 3, 1, 2) if library == "equinox" else IMAGES
    scope = ls.open(model, preprocess=None, labels=list(labels) if labels else None)
    for row, numbers in zip(scope.predict(images), expected(output), strict=True):
        assert [one.probability for one in row] == pytest.approx(sorted(map(float, numbers), reverse=True), abs=1e-5)
        assert getattr(row[0].note, "kind", "") == kind


def test_a_softmax_over_the_images_says_nothing_of_classes():
    (row, _) = ls.open(Nnx(3, lambda x: jax.nn.softmax(x, axis=0)), preprocess=None, labels=list("abc")).predict(IMAGES)
    assert {one.note.kind for one in row} == {"own-numbers"}


def test_a_model_that_cannot_be_traced_has_numbers_of_its_own():
    model = Nnx(3, looks_at_its_values)
    (row, _) = ls.open(model, preprocess=None, labels=list("abc")).predict(IMAGES)
    assert {one.note.kind for one in row} == {"own-numbers"}
