"""Named axes, tokens, and the warning by sizes."""

import numpy as np
import pytest

import layerscope as ls
from helpers.wording import raises
from layerscope.backends.common.axes import permuted_view
from layerscope.backends.common.run import TensorMap
from layerscope.core.axes import channels_last, likelier_layout, split_tokens


@pytest.mark.parametrize(
    "axes", ["bchw", "bhwc", "bcwh", "hwc", "chw", "bnc", "bcn", "nbc", "bc", "c", "hw", "bdhwc", "bcdhw"]
)
def test_every_layout_ends_as_image_space_channel(axes):
    sizes = {"b": 2, "c": 3, "d": 4, "h": 5, "w": 6, "n": 7}
    values = np.arange(np.prod([sizes[axis] for axis in axes])).reshape([sizes[axis] for axis in axes])
    view = channels_last(values, axes)
    expected = np.einsum(f"{axes}->{''.join(axis for axis in 'bdhwnc' if axis in axes)}", values)
    assert np.array_equal(view.ravel(), expected.ravel())
    assert np.shares_memory(view, values), "a view"


def test_colours_are_never_guessed_from_three():
    assert channels_last(np.zeros((1, 5, 7, 3)), "bchw").shape == (1, 7, 3, 5)


@pytest.mark.parametrize(
    ("axes", "shape", "other"),
    [
        ("hwc", (64, 224, 224), "chw"),
        ("hwc", (224, 224, 64), None),
        ("bhwc", (1, 3, 224, 160), "bchw"),
        ("chw", (224, 224, 64), "hwc"),
        ("bchw", (1, 224, 160, 3), "bhwc"),
        ("hwc", (3, 3, 3), None),
        ("bhwc", (1, 7, 7, 2048), None),
        ("hw", (3, 224), None),
    ],
)
def test_sizes_that_contradict_a_layout(axes, shape, other):
    assert likelier_layout(axes, shape) == other


def test_tokens_of_a_grid_that_is_not_square():
    values = np.arange(145, dtype=np.float32).reshape(1, 145, 1)
    grid, prefix = split_tokens(values, (14, 10))
    assert prefix.ravel().tolist() == [0, 1, 2, 3, 4]
    assert grid[0, 0, 0, 0] == 5
    assert grid[0, 1, 0, 0] == 15
    with raises(ls.BadLayout, "145", "13", "12"):
        split_tokens(values, (13, 12))


def test_tokens_in_the_order_of_a_model_that_has_others_between_them():
    values = np.arange(7, dtype=np.float32).reshape(1, 7, 1)
    grid, others = split_tokens(values, (2, 3), (6, 5, 4, 2, 1, 0))
    assert grid[0, ..., 0].tolist() == [[6, 5, 4], [2, 1, 0]]
    assert others.ravel().tolist() == [3]


def test_a_view_tells_its_permutation_by_strides():
    values = np.zeros((2, 3, 4, 5))
    assert permuted_view("bchw", values.strides, values.transpose(0, 2, 3, 1).strides) == "bhwc"
    assert permuted_view("bchw", (8, 8, 8, 8), (8, 8, 8, 8)) is None


def test_a_trace_keeps_nothing_alive():
    class Tensor:
        pass

    trace, tensor = TensorMap(), Tensor()
    trace.set(tensor, "bchw")
    assert trace.get(tensor) == "bchw"
    del tensor
    assert not trace
    assert trace.get(Tensor()) is None


def test_arrays_without_values_have_no_parts():
    from layerscope.backends.common.axes import drop_axes
    from layerscope.backends.torch.axes_factors import Part, reshape

    assert reshape(((Part("c", 1, 0),), (Part("w", 1, 6),)), (2, 0, 3)) is None
    assert reshape(((), (Part("c", 1, 0),)), (0, 4)) is None
    assert drop_axes("", [0]) == ""
