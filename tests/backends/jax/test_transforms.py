"""Modules inside jit, vmap, scan and checkpoint: seen with the values that the model computes, or named as not seen."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx

import layerscope as ls
from helpers.wording import raises
from layerscope.backends import SteadyLayers
from layerscope.backends.jax.backend import JaxBackend
from layerscope.errors import ModelNotReadable

BACKEND, KEY = JaxBackend(), jax.random.PRNGKey(0)


def images(*shape: int) -> np.ndarray:
    return np.random.default_rng(3).standard_normal(shape).astype(np.float32)


def rows(model: Any, batch: Any) -> dict[str, Any]:
    return {layer.path: layer for layer in BACKEND.layers(model, batch)}


class Equinox(eqx.Module):
    first: eqx.nn.Linear
    second: eqx.nn.Linear
    act: eqx.nn.Lambda
    stack: eqx.nn.Linear
    saved: eqx.nn.Linear

    def __init__(self) -> None:
        self.first, self.second, self.saved = (eqx.nn.Linear(4, 4, key=key) for key in jax.random.split(KEY, 3))
        self.act = eqx.nn.Lambda(jnp.tanh)
        self.stack = eqx.filter_vmap(lambda key: eqx.nn.Linear(4, 4, key=key))(jax.random.split(KEY, 3))

    @eqx.filter_jit
    def __call__(self, x: Any) -> Any:
        x = self.act(self.first(x))
        x = eqx.filter_jit(lambda module, x: module.act(module.second(x)))(self, x)
        arrays, rest = eqx.partition(self.stack, eqx.is_array)
        x, _ = jax.lax.scan(lambda x, part: (eqx.combine(part, rest)(x), None), x, arrays)
        return eqx.filter_checkpoint(self.saved)(x)


def test_equinox_inside_jit_and_scan() -> None:
    model, batch = Equinox(), images(2, 4)
    captured = BACKEND.capture(model, batch, ["first", "act", "second", "stack", ""], 1)
    assert list(captured) == ["first", "act:0", "second", "act:1", "stack:0", "stack:1", "stack:2", ""]
    x = np.tanh(np.tanh(batch @ model.first.weight.T + model.first.bias) @ model.second.weight.T + model.second.bias)
    np.testing.assert_allclose(captured["act:1"].values, x, atol=1e-5)
    for index in range(3):
        x = x @ model.stack.weight[index].T + model.stack.bias[index]
        np.testing.assert_allclose(captured[f"stack:{index}"].values, x, atol=1e-5)
    np.testing.assert_allclose(captured[""].values, jax.vmap(model)(batch), atol=1e-5)
    np.testing.assert_allclose(captured["stack:2"].gradient, np.tile(model.saved.weight[1], (2, 1)), atol=1e-5)


class Mapped(eqx.Module):
    norm: eqx.nn.LayerNorm
    attention: eqx.nn.MultiheadAttention

    def __init__(self) -> None:
        self.norm, self.attention = eqx.nn.LayerNorm(4), eqx.nn.MultiheadAttention(2, 4, key=KEY)

    def __call__(self, x: Any) -> Any:
        x = jax.vmap(jax.vmap(self.norm, 1, 1), 1, 1)(x)
        tokens = x.reshape(4, -1).T
        return self.attention(tokens, tokens, tokens)


def test_axes_of_what_the_model_maps_over() -> None:
    model, batch = Mapped(), images(2, 4, 5, 6)
    result = rows(model, batch)
    assert (result["norm"].axes, result["norm"].shape) == ("bhwc", (1, 5, 6, 4))
    assert (result["attention.query_proj"].axes, result["attention.query_proj"].shape) == ("bnc", (1, 30, 4))
    assert (result["attention.dropout"].axes, result["attention.dropout"].shape) == ("bcqk", (1, 2, 30, 30))
    values = ls.open(model, preprocess=None).capture(batch, ["norm", "attention.dropout"])
    expected = jax.nn.standardize(batch.transpose(0, 2, 3, 1), epsilon=1e-5)
    np.testing.assert_allclose(values["norm"].values, expected, atol=1e-4)
    np.testing.assert_allclose(values["attention.dropout"].values.sum(2), 1, atol=1e-5, err_msg="rows of queries")
    gradient = BACKEND.capture(model, batch, ["norm"], lambda out: (out**2).sum())["norm"].gradient
    moved = jax.jit(jax.grad(lambda x: (jax.vmap(lambda x: _attended(model, x))(x) ** 2).sum()))(expected)
    np.testing.assert_allclose(gradient, moved, rtol=1e-3, atol=1e-4)


def _attended(model: Mapped, x: Any) -> Any:
    tokens = x.reshape(-1, 4)
    return model.attention(tokens, tokens, tokens)


def test_a_class_of_an_equinox_map_is_a_channel() -> None:
    model = eqx.nn.Sequential([eqx.nn.Conv2d(3, 5, 3, key=KEY)])
    gradient = BACKEND.capture(model, images(2, 3, 8, 8), ["layers.0"], 4)["layers.0"].gradient
    assert gradient[:, 4].all() and not gradient[:, :4].any()


def test_equinox_in_bfloat16_gets_its_own_input_type() -> None:
    model = eqx.nn.Sequential([eqx.nn.Conv2d(3, 4, 3, key=KEY, dtype=jnp.bfloat16)])
    captured = BACKEND.capture(model, images(2, 3, 8, 8), ["layers.0"], lambda out: out.sum())["layers.0"]
    assert (captured.dtype, captured.values.dtype, captured.gradient.dtype) == ("bfloat16", np.float32, np.float32)
    expected = jax.vmap(model)(jnp.asarray(images(2, 3, 8, 8), jnp.bfloat16))
    np.testing.assert_array_equal(captured.values, expected.astype(jnp.float32))


class Stateful(eqx.Module):
    norm: eqx.nn.BatchNorm

    def __init__(self) -> None:
        self.norm = eqx.nn.BatchNorm(3, "batch", mode="batch")

    def __call__(self, x: Any, state: Any) -> Any:
        return self.norm(x, state)


def test_a_stateful_model_needs_its_state() -> None:
    with raises(ModelNotReadable):
        BACKEND.layers(eqx.nn.make_with_state(Stateful)()[0], images(1, 3, 4, 4))


class Linen(nn.Module):
    @nn.compact
    def __call__(self, x: Any, train: bool) -> Any:
        x = nn.BatchNorm(use_running_average=not train)(nn.jit(nn.Conv)(4, (3, 3), name="compiled")(x))
        x = nn.remat(nn.Conv)(4, (3, 3), name="saved")(x)
        settings = {"variable_axes": {"params": 0}, "split_rngs": {"params": True}}
        x = nn.vmap(nn.Dense, in_axes=1, out_axes=1, axis_size=6, **settings)(4, name="mapped")(x)
        x, _ = nn.scan(lambda dense, x, _: (dense(x), None), length=3, **settings)(nn.Dense(4, name="stack"), x, None)
        return nn.Dropout(0.5)(x.mean((1, 2)), deterministic=not train)


def test_linen_inside_its_own_transforms() -> None:
    model, batch = Linen(), images(2, 6, 5, 3)
    variables = model.init(KEY, batch, train=False)
    result = rows((model, variables), batch)
    assert [result[name].calls for name in ("compiled", "BatchNorm_0", "saved", "mapped", "stack")] == [1, 1, 1, 1, 3]
    assert (result["mapped"].axes, result["mapped"].shape) == ("dbnc", (6, 1, 5, 4))
    got = BACKEND.capture((model, variables), batch, ["compiled", "mapped", "stack", ""], 2)
    out, state = model.apply(variables, batch, train=False, capture_intermediates=True, mutable=["intermediates"])
    intermediates = state["intermediates"]
    np.testing.assert_allclose(got["compiled"].values, intermediates["compiled"]["__call__"][0], atol=1e-5)
    np.testing.assert_allclose(got[""].values, out, atol=1e-5)
    x = np.moveaxis(got["mapped"].values, 0, 1)
    for index in range(3):
        x = x @ variables["params"]["stack"]["kernel"][index] + variables["params"]["stack"]["bias"][index]
        np.testing.assert_allclose(got[f"stack:{index}"].values, x, atol=1e-5)
    expected = np.zeros((2, 6, 5, 4), np.float32)
    expected[..., 2] = 1 / 30
    np.testing.assert_allclose(got["stack:2"].gradient, expected, atol=1e-6)
    np.testing.assert_allclose(
        np.moveaxis(got["mapped"].gradient, 0, 1), np.tile(_back(variables, expected), 1), atol=1e-6
    )


def _back(variables: Any, gradient: np.ndarray) -> np.ndarray:
    for kernel in np.asarray(variables["params"]["stack"]["kernel"])[::-1]:
        gradient = gradient @ kernel.T
    return gradient


def test_parameters_alone_are_no_variables() -> None:
    model = nn.Dense(2)
    variables = model.init(KEY, images(1, 3))
    with raises(ModelNotReadable):
        ls.open((model, variables["params"]))


class Nnx(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.first = nnx.Linear(4, 4, rngs=rngs)
        self.norm = nnx.BatchNorm(4, rngs=rngs)
        self.stack = nnx.vmap(lambda key: nnx.Linear(4, 4, rngs=nnx.Rngs(key)))(jax.random.split(KEY, 3))
        self.rnn = nnx.RNN(nnx.SimpleCell(4, 5, rngs=rngs))

    def __call__(self, x: Any) -> Any:
        x = nnx.jit(lambda module, x: module.norm(module.first(x)))(self, x)
        x = nnx.scan(lambda x, dense: dense(x), in_axes=(nnx.Carry, 0), out_axes=nnx.Carry)(x, self.stack)
        return self.rnn(jax.jit(lambda x: self.first(x))(x))


def test_nnx_inside_its_own_transforms() -> None:
    model, batch = Nnx(nnx.Rngs(0)), images(2, 6, 4)
    model.eval()
    captured = BACKEND.capture(
        model, batch, ["norm", "first", "stack", "rnn", "rnn.cell.dense_i"], lambda out: out.sum()
    )
    assert [sum(item.startswith(name) for item in captured) for name in ("first", "stack", "rnn.cell.dense_i")] == [
        2,
        3,
        6,
    ]
    np.testing.assert_allclose(captured["norm"].values, model.norm(model.first(batch)), atol=1e-5)
    x = captured["norm"].values
    for index in range(3):
        x = x @ model.stack.kernel[index] + model.stack.bias[index]
        np.testing.assert_allclose(captured[f"stack:{index}"].values, x, atol=1e-5)
    np.testing.assert_allclose(captured["rnn"].values, model(batch), atol=1e-5)
    np.testing.assert_array_equal(captured["rnn"].gradient, np.ones((2, 6, 5)))
    assert not jax.config.jax_disable_jit
    assert nnx.jit(lambda module, x: module(x))(model, batch).shape == (2, 6, 5), "no tracer was left behind"


class Depth(nnx.Module):
    """A convolution as often as the highest value says, in Python or in a loop of JAX."""

    def __init__(self, compiled: bool) -> None:
        self.conv, self.compiled = nnx.Conv(3, 3, (3, 3), rngs=nnx.Rngs(0)), compiled

    def __call__(self, x: Any) -> Any:
        if self.compiled:
            steps = x.max().astype(int)
            return jax.lax.while_loop(lambda c: c[0] < steps, lambda c: (c[0] + 1, self.conv(c[1])), (jnp.array(0), x))[
                1
            ]
        for _ in range(int(x.max())):
            x = self.conv(x)
        return x


@pytest.mark.parametrize("compiled", [False, True])
def test_every_call_of_a_run_that_depends_on_values_comes_back(compiled: bool) -> None:
    model = Depth(compiled)
    scope = ls.open(model, preprocess=None)
    for values in ([2], [1], [4], [1, 3]):
        x = images(len(values), 5, 5, 3) * 0.01
        x[:, 0, 0, 0] = values
        expected = x
        for fm in (maps := scope.capture(x, "kind:Conv")).values():
            expected = model.conv(expected)
            np.testing.assert_allclose(fm.values, expected, rtol=1e-5, atol=1e-6)
        assert len(maps) == max(values)


def test_a_model_that_reads_no_values_is_steady() -> None:
    model = nnx.Sequential(
        nnx.Conv(3, 3, (3, 3), rngs=nnx.Rngs(0)), jax.nn.relu, lambda x: jax.image.resize(x, x.shape, "cubic")
    )
    assert isinstance(BACKEND.layers(model, images(1, 5, 5, 3)), SteadyLayers)
    assert not isinstance(BACKEND.layers(Depth(True), np.ones((1, 5, 5, 3), np.float32)), SteadyLayers)
