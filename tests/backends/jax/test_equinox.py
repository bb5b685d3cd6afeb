"""Equinox: modules that see one example, under vmap, jit and checkpoint; state; axes with the batch in front."""

from __future__ import annotations

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import layerscope as ls
from helpers.jax_models import RAN, as_bytes, noted
from helpers.wording import raises
from layerscope.backends.jax.backend import JaxBackend

BACKEND = JaxBackend()
PHOTOS = np.random.default_rng(0).standard_normal((2, 3, 8, 12)).astype(np.float32)
KEY = jax.random.PRNGKey(0)


def rows(model, batch=PHOTOS):
    return {call.path: call for row in BACKEND.layers(model, batch) for call in (row, *row.per_call)}


def values(model, paths, batch=PHOTOS):
    return {path: layer.values for path, layer in BACKEND.capture(model, batch, paths).items()}


def close(actual, expected):
    np.testing.assert_allclose(actual, np.asarray(expected), rtol=1e-5, atol=1e-5)


class Transformer(eqx.Module):
    """Convolution, BatchNorm with state, then tokens in vmaps, an attention and a checkpointed part."""

    patch: eqx.nn.Conv2d
    norm: eqx.nn.BatchNorm
    linear: eqx.nn.Linear
    attention: eqx.nn.MultiheadAttention
    body: eqx.nn.Sequential
    cls_token: jax.Array
    checkpointed: bool = eqx.field(static=True)

    def __init__(self, checkpointed=False):
        self.patch = eqx.nn.Conv2d(3, 4, 4, stride=4, key=KEY)
        self.norm = eqx.nn.BatchNorm(4, "batch", mode="ema")
        self.linear = eqx.nn.Linear(4, 4, key=KEY)
        self.attention = eqx.nn.MultiheadAttention(2, 4, key=KEY)
        self.body = eqx.nn.Sequential([eqx.nn.Linear(4, 5, key=KEY), eqx.nn.Lambda(jax.nn.gelu), eqx.nn.Dropout(0.5)])
        self.cls_token = jnp.ones((1, 4))
        self.checkpointed = checkpointed

    def __call__(self, x, state, key):
        x, state = self.norm(noted("patch", self.patch)(x), state)
        x = jnp.concatenate([self.cls_token, x.reshape(4, -1).T])
        x = jax.vmap(noted("linear", self.linear))(x)
        x = x + self.attention(x, x, x)
        over = eqx.filter_checkpoint(_each) if self.checkpointed else _each
        return over(self.body, x).mean(0), state


def _each(body, x):
    return jax.vmap(body)(x)


def built(**options):
    return eqx.nn.make_with_state(Transformer)(**options)


def test_layers_equal_the_model_run_by_hand():
    model, state = built()
    captured = values((model, state), ["patch", "norm", "linear", "body.layers.0", "body", ""])
    patch = jax.vmap(model.patch)(PHOTOS)
    close(captured["patch"], patch)
    tokens = jnp.concatenate([jnp.ones((2, 1, 4)), captured["norm"].reshape(2, 4, -1).transpose(0, 2, 1)], 1)
    close(captured["linear"], tokens @ model.linear.weight.T + model.linear.bias)
    close(captured["body"], jax.nn.gelu(captured["body.layers.0"]))
    rest = eqx.nn.inference_mode(model)
    output, _ = jax.vmap(rest, in_axes=(0, None, None), out_axes=(0, None))(PHOTOS, state, KEY)
    close(captured[""], output)
    running = functools.partial(eqx.nn.inference_mode(model.norm), state=state)
    close(captured["norm"], jax.vmap(lambda image: running(image)[0])(patch))


def test_axes_have_the_batch_and_the_mapped_tokens():
    table = rows(built())
    result = {path: (layer.axes, layer.shape, layer.grid, layer.prefix) for path, layer in table.items() if layer.calls}
    tokens = ("bnc", (1, 7, 4), (2, 3), ("cls",))
    assert result["patch"] == result["norm"] == ("bchw", (1, 4, 2, 3), None, ())
    assert result["linear"] == result["attention"] == result["attention.query_proj"] == tokens
    assert result["body"] == ("bnc", (1, 7, 5), (2, 3), ("cls",))
    assert result["attention.dropout"][:2] == ("bcqk", (1, 2, 7, 7))
    assert result[""][:2] == ("bc", (1, 5))


def test_a_checkpointed_part_has_the_same_values_and_gradients():
    paths = ["patch", "linear", "body.layers.0", "body"]
    expected, captured = (BACKEND.capture(built(checkpointed=item), PHOTOS, paths, 1) for item in (False, True))
    assert list(captured) == list(expected) == paths
    for path in paths:
        close(captured[path].values, expected[path].values)
        close(captured[path].gradient, expected[path].gradient)
        assert np.abs(captured[path].gradient).max() > 0


def test_gradients_of_mapped_layers_equal_those_of_the_rest_of_the_model():
    model, state = built()
    captured = BACKEND.capture((model, state), PHOTOS, ["linear", "body.layers.0"], 1)
    model = eqx.nn.inference_mode(model)

    def after_first(hidden):
        return jax.nn.gelu(hidden).mean(1)[:, 1].sum()

    def after_linear(x):
        x = x + jax.vmap(lambda tokens: model.attention(tokens, tokens, tokens))(x)
        return after_first(x @ model.body.layers[0].weight.T + model.body.layers[0].bias)

    close(captured["body.layers.0"].gradient, jax.grad(after_first)(captured["body.layers.0"].values))
    close(captured["linear"].gradient, jax.grad(after_linear)(captured["linear"].values))


class Jitted(eqx.Module):
    conv: eqx.nn.Conv2d
    again: eqx.nn.Conv2d
    end: eqx.nn.Lambda

    def __init__(self):
        self.conv = self.again = eqx.nn.Conv2d(3, 3, 3, padding=1, key=KEY)
        self.end = eqx.nn.Lambda(lambda x: noted("end", x))

    @eqx.filter_jit
    def __call__(self, x):
        return self.end(self.again(jax.nn.relu(self.conv(x))))


def test_a_jitted_call_has_concrete_values_and_stops_early():
    model = Jitted()
    jax.vmap(model)(PHOTOS)
    before = len(RAN)
    captured = values(model, ["conv:0", "again:1"])
    assert RAN[before:] == []
    first = jax.vmap(model.conv)(PHOTOS)
    close(captured["conv:0"], first)
    close(captured["again:1"], jax.vmap(model.conv)(jax.nn.relu(first)))


def test_a_module_at_two_places_has_both_names():
    row = rows(Jitted())["conv"]
    assert (row.calls, row.aliases) == (2, ("again",))


class Ranks(eqx.Module):
    line: eqx.nn.Conv1d
    volume: eqx.nn.Conv3d
    pool: eqx.nn.MaxPool2d
    frames: eqx.nn.Conv2d
    norm: eqx.nn.LayerNorm
    tokens: eqx.nn.Lambda

    def __init__(self):
        self.line = eqx.nn.Conv1d(2, 4, 3, key=KEY)
        self.volume = eqx.nn.Conv3d(2, 4, 3, key=KEY)
        self.pool = eqx.nn.MaxPool2d(2, 2)
        self.frames = eqx.nn.Conv2d(2, 4, 3, key=KEY)
        self.norm = eqx.nn.LayerNorm(3)
        self.tokens = eqx.nn.Lambda(lambda x: x * 2)

    def __call__(self, line, volume, photo):
        over = functools.partial(jax.vmap, in_axes=1, out_axes=1)
        frames = jax.vmap(self.frames, in_axes=1, out_axes=1)(volume)
        return (
            self.line(line),
            self.volume(volume),
            self.pool(photo),
            frames,
            over(over(self.norm))(photo),
            self.tokens(jnp.ones((5, 3))),
        )


def test_axes_of_many_ranks_and_of_mapped_layers():
    shapes = ((2, 2, 6), (2, 2, 3, 4, 5), (2, 3, 4, 6))
    batch = tuple(np.random.default_rng(1).standard_normal(shape).astype(np.float32) for shape in shapes)
    table = rows(Ranks(), batch)
    assert {path: (layer.axes, layer.shape) for path, layer in table.items() if path[:1] not in ("", "[")} == {
        "line": ("bcn", (1, 4, 4)),
        "volume": ("bcdhw", (1, 4, 1, 2, 3)),
        "pool": ("bchw", (1, 3, 2, 3)),
        "frames": ("bdchw", (1, 3, 4, 2, 3)),
        "norm": ("bhwc", (1, 4, 6, 3)),
        "tokens": ("bnc", (1, 5, 3)),
    }
    assert (table["[1]"].axes, table["[1]"].shape) == ("bcdhw", (1, 4, 1, 2, 3))
    captured = values(Ranks(), ["norm", "tokens", "frames"], batch)
    photo = batch[2].transpose(0, 2, 3, 1)
    spread = photo.var(-1, keepdims=True)
    close(captured["norm"], (photo - photo.mean(-1, keepdims=True)) / np.sqrt(spread + 1e-5))
    # nothing of the batch goes into it, so each image has the same
    close(captured["tokens"], np.full((2, 5, 3), 2))
    frames = jax.vmap(jax.vmap(Ranks().frames))(batch[1].transpose(0, 2, 1, 3, 4))
    close(captured["frames"], frames)


def test_the_model_and_its_classes_stay_as_they_were():
    model, state = built()
    before, call = as_bytes((model, state)), eqx.nn.Conv2d.__call__
    kinds = [type(leaf) for leaf in jax.tree.leaves(model, is_leaf=lambda leaf: isinstance(leaf, eqx.nn.Conv2d))]
    values((model, state), ["patch", "linear:0"])
    BACKEND.capture((model, state), PHOTOS, ["patch"], 0)

    def wrong(out):
        raise RuntimeError("the target failed")

    with raises(ls.GradientsUnavailable):
        BACKEND.capture((model, state), PHOTOS, ["patch"], wrong)
    assert as_bytes((model, state)) == before
    assert eqx.nn.Conv2d.__call__ is call
    after = [type(leaf) for leaf in jax.tree.leaves(model, is_leaf=lambda leaf: isinstance(leaf, eqx.nn.Conv2d))]
    assert after == kinds
    assert not model.body.layers[2].inference


def test_a_scope_shows_a_photo():
    scope = ls.open(built(), preprocess="unit", size=(16, 24))
    assert (scope.facts.inputs[0].axes, scope.facts.inputs[0].shape[1]) == ("bchw", 3)
    assert "equinox" in scope.facts.framework
    fm = scope.capture(ls.demo_photo(), "linear", target=1)["linear"]
    assert fm.values.shape == fm.gradient.shape == (1, 4, 6, 4)
    with raises(ls.LayerNotFound, "'linear'"):
        scope.capture(ls.demo_photo(), "linaer")
