"""Numbers for pictures: with as many digits as their range needs."""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil, floor, isfinite, log10

import numpy as np


def number(value: float, digits: int = 3) -> str:
    """A number in at most three (or `digits`) significant digits, as pictures show it.

    >>> [number(value) for value in (0, 12.345, -0.0123, 1e-9, 123456)]
    ['0', '12.3', '−0.0123', '1e−9', '1.23e5']
    """
    if value == 0:
        return "0"
    if not np.isfinite(value):
        return "NaN" if np.isnan(value) else ("+inf" if value > 0 else "−inf")
    text = f"{value:.{digits}g}"
    if "e" in text:
        mantissa, _, exponent = text.partition("e")
        text = f"{mantissa}e{int(exponent)}"
    return text.replace("-", "−")


def digits_for(low: float, high: float) -> int:
    """The significant digits that tell numbers of a range apart to a hundredth of it; at least three.

    >>> digits_for(0, 1), digits_for(0.9998, 1.0002)
    (3, 7)
    """
    span, largest = high - low, max(abs(low), abs(high))
    if not 0 < span < np.inf:
        return 3
    return min(17, max(3, ceil(floor(log10(largest)) + 3 - log10(span))))


def digits_that_rank(values: Iterable[float], most: int = 9) -> int:
    """The significant digits with which no two of these numbers that differ look the same, 3 to `most`.

    >>> digits_that_rank([0.5, 0.25]), digits_that_rank([0.99991, 0.99992, 0.99992])
    (3, 5)
    """
    several = set(values)
    fewer = (digits for digits in range(3, most) if len({f"{value:.{digits}g}" for value in several}) == len(several))
    return next(fewer, most)


def reading(value: float, low: float, high: float) -> str:
    """A number as it stands beside a bar from `low` to `high`: with the digits that this range needs, all of them in plain
    decimals, or all with an exponent where the range is huge or tiny.

    >>> reading(1500, 0, 2000), reading(0.99985, 0.9998, 1.0002), reading(2e7, 0, 1e8), reading(1.2e-5, 0, 1e-4)
    ('1500', '0.99985', '2e7', '1.2e−5')
    """
    digits, least, largest = digits_for(low, high), min(abs(low), abs(high)), max(abs(low), abs(high))
    if value == 0 or not isfinite(value):
        return number(value)
    plain = 1e-3 <= largest < 1e5 and not 0 < least < 1e-6 and abs(value) >= 1e-6
    text = f"{value:.{max(0, digits - 1 - floor(log10(abs(value))))}f}" if plain else f"{value:.{digits - 1}e}"
    mantissa, e, exponent = text.partition("e")
    mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    return f"{mantissa}{e}{int(exponent) if e else ''}".replace("-", "−")


def span_text(low: float, high: float) -> str:
    """`low…high` in words, with as many digits as tell the two apart."""
    return f"{reading(low, low, high)}…{reading(high, low, high)}"


def beyond_text(value: float, limit: float, low: float, high: float) -> str:
    """A number beyond a limit of `low` to `high`, in so many digits that it doesn't read as the limit itself."""
    text, digits = reading(value, low, high), digits_for(low, high)
    while text == reading(limit, low, high) and value != limit and digits < 17:
        digits += 1
        text = number(value, digits)
    return text


def rounded(value: float, digits: int) -> str:
    """A number in so many significant digits; one that is no round number keeps its zeros.

    >>> rounded(5.98, 2), rounded(6, 2), rounded(0.5, 2), rounded(1234.5, 2)
    ('6.0', '6', '0.5', '1.2e3')
    """
    text = number(value, digits)
    return text if _is(text, value) or "e" in text else f"{value:#.{digits}g}".rstrip(".").replace("-", "−")


def _is(text: str, value: float) -> bool:
    """Whether a text says this very number, as far as float32 has it."""
    return isfinite(value) and abs(float(text.replace("−", "-")) - value) <= 1e-6 * abs(value)


def short_of(text: str, value: float, limit: float) -> str:
    """`text` for a value, in more digits where it would say that the value is `limit`.

    >>> short_of("6.0", 5.98, 6.0), short_of("6", 6.0, 6.0), short_of("0.0", 0.02, 0.0)
    ('5.98', '6', '0.0')
    """
    for digits in range(3, 9):
        if value == limit or not limit or not _is(text, limit):
            break
        text = number(value, digits)
    return text


def rough_span(low: float, high: float) -> tuple[str, str]:
    """Two numbers with as many decimals each, of the larger one a digit or two, where there is no room for more.

    >>> rough_span(-13.4, -0.271), rough_span(0.483, 2.92), rough_span(14.2, 14.9), rough_span(0.0004, 0.6)
    (('−13', '−0.3'), ('0.5', '2.9'), ('14', '15'), ('0.0', '0.6'))
    """
    largest = max(abs(low), abs(high))
    if not 1e-3 <= largest < 1e5:
        ends = [number(value, 1) for value in (low, high)]
    else:
        decimals = max(int(largest < 10), -floor(log10(largest)))
        # The smaller of two numbers that is not 0 doesn't read as if it were.
        places = [max(decimals, 1) if value and not round(value, decimals) else decimals for value in (low, high)]
        ends = [f"{value:.{place}f}" if value else "0" for value, place in zip((low, high), places, strict=True)]
    first, last = (end.replace("-", "−") for end in ends)
    return (first, last) if first != last else short_span(low, high, 2)


def short_span(low: float, high: float, digits: int) -> tuple[str, str]:
    """Two numbers in as few significant digits as can be, from `digits` on, so that they never read the same.

    >>> short_span(0.9998, 1.0002, 3), short_span(0, 0.5, 3)
    (('0.9998', '1.000'), ('0', '0.5'))
    """
    first, last = rounded(low, digits), rounded(high, digits)
    while first == last and low != high and digits < 17:
        digits += 1
        first, last = rounded(low, digits), rounded(high, digits)
    return first, last
