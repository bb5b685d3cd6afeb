"""Mutators that know nothing of a format: bytes, lines of text, and trees of lists, mappings and objects."""

from __future__ import annotations

import copy
import json
import math
import struct
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any

INTEGERS = (0, 1, -1, 2, 127, 128, 255, 256, 4096, 2**15 - 1, 2**16 - 1, 10**6, 2**31 - 1, -(2**31), 2**32 - 1, 2**40,
            2**63 - 1, -(2**63))  # fmt: skip
FLOATS = (0.0, -0.0, 1e-45, 1e38, -1e308, math.inf, -math.inf, math.nan)
SECRET, WRITTEN = "../secret.txt", "../written.txt"  # beside the folder of a case: never to be read, never to appear
TEXTS = (
    "", " ", "\0", "a", "x" * 5000, "../" * 40, "\x1b[31m\x1b]0;title\a", "\u202etxt", "[/red]", "<script>", "%s%n", "é😀",
    "\n\r", "nan", "-1", "1e999", "__class__", "Lambda", "os:system", SECRET, WRITTEN, "/dev/zero", "\ud800",
)  # fmt: skip
Mutator = Callable[[Random, bytes], bytes]


def integer(random: Random, most: int = 2**63 - 1) -> int:
    """A whole number at a limit of some type, or next to one, or a small one."""
    number = random.choice((random.choice(INTEGERS) + random.randint(-1, 1), random.randint(-4, 300)))
    return max(-most - 1, min(most, number))


# ---- bytes -----------------------------------------------------------------------------------------------------------
def flip(random: Random, data: bytearray) -> None:
    for _ in range(random.choice((1, 1, 2, 8, 64))):
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)


def truncate(random: Random, data: bytearray) -> None:
    del data[random.choice((random.randrange(len(data)), max(0, len(data) - random.randint(1, 64)))) :]


def cut_out(random: Random, data: bytearray) -> None:
    start = random.randrange(len(data))
    del data[start : start + random.choice((1, 2, 4, 16, 256))]


def duplicate(random: Random, data: bytearray) -> None:
    start = random.randrange(len(data))
    part = data[start : start + random.choice((1, 4, 64, 1024))]
    data[start:start] = part * random.choice((1, 1, 2, 50))


def splice(random: Random, data: bytearray) -> None:
    """A run of the file over another place of it."""
    size, source = random.choice((2, 4, 8, 64)), random.randrange(len(data))
    target = random.randrange(len(data))
    data[target : target + size] = data[source : source + size]


def number(random: Random, data: bytearray) -> None:
    """A whole number at its limits over some bytes, in either order."""
    kind = random.choice(("b", "B", "<h", ">H", "<i", "<I", ">I", "<q", ">Q"))
    size = struct.calcsize(kind)
    position = random.randrange(max(1, len(data) - size))
    mask = (1 << 8 * size) - 1
    data[position : position + size] = (integer(random) & mask).to_bytes(size, "big" if kind[0] == ">" else "little")


BYTES = (flip, flip, truncate, cut_out, duplicate, splice, number, number)


def of_bytes(random: Random, data: bytes) -> bytes:
    """The bytes after one to four changes."""
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 4))):
        if changed:
            random.choice(BYTES)(random, changed)
    return bytes(changed)


def of_text(random: Random, data: bytes) -> bytes:
    """A text after lines or words of it have changed."""
    words = data.decode("utf-8", "replace").split(random.choice(("\n", ",", " ", ":")))
    for _ in range(random.choice((1, 2, 3))):
        position = random.randrange(len(words) + 1)
        change = random.randrange(3)
        if change == 0:
            words[position:position] = [random.choice(TEXTS), str(integer(random))][: random.randint(1, 2)]
        elif change == 1:
            del words[position : position + 1]
        else:
            words[position:position] = words[position : position + 2] * random.choice((1, 2, 100))
    text = random.choice(("\n", ",", " ", ":")).join(words)
    return random.choice((b"", b"", b"\xef\xbb\xbf", b"\xff")) + text.encode("utf-8", "surrogatepass")


# ---- trees -----------------------------------------------------------------------------------------------------------
Place = tuple[Any, Any]  # a list, a mapping or an object, and an index, a key or an attribute of it


def places(tree: Any) -> Iterator[Place]:
    """Every value inside a tree of lists, mappings and objects of schemas, by what holds it."""
    pending = [tree]
    while pending:
        holder = pending.pop()
        for key, value in items(holder):
            yield holder, key
            pending.append(value)


def items(holder: Any) -> list[tuple[Any, Any]]:
    if isinstance(holder, dict):
        return list(holder.items())
    if isinstance(holder, list):
        return list(enumerate(holder[:64]))
    return list(vars(holder).items()) if hasattr(holder, "__dict__") and not isinstance(holder, type) else []


def get(place: Place) -> Any:
    holder, key = place
    return holder[key] if isinstance(holder, dict | list) else getattr(holder, key)


def put(place: Place, value: Any) -> None:
    holder, key = place
    if isinstance(holder, dict | list):
        holder[key] = value
    else:
        setattr(holder, key, value)


def remove(place: Place) -> None:
    holder, key = place
    if isinstance(holder, dict | list):
        del holder[key]
    else:
        setattr(holder, key, None)


def of_tree(random: Random, tree: Any, loose: bool = True) -> None:
    """Change one to three values of a tree; `loose` also to values of other types."""
    for _ in range(random.choice((1, 1, 2, 3))):
        choices = list(places(tree))
        if not choices:
            return
        place = random.choice(choices)
        change, value = random.randrange(5), get(place)
        if change == 0:
            remove(place)
        elif change == 1 and isinstance(place[0], list):
            place[0][place[1] : place[1]] = [value] * random.choice((1, 2, 300))
        elif change == 2:
            other = random.choice([other for other in choices if loose or kind(get(other)) == kind(value)])
            put(place, copy.deepcopy(get(other)))  # else a tree could come to hold itself
        else:
            put(place, other_value(random, value, loose))


def kind(value: Any) -> str:
    return type(value).__name__


def other_value(random: Random, value: Any, loose: bool) -> Any:
    """Another value of the type of `value`, or of any where it's `loose`."""
    if loose and random.random() < 0.3:
        deep: Any = []
        for _ in range(random.choice((1, 200))):
            deep = [deep]
        return random.choice((None, True, deep, {}, integer(random), random.choice(FLOATS), random.choice(TEXTS)))
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return integer(random)
    if isinstance(value, float):
        return random.choice(FLOATS)
    if isinstance(value, str | bytes):
        text = random.choice((random.choice(TEXTS), value[:-1], value * 2))
        return text if isinstance(text, type(value)) else text.encode("utf-8", "surrogatepass")
    if hasattr(value, "tolist"):
        return other_numbers(random, value.tolist())
    if isinstance(value, list) and value:
        return [other_value(random, value[0], False) for _ in range(random.choice((0, 1, 2, 5)))]
    return value


def other_numbers(random: Random, numbers: list[Any]) -> list[Any]:
    """The numbers of an array with one of them changed, left out or put in: an index of nothing, or of another thing."""
    position = random.randrange(len(numbers) + 1)
    old = numbers[position : position + 1] or [0]
    new = (
        other_value(random, old[0], False)
        if random.random() < 0.5
        else type(old[0])(random.choice((-1, 0, 1, 2, 3, 9)))
    )
    numbers[position : position + random.choice((1, 1, 1, 0))] = [new] if random.random() < 0.8 else []
    return numbers


def of_json(random: Random, data: bytes) -> bytes:
    """JSON after some of its values have changed; broken JSON where it is none."""
    try:
        tree = json.loads(data)
    except ValueError:
        return of_bytes(random, data)
    if random.random() < 0.05:
        return random.choice((b"[" * 100_000, b'{"a":' * 50_000, b"[]", b"{}", b"1e999", b"null", b'"\\ud800"'))
    of_tree(random, tree)
    return json.dumps(tree).encode()


def any_of(mutators: Sequence[Mutator]) -> Mutator:
    """One mutator out of several."""
    return lambda random, data: random.choice(mutators)(random, data)
