"""The walk through a Flax NNX model and the copy of it, against what NNX itself finds and copies."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import layerscope as ls
from helpers.jax_models import as_bytes, nnx_state
from layerscope.backends.jax.backend import JaxBackend
from layerscope.backends.jax.nnx import Tree, follow

BACKEND = JaxBackend()


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Foreign:
    inner: nnx.Linear


class Held(nnx.Module):
    """Modules in containers of all kinds, one reached by two routes, one with a ring, and bare arrays."""

    def __init__(self, *, foreign: bool = False, ref: bool = False) -> None:
        rngs = nnx.Rngs(0)
        self._hidden = nnx.Linear(2, 2, rngs=rngs)
        self.items = nnx.List([nnx.Dropout(0.5, rngs=rngs) for _ in range(11)])
        self.named = nnx.Dict(attention=nnx.MultiHeadAttention(2, 4, decode=False, rngs=rngs))
        self.plain = nnx.data({"a": [nnx.BatchNorm(2, rngs=rngs), self._hidden]})
        self.array = nnx.data(jnp.arange(3.0))
        self.names = ("x", "y")
        self.me = self
        if foreign:
            self.foreign = nnx.data(Foreign(nnx.Linear(2, 2, rngs=rngs)))
            self.foreign.inner.deterministic = False
        if ref:
            self.ref = nnx.Param(jnp.ones(2), ref=True)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self._hidden(self.items[0](self.plain["a"][0](x)))


@pytest.mark.parametrize("more", [{}, {"foreign": True}, {"ref": True}])
def test_a_copy_is_the_one_that_nnx_makes(more: dict[str, bool]) -> None:
    model = Held(**more)
    before = nnx_state(model)
    ours, theirs = Tree(model).copy(), nnx.clone(model)
    assert nnx.graphdef(ours) == nnx.graphdef(theirs)
    actual, expected = (as_bytes(nnx.to_pure_dict(nnx.state(item))) for item in (ours, theirs))
    assert actual == expected
    apart = {id(item) for _, item in nnx.iter_graph(model) if isinstance(item, nnx.Module | nnx.Variable)}
    assert not apart & {id(item) for _, item in nnx.iter_graph(ours)}, "nothing that can change is shared"
    assert ours.me is ours
    ours.array = ours.array + 1
    for _, item in nnx.iter_graph(ours):
        if isinstance(item, nnx.Param):
            item[...] = item[...] + 1
    assert nnx_state(model) == before


def test_the_variables_are_those_that_nnx_finds() -> None:
    model = Held(foreign=True)
    result = Tree(model).variables()
    expected = nnx.to_flat_state(nnx.state(model))
    assert [steps for steps, _ in result] == [steps for steps, _ in expected]
    for (_, ours), (_, theirs) in zip(result, expected, strict=True):
        ours, theirs = (jax.tree.leaves(item)[0] for item in (ours, theirs))
        if not jnp.issubdtype(ours.dtype, jax.dtypes.prng_key):
            np.testing.assert_array_equal(ours, theirs)
    modules = {id(item) for _, item in nnx.iter_modules(model)} - {id(model.foreign.inner)}
    assert {*Tree(model).by_id} == modules
    assert all(follow(model, route) is module for module, routes in Tree(model).by_id.values() for route in routes)


@pytest.mark.parametrize("change", ["_hidden", "plain", "foreign", "array", "ref"])
def test_a_changed_weight_changes_the_digest_wherever_it_lies(change: str) -> None:
    model = Held(foreign=True, ref=True)
    before = BACKEND.digest(model)
    assert BACKEND.digest(model) == before
    if change == "array":
        model.array = model.array.at[1].set(9)
    else:
        parameter = {
            "_hidden": model._hidden.kernel,
            "plain": model.plain["a"][0].mean,
            "foreign": model.foreign.inner.kernel,
            "ref": model.ref,
        }[change]
        parameter[...] = parameter[...] + 1
    assert BACKEND.digest(model) != before


def test_every_module_of_the_copy_rests() -> None:
    observed = []

    class Watched(Held):
        def __call__(self, x: jax.Array) -> jax.Array:
            parts = (self.items[10], self.plain["a"][0], self.named.attention, self.foreign.inner)
            observed.append(
                [getattr(item, "deterministic", getattr(item, "use_running_average", None)) for item in parts]
            )
            return super().__call__(x)

    class Own(Watched):
        def eval(self, **attributes):
            super().eval(**attributes)
            self.items[10].deterministic = None

    for kind, expected in ((Watched, [True, True, True, True]), (Own, [None, True, True, True])):
        model = kind(foreign=True)
        before = nnx_state(model)
        captured = BACKEND.capture(model, np.ones((1, 2), np.float32), ["_hidden"])["_hidden"]
        assert observed.pop() == expected
        assert nnx_state(model) == before
        np.testing.assert_allclose(captured.values, model._hidden(np.ones((1, 2)) / np.sqrt(1 + 1e-5)), rtol=1e-5)


class Parts(nnx.Module):
    """Returns parts under the names of its children."""

    def __init__(self):
        self.b = nnx.Linear(3, 2, rngs=nnx.Rngs(0))

    def __call__(self, x):
        return {"b": self.b(x) * 2, "c": x}


class Twice(nnx.Module):
    def __init__(self):
        self.p = Parts()
        self.q = self.p

    def __call__(self, x):
        return self.q(x)["b"]


def test_parts_of_a_shared_module_have_its_second_name_too():
    scope = ls.open(Twice(), preprocess=None)
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    for name, values in {"q['b']": Twice()(x), "q.c": x}.items():
        (fm,) = scope.capture(x, name).values()
        np.testing.assert_allclose(fm.values, values, atol=1e-6)
