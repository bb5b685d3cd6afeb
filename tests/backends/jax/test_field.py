"""Receptive fields and parameters of Flax and Equinox modules, against what moves when a line of the image does."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx

from helpers.field_probe import SIZE, check_boxes, line_images
from layerscope.backends.jax.backend import JaxBackend
from layerscope.core.receptive_field import describe

BACKEND = JaxBackend()
HEIGHT, WIDTH = SIZE


def positive(leaf: Any) -> Any:
    """Weights under which nothing cancels; no bias moves anything."""
    return np.abs(leaf) + np.float32(0.1) if leaf.size > leaf.shape[0] else np.zeros_like(leaf)


class Linen(nn.Module):
    """Strides, dilation, padding on one side, pooling by function, a transposed convolution, branches that meet."""

    @nn.compact
    def __call__(self, x: Any) -> Any:
        x = nn.Conv(2, (3, 4), padding=[(1, 0), (0, 2)], name="lopsided")(x)
        x = nn.Conv(2, (3, 3), strides=(2, 1), kernel_dilation=(1, 2), name="dilated")(x)
        x = nn.relu(x)
        pooled = nn.max_pool(x, (2, 3), strides=(2, 2), padding="SAME")
        x = nn.Conv(2, (1, 1), name="one")(nn.avg_pool(pooled, (3, 3), padding="VALID"))
        up = nn.ConvTranspose(2, (3, 2), strides=(2, 2), name="up")(x)
        near = nn.Conv(2, (3, 3), name="near")(up)
        meet = nn.Dense(3, name="meet")(jnp.concatenate([near + up, jnp.roll(up, 1, axis=3)[..., :1]], -1))
        return nn.Dense(2, name="head")(meet.mean((1, 2)))


@pytest.fixture(scope="module")
def linen() -> Any:
    model = Linen()
    variables = model.init(jax.random.PRNGKey(0), jnp.zeros((1, HEIGHT, WIDTH, 1)))
    return model, jax.tree.map(positive, variables)


def test_linen_fields_are_what_moves(linen: Any) -> None:
    batch = line_images().transpose(0, 2, 3, 1)
    rows = {item.path: item for item in BACKEND.layers(linen, batch)}
    names = ["lopsided", "dilated", "one", "up", "near", "meet"]
    captured = BACKEND.capture(linen, batch, names)
    for name in names:
        fields = rows[name].receptive
        assert fields is not None and all(item.known for item in fields), name
        assert check_boxes(captured[name].values.transpose(0, 3, 1, 2), fields) > 10, name
    assert describe(rows["head"].receptive) == "whole image"


class Equinox(eqx.Module):
    conv: eqx.nn.Conv2d
    pool: eqx.nn.MaxPool2d
    patches: eqx.nn.Conv2d
    up: eqx.nn.ConvTranspose2d
    mixed: eqx.nn.Linear
    attention: eqx.nn.MultiheadAttention
    head: eqx.nn.Linear

    def __init__(self) -> None:
        key = jax.random.PRNGKey(0)
        self.conv = eqx.nn.Conv2d(1, 2, (3, 2), stride=(1, 2), padding=1, dilation=(2, 1), key=key)
        self.pool = eqx.nn.MaxPool2d((2, 1), (2, 1))
        self.up = eqx.nn.ConvTranspose2d(2, 2, 3, stride=2, padding=1, key=key)
        self.patches = eqx.nn.Conv2d(2, 4, 4, stride=4, key=key)
        self.mixed = eqx.nn.Linear(4, 4, key=key)
        self.attention = eqx.nn.MultiheadAttention(2, 4, key=key)
        self.head = eqx.nn.Linear(4, 2, key=key)

    def __call__(self, x: Any) -> Any:
        x = self.patches(self.up(self.pool(self.conv(x))))
        tokens = jax.vmap(self.mixed)(x.reshape(4, -1).T)
        return self.head(self.attention(tokens, tokens, tokens).mean(0))


def test_equinox_fields_are_what_moves() -> None:
    model = jax.tree.map(lambda item: positive(item) if eqx.is_array(item) else item, Equinox())
    batch = line_images()
    rows = {item.path: item for item in BACKEND.layers(model, batch)}
    names = ["conv", "pool", "up", "patches", "mixed"]
    captured = BACKEND.capture(model, batch, names)
    height, width = rows["patches"].spatial
    for name in names:
        values = captured[name].values
        if name == "mixed":
            assert rows[name].grid == (height, width)
            values = values.reshape(len(values), height, width, 4).transpose(0, 3, 1, 2)
        fields = rows[name].receptive
        assert fields is not None and all(item.known for item in fields), name
        assert check_boxes(values, fields) > 5, name
    assert describe(rows["attention"].receptive) == "whole image"


class Shared(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.first = nnx.Conv(3, 3, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(3, rngs=rngs)
        self.again = self.first

    def __call__(self, x: Any, deep: bool = True) -> Any:
        return self.again(self.norm(self.first(x)))


def test_each_call_has_its_own_field_and_shared_weights_count_once() -> None:
    rows = {layer.path: layer for layer in BACKEND.layers(Shared(nnx.Rngs(0)), np.zeros((1, 8, 8, 3), np.float32))}
    assert [describe(layer.receptive) for layer in rows["first"].per_call] == ["3×3 /1 @0", "5×5 /1 @0"]
    assert rows["first"].parameters == 3 * 3 * 3 * 3 + 3
    assert rows["norm"].parameters == 6
    assert rows[""].parameters == 84 + 6


def test_parameters_of_the_other_families(linen: Any) -> None:
    rows = {item.path: item for item in BACKEND.layers(linen, np.zeros((1, HEIGHT, WIDTH, 1), np.float32))}
    assert rows["lopsided"].parameters == 3 * 4 * 1 * 2 + 2
    assert rows[""].parameters == sum(item.size for item in jax.tree.leaves(linen[1]))
    equinox = {item.path: item for item in BACKEND.layers(Equinox(), np.zeros((1, 1, HEIGHT, WIDTH), np.float32))}
    assert equinox["conv"].parameters == 3 * 2 * 1 * 2 + 2
    assert equinox["pool"].parameters == 0
    assert equinox["attention"].parameters == 4 * 4 * 4


class Decides(nnx.Module):
    """Looks at values in Python, so it can be run but not traced."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.conv = nnx.Conv(3, 3, (3, 3), rngs=rngs)

    def __call__(self, x: Any) -> Any:
        return self.conv(x) if float(x.sum()) < 1 else x


class Sorted(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.conv = nnx.Conv(3, 3, (3, 3), rngs=rngs)

    def __call__(self, x: Any) -> Any:
        return self.conv(jnp.sort(x, axis=1))


def test_what_cannot_be_followed_is_unknown_with_a_reason() -> None:
    image = np.zeros((1, 8, 8, 3), np.float32)
    rows = {layer.path: layer for layer in BACKEND.layers(Decides(nnx.Rngs(0)), image)}
    assert rows["conv"].showable and rows["conv"].receptive is None
    rows = {layer.path: layer for layer in BACKEND.layers(Sorted(nnx.Rngs(0)), image)}
    assert [layer.unknown for layer in rows["conv"].receptive] == ["sort isn't followed"] * 2


class Function(nn.Module):
    """A convolution whose weights are one, and a function behind it."""

    function: Any

    @nn.compact
    def __call__(self, x: Any) -> Any:
        x = nn.Conv(1, (3, 3), strides=(2, 1), use_bias=False, kernel_init=nn.initializers.ones)(x)
        return nn.Dropout(0.5, deterministic=True, name="last")(self.function(x))


def resize(method: str, *size: int, **options: Any) -> Any:
    return lambda x: jax.image.resize(x, (len(x), *size, 1), method, **options)


def moved(x: Any) -> Any:
    scale, translation = jnp.array([0.5, 0.75]), jnp.array([-2.0, 1.5])
    return jax.image.scale_and_translate(x, (len(x), 11, 44, 1), (1, 2), scale, translation, "bilinear")


@pytest.mark.parametrize(
    "function",
    [
        resize("bilinear", 40, 60),
        resize("cubic", 60, 90),
        resize("nearest", 17, 23),
        resize("bilinear", 13, 22),
        resize("bilinear", 13, 22, antialias=False),
        moved,
        lambda x: x[:, jnp.arange(16) + 2],
        lambda x: jax.lax.dynamic_slice(x, (0, 3, 5, 0), (len(x), 17, 50, 1)),
    ],
)
def test_a_square_is_found_behind_functions(function: Any) -> None:
    """The centre of what a white square changes, by where the units are said to lie."""
    picture = np.zeros((1, 40, 60, 1), np.float32)
    picture[0, 14:23, 24:37] = 1
    module = Function(function)
    (row,) = [row for row in BACKEND.layers((module, module.init(jax.random.key(0), picture)), picture) if not row.path]
    values = np.asarray(module.apply(module.init(jax.random.key(0), picture), picture))[0, ..., 0]
    assert row.lines is not None
    for axis, (line, centre) in enumerate(zip(row.lines, (18, 30), strict=True)):
        assert line is not None
        weights = values.sum(1 - axis)
        found = (weights * (line.origin + line.spacing * np.arange(len(weights)))).sum() / weights.sum()
        assert abs(found - centre) < max(line.spacing / 2, 0.6)
    assert all(field.known for field in row.receptive or ())
