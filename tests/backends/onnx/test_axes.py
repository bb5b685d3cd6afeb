"""Axes that an operator turns, merges, splits or mixes, also where all sizes are the same: known, or their doubt is said."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx.helper import make_node

from helpers.onnx_models import model_of, random, table


def row(nodes: list[Any], constants: dict[str, Any], size: tuple[int, int, int]) -> Any:
    """The row of `y`, made by `nodes` of `z`, which is a convolution with these channels, rows and columns."""
    channels, height, width = size
    weights = {"w": random(channels, 3, 1, 1), **{name: np.array(value) for name, value in constants.items()}}
    nodes = [make_node("Conv", ["x", "w"], ["z"], "conv"), *nodes, make_node("Sigmoid", ["y"], ["out"], "tap")]
    model = model_of(nodes, ["n", 3, height, width], ["out"], weights)
    return table(model, random(1, 3, height, width))["tap"]


SIZES = [(8, 6, 10), (8, 8, 8), (4, 6, 6)]


@pytest.mark.parametrize("size", SIZES)
def test_a_dimension_that_was_merged_is_split_where_it_was(size):
    channels, height, width = size
    nodes = [make_node("Reshape", ["z", "flat"], ["m"]), make_node("Reshape", ["m", "whole"], ["y"])]
    constants = {"flat": [1, channels * height, width], "whole": [1, channels, height, width]}
    assert row(nodes, constants, size).axes == "bchw"
    turned = [
        nodes[0],
        make_node("Transpose", ["m"], ["t"], perm=[0, 2, 1]),
        make_node("Reshape", ["t", "back"], ["y"]),
    ]
    assert row(turned, constants | {"back": [1, width, channels, height]}, size).axes == "bwch"


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("order", [(0, 2, 3, 1), (0, 3, 1, 2), (0, 1, 3, 2), (1, 0, 2, 3)])
def test_what_is_turned_keeps_its_names(size, order):
    expected = "".join("bchw"[axis] for axis in order)
    assert row([make_node("Transpose", ["z"], ["y"], perm=order)], {}, size).axes == expected


def test_a_reshape_to_other_sizes_tells_nothing():
    layer = row([make_node("Reshape", ["z", "to"], ["y"])], {"to": [1, 10, 8, 6]}, (8, 6, 10))
    assert layer.doubt


@pytest.mark.parametrize("order", [(0, 2, 1, 3), (0, 1, 3, 2), (0, 3, 2, 1)])
def test_a_sum_with_itself_turned_is_doubted(order):
    nodes = [make_node("Transpose", ["z"], ["t"], perm=order), make_node("Add", ["z", "t"], ["y"])]
    assert row(nodes, {}, (8, 8, 8)).doubt


@pytest.mark.parametrize("size", SIZES)
def test_products_of_rows_are_no_channels(size):
    nodes = [
        make_node("Transpose", ["z"], ["last"], perm=[0, 2, 3, 1]),
        make_node("Transpose", ["z"], ["other"], perm=[0, 2, 1, 3]),
        make_node("MatMul", ["last", "other"], ["y"]),
    ]
    assert row(nodes, {}, size).doubt
