"""JAX models with memory, inputs of other shapes than one row for each image, and linen inside NNX."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx

import layerscope as ls
from layerscope.backends.jax.backend import JaxBackend

BACKEND = JaxBackend()
PHOTOS = np.random.default_rng(0).random((2, 8, 8, 3), np.float32)
FIRST = PHOTOS.transpose(0, 3, 1, 2).copy()
CLASSES = np.random.default_rng(1).random((5, 8), np.float32)


class Plain:
    """An object of the user's own."""

    def __init__(self) -> None:
        self.count, self.seen = 0, [0]

    def value(self) -> int:
        self.count += 1
        self.seen.append(1)
        return self.count + len(self.seen)


def add(memory: Any) -> Any:
    memory += 1
    return memory[0]


KINDS: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "array": (lambda: np.zeros(1, np.float32), add),
    "object": (Plain, Plain.value),
    "set": (set, lambda memory: memory.add(len(memory)) or len(memory)),
    "bytes": (bytearray, lambda memory: memory.append(1) or len(memory)),
}


def both(model: Any, batch: Any, path: str) -> np.ndarray:
    """What a path gives twice: the same."""
    BACKEND.layers(model, batch)
    first, second = (BACKEND.capture(model, batch, [path])[path].values for _ in range(2))
    np.testing.assert_array_equal(first, second)
    return first


class NnxNet(nnx.Module):
    def __init__(self, kind: str) -> None:
        self.conv = nnx.Conv(3, 2, (3, 3), rngs=nnx.Rngs(0))
        self.memory, self.step, self.count = KINDS[kind][0](), KINDS[kind][1], 0
        self.held = nnx.BatchStat(jnp.zeros(()))

    def __call__(self, x: Any) -> Any:
        self.count += 1
        self.held[...] += 1
        return self.conv(x) * self.step(self.memory) * self.count * self.held[...]


@pytest.mark.parametrize("kind", KINDS)
def test_nnx(kind):
    model = NnxNet(kind)
    captured = both(model, PHOTOS, "")
    np.testing.assert_allclose(captured, model(PHOTOS), rtol=1e-5)
    assert not np.allclose(captured, model(PHOTOS))


class EquinoxNet(eqx.Module):
    conv: eqx.nn.Conv2d
    memory: Any = eqx.field(static=True)
    step: Any = eqx.field(static=True)
    counts: dict[str, int]

    def __init__(self, kind: str) -> None:
        self.conv = eqx.nn.Conv2d(3, 2, 3, key=jax.random.key(0))
        self.memory, self.step, self.counts = KINDS[kind][0](), KINDS[kind][1], {"calls": 0}

    def __call__(self, x: Any) -> Any:
        self.counts["calls"] += 1
        return self.conv(x) * self.step(self.memory) * self.counts["calls"]


@pytest.mark.filterwarnings("ignore:A JAX array is being set as static:UserWarning")
@pytest.mark.filterwarnings("ignore:A NumPy array is being set as static:UserWarning")
@pytest.mark.parametrize("kind", KINDS)
def test_equinox(kind):
    model = EquinoxNet(kind)
    captured = both(model, FIRST, "")
    np.testing.assert_allclose(captured, jax.vmap(model)(FIRST), rtol=1e-5)
    assert model.counts == {"calls": 1}


class Streaming(nn.Module):
    @nn.compact
    def __call__(self, x: Any) -> Any:
        out = nn.Conv(2, (3, 3), name="conv")(x)
        held = self.variable("memory", "sum", lambda: jnp.zeros(out.shape[1:]))
        held.value += out.sum(0)
        return out + held.value


@pytest.mark.parametrize("form", ["variables", "partial"])
def test_linen_with_a_collection_that_it_writes_to(form):
    module = Streaming()
    variables = module.init(jax.random.key(0), PHOTOS)
    model = (module, variables)
    if form == "partial":
        model = functools.partial(module.apply, variables, mutable=["memory"])
    right, _ = module.apply(variables, PHOTOS, mutable=["memory"])
    np.testing.assert_allclose(both(model, PHOTOS, ""), right, rtol=1e-5)


class Similarity(nnx.Module):
    def __call__(self, images: Any, classes: Any) -> Any:
        return jnp.einsum("bhwd,kd->bhwk", images, classes)


class ZeroShot(nnx.Module):
    def __init__(self) -> None:
        self.enc = nnx.Conv(3, 8, (4, 4), strides=4, rngs=nnx.Rngs(0))
        self.sim = Similarity()

    def __call__(self, images: Any, classes: Any) -> Any:
        return self.sim(self.enc(images), classes)


class EquinoxSimilarity(eqx.Module):
    def __call__(self, image: Any, classes: Any) -> Any:
        return jnp.einsum("dhw,kd->khw", image, classes)


class EquinoxZeroShot(eqx.Module):
    enc: eqx.nn.Conv2d
    sim: EquinoxSimilarity

    def __call__(self, image: Any, classes: Any) -> Any:
        return self.sim(self.enc(image), classes)


@pytest.mark.parametrize("batch", [None, 1])
@pytest.mark.parametrize("library", ["nnx", "equinox"])
def test_classes_are_no_images(library, batch):
    conv = eqx.nn.Conv2d(3, 8, 4, 4, key=jax.random.key(0))
    model = ZeroShot() if library == "nnx" else EquinoxZeroShot(conv, EquinoxSimilarity())
    images = PHOTOS if library == "nnx" else FIRST
    right = model(images, CLASSES) if library == "nnx" else jax.vmap(model, (0, None))(images, CLASSES)
    fm = ls.open(model, preprocess=None).capture((images, CLASSES), "sim", batch=batch)["sim"]
    expected = np.asarray(right) if library == "nnx" else np.asarray(right).transpose(0, 2, 3, 1)
    np.testing.assert_allclose(fm.values, expected, rtol=1e-5)


class FromDict(nnx.Module):
    def __init__(self) -> None:
        self.conv = nnx.Conv(3, 2, (3, 3), rngs=nnx.Rngs(0))

    def __call__(self, items: Any) -> Any:
        out = self.conv(items["images"][0])
        items["images"].clear()
        return out


def test_containers_reach_the_model_as_copies():
    model, feed = FromDict(), {"images": [PHOTOS]}
    captured = both(model, (feed,), "conv")
    np.testing.assert_allclose(captured, model.conv(PHOTOS), rtol=1e-5)
    assert feed["images"][0] is PHOTOS


class Clock(eqx.Module):
    def __call__(self, time: Any) -> Any:
        return time + 0


class Timed(eqx.Module):
    conv: eqx.nn.Conv2d
    clock: Clock

    def __call__(self, image: Any, time: Any) -> Any:
        return self.conv(image.astype(jnp.bfloat16)) + self.clock(time)


@pytest.mark.parametrize("array", [np.asarray, jnp.asarray])
def test_equinox_keeps_the_type_of_a_time_step(array):
    model = Timed(eqx.nn.Conv2d(3, 2, 3, key=jax.random.key(0), dtype=jnp.bfloat16), Clock())
    batch = (array(FIRST), array(np.array([[[981.0]], [[333.0]]], np.float32)[..., 0]))
    assert BACKEND.capture(model, batch, ["clock"])["clock"].values.ravel().tolist() == [981, 333]


class Inner(nn.Module):
    @nn.compact
    def __call__(self, x: Any, train: bool = True) -> Any:
        x = nn.BatchNorm(use_running_average=not train, name="norm")(nn.Conv(4, (3, 3), name="conv")(x))
        return nn.Dense(5, name="head")(nn.relu(x))


class Outer(nnx.Module):
    def __init__(self) -> None:
        self.stem = nnx.Conv(3, 3, (3, 3), rngs=nnx.Rngs(0))
        self.inner = nnx.bridge.ToNNX(Inner(), rngs=nnx.Rngs(1)).lazy_init(PHOTOS, train=False)

    def __call__(self, x: Any) -> Any:
        return self.inner(self.stem(x), train=False)


def test_linen_inside_nnx():
    model = Outer()
    table = {layer.path: layer for layer in BACKEND.layers(model, PHOTOS) if layer.calls}
    assert list(table) == ["stem", "inner.conv", "inner.norm", "inner.head", "inner", ""]
    assert table["inner.conv"].parameters == 3 * 3 * 3 * 4 + 4
    captured = BACKEND.capture(model, PHOTOS, list(table), 1)
    module, inner = Inner(), model.inner
    variables = {
        "params": jax.tree.map(lambda leaf: leaf, {name: _values(getattr(inner, name)) for name in ("conv", "head")}),
        "batch_stats": {"norm": {name: inner.norm[name][...] for name in ("mean", "var")}},
    }
    variables["params"]["norm"] = {name: inner.norm[name][...] for name in ("scale", "bias")}
    _, state = module.apply(
        variables, model.stem(PHOTOS), train=False, capture_intermediates=True, mutable=["intermediates"]
    )
    for name in ("conv", "norm", "head"):
        right = state["intermediates"][name]["__call__"][0]
        np.testing.assert_allclose(captured[f"inner.{name}"].values, right, rtol=1e-4, atol=1e-5)
        assert captured[f"inner.{name}"].gradient.any()
    np.testing.assert_allclose(captured[""].values, model(PHOTOS), rtol=1e-4, atol=1e-5)


def _values(layer: Any) -> dict[str, Any]:
    return {name: variable[...] for name, variable in layer.items()}


def test_linen_at_the_root_of_nnx_runs_in_inference():
    model = nnx.bridge.ToNNX(Inner(), rngs=nnx.Rngs(1)).lazy_init(PHOTOS, train=False)
    captured = BACKEND.capture(model, PHOTOS, ["head"])["head"].values
    np.testing.assert_allclose(captured, model(PHOTOS, train=False), rtol=1e-4, atol=1e-5)


class Counts(eqx.Module):
    conv: eqx.nn.Conv2d
    runs: eqx.nn.StateIndex

    def __init__(self):
        self.conv, self.runs = eqx.nn.Conv2d(3, 2, 3, key=jax.random.key(0)), eqx.nn.StateIndex(jnp.array(1.0))

    def __call__(self, x, state):
        runs = state.get(self.runs) + 1
        return self.conv(x) * runs, state.set(self.runs, runs)


def test_a_state_that_is_written_to_stays_good_for_the_users_own_call():
    model, state = eqx.nn.make_with_state(Counts)()
    batch = np.random.default_rng(0).random((2, 3, 6, 6), np.float32)
    BACKEND.layers((model, state), batch)
    first, second = (BACKEND.capture((model, state), batch, [""])[""].values for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert state.get(model.runs) == 1
    np.testing.assert_allclose(first, jax.vmap(lambda x: model(x, state)[0])(batch), atol=1e-6)


class AlwaysDrops(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dropout(0.5, deterministic=False)(nn.Dense(8)(x))


def test_the_random_keys_that_a_module_is_bound_to_are_used():
    x, key = np.ones((2, 3), np.float32), jax.random.key(5)
    module = AlwaysDrops()
    bound = module.bind(module.init({"params": key, "dropout": key}, x), rngs={"dropout": key})
    first, second = (BACKEND.capture(bound, x, [""])[""].values for _ in range(2))
    np.testing.assert_array_equal(first, second)
    fresh = module.apply(bound.variables, x, rngs={"dropout": key})
    np.testing.assert_allclose(first, fresh, atol=1e-6)


class OfTwo(nnx.Module):
    """A decoder with a cache for two images."""

    def __init__(self) -> None:
        self.line = nnx.Linear(3, 4, rngs=nnx.Rngs(0))
        self.cache = jnp.ones((2, 4))

    def __call__(self, images: Any) -> Any:
        return jax.lax.add(self.line(images), self.cache)


def test_a_model_that_takes_no_single_image_is_listed_from_the_whole_batch() -> None:
    rows = np.ones((2, 3), np.float32)
    model = OfTwo()
    scope = ls.open(model, preprocess=None)
    assert np.allclose(scope.capture(rows, "line")["line"].values, model.line(rows), atol=1e-6)


class Repeated(nnx.Module):
    """A layer that is called as often as an attribute says."""

    def __init__(self) -> None:
        self.line, self.depth = nnx.Linear(3, 3, rngs=nnx.Rngs(0)), 2

    def __call__(self, images: Any) -> Any:
        for _ in range(self.depth):
            images = self.line(images)
        return images


def test_a_table_is_made_anew_where_an_attribute_changed() -> None:
    model = Repeated()
    scope = ls.open(model, preprocess=None)
    calls = []
    for depth in (2, 4, 1):
        model.depth = depth
        calls.append(len(scope.capture(np.ones((1, 3), np.float32), "line")))
    assert calls == [2, 4, 1]
