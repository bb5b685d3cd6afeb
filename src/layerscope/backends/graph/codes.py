"""Codes of a few bits that stand for numbers: `(code - zero point) · scale`, and what an input that takes them is made for."""

from __future__ import annotations

from typing import Any

import numpy as np

# What the range of a quantised input stands for, where it is exactly one of these: (low, high) -> recipe.
RANGES = {(0.0, 1.0): "unit", (-1.0, 1.0): "tf", (0.0, 255.0): "raw"}


# The types whose every code is a number that float32 holds exactly.
CODES = ("int8", "uint8", "int16", "uint16")


def encode(values: np.ndarray, scale: Any, zero: Any, dtype: str) -> np.ndarray:
    """The codes nearest to `values`: `round(value / scale) + zero`, kept in the range of the type.

    >>> encode(np.array([0.0, 0.2, 1.0, 9.0]), 1 / 255, -128, "int8").tolist()
    [-128, -77, 127, 127]
    """
    limits = np.iinfo(dtype)
    codes = np.rint(values.astype(np.float32) / scale) + zero
    return np.clip(codes, limits.min, limits.max).astype(dtype)


def recipe_of_range(scale: float, zero: int, dtype: str) -> tuple[str, str] | None:
    """(the recipe whose values fill the range of an int8 input to within one step, why), `None` where there is none."""
    if dtype != "int8":
        return None
    limits = np.iinfo(dtype)
    low, high = (limits.min - zero) * scale, (limits.max - zero) * scale
    for (least, most), recipe in RANGES.items():
        if abs(low - least) <= scale and abs(high - most) <= scale:
            return recipe, f"the range of the quantised input, {least:g} to {most:g}"
    return None


def describe(scale: float, zero: int, dtype: str) -> str:
    """What the codes of an input are, for people.

    >>> describe(1 / 255, -128, "int8")
    'int8, scale 0.00392157, zero point -128'
    """
    return f"{dtype}, scale {scale:g}, zero point {zero}"
