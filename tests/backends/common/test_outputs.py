"""What an output and a target mean: by hand in numpy, and with the same messages in PyTorch and JAX."""

from __future__ import annotations

import dataclasses
from collections import namedtuple
from typing import Any

import numpy as np
import pytest

import layerscope as ls
from helpers.wording import raises
from layerscope.backends.common.outputs import Aim, arrays_in, main_subpath, score_images

Pair = namedtuple("Pair", "hidden logits")


@dataclasses.dataclass
class Record:
    first: Any
    second: Any


def is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray)


def floating(value: np.ndarray) -> bool:
    return value.dtype.kind == "f"


MAP, LOSS, INTS = np.arange(12.0).reshape(2, 2, 3), np.array(1.5), np.ones((2, 3), int)


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (MAP, [""]),
        ((LOSS, [MAP, None]), ["[0]", "[1][0]"]),
        (Pair(MAP, LOSS), [".hidden", ".logits"]),
        ({"a": Record(MAP, "no array"), "b": Record}, [".a.first"]),
        (7, []),
    ],
)
def test_arrays_have_the_subpaths_that_lead_to_them(output: Any, expected: list[str]) -> None:
    by_subpath = dict(arrays_in(output, is_array))
    assert list(by_subpath) == expected
    for subpath, array in by_subpath.items():
        steps = subpath.replace(".a", "['a']")
        assert eval(f"output{steps}", {"output": output}) is array


def test_an_output_that_holds_itself_comes_to_an_end() -> None:
    ring: list[Any] = [MAP]
    ring.append(ring)
    assert len(list(arrays_in(ring, is_array))) == 9


@pytest.mark.parametrize(
    ("arrays", "main"),
    [
        ({"": MAP}, ""),
        ({".hidden": MAP, ".logits": LOSS}, ".logits"),
        ({"[0]": LOSS, "[1]": MAP}, "[1]"),
        ({"[0]": INTS, "[1]": LOSS}, "[1]"),
        ({"[0]": np.array(1), "[1]": INTS}, "[1]"),
        ({}, ""),
    ],
)
def test_the_main_array(arrays: dict[str, np.ndarray], main: str) -> None:
    assert main_subpath(arrays, floating) == main


def by_hand(output: Any, target: Any) -> Any:
    def main(output: Any) -> Any:
        arrays = dict(arrays_in(output, is_array))
        return arrays.get(main_subpath(arrays, floating))

    return Aim(is_array, main, lambda array: -1, np.take, np.sum).number(output, target)


def in_torch(output: Any, target: Any) -> Any:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    from layerscope.backends.torch.outputs import AIM

    def target_in_torch(output: Any) -> Any:
        score = target(output)
        return torch.from_numpy(score) if is_array(score) else score

    tensor = torch.from_numpy(np.moveaxis(output, -1, 1).copy()) if is_array(output) else output
    return np.asarray(AIM.number(tensor, target_in_torch if callable(target) else target))


def in_jax(output: Any, target: Any) -> Any:
    jnp = pytest.importorskip("jax.numpy", reason="JAX is not installed")
    from layerscope.backends.jax.outputs import aim

    def target_in_jax(output: Any) -> Any:
        score = target(output)
        return jnp.asarray(score) if is_array(score) else score

    return np.asarray(aim(False).number(jnp.asarray(output), target_in_jax if callable(target) else target))


@pytest.mark.parametrize("aimed", [by_hand, in_torch, in_jax])
def test_a_class_is_its_scores_summed(aimed: Any) -> None:
    assert aimed(MAP, 1) == aimed(MAP, -2) == aimed(MAP, np.int64(1)) == 1 + 4 + 7 + 10
    assert aimed(MAP, lambda output: np.array([2.0, 3.0])) == 5


@pytest.mark.parametrize("aimed", [by_hand, in_torch, in_jax])
@pytest.mark.parametrize(
    ("target", "error"),
    [
        (3, ls.BadOption),
        (-4, ls.BadOption),
        (1.5, ls.BadOption),
        (lambda _: None, ls.GradientsUnavailable),
        (lambda _: MAP, ls.BadOption),
    ],
)
def test_an_impossible_target_has_the_same_message_everywhere(aimed: Any, target: Any, error: Any) -> None:
    with raises(error):
        aimed(MAP, target)


@pytest.mark.parametrize("output", [LOSS, None])
def test_an_output_without_classes(output: Any) -> None:
    with raises(ls.GradientsUnavailable, "target="):
        by_hand(output, 0)


def test_a_function_of_numpy_outputs_gives_a_number_for_each_image_as_in_the_frameworks() -> None:
    output = np.arange(6.0).reshape(2, 3)
    assert score_images(output, lambda values: values[:, 1], "bc").tolist() == [1, 4]
    assert score_images(output, lambda values: values.sum(), "bc").tolist() == [3, 12]
    with raises(ls.BadOption, "1", "3"):
        score_images(output, lambda values: values, "bc")
    for wrong in ("x", None):
        with raises(ls.BadOption):
            score_images(output, lambda values, wrong=wrong: wrong, "bc")
