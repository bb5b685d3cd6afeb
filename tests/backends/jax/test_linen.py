"""Flax linen: equal to `capture_intermediates`, in each of the ways in which a model can be given."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from flax.training.train_state import TrainState

import layerscope as ls
from helpers.jax_models import as_bytes
from helpers.wording import raises, wording
from layerscope.backends.jax.backend import JaxBackend

BACKEND = JaxBackend()
PHOTOS = np.random.default_rng(0).standard_normal((2, 8, 8, 3)).astype(np.float32)


class Block(nn.Module):
    @nn.compact
    def __call__(self, x, train):
        x = nn.Conv(4, (3, 3))(x)
        x = nn.BatchNorm(use_running_average=not train)(x)
        x = nn.Dropout(0.5, deterministic=not train)(x)
        return {"map": x, "logits": x.mean((1, 2))}


class Model(nn.Module):
    block: Any = Block

    @nn.compact
    def __call__(self, x, train: bool = True):
        first = self.block()(x, train)
        self.sow("intermediates", "mine", first["map"])
        second = self.block(name="second")(first["map"], train)
        shared = nn.Dense(4, name="shared")
        return shared(shared(second["logits"]))

    @nn.compact
    def encode(self, x):
        return nn.Conv(4, (1, 1), name="encoder")(x)


def built(block=Block):
    model = Model(block)
    variables = model.init(jax.random.key(0), jnp.array(PHOTOS), train=False)
    return model, jax.tree.map(lambda leaf: leaf + 0.1, variables)


def values(model, paths, batch=PHOTOS):
    return {path: layer.values for path, layer in BACKEND.capture(model, batch, paths).items()}


def close(actual, expected):
    np.testing.assert_allclose(actual, np.asarray(expected), rtol=1e-5, atol=1e-5)


def test_every_layer_equals_what_capture_intermediates_gives():
    model, variables = built()
    _, expected = model.apply(variables, PHOTOS, train=False, capture_intermediates=True, mutable=["intermediates"])
    table = BACKEND.layers((model, variables), PHOTOS)
    leaves = jax.tree_util.tree_leaves_with_path(expected["intermediates"])
    compared = 0
    for steps, leaf in leaves:
        names = [str(getattr(step, "key", getattr(step, "idx", ""))) for step in steps]
        if "__call__" not in names:
            continue
        index = names.index("__call__")
        path, call, part = (
            "/".join(names[:index]),
            names[index + 1],
            "".join(f".{name}" for name in names[index + 2 :]),
        )
        row = next(layer for layer in table if path + part in (layer.path, *layer.aliases))
        name = f"{path}{part}:{call}" if row.calls > 1 else path + part
        close(values((model, variables), [name])[name], leaf)
        compared += 1
    assert compared == len([call for row in table for call in row.per_call or (row,)]) == 13


def ways():
    model, variables = built()
    state = Statistics.create(
        apply_fn=model.apply,
        params=variables["params"],
        tx=optax.sgd(0.1),
        batch_stats=variables["batch_stats"],
    )
    return {
        "pair": (model, variables),
        "bound": model.bind(variables),
        "partial": functools.partial(model.apply, variables),
        "partial with options": functools.partial(model.apply, variables, train=False, mutable=["batch_stats"]),
        "state": state,
    }


class Statistics(TrainState):
    batch_stats: Any = None


@pytest.mark.parametrize("way", ["pair", "bound", "partial", "partial with options", "state"])
def test_each_way_to_give_a_model(way):
    inputs = ways()[way]
    model, variables = built()
    assert BACKEND.owns(inputs)
    scope = ls.open(inputs, preprocess=None)
    assert scope.name == "Model"
    close(scope.capture(PHOTOS, "output")[""].values, model.apply(variables, PHOTOS, train=False))
    assert scope.capture(PHOTOS, "Block_0/Conv_0")["Block_0/Conv_0"].shape == (2, 8, 8, 4)


def test_a_module_without_variables_is_refused_with_remedies():
    model, _variables = built()
    with raises(ls.ModelNotReadable):
        ls.open(model)
    with raises(ls.ModelNotReadable):
        ls.open(model.apply)
    with raises(ls.ModelNotReadable, "'params'"):
        ls.open((model, {"kernel": np.zeros(3)}))


def test_another_method_is_called_by_name():
    model, _variables = built()
    inputs = {"params": {"encoder": {"kernel": jnp.ones((1, 1, 3, 4)), "bias": jnp.zeros(4)}}}
    way = functools.partial(model.apply, inputs, method="encode")
    close(values(way, ["encoder"])["encoder"], PHOTOS.sum(-1, keepdims=True).repeat(4, -1))
    assert [layer.path for layer in BACKEND.layers(way, PHOTOS)] == ["encoder", ""]
    assert BACKEND.layers(functools.partial(model.apply, inputs, method=Model.encode), PHOTOS)[0].path == "encoder"


@pytest.mark.parametrize("lift", [nn.jit, nn.remat], ids=["jit", "remat"])
def test_lifted_modules_have_values_and_gradients(lift):
    plain, variables = built()
    lifted = Model(lift(Block, static_argnums=(2,)))
    names = {"second/Conv_0": "second/Conv_0", "second": "second", "shared": "shared"}
    own = lifted.init(jax.random.key(0), jnp.array(PHOTOS), train=False)
    first = next(name for name in own["params"] if name.endswith("Block_0"))
    moved = {
        collection: {first if name == "Block_0" else name: value for name, value in content.items()}
        for collection, content in variables.items()
    }
    captured = BACKEND.capture((lifted, moved), PHOTOS, list(names), 1)
    expected = BACKEND.capture((plain, variables), PHOTOS, list(names), 1)
    assert list(captured) == list(expected) == ["second/Conv_0", "second", "shared:0", "shared:1"]
    for path, value in captured.items():
        close(value.values, expected[path].values)
        close(value.gradient, expected[path].gradient)
    assert np.abs(captured["second/Conv_0"].gradient).max() > 0


def test_nothing_is_left_behind():
    model, variables = built()
    before = as_bytes(variables)
    observed = []

    def mine(call, args, kwargs, context):
        observed.append(context.module.path)
        return call(*args, **kwargs)

    with nn.intercept_methods(mine):
        values((model, variables), ["shared:0"])
        inside = len(observed)
        model.apply(variables, PHOTOS, train=False)
    assert as_bytes(variables) == before
    assert 0 < inside < len(observed)
    # an interceptor that stayed would be asked here, and stop the run
    model.apply(variables, PHOTOS, train=False)


def test_the_input_is_that_of_the_first_layer_whatever_the_order_of_the_parameters():
    class Late(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.Conv(7, (3, 3), name="z_first")(x)
            return nn.Conv(2, (3, 3), feature_group_count=1, name="a_second")(x)

    def shape(channels):
        model = Late()
        variables = model.init(jax.random.key(0), jnp.zeros((1, 8, 8, channels)))
        (inputs,) = BACKEND.facts((model, variables)).inputs
        return inputs.axes, inputs.shape

    assert shape(3) == ("bhwc", (None, None, None, 3))
    assert shape(1) == ("bhwc", (None, None, None, 1))


def test_spare_parameters_have_a_note_that_their_module_did_not_run():
    model, variables = built()
    more = {**variables, "params": {**variables["params"], "old": {"kernel": jnp.ones((2, 2))}}}
    row = next(layer for layer in BACKEND.layers((model, more), PHOTOS) if layer.path == "old")
    assert (row.calls, row.axes) == (0, "")
    wording(row.note)


def test_the_digest_tells_statistics_apart():
    model, variables = built()
    other = {**variables, "batch_stats": jax.tree.map(lambda item: item + 1, variables["batch_stats"])}
    digests = {BACKEND.digest(item) for item in ((model, variables), (model, variables), (model, other))}
    assert len(digests) == 2


class Quantised(nn.Module):
    """What takes the place of a matrix product in a Dense, as libraries for quantisation do."""

    @nn.compact
    def __call__(self, *args, **kwargs):
        return nn.jit(nn.Dense)(3, name="inner")(jax.lax.dot_general(*args, **kwargs))


def test_compiled_functions_stay_so_only_in_layers_without_modules():
    observed = []

    class Plain(nn.Module):
        @nn.compact
        def __call__(self, x):
            def kernel(*args):
                observed.append(jax.config.jax_disable_jit)
                return nn.initializers.ones(*args)

            x = nn.Dense(3, kernel_init=kernel)(x)
            return nn.Dense(3, dot_general_cls=Quantised, use_bias=False, kernel_init=kernel)(x)

    model, batch = Plain(), np.ones((2, 4), np.float32)
    variables = model.init(jax.random.key(0), batch)
    observed.clear()
    captured = values((model, variables), ["Dense_0", "Dense_1/Quantised_0/inner", ""], batch)
    assert observed == [False, True]
    close(captured[""], model.apply(variables, batch))
    close(captured["Dense_1/Quantised_0/inner"], captured[""])
    assert jax.config.jax_disable_jit is False


class ByBatch(nn.Module):
    """Normalises by the batch: always, or where it may write to its statistics, which stands for training."""

    always: bool

    @nn.compact
    def __call__(self, x):
        x = nn.Conv(4, (3, 3))(x)
        by_batch = self.always or self.is_mutable_collection("batch_stats")
        x = nn.BatchNorm(use_running_average=not by_batch)(x)
        return nn.Conv(2, (1, 1), name="out")(x)


@pytest.mark.parametrize("always", [True, False])
def test_statistics_are_written_to_where_a_model_always_does_so(always):
    model, x = ByBatch(always), np.random.default_rng(0).standard_normal((3, 8, 8, 3)).astype(np.float32)
    variables = model.init(jax.random.key(0), x)
    expected = model.apply(variables, x, mutable=["batch_stats"] if always else False)
    scope = ls.open((model, variables), preprocess=None)
    for _ in range(2):
        fm = scope.capture(x, "out")["out"]
        np.testing.assert_allclose(fm.values, expected[0] if always else expected, rtol=1e-4, atol=1e-5)
    assert [layer.calls for layer in scope.layers(x)] == [1] * 4
    assert not np.any(variables["batch_stats"]["BatchNorm_0"]["mean"])
