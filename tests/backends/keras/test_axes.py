"""The axes of layers that move, add or remove some: followed, settled by what reads them, or said to be a guess."""

from __future__ import annotations

import numpy as np
import pytest

import layerscope as ls
from helpers.keras_models import BACKEND, K, keras

ops = keras.ops
PICTURE = np.zeros((1, 8, 12, 6), np.float32)
WEIGHTS = np.ones((6, 7), np.float32)


class Own(K.Layer):
    """A layer of the user's own."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def call(self, x):
        return self.function(x)


class Outside(K.Layer):
    """A layer whose computation Keras doesn't see."""

    def __init__(self, order):
        super().__init__()
        self.order = order

    def call(self, x):
        return ops.convert_to_tensor(np.transpose(np.asarray(ops.convert_to_numpy(x)), self.order))

    def compute_output_spec(self, x):
        return keras.KerasTensor([x.shape[axis] for axis in self.order])


class Rearranged(K.Layer):
    """A reshape that Keras doesn't see, to axes that are none of those before."""

    def __init__(self, shape):
        super().__init__()
        self.shape = shape

    def call(self, x):
        return ops.convert_to_tensor(ops.convert_to_numpy(x).reshape(self.shape))

    def compute_output_spec(self, x):
        return keras.KerasTensor(self.shape)


def vector(x):
    return K.GlobalAveragePooling2D()(x)


def tokens(x):
    return K.Reshape((96, 6))(x)


def rows(after):
    x = keras.Input((8, 12, 6))
    return BACKEND.layers(keras.Model(x, after(x)), PICTURE)


KNOWN = {
    "transposed by a layer of one's own": (lambda x: Own(lambda t: ops.transpose(t, (0, 3, 1, 2)))(x), "bchw"),
    "swapped": (lambda x: ops.swapaxes(x, 1, 3), "bcwh"),
    "moved": (lambda x: ops.moveaxis(x, -1, 1), "bchw"),
    "one more": (lambda x: ops.expand_dims(x, 1), "bdhwc"),
    "stacked": (lambda x: ops.stack([x, x], axis=1), "bdhwc"),
    "one row": (lambda x: x[:, 0], "bwc"),
    "unstacked": (lambda x: ops.unstack(x, axis=2, num=12)[0], "bhc"),
    "the channels gone": (lambda x: ops.argmax(x, axis=-1), "bhw"),
    "the channels gone and one more": (lambda x: ops.expand_dims(ops.mean(x, axis=-1), -1), "bhwc"),
    "the channels gone and one in front": (lambda x: ops.max(x, axis=-1)[:, None], "bchw"),
    "the channels gone and a reshape": (lambda x: ops.reshape(ops.mean(x, axis=-1), (-1, 8, 12, 1)), "bhwc"),
    "two without channels stacked": (lambda x: ops.stack([ops.mean(x, axis=-1), ops.max(x, axis=-1)], -1), "bhwc"),
    "one channel taken out and put back": (lambda x: x[..., 2][..., None], "bhwc"),
    "one channel put in front": (lambda x: x[:, None, ..., 2], "bchw"),
    "columns stacked as rows": (lambda x: ops.stack(ops.unstack(x, axis=2), 1), "bwhc"),
    "a quarter turn": (lambda x: ops.rot90(x[:, :8, :8], axes=(1, 2)), "bwhc"),
    "half a turn": (lambda x: ops.rot90(x, k=2, axes=(1, 2)), "bhwc"),
    "classes as ones and zeros": (lambda x: ops.one_hot(ops.argmax(x, axis=-1), 5), "bhwc"),
    "classes in front": (lambda x: ops.one_hot(ops.argmax(x, axis=-1), 5, axis=1), "bchw"),
    "weights behind": (lambda x: ops.tensordot(x, WEIGHTS, axes=1), "bhwc"),
    "weights in front": (lambda x: Own(lambda t: ops.tensordot(WEIGHTS, t, axes=[[0], [3]]))(x), "cbhw"),
    "weights of a product": (lambda x: ops.matmul(x, WEIGHTS), "bhwc"),
    "weights first in an einsum": (lambda x: ops.einsum("cd,bhwc->bdhw", WEIGHTS, x), "bchw"),
    "an einsum of one's own": (lambda x: Own(lambda t: ops.einsum("bhwc,cd->bdhw", t, WEIGHTS))(x), "bchw"),
    "a tensordot of one's own": (lambda x: Own(lambda t: ops.tensordot(t, WEIGHTS, axes=1))(x), "bhwc"),
    "weights first in an einsum of one's own": (
        lambda x: Own(lambda t: ops.einsum("cd,bhwc->bdhw", WEIGHTS[:, :6], t))(x[:, :6, :6]),
        "bchw",
    ),
    "classes of one's own": (lambda x: Own(lambda t: ops.one_hot(ops.argmax(t, -1), 5, axis=1))(x), "bchw"),
    "heads": (lambda x: K.Reshape((96, 2, 3))(tokens(x)), "bndc"),
    "scores": (lambda x: ops.matmul(tokens(x), ops.transpose(tokens(x), (0, 2, 1))), "bqk"),
    "scores of a layer": (lambda x: K.Dot(axes=2)([tokens(x), tokens(x)]), "bqk"),
    "along the tokens": (lambda x: K.Dense(5)(K.Permute((2, 1))(tokens(x))), "bcn"),
    "groups of channels": (lambda x: K.Reshape((8, 12, 2, 3))(x), "bhwnc"),
    "a gate": (lambda x: K.Reshape((1, 1, 6))(vector(x)), "bhwc"),
    "one number first": (
        lambda x: K.Multiply()([K.Reshape((1, 1, 1))(K.Dense(1)(vector(x))), K.Permute((3, 1, 2))(x)]),
        "bchw",
    ),
    "read by a convolution": (lambda x: K.Conv2D(2, 1)(K.ReLU()(K.Reshape((2, 3, 4))(K.Dense(24)(vector(x))))), "bhwc"),
    "read channels first": (
        lambda x: K.MaxPooling2D(1, data_format="channels_first")(
            K.ReLU()(K.Reshape((4, 2, 3))(K.Dense(24)(vector(x))))
        ),
        "bchw",
    ),
}


@pytest.mark.parametrize("case", KNOWN)
def test_axes_are_followed(case):
    after, axes = KNOWN[case]
    table = rows(after)
    assert next(row for row in table if not row.path).axes == axes
    assert not any(row.doubt for row in table if row.shape and row.shape[1:] != (1, 1, 1))
    if case.startswith("read"):
        assert {row.axes for row in table if row.kind in ("Reshape", "ReLU")} == {axes}


@pytest.mark.parametrize(
    "after",
    [
        lambda x: K.Reshape((2, 3, 4))(K.Dense(24)(vector(x))),
        lambda x: Rearranged((1, 6, 8, 12))(x),
        lambda x: ops.einsum("bhwc,bhwd->bcd", x, x),
        lambda x: ops.tile(K.Reshape((1, 1, 1))(K.Dense(1)(vector(x))), (1, 2, 3, 4)),
    ],
)
def test_a_guess_is_said_to_be_one_and_what_follows_from_it_too(after):
    x = keras.Input((8, 12, 6))
    model = keras.Model(x, K.ReLU(name="behind")(K.Dropout(0.5)(after(x))))
    scope = ls.open(model, preprocess=None)
    assert next(row for row in scope.layers(PICTURE) if row.path == "behind").doubt
    (fm,) = scope.capture(PICTURE, "behind").values()
    assert "axes" in [note.kind for note in fm.notes]
    sure = keras.Model(x, K.ReLU(name="behind")(K.Add()([K.Conv2D(6, 1)(x), K.Dense(6)(x)])))
    (fm,) = ls.open(sure, preprocess=None).capture(PICTURE, "behind").values()
    assert "axes" not in [getattr(note, "kind", "") for note in fm.notes]


def test_a_model_that_takes_no_single_image_is_listed_from_the_whole_batch():
    model = keras.Sequential([K.Dense(4, name="dense"), Own(lambda x: ops.concatenate([x[:1] + x[1], x[1:]]))])
    rows = np.ones((2, 3), np.float32)
    values = ls.open(model, preprocess=None).capture(rows, "dense")["dense"].values
    assert np.allclose(values, model.layers[0](rows), atol=1e-6)


class WithConvolution(Outside):
    """The same behind a convolution of its own, whose output has the same sizes."""

    def __init__(self, order):
        super().__init__(order)
        self.conv = K.Conv2D(4, 3, padding="same")

    def build(self, shape):
        self.conv.build(shape)

    def call(self, x):
        return super().call(self.conv(x))


class Counting(Outside):
    """The same, and it counts its calls: the second one is another."""

    def __init__(self, order):
        super().__init__(order)
        self.calls = 0

    def call(self, x):
        self.calls += 1
        return super().call(x) if self.calls == 1 else ops.zeros_like(x)


@pytest.mark.parametrize(
    ("own", "order"),
    [
        *((Outside, order) for order in ((0, 2, 1, 3), (0, 1, 2, 3), (0, 3, 2, 1), (0, 1, 3, 2))),
        *((WithConvolution, order) for order in ((0, 2, 1, 3), (0, 1, 2, 3))),
    ],
)
def test_a_square_picture_that_is_turned_by_code_that_keras_does_not_see_is_upright(own, order):
    keras.utils.set_random_seed(0)
    x = keras.Input((8, 8, 8 if own is Outside else 4))
    model = keras.Model(x, K.Activation("linear", name="after")(own(order)(x)))
    batch = np.random.default_rng(0).standard_normal((2, 8, 8, x.shape[-1])).astype(np.float32)
    maps = ls.open(model, preprocess=None).capture(batch, "*")
    expected = np.transpose(ops.convert_to_numpy(model(batch)), np.argsort(order))
    for fm in list(maps.values())[-2:]:
        assert fm.layer.axes == "".join("bhwc"[axis] for axis in order) and not fm.layer.doubt
        np.testing.assert_allclose(fm.values, expected, rtol=1e-5, atol=1e-6)


def test_a_layer_that_is_asked_for_its_order_is_left_as_it_was():
    turning = Counting((0, 2, 1, 3))
    x = keras.Input((8, 8, 3))
    model = keras.Model(x, K.Activation("relu", name="after")(turning(x)))
    turning.calls = 0
    batch = np.random.default_rng(0).standard_normal((1, 8, 8, 3)).astype(np.float32)
    scope = ls.open(model, preprocess=None)
    for _ in range(2):
        assert {layer.calls for layer in scope.layers(batch) if layer.calls} == {1}
        assert scope.capture(batch, "after")["after"].values.any() and turning.calls == 0


class Twice(Outside):
    """The same, with what it was given as a second output or as the first."""

    def __init__(self, order, *, last):
        super().__init__(order)
        self.last = last

    def call(self, x):
        both = (super().call(x), x * 1.0)
        return both[::-1] if self.last else both


@pytest.mark.parametrize("last", [False, True])
def test_each_output_of_a_layer_is_asked_for_its_own_order(last):
    x = keras.Input((8, 8, 3))
    own = Twice((0, 2, 1, 3), last=last)
    model = keras.Model(x, own(K.Conv2D(3, 1, name="first")(x)))
    batch = np.random.default_rng(0).standard_normal((2, 8, 8, 3)).astype(np.float32)
    maps = ls.open(model, preprocess=None).capture(batch, "*")
    outputs = [fm for path, fm in maps.items() if path.startswith(own.name)]
    assert len(outputs) == 2
    for fm in outputs:
        np.testing.assert_allclose(fm.values, maps["first"].values, rtol=1e-5, atol=1e-6)


class Limited(Outside):
    """The same, and it may run twice."""

    def __init__(self, order):
        super().__init__(order)
        self.left = [1, 1]

    def call(self, x):
        self.left.pop()
        return super().call(x)


def test_a_layer_whose_places_are_followed_is_left_as_it_was():
    own = Limited((0, 2, 1, 3))
    x = keras.Input((8, 8, 3))
    model = keras.Model(x, own(own(K.Conv2D(3, 1, name="first")(x))))
    batch = np.random.default_rng(0).standard_normal((1, 8, 8, 3)).astype(np.float32)
    scope = ls.open(model, preprocess=None)
    assert next(layer for layer in scope.layers(batch) if layer.path == own.name).calls == 2
    assert scope.capture(batch, "first")["first"].values.any() and own.left == [1, 1]
