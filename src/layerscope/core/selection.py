"""How a user's words choose among the layers of a model: path, suffix, glob, kind, `last`, `stages`, index, predicate."""

from __future__ import annotations

import fnmatch
import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

from ..errors import LayerNotCalled, LayerNotFound, near
from .layer import Layer, bare_kind, called, ends, some, split_call

WORDS = ("last", "stages", "output")


def choose(table: Sequence[Layer], layers: Any) -> list[Layer]:
    """The layers that `layers` names, one entry a call, in execution order: see `LayerTable.choose`."""
    single = isinstance(layers, str | int | Layer) or callable(layers) or not isinstance(layers, Iterable)
    wanted = [layers] if single else list(layers)
    if not wanted:
        raise LayerNotFound("no layers asked for: layers=[] names none")
    chosen: dict[str, Layer] = {}
    for each in wanted:
        for layer in _one(table, each):
            for call in layer.per_call or (layer,):
                chosen.setdefault(call.path, call)
    if len(chosen) == 1:
        return list(chosen.values())
    order = {layer.path: at for at, layer in enumerate(in_order(table))}
    return sorted(chosen.values(), key=lambda layer: order[layer.path])


def in_order(table: Sequence[Layer]) -> list[Layer]:
    """Every call in execution order."""
    calls = [call for layer in table for call in layer.per_call or (layer,)]
    steps = [call.step for call in calls if call.showable]
    if -1 in steps:
        return calls
    return sorted(calls, key=lambda call: (not call.showable, call.step))


def explained(table: Sequence[Layer], word: str) -> str:
    """Which layer `last` is in this model and what else could be looked at, in one line.

    >>> conv = Layer("conv", "Conv2D", "bchw", (1, 64, 7, 7), calls=1)
    >>> explained([conv, Layer("head", "Conv2D", "bchw", (1, 10, 1, 1), calls=1)], "last")
    "last is 'conv' (Conv2D, 7×7); the later 'head' has one pixel"
    """
    last = _one(table, word)[-1]
    parts = [f"{word} is {last.path!r} ({last.kind}, {'×'.join(map(str, last.spatial))})"]
    calls = in_order(table)
    later = [each for each in calls[calls.index(last) + 1 :] if each.path and each.showable and not each.attention]
    flat = [each for each in later if len(each.spatial) > 1 and max(each.spatial) == 1]
    if flat:
        parts.append(f"the later {some(flat, 2)} {'has' if len(flat) == 1 else 'have'} one pixel")
    others = [each for each in _stages(table) if each.path != last.path]
    if others:
        parts.append(f"stages would add {some(others)}")
    return "; ".join(parts)


def _one(table: Sequence[Layer], wanted: Any) -> list[Layer]:
    if isinstance(wanted, Layer):
        exact = _exact(table, wanted.path)
        return [called(exact, table)] if exact is not None else _named(table, wanted.path)
    if isinstance(wanted, bool):
        raise LayerNotFound(f"a layer can't be {wanted!r}: use a path, an index or a function")
    if isinstance(wanted, int):
        return _at(table, wanted)
    if isinstance(wanted, str):
        return _named(table, wanted)
    if callable(wanted):
        found = [each for each in table if each.showable and wanted(each)]
        if not found:
            raise LayerNotFound("the function said yes to none of the layers that produced an output")
        return found
    raise LayerNotFound(f"a layer can't be chosen by a {type(wanted).__name__}: use a path, an index or a function")


def _at(table: Sequence[Layer], index: int) -> list[Layer]:
    if not -len(table) <= index < len(table):
        raise LayerNotFound(f"layer index {index} is out of range: the model has layers 0 to {len(table) - 1}")
    return [called(table[index], table)]


def _named(table: Sequence[Layer], name: str) -> list[Layer]:
    exact = _exact(table, name)
    # A container of that name (`stages` in many models of timm) must not hide the word; what it gives, its last member does.
    if exact is not None and (name not in WORDS or (exact.showable and not _has_inner(table, exact))):
        return [called(exact, table)]
    meant = _by_word(table, name) if name in WORDS else None
    if meant is not None:
        return meant
    found = [each for each in table if _ends_with(each, name)]
    if not found and (split := split_call(name))[1] is not None:
        base = [each for each in table if _ends_with(each, split[0])]
        found = [call for each in base if (call := _call_of(each, split[1])) is not None]
    if len(found) == 1:
        return [called(found[0], table)]
    if len(found) > 1:
        index = f", or #{name} for the layer of that index" if name.isdecimal() else ""
        raise LayerNotFound(
            f"{name!r} ends {len(found)} paths: {some(found)}. Give more of the path, or the glob {'*' + name!r} for"
            f" all{index}"
        )
    for rule in (_by_kind, _by_index, _by_glob):
        several = rule(table, name)
        if several is not None:
            return several
    raise LayerNotFound(_unknown(table, name))


def _exact(table: Sequence[Layer], name: str) -> Layer | None:
    calls = [call for each in table for call in each.per_call]
    for test in (lambda each: each.path == name, lambda each: name in each.aliases):
        for each in (*table, *calls):
            if test(each):
                return each
    base, call = split_call(name)
    if call is None:
        return None
    for each in table:
        if each.path == base or base in each.aliases:
            found = _call_of(each, call)
            if found is None:
                raise LayerNotFound(
                    f"layer {base!r} ran {each.calls} times, so it has calls :0 to :{max(each.calls - 1, 0)}, not :{call}"
                )
            return found
    return None


def _by_word(table: Sequence[Layer], name: str) -> list[Layer] | None:
    if name == "output":
        root = [each for each in table if each.path == ""]
        ran = [each for each in table if each.showable]
        if root and not root[-1].showable and ran:
            raise LayerNotCalled(
                f"'output' is what the model gives, and that has no picture: {root[-1].note or 'it did not run'}. The last"
                f" layer that has one is {in_order(ran)[-1].path!r}"
            )
        return (root or ran)[-1:] or None
    if name == "last":
        found = _pictures(table)[-1:]
        if not found:
            raise LayerNotFound("'last' means the last layer with more than one pixel, and no layer here has one")
        return found
    if name == "stages":
        stages = _stages(table)
        if not stages:
            raise LayerNotFound("'stages' means the last layer of each resolution, and no layer here has pixels")
        return stages
    return None


def _pictures(table: Sequence[Layer]) -> list[Layer]:
    """The calls that give pictures of more than one pixel; attention weights are no pictures of the image."""
    ran = [each for each in in_order(table) if each.path and each.showable]
    # What has no receptive field although a later layer has one wasn't made from the image: a table of positions.
    followed = max((at for at, each in enumerate(ran) if each.receptive), default=-1)
    shown = [each for at, each in enumerate(ran) if (each.receptive or at > followed) and not each.attention]
    return [each for each in shown if len(each.spatial) >= 2 and max(each.spatial) > 1]


def _stages(table: Sequence[Layer]) -> list[Layer]:
    """The last layer of each resolution on the way down to the smallest one, then of each on the way up again."""
    # Padding before a strided convolution makes sizes of its own that are no stage.
    seen = [each for each in _pictures(table) if "pad" not in bare_kind(each).lower()]
    if not seen:
        return []
    areas = [math.prod(each.spatial) for each in seen]
    turn = len(areas) - areas[::-1].index(min(areas))
    found: list[Layer] = []
    for way in (seen[:turn], seen[turn:]):
        last: dict[tuple[int, ...], Layer] = {}
        for each in way:
            last.pop(each.spatial, None)
            last[each.spatial] = each
        found += last.values()
    return found


def _by_kind(table: Sequence[Layer], name: str) -> list[Layer] | None:
    if not name.startswith("kind:"):
        return None
    kind = name.removeprefix("kind:")
    found = [
        each
        for each in table
        if each.showable and any(fnmatch.fnmatchcase(own.lower(), kind.lower()) for own in (each.kind, bare_kind(each)))
    ]
    if not found:
        kinds = sorted({bare_kind(each) for each in table if each.showable})
        raise LayerNotFound(f"no layer of kind {kind!r} produced an output; kinds here: {', '.join(kinds)}")
    return found


def _by_index(table: Sequence[Layer], name: str) -> list[Layer] | None:
    """`19`, `-1` or `#19`: for the command line, where all is text."""
    found = re.fullmatch(r"#?(-?\d+)", name)
    return _at(table, int(found[1])) if found else None


def _by_glob(table: Sequence[Layer], name: str) -> list[Layer] | None:
    if not any(each in name for each in "*?["):
        return None
    found = [
        each
        for each in table
        if each.path
        and (fnmatch.fnmatchcase(each.path, name) or any(fnmatch.fnmatchcase(e, name) for e in ends(each.path)))
    ]
    ran = [each for each in found if each.showable]
    if found and not ran:
        raise LayerNotCalled(f"{name!r} matches {some(found)}, none of which produced an output")
    return ran or None


def _unknown(table: Sequence[Layer], name: str) -> str:
    names = [known for each in table for known in (each.path, *each.aliases, *ends(each.path))]
    hint = near(name, names)
    parts = [each.strip() for each in name.split(",")]
    if len(parts) > 1 and any(each in names or each in WORDS for each in parts):
        hint = f" A name is one layer: give several as a list, {parts}, or with an -l for each."
    if not hint:
        shown = [each for each in table if each.showable]
        hint = f" The model has {len(table)} layers: {some(shown or list(table))}."
    return f"no layer {name!r}.{hint} `layers()` lists them all"


def _has_inner(table: Sequence[Layer], layer: Layer) -> bool:
    return any(each.path.startswith((layer.path + ".", layer.path + "/")) for each in table)


def _ends_with(layer: Layer, name: str) -> bool:
    return bool(name) and layer.path.endswith(("/" + name, "." + name))


def _call_of(layer: Layer, call: int) -> Layer | None:
    if call < len(layer.per_call):
        return layer.per_call[call]
    return layer if call == 0 and layer.calls == 1 else None
