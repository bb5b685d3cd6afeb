"""Rows of docs/limits.md on JAX: each is provoked, and the answer is the one that it promises."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import numpy as np
import pytest
from flax import linen, nnx
from jax.example_libraries import stax

import layerscope as ls
from helpers.limits import FIRST, LAST, rows
from helpers.wording import wording


class Small(eqx.Module):
    """A convolution, and whatever a test does with it."""

    conv: eqx.nn.Conv2d
    act: Any
    then: Any = eqx.field(static=True)

    def __init__(self, then, act=None):
        self.conv, self.act, self.then = eqx.nn.Conv2d(3, 4, 3, key=jax.random.PRNGKey(0)), act, then

    def __call__(self, x):
        return self.then(self, self.conv(x))


class Unnamed(nnx.Module):
    """A submodule by another method than `__call__`, a function, and an addition."""

    def __init__(self):
        self.sub = Sub()

    def __call__(self, x):
        return nnx.relu(self.sub.encode(x)) + x


class Sub(nnx.Module):
    def __init__(self):
        self.dense = nnx.Linear(3, 3, rngs=nnx.Rngs(0))

    def encode(self, x):
        return self.dense(x)


class LinenUnnamed(linen.Module):
    def setup(self):
        self.sub = LinenSub()

    def __call__(self, x):
        return self.sub.encode(x)


class LinenSub(linen.Module):
    def setup(self):
        self.dense = linen.Dense(3)

    def encode(self, x):
        return self.dense(x)


@pytest.mark.limit("functions in a Flax or Equinox call")
def test_functions_of_jax(limit):
    assert [path for path, layer in rows(Unnamed(), LAST).items() if layer.calls] == ["sub.dense", ""]
    assert list(rows(Small(lambda model, x: jax.nn.relu(x) + 1), FIRST)) == ["conv", ""]
    network = Small(lambda model, x: model.act(x), eqx.nn.Lambda(jax.nn.relu))
    fm = ls.open(network, preprocess=None).capture(FIRST, "act")["act"]
    assert (fm.layer.kind, fm.values.min()) == ("Lambda", 0)
    limit.shows("eqx.nn.Lambda")


@pytest.mark.limit("a plain function of (parameters, input)")
def test_models_without_modules(limit):
    for model in (lambda parameters, x: x, stax.Dense(3)[1]):
        with limit.raises():
            ls.open(model)


@pytest.mark.limit("a linen module without variables")
def test_linen_without_variables(limit):
    with limit.raises("module.bind(variables)", "TrainState"):
        ls.open(LinenUnnamed())


@pytest.mark.limit("methods of linen and NNX submodules")
def test_other_methods(limit):
    model = LinenUnnamed()
    for inputs in ((model, model.init(jax.random.key(0), LAST)), Unnamed()):
        scope = ls.open(inputs, preprocess=None)
        assert not [layer for layer in scope.layers(LAST) if "encode" in layer.path]
        with limit.raises("'sub'"):
            scope.capture(LAST, "sub")


class Mixed(nnx.Module):
    def __init__(self):
        self.mix = nnx.Linear(64, 5, rngs=nnx.Rngs(0))

    def __call__(self, x):
        return jax.vmap(self.mix, 1, 1)(x.reshape(-1, 64, 3).transpose(0, 2, 1))


class LinenMixed(linen.Module):
    @linen.compact
    def __call__(self, x):
        settings = {"in_axes": 1, "out_axes": 1, "axis_size": 3, "variable_axes": {"params": None}}
        dense = linen.vmap(linen.Dense, split_rngs={"params": False}, **settings)(5, name="mix")
        return dense(x.reshape(-1, 64, 3).transpose(0, 2, 1))


class EquinoxMixed(eqx.Module):
    mix: eqx.nn.Linear

    def __call__(self, x):
        return jax.vmap(self.mix)(x.reshape(3, 64))


def test_modules_that_are_mapped():
    model = LinenMixed()
    for inputs in (Mixed(), (model, model.init(jax.random.key(0), LAST))):
        layer = rows(inputs, LAST)["mix"]
        assert (layer.axes, layer.shape) == ("nbc", (3, 1, 5))
        wording(layer.note)
    layer = rows(EquinoxMixed(eqx.nn.Linear(64, 5, key=jax.random.PRNGKey(0))), FIRST)["mix"]
    assert (layer.axes, layer.shape, layer.note) == ("bnc", (1, 3, 5), "")


@pytest.mark.limit("Equinox models that only run on a whole batch")
def test_collectives(limit):
    model = Small(lambda model, x: jax.lax.pmean(x, "devices"))
    with limit.raises("NameError"):
        ls.open(model, preprocess=None).layers(FIRST)


@pytest.mark.limit("weight files for JAX models")
def test_weights_of_jax(limit, tmp_path, monkeypatch):
    (tmp_path / "limit_factory.py").write_text(
        "from flax import nnx\ndef build():\n    return nnx.Linear(3, 3, rngs=nnx.Rngs(0))\n"
    )
    (tmp_path / "weights.msgpack").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    with limit.raises("weights="):
        ls.open("limit_factory:build", weights="weights.msgpack")


@pytest.mark.limit("replacing values (`ablation_cam`)")
def test_a_traced_module_cannot_be_changed(limit):
    class Traced(nnx.Module):
        def __init__(self):
            self.inner = nnx.Linear(4, 4, rngs=nnx.Rngs(0))

        def __call__(self, x):
            return jax.checkpoint(lambda x: self.inner(x))(x)

    scope = ls.open(Traced(), preprocess=None)
    with limit.raises("inner"):
        scope.backend.scores(scope.model, np.ones((3, 4), np.float32), lambda out: 1.0, {"inner": np.copy})
