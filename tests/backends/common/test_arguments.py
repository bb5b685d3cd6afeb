"""How a ready batch is handed over, by the model's signature."""

from __future__ import annotations

import collections
import dataclasses

import numpy as np
import pytest

from layerscope.backends.common.arguments import arguments_of, is_object
from layerscope.backends.common.run import count_images, first_input

Pair = collections.namedtuple("Pair", "image scale")
X, S = np.zeros((3, 4, 8, 8)), np.ones(3)


@dataclasses.dataclass
class Record:
    image: np.ndarray
    scale: float = 1.0


class Own:
    def __init__(self, tensors):
        self.tensors = tensors


def one(batch): ...
def two(image, scale): ...
def optional(batch, mask=None): ...
def any_number(*args): ...
def by_name(**kwargs): ...


@pytest.mark.parametrize(
    ("batch", "function", "spread"),
    [
        ((X, S), two, True),
        ((X, S), one, False),
        ([X, X], one, False),
        ([X, X], optional, True),
        ([X, X], any_number, True),
        ({"image": X, "scale": S}, two, True),
        ({"image": X}, one, False),
        ({"image": X}, by_name, True),
        ({"batch": X}, one, True),
        (Pair(X, S), one, False),
        (Pair(X, S), optional, False),
        (Pair(X, S), two, True),
        (Record(X), one, False),
        (Own(X), two, False),
        ((X, S), max, True),  # its signature isn't known
        ((X, S), lambda: None, True),
    ],
)
def test_the_signature_decides(batch, function, spread):
    args, kwargs = arguments_of(batch, function)
    if not spread:
        assert args[0] is batch and len(args) == 1 and not kwargs
    elif isinstance(batch, dict):
        assert not args and kwargs == batch
    else:
        assert list(args) == list(batch) and not kwargs


@pytest.mark.parametrize("batch", [Record(X), Own(X), Own([Record(X)]), (Record(X),), Pair(X, S), {"a": Own(X)}])
def test_images_are_counted_in_objects(batch):
    assert first_input(batch) is X
    assert count_images(batch) == (1 if isinstance(batch, Own) and isinstance(batch.tensors, list) else 3)


@pytest.mark.parametrize("value", [X, 3.0, "cat", None, Record, one, np.float32(1), object()])
def test_what_is_no_object_with_members(value):
    assert not is_object(value)
