"""Flax NNX: transforms, shared modules, state that must not change, and outputs of many kinds."""

from __future__ import annotations

import dataclasses
import functools
import threading
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import layerscope as ls
from helpers.jax_models import RAN, NnxNetwork, nnx_state, noted
from helpers.wording import raises, wording
from layerscope.backends.jax.backend import JaxBackend

BACKEND = JaxBackend()
PHOTOS = np.random.default_rng(0).standard_normal((2, 8, 8, 3)).astype(np.float32)


def rows(model, batch=PHOTOS):
    return {call.path: call for row in BACKEND.layers(model, batch) for call in (row, *row.per_call)}


def values(model, paths, batch=PHOTOS, **options):
    return {path: item.values for path, item in BACKEND.capture(model, batch, paths, **options).items()}


def close(actual, expected):
    np.testing.assert_allclose(actual, np.asarray(expected), rtol=1e-5, atol=1e-5)


class Block(nnx.Module):
    def __init__(self, rngs):
        self.conv = nnx.Conv(4, 4, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(4, rngs=rngs)
        self.drop = nnx.Dropout(0.5, rngs=rngs)

    def __call__(self, x):
        return self.drop(nnx.relu(self.norm(noted("conv", self.conv)(x))))


class Nested(nnx.Module):
    """Blocks in a list, one of them reached by two paths; counts its calls in an attribute."""

    def __init__(self, block=Block):
        rngs = nnx.Rngs(0)
        self.stem = nnx.Conv(3, 4, (3, 3), rngs=rngs)
        self.blocks = nnx.List([block(rngs) for _ in range(2)])
        self.tail = self.blocks[1]
        self.body = nnx.Sequential(nnx.Linear(4, 4, rngs=rngs), nnx.relu)
        self.called = 0

    def __call__(self, x):
        self.called += 1
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.body(self.tail(x).mean((1, 2)))


def test_every_layer_equals_a_call_of_the_module():
    model = Nested()
    captured = values(model, ["stem", "blocks.0.conv", "blocks.0", "blocks.1:0", "blocks.1:1", "body.layers.0", ""])
    model.eval()
    stem = model.stem(PHOTOS)
    first = model.blocks[0](stem)
    second = model.blocks[1](first)
    pooled = model.tail(second).mean((1, 2))
    close(captured["stem"], stem)
    close(captured["blocks.0.conv"], model.blocks[0].conv(stem))
    close(captured["blocks.0"], first)
    close(captured["blocks.1:0"], second)
    close(captured["blocks.1:1"], model.tail(second))
    close(captured["body.layers.0"], model.body.layers[0](pooled))
    close(captured[""], model(PHOTOS))


def test_a_module_at_two_places_has_both_names():
    model = Nested()
    row = rows(model)["blocks.1"]
    assert (row.calls, row.aliases) == (2, ("tail",))
    assert list(values(model, ["tail"])) == ["tail:0", "tail:1"]
    close(values(model, ["tail.conv:1"])["tail.conv:1"], values(model, ["blocks.1.conv:1"])["blocks.1.conv:1"])


class Jitted(Block):
    @nnx.jit
    def __call__(self, x):
        return self.drop(nnx.relu(self.norm(noted("conv", self.conv)(x))))


class AllJitted(Nested):
    @nnx.jit
    def __call__(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.body(self.tail(x).mean((1, 2)))


def test_jitted_modules_have_concrete_values():
    plain, model = Nested(), AllJitted(Jitted)
    model(jnp.array(PHOTOS))  # compiled before, as a trained model is
    nnx.update(model, nnx.state(plain))
    paths = ["stem", "blocks.0.conv", "blocks.1.norm", "body"]
    expected, captured = values(plain, paths), values(model, paths)
    assert list(captured) == list(expected)
    for path in captured:
        close(captured[path], expected[path])


def test_a_jitted_model_stops_early():
    model = AllJitted(Jitted)
    before = len(RAN)
    values(model, ["blocks.0.conv:0"])
    assert RAN[before:] == ["conv"]


class Checkpointed(Nested):
    def __call__(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = nnx.remat(lambda module, x: module(x))(block, x)
        return self.body(jax.checkpoint(lambda x: self.tail(x))(x).mean((1, 2)))


def test_checkpointed_modules_have_values_and_gradients():
    plain, model = Nested(), Checkpointed()
    paths = ["stem", "blocks.0.conv", "blocks.1.norm", "tail"]
    expected, captured = (BACKEND.capture(item, PHOTOS, paths, 1) for item in (plain, model))
    assert list(captured) == list(expected)
    for path in captured:
        close(captured[path].values, expected[path].values)
        close(captured[path].gradient, expected[path].gradient)
    assert np.abs(captured["stem"].gradient).max() > 0


def test_what_a_checkpointed_module_returns_cannot_be_changed():
    model, half = Checkpointed(), lambda inputs: inputs / 2
    plain, stem = BACKEND.scores(Nested(), PHOTOS, 1, {}), BACKEND.scores(Nested(), PHOTOS, 1, {"stem": half})
    close(BACKEND.scores(model, PHOTOS, 1, {}), plain)
    close(BACKEND.scores(model, PHOTOS, 1, {"stem:0": half}), stem)
    assert np.abs(np.subtract(plain, stem)).max() > 1e-3
    with raises(ls.BadOption, "'tail'"):
        BACKEND.scores(model, PHOTOS, 1, {"tail": half, "stem": half})
    with raises(ls.LayerNotFound, "'stam'", "'stem'"):
        BACKEND.scores(model, PHOTOS, 1, {"stam": half})
    with raises(ls.LayerNotCalled, "'stem:1'", "1"):
        BACKEND.scores(model, PHOTOS, 1, {"stem:1": half})


def test_one_part_and_one_call_of_what_modules_return_are_changed():
    class Two(nnx.Module):
        def __call__(self, x):
            return {"left": x, "right": 2 * x}

    class Model(nnx.Module):
        def __init__(self):
            self.two = Two()

        def __call__(self, x):
            first = self.two(x)
            again = self.two(first["left"])
            return (again["left"] + 10 * first["right"]).mean((1, 2))

    plain = 21 * PHOTOS.mean((1, 2))[:, 1]
    for path, more in (("two.right", 10), ("two.left:1", 1), ("two.left", 2), ("two.right:1", 0)):
        close(BACKEND.scores(Model(), PHOTOS, 1, {path: lambda inputs: inputs + 1}), plain + more)


def test_a_part_of_an_output_whose_path_a_child_has_is_named_with_brackets():
    class Crossed(nnx.Module):
        def __init__(self, rngs):
            self.a = nnx.Conv(3, 2, (1, 1), rngs=rngs)
            self.b = nnx.Conv(3, 5, (1, 1), rngs=rngs)

        def __call__(self, x):
            return {"a": self.b(x), "b": [self.a(x)], "c": x}

    class Model(nnx.Module):
        def __init__(self, rngs):
            self.p = Crossed(rngs)

        def __call__(self, x):
            return self.p(x)["c"]

    model = Model(nnx.Rngs(0))
    paths = ["p.b", "p.a", "p", "p['b'][0]", "p.c", ""]
    assert [row.path for row in BACKEND.layers(model, PHOTOS)] == paths
    assert rows(model)["p"].aliases == ("p['a']",)
    captured = values(model, [*paths, "p['a']"])
    for path, expected in {
        **dict.fromkeys(("p.b", "p", "p['a']"), model.p.b(PHOTOS)),
        **dict.fromkeys(("p.a", "p['b'][0]"), model.p.a(PHOTOS)),
        "p.c": PHOTOS,
    }.items():
        close(captured[path], expected)


def test_a_checkpointed_model_stops_early_and_quietly(caplog):
    before = len(RAN)
    assert list(values(Checkpointed(), ["blocks.0.norm:0"])) == ["blocks.0.norm:0"]
    assert RAN[before:] == ["conv"]
    assert not caplog.records


class Scanned(nnx.Module):
    """Three layers whose weights are stacked, run by `nnx.scan`."""

    def __init__(self):
        @nnx.split_rngs(splits=3)
        @nnx.vmap(in_axes=(0,), out_axes=0)
        def make(rngs):
            return nnx.Linear(3, 3, rngs=rngs)

        self.layers = make(nnx.Rngs(0))

    def __call__(self, x):
        return nnx.scan(lambda layer, x: layer(x), in_axes=(0, nnx.Carry), out_axes=nnx.Carry)(self.layers, x)


def test_scanned_layers_are_calls():
    model = Scanned()
    captured = values(model, ["layers"])
    x = PHOTOS
    for number in range(3):
        x = x @ model.layers.kernel[number] + model.layers.bias[number]
        close(captured[f"layers:{number}"], x)


def test_state_flags_and_random_streams_stay_as_they_were():
    model = Nested()
    assert not model.blocks[0].drop.deterministic
    model(jnp.array(PHOTOS))
    before, kinds = nnx_state(model), {type(item) for _, item in nnx.iter_modules(model)}
    rows(model)
    values(model, ["blocks.1", "body:0"])
    BACKEND.capture(model, PHOTOS, ["stem"], 0)
    assert nnx_state(model) == before
    assert model.called == 1
    assert not model.blocks[0].drop.deterministic
    assert {type(item) for _, item in nnx.iter_modules(model)} == kinds


def test_state_stays_when_the_model_raises():
    model = NnxNetwork(fail=True)
    before = nnx_state(model)
    for target in (None, 0):
        with pytest.raises(RuntimeError, match="failed in the middle"):
            BACKEND.capture(model, PHOTOS, ["head"], target)
    assert nnx_state(model) == before
    assert jax.config.jax_disable_jit is False


class Modes(nnx.Module):
    def __init__(self):
        self.conv = nnx.Conv(3, 4, (3, 3), rngs=nnx.Rngs(0))

    def __call__(self, x, train: bool = True):
        return self.conv(x) * (100 if train else 1)

    def twice(self, x):
        return self.conv(x) * 2


def test_the_model_runs_in_inference_mode_unless_the_user_chooses_otherwise():
    model = Modes()
    conv = model.conv(PHOTOS)
    close(values(model, [""])[""], conv)
    close(values(functools.partial(model, train=True), [""])[""], conv * 100)
    close(values(model.twice, [""])[""], conv * 2)
    assert ls.open(functools.partial(model, train=True), preprocess="unit").name == "Modes"


@nnx.dataclass
class Out(nnx.Pytree):
    hidden: Any = nnx.data()
    logits: Any = nnx.data()


@dataclasses.dataclass
class Plain:
    hidden: Any
    logits: Any


class Towers(nnx.Module):
    """Two inputs by name, outputs in tuples, dicts and dataclasses."""

    def __init__(self, out):
        rngs = nnx.Rngs(0)
        self.left, self.right = nnx.Linear(3, 4, rngs=rngs), nnx.Linear(3, 4, rngs=rngs)
        self.pair = Pair()
        self.out = out

    def __call__(self, photo, text):
        first, second = self.pair(self.left(photo), self.right(text))
        hidden, logits = first + second, (first * second).sum((1, 2))
        return {"hidden": hidden, "logits": logits} if self.out is dict else self.out(hidden, logits)


class Pair(nnx.Module):
    def __call__(self, first, second):
        return first * 2, second * 3


@pytest.mark.parametrize("out", [dict, Plain, Out])
def test_outputs_in_structures_and_several_inputs(out):
    model = Towers(out)
    text = np.ones((2, 1, 1, 3), np.float32)
    for batch in ({"text": text, "photo": PHOTOS}, (PHOTOS, text)):
        table = rows(model, batch)
        wording(table["pair"].note, "[0]", "'pair[1]'")
        wording(table[""].note, ".logits", "'.hidden'")
        captured = BACKEND.capture(model, batch, ["pair", "pair[1]", "", ".hidden", "pair[0]:0"], lambda out: _sum(out))
        close(captured["pair"].values, model.left(PHOTOS) * 2)
        close(captured["pair[1]"].values, model.right(text) * 3)
        close(captured["pair[0]:0"].values, captured["pair"].values)
        assert captured[""].values.shape == (2, 4)
        close(captured[".hidden"].gradient, np.zeros((2, 8, 8, 4)))
        close(captured["pair"].gradient, np.broadcast_to(captured["pair[1]"].values, (2, 8, 8, 4)))


def _sum(out):
    return (out["logits"] if isinstance(out, dict) else out.logits).sum()


class Ranks(nnx.Module):
    def __init__(self):
        rngs = nnx.Rngs(0)
        self.line = nnx.Conv(2, 4, (3,), rngs=rngs)
        self.volume = nnx.Conv(2, 4, (3, 3, 3), rngs=rngs)
        self.up = nnx.ConvTranspose(2, 5, (2, 2), strides=(2, 2), rngs=rngs)

    def __call__(self, line, volume, photo):
        return nnx.relu(self.line(line)), self.volume(volume), self.up(photo)


def test_axes_of_one_two_and_three_dimensions():
    batch = tuple(np.zeros(shape, np.float32) for shape in ((1, 6, 2), (1, 3, 4, 5, 2), (1, 3, 4, 2)))
    table = rows(Ranks(), batch)
    result = {path: (item.axes, item.spatial) for path, item in table.items() if path in ("line", "volume", "up")}
    assert result == {"line": ("bnc", (6,)), "volume": ("bdhwc", (3, 4, 5)), "up": ("bhwc", (6, 8))}


class Tokens(nnx.Module):
    """A ViT whose tokens say where they come from: the embedding copies a patch's own corner pixel."""

    def __init__(self, registers=2):
        rngs = nnx.Rngs(0)
        self.patch = nnx.Conv(3, 8, (4, 4), strides=(4, 4), rngs=rngs)
        kernel = np.zeros((4, 4, 3, 8), np.float32)
        kernel[0, 0, 0, 0] = 1
        self.patch.kernel[...] = jnp.array(kernel)
        self.cls_token = nnx.Param(jnp.zeros((1, 1, 8)))
        self.register_tokens = nnx.Param(jnp.zeros((1, registers, 8)))
        self.norm = nnx.LayerNorm(8, rngs=rngs)
        self.attn = nnx.MultiHeadAttention(2, 8, decode=False, rngs=rngs)
        self.mlp = nnx.Linear(8, 8, use_bias=False, kernel_init=lambda *_: jnp.eye(8), rngs=rngs)

    def __call__(self, x):
        x = self.patch(x)
        count = x.shape[0]
        front = [
            jnp.broadcast_to(token[...], (count, *token.shape[1:])) for token in (self.cls_token, self.register_tokens)
        ]
        x = self.mlp(jnp.concatenate([*front, x.reshape(count, -1, 8)], 1))
        return x + self.attn(self.norm(x))


def test_tokens_lie_on_the_grid_of_a_photo_that_is_not_square():
    photo = np.zeros((1, 16, 24, 3), np.float32)
    photo[0, ::4, ::4, 0] = np.arange(24).reshape(4, 6)
    table = rows(Tokens(), photo)
    for path in ("mlp", "norm", "attn", ""):
        assert (table[path].axes, table[path].grid, table[path].prefix) == ("bnc", (4, 6), ("cls", "reg1", "reg2"))
    assert (table["attn.query"].axes, table["attn.query"].note) == ("bndc", "d = attention head")
    fm = ls.open(Tokens(), preprocess=None).capture(photo, "mlp")["mlp"]
    assert np.array_equal(fm.values[0, ..., 0], np.arange(24).reshape(4, 6))


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_values_in_less_than_float32_keep_the_name_of_their_type(dtype):
    class Half(nnx.Module):
        def __init__(self):
            self.conv = nnx.Conv(3, 4, (3, 3), dtype=dtype, rngs=nnx.Rngs(0))
            self.top = Top()

        def __call__(self, x):
            return self.top(self.conv(x))

    model = Half()
    captured = BACKEND.capture(model, PHOTOS, ["conv", "top"])
    assert captured["conv"].values.dtype == np.float32
    assert (captured["conv"].dtype, captured["top"].dtype) == (jnp.dtype(dtype).name, "int32")
    close(captured["conv"].values, model.conv(PHOTOS).astype(jnp.float32))
    with raises(ls.GradientsUnavailable, "'top'"):
        BACKEND.capture(model, PHOTOS, ["top"], lambda out: out.sum() * 1.0)


class Top(nnx.Module):
    def __call__(self, x):
        return x.argmax(-1)


def test_a_layer_that_never_ran_names_the_nearest_one_around_it():
    class Unused(Nested):
        def __call__(self, x):
            return Inner.__call__(self, x)

    class Inner(Nested):
        def __call__(self, x):
            return self.blocks[0].norm(self.stem(x))

    scope = ls.open(Unused(), preprocess=None)
    with raises(ls.LayerNotCalled, "'blocks.0.conv'"):
        scope.capture(PHOTOS, "blocks.0.conv")
    with raises(ls.LayerNotFound, "'blocks.0.conv'"):
        BACKEND.capture(Unused(), PHOTOS, ["blocks.0.con"])


def test_windows_of_an_image_are_no_picture_of_it():
    class Windows(nnx.Module):
        def __init__(self):
            self.inner = nnx.Linear(3, 3, rngs=nnx.Rngs(0))

        def __call__(self, x):
            return self.inner(x.reshape(-1, 16, 3)).reshape(x.shape)

    wording(rows(Windows())["inner"].note, "4")


def test_a_scope_shows_a_photo():
    scope = ls.open(Nested(), preprocess="unit", size=32)
    assert scope.facts.inputs[0].axes == "bhwc"
    assert (scope.facts.inputs[0].shape[3], scope.preprocess.size) == (3, (32, 32))
    assert "flax" in scope.facts.framework
    fm = scope.capture(ls.demo_photo(), "stem", target=1)["stem"]
    assert fm.values.shape == fm.gradient.shape == (1, 32, 32, 4)
    assert ls.sheet(fm).png()


def test_functions_are_refused():
    with raises(ls.ModelNotReadable):
        ls.open(lambda params, x: x)
    with raises(ls.ModelNotReadable):
        BACKEND.layers(lambda params, x: x, PHOTOS)


class Chain(nnx.Module):
    """Three weights that are equal between two steps of its training, and only then."""

    def __init__(self):
        self.one, self.two, self.three = (
            nnx.Linear(16, 16, use_bias=False, kernel_init=nnx.initializers.ones, rngs=nnx.Rngs(0)) for _ in range(3)
        )

    def __call__(self, x):
        return self.three(self.two(self.one(x)))


def test_a_capture_beside_a_training_sees_the_weights_between_two_steps():
    model, over, errors, numbers = Chain(), threading.Event(), [], set()
    optimizer = nnx.Optimizer(model, optax.sgd(1.0), wrt=nnx.Param)
    x = np.full((1, 16), 1 / 16, np.float32)

    def train():
        try:
            while not over.is_set():
                step = -1.0 if model.one.kernel[0, 0] < 8 else 7.0
                optimizer.update(
                    model,
                    jax.tree.map(lambda array, step=step: jnp.full_like(array, step), nnx.state(model, nnx.Param)),
                )
                time.sleep(5e-3)  # the forward and backward pass
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=train)
    thread.start()
    try:
        deadline = time.monotonic() + 30
        while len(numbers) < 3 and not errors and time.monotonic() < deadline:
            captures = values(model, ["one", "two", "three"], x)
            one, two, three = (float(captures[name][0, 0]) / 16**index for index, name in enumerate(captures))
            assert (two, three) == (one**2, one**3), "weights of different steps"
            numbers.add(one)
    finally:
        over.set()
        thread.join()
    assert not errors and len(numbers) > 1
