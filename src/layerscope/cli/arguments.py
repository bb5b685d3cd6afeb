"""What the words of the command line mean. Nothing heavy is imported, so that `--help` is quick."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from typing import Any

SORTS = ("index", "mean", "max", "energy", "sparsity", "deviation", "similarity")


ORDERS = f"{', '.join(SORTS)} (neighbours alike), or similarity:17 (to one channel)"


def signed(arguments: Sequence[str]) -> list[str]:
    """`--scale -1:1` as `--scale=-1:1`: argparse takes what begins with a minus for another option."""
    found: list[str] = []
    for each in arguments:
        if found and found[-1] == "--scale" and re.match(r"-[\d.]", each):
            found[-1] = f"--scale={each}"
        else:
            found.append(each)
    return found


def positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)


def size(text: str) -> tuple[int, int]:
    parts = text.lower().replace("×", "x").split("x")
    if len(parts) not in (1, 2) or not all(each.isdecimal() and int(each) for each in parts):
        raise argparse.ArgumentTypeError(f"{text!r} is not a size: give HEIGHTxWIDTH, such as 224x224")
    return int(parts[0]), int(parts[-1])


def scale(text: str) -> Any:
    if text in ("channel", "layer", "images"):
        return text
    low, colon, high = text.partition(":")
    try:
        limits = float(low), float(high)
    except ValueError:
        limits = (0.0, 0.0)
    if not colon or not limits[0] < limits[1]:
        raise argparse.ArgumentTypeError(f"{text!r}: use channel, layer, images or LOW:HIGH, such as -1:1")
    return limits


def clip(text: str) -> tuple[float, float]:
    low, _, high = text.partition(":")
    try:
        found = float(low), float(high)
    except ValueError:
        found = (0.0, 0.0)
    if not 0 <= found[0] < found[1] <= 100:
        raise argparse.ArgumentTypeError(f"{text!r}: give two percentiles from 0 to 100 as LOW:HIGH, such as 1:99")
    return found


def sort(text: str) -> str:
    name, colon, number = text.partition(":")
    if text not in SORTS and not (colon and name == "similarity" and number.isdecimal()):
        from ..errors import near

        raise argparse.ArgumentTypeError(f"{text!r}: use {ORDERS}.{near(text, SORTS)}")
    return text


def channels(text: str) -> list[int] | str:
    """`0:4,40` as `[0, 1, 2, 3, 40]`; what needs the layer, a condition or an open run, stays as it is."""
    from ..channels.query import parse
    from ..errors import BadOption

    try:
        closed = parse(text).closed()
    except BadOption as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text if closed is None else closed
