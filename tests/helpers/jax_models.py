"""The network of the suite in Flax NNX, Flax linen and Equinox, and what changes when anything of a model does."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import nnx

RAN: list[str] = []


def noted(name: str, layer: Any) -> Any:
    """The layer, which is about to run."""
    RAN.append(name)
    return layer


def broken(fail: bool) -> None:
    if fail:
        raise RuntimeError("failed in the middle")


class NnxAct(nnx.Module):
    def __call__(self, x):
        return nnx.relu(x)


class NnxNetwork(nnx.Module):
    def __init__(self, fail=False):
        rngs = nnx.Rngs(0)
        self.conv1 = nnx.Conv(3, 4, (3, 3), padding=1, rngs=rngs)
        self.act = NnxAct()
        self.conv2 = nnx.Conv(4, 5, (3, 3), strides=2, padding=0, rngs=rngs)
        self.head = nnx.Linear(5, 6, rngs=rngs)
        self.spare = nnx.Linear(2, 2, rngs=rngs)
        self.drop = nnx.Dropout(0.5, rngs=rngs)
        self.fail = fail

    def __call__(self, x):
        x = self.drop(noted("act", self.act)(noted("conv1", self.conv1)(x)))
        broken(self.fail)
        x = noted("act", self.act)(noted("conv2", self.conv2)(x))
        return noted("head", self.head)(x.mean((1, 2)))


def nnx_network(parameters, fail=False):
    model = NnxNetwork(fail)
    for name in ("conv1", "conv2", "head"):
        weight = parameters[f"{name}.weight"]
        part = getattr(model, name)
        part.kernel[...] = jnp.array(weight.transpose(2, 3, 1, 0) if weight.ndim == 4 else weight.T)
        part.bias[...] = jnp.array(parameters[f"{name}.bias"])
    return model


class LinenAct(nn.Module):
    def __call__(self, x):
        return nn.relu(x)


class LinenNetwork(nn.Module):
    fail: bool = False

    def setup(self):
        self.conv1 = nn.Conv(4, (3, 3), padding=1)
        self.act = LinenAct()
        self.conv2 = nn.Conv(5, (3, 3), strides=2, padding="VALID")
        self.head = nn.Dense(6)
        self.spare = nn.Dense(2)
        self.drop = nn.Dropout(0.5)

    def __call__(self, x, *, train: bool):
        x = self.drop(noted("act", self.act)(noted("conv1", self.conv1)(x)), deterministic=not train)
        broken(self.fail)
        x = noted("act", self.act)(noted("conv2", self.conv2)(x))
        return noted("head", self.head)(x.mean((1, 2)))


def linen_network(parameters, fail=False):
    params = {"spare": {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}}
    for name in ("head", "conv2", "conv1"):
        weight = parameters[f"{name}.weight"]
        kernel = jnp.array(weight.transpose(2, 3, 1, 0) if weight.ndim == 4 else weight.T)
        params[name] = {"kernel": kernel, "bias": jnp.array(parameters[f"{name}.bias"])}
    return LinenNetwork(fail), {"params": params}


class EquinoxNetwork(eqx.Module):
    conv1: eqx.nn.Conv2d
    act: eqx.nn.Lambda
    conv2: eqx.nn.Conv2d
    head: eqx.nn.Linear
    spare: eqx.nn.Linear
    drop: eqx.nn.Dropout
    fail: bool = eqx.field(static=True)

    def __init__(self, fail=False):
        key = jax.random.PRNGKey(0)
        self.conv1 = eqx.nn.Conv2d(3, 4, 3, padding=1, key=key)
        self.act = eqx.nn.Lambda(jax.nn.relu)
        self.conv2 = eqx.nn.Conv2d(4, 5, 3, stride=2, key=key)
        self.head = eqx.nn.Linear(5, 6, key=key)
        self.spare = eqx.nn.Linear(2, 2, key=key)
        self.drop = eqx.nn.Dropout(0.5)
        self.fail = fail

    def __call__(self, x, *, key=None):
        x = self.drop(noted("act", self.act)(noted("conv1", self.conv1)(x)), key=key)
        broken(self.fail)
        x = noted("act", self.act)(noted("conv2", self.conv2)(x))
        return noted("head", self.head)(x.mean((1, 2)))


def equinox_network(parameters, fail=False):
    model = EquinoxNetwork(fail)
    for name in ("conv1", "conv2", "head"):
        weight, bias = parameters[f"{name}.weight"], parameters[f"{name}.bias"]
        values = (jnp.array(weight), jnp.array(bias).reshape((-1,) + (1,) * (weight.ndim - 2)))
        model = eqx.tree_at(lambda tree, of=name: (getattr(tree, of).weight, getattr(tree, of).bias), model, values)
    return model


def as_bytes(tree: Any) -> bytes:
    """Every leaf of a tree and its structure."""
    content = repr(jax.tree.structure(tree)).encode()
    for leaf in jax.tree.leaves(tree):
        if isinstance(leaf, jax.Array) and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaf = jax.random.key_data(leaf)
        content += np.asarray(leaf).tobytes() if hasattr(leaf, "dtype") else repr(leaf).encode()
    return content


def nnx_state(model: Any) -> bytes:
    """Variables (with counts of random streams), flags, attributes and classes of every module."""
    kinds = [
        (
            path,
            type(module),
            sorted((name, repr(value)) for name, value in vars(module).items() if not name.startswith("_")),
        )
        for path, module in nnx.iter_modules(model)
    ]
    return repr(kinds).encode() + as_bytes(nnx.to_pure_dict(nnx.state(model)))
