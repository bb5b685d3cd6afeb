"""float16 to the bit as numpy makes it."""

import numpy as np
import pytest

from layerscope.arrays.float16 import BLOCK, halves


def same(values):
    with np.errstate(over="ignore"):
        expected = np.asarray(values, np.float32).astype(np.float16)
    made = halves(np.asarray(values, np.float32))
    assert made.dtype == np.float16 and made.shape == expected.shape
    assert (made.view(np.uint16) == expected.view(np.uint16)).all()


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("beside", [-1, 0, 1])
def test_around_every_half_and_every_middle_between_two(sign, beside):
    every = np.arange(0x7C00, dtype=np.uint16).view(np.float16).astype(np.float32)
    for values in (every, (every[1:] + every[:-1]) / 2):
        bits = np.maximum(values.view(np.int32) + beside, 0).view(np.float32)
        same(np.float32(sign) * bits)


def test_every_size_of_float32():
    bits = np.arange(0, 1 << 32, 40_961, dtype=np.uint64).astype(np.uint32)
    values = bits.view(np.float32)
    same(values)
    same(values[np.abs(values) < 65_000])  # without any that has its block converted by numpy


@pytest.mark.parametrize("shape", [(0,), (), (3, 0, 2), (2, 3, 5), (BLOCK + 1,)])
def test_any_shape(shape):
    same(np.random.default_rng(0).standard_normal(shape, np.float32))


def test_values_that_lie_apart_in_memory():
    values = np.random.default_rng(0).standard_normal((4, 6, 8)).astype(np.float32)
    same(values.transpose(2, 0, 1)[:, ::2])
