"""The rules of receptive fields, against what moves in numpy when one line of the image does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from layerscope.backends.common.field import Positions, constant, image_positions
from layerscope.backends.common.field_rules import Operation, follow, unary

SIDE = 12
IMAGE = image_positions("bchw", (1, 2, SIDE, SIDE))


def moved(compute: Callable[[np.ndarray], np.ndarray]) -> list[set[int]]:
    """The rows of the image that move each row of the output `[c, h, w]`."""
    rows = np.zeros((SIDE, 2, SIDE, SIDE))
    rows[range(SIDE), :, range(SIDE)] = 1
    changed = np.stack([compute(image) != compute(np.zeros_like(image)) for image in rows]).any((1, 3))
    return [set(np.flatnonzero(column).tolist()) for column in changed.T]


CASES: dict[str, tuple[dict[str, Any], Callable[[np.ndarray], np.ndarray]]] = {
    "only padding behind": (
        {"kind": "window", "dims": (2, 3), "padding": 0},
        lambda x: np.pad(x, ((0, 0), (0, 3), (0, 3))),
    ),
    "padding in front": (
        {"kind": "window", "dims": (2, 3), "padding": (2, 0)},
        lambda x: np.pad(x, ((0, 0), (2, 1), (0, 0))),
    ),
    "every third row from the second on": (
        {"kind": "slice", "dims": (2,), "stride": 3, "padding": -1},
        lambda x: x[:, 1::3],
    ),
    "blocks moved into channels": (
        {"kind": "window", "dims": (-2, -1), "kernel": 2, "stride": 2},
        lambda x: x.reshape(2, SIDE // 2, 2, SIDE // 2, 2).transpose(0, 2, 4, 1, 3).reshape(8, SIDE // 2, SIDE // 2),
    ),
    "nearest": (
        {"kind": "resize", "dims": (2, 3)},
        lambda x: x.repeat(2, 1).repeat(2, 2),
    ),
    "adaptive pooling": (
        {"kind": "adapt", "dims": (2, 3)},
        lambda x: np.stack([x[:, low:high].sum(1) for low, high in ((0, 3), (2, 5), (4, 8), (7, 10), (9, 12))], 1)[
            ..., :5
        ],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_windows_see_what_moves_them(name: str) -> None:
    options, compute = CASES[name]
    positions = Operation(inputs=[IMAGE], **options).after((1, *compute(np.zeros((2, SIDE, SIDE))).shape))
    (field, _) = positions.receptive() or ()
    assert [axes for dim in range(4) for axes in positions.along(dim)] == ["h", "w"]
    for unit, rows in enumerate(moved(compute)):
        low, high = field.box(unit)
        assert rows == {row for row in range(SIDE) if low <= row <= high}, unit


@pytest.mark.parametrize(
    ("padding", "kernel", "stride", "size", "front"),
    # tf.nn's rule by hand: the outputs are the size over the stride, rounded up; what is missing is added, more of it behind.
    [
        ("same", 3, 2, 6, 0),
        ("same", 4, 1, 12, 1),
        ("same_lower", 4, 1, 12, 2),
        ("causal", 4, 1, 12, 3),
        ("valid", 3, 1, 10, 0),
    ],
)
def test_padding_by_name(padding: str, kernel: int, stride: int, size: int, front: int) -> None:
    operation = Operation("window", [IMAGE], (2,), kernel=kernel, stride=stride, padding=padding)
    fields = operation.after((1, 2, size, SIDE)).receptive()
    assert fields is not None
    assert fields[0].box(0) == (-front, kernel - 1 - front)


def tokens() -> Positions:
    return IMAGE.reshape((1, 2, SIDE * SIDE)).permute([0, 2, 1])


def test_tokens_remember_their_grid_until_it_is_cut_through() -> None:
    back = tokens().permute([0, 2, 1]).reshape((1, 2, SIDE, SIDE))
    assert back == IMAGE
    cut = tokens().reshape((1, 2 * SIDE * SIDE))
    assert cut.along(1) == "hw"
    assert all(field.unknown for field in IMAGE.reshape((1, 4, 5, 2)).receptive())


def test_a_product_that_sums_over_tokens_sees_the_whole_image_and_one_over_channels_its_own() -> None:
    own = Operation("matmul", [tokens(), constant((2, 5))]).after((1, SIDE * SIDE, 5))
    assert own.fields == IMAGE.fields
    assert own.along(1) == "hw"
    mixed = Operation("matmul", [constant((7, SIDE * SIDE)), tokens()]).after((1, 7, 2))
    assert [field.whole for field in mixed.receptive()] == [True, True]
    pairs = Operation("matmul", [tokens(), tokens().permute([0, 2, 1])]).after((1, SIDE * SIDE, SIDE * SIDE))
    assert [field.whole for field in pairs.receptive()] == [True, True]


def test_one_token_sees_the_whole_image_and_the_others_what_they_saw() -> None:
    first = Operation("slice", [tokens()], [1]).after((1, 1, 2))
    others = Operation("slice", [tokens()], [1], padding=-1).after((1, SIDE * SIDE - 1, 2))
    assert [field.whole for field in first.receptive()] == [True, True]
    assert others.fields == IMAGE.fields


def test_a_kernel_made_from_the_image_is_not_followed() -> None:
    positions = Operation("window", [constant((1, 2, 8, 8)), IMAGE], (2, 3), kernel=3).after((1, 1, 6, 6))
    assert all(field.unknown for field in positions.receptive())


class OneStep:
    source, inputs, shape = IMAGE, (IMAGE,), (1, 2, 3)


def test_a_translation_that_fails_or_gives_another_shape_is_unknown() -> None:
    def broken(step: OneStep) -> Operation:
        raise LookupError

    for translate in (None, broken, unary("same")):
        fields = follow(translate, OneStep(), IMAGE, "Odd").receptive()
        assert fields is not None
        assert all("Odd" in field.unknown for field in fields)
