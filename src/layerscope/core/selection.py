"""How layers are chosen from a model's table: path, suffix, glob, kind, `last`, `stages`, index, predicate."""

from __future__ import annotations

import fnmatch
import inspect
import math
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from ..errors import LayerNotCalled, LayerNotFound, first_line, unknown_layer
from ..surface import by_surface
from .layer import Layer, bare_kind, inside, list_paths, no_call, path_endings, require_output, split_call, why_none
from .note import kind_of
from .receptive_field import SEVERAL_MAPS


def choose(table: Sequence[Layer], layers: Any) -> list[Layer]:
    """The layers that `layers` names, one per call, in execution order: see `LayerTable.choose`."""
    layers = layers.tolist() if isinstance(layers, np.ndarray | np.generic) else layers
    single = isinstance(layers, str | int | Layer) or callable(layers) or not isinstance(layers, Iterable)
    choices = [layers] if single else list(layers)
    if not choices:
        raise LayerNotFound("layers=[] selects nothing")
    chosen: dict[str, Layer] = {}
    for choice in choices:
        for layer in _matches(table, choice):
            for call in layer.per_call or (layer,):
                chosen.setdefault(call.path, call)
    if len(chosen) == 1:
        return list(chosen.values())
    order = {call.path: position for position, call in enumerate(in_order(table))}
    return sorted(chosen.values(), key=lambda call: order[call.path])


def in_order(table: Sequence[Layer]) -> list[Layer]:
    """Every call in execution order."""
    calls = [call for layer in table for call in layer.per_call or (layer,)]
    if -1 in [call.step for call in calls if call.showable]:
        return calls
    return sorted(calls, key=lambda call: (not call.showable, call.step))


def explain(table: Sequence[Layer], word: str) -> str:
    """Which layer `last` is in this model and what else could be looked at, in one line.

    >>> conv = Layer("conv", "Conv2D", "bchw", (1, 64, 7, 7), calls=1)
    >>> explain([conv, Layer("head", "Conv2D", "bchw", (1, 10, 1, 1), calls=1)], "last")
    "last is 'conv' (Conv2D, 7×7); the later 'head' has one pixel"
    """
    chosen = _matches(table, word)[-1]
    parts = [f"{word} is {chosen.path!r} ({chosen.kind}, {'×'.join(map(str, chosen.spatial))})"]
    calls = in_order(table)
    later = [call for call in calls[calls.index(chosen) + 1 :] if call.path and call.showable and not call.attention]
    flat = [call for call in later if len(call.spatial) > 1 and max(call.spatial) == 1]
    if flat:
        parts.append(f"the later {list_paths(flat, 2)} {'has' if len(flat) == 1 else 'have'} one pixel")
    others = [stage for stage in _stages(table) if stage.path != chosen.path]
    if others:
        parts.append(f"stages would add {list_paths(others)}")
    return "; ".join(parts)


def _matches(table: Sequence[Layer], choice: Any) -> list[Layer]:
    """The layers that one entry of a choice names."""
    if isinstance(choice, Layer):
        exact = _exact(table, choice.path)
        return [require_output(exact, table)] if exact is not None else _named(table, choice.path)
    if isinstance(choice, bool):
        raise LayerNotFound(f"a layer can't be {choice!r}: use a path, an index or a function")
    if isinstance(choice, int | np.integer):
        return _at(table, int(choice))
    if isinstance(choice, str):
        return _named(table, choice)
    if callable(choice):
        accepted = [layer for layer in table if layer.showable and _accepts(choice, layer)]
        if not accepted:
            raise LayerNotFound("the function selects none of the layers that produced an output")
        return accepted
    raise LayerNotFound(f"a layer can't be chosen by a {type(choice).__name__}: use a path, an index or a function")


def _accepts(choice: Callable[[Layer], Any], layer: Layer) -> bool:
    """Whether a function selects `layer`. A framework's own layers can be called too, and some return what they get."""
    try:
        answer = choice(layer)
    except Exception as error:
        # Whatever the user's function or a framework's layer raises; the cause is chained.
        if not inspect.isroutine(choice):
            raise _not_a_condition(choice) from error
        raise LayerNotFound(
            f"the function that selects layers fails on {layer.path!r}: {type(error).__name__}: {first_line(error)}"
        ) from error
    if answer is layer:
        raise _not_a_condition(choice)
    return bool(answer)


def _not_a_condition(choice: Any) -> LayerNotFound:
    return LayerNotFound(
        f"{type(choice).__name__} doesn't tell which layers are meant",
        "give a layer of the model by its name, as text",
    )


def _at(table: Sequence[Layer], index: int) -> list[Layer]:
    if not -len(table) <= index < len(table):
        raise LayerNotFound(f"layer index {index} is out of range: the model has layers 0 to {len(table) - 1}")
    return [require_output(table[index], table)]


# ---- names -----------------------------------------------------------------------------------------------------------
def _named(table: Sequence[Layer], name: str) -> list[Layer]:
    exact = _exact(table, name)
    # A container of that name (`stages` in many models of timm) must not hide the word; what it gives, its last member does.
    if exact is not None and (
        name not in WORDS or (exact.showable and not any(inside(layer, exact.path) for layer in table))
    ):
        return [require_output(exact, table)]
    for rule in (_by_word, _by_ending, _by_kind, _by_index, _by_glob):
        layers = rule(table, name)
        if layers is not None:
            return layers
    raise _unknown(table, name)


def _exact(table: Sequence[Layer], name: str) -> Layer | None:
    layers = [*table, *(call for layer in table for call in layer.per_call)]
    for layer in layers:
        if layer.path == name:
            return layer
    for layer in layers:
        if name in layer.aliases:
            return layer
    base, call = split_call(name)
    if call is None:
        return None
    for layer in table:
        if layer.path == base or base in layer.aliases:
            if (chosen := _call_of(layer, call)) is not None:
                return chosen
            raise no_call(base, layer.calls, call)
    return None


def _by_ending(table: Sequence[Layer], name: str) -> list[Layer] | None:
    """The only layer whose path ends so."""
    layers = [layer for layer in table if _ends_with(layer, name)]
    base, number = split_call(name)
    if not layers and number is not None:
        calls = (_call_of(layer, number) for layer in table if _ends_with(layer, base))
        layers = [call for call in calls if call is not None]
    if len(layers) > 1:
        index = f", or #{name} for the layer of that index" if name.isdecimal() else ""
        raise LayerNotFound(
            f"{name!r} is the end of {len(layers)} paths: {list_paths(layers)}. Give more of the path, or the glob "
            f"{'*' + name!r} for all{index}"
        )
    return [require_output(layers[0], table)] if layers else None


def _by_kind(table: Sequence[Layer], name: str) -> list[Layer] | None:
    if not name.startswith("kind:"):
        return None
    pattern = name.removeprefix("kind:").lower()
    shown = [layer for layer in table if layer.showable]
    layers = [
        layer
        for layer in shown
        if any(fnmatch.fnmatchcase(kind.lower(), pattern) for kind in (layer.kind, bare_kind(layer)))
    ]
    if not layers:
        kinds = ", ".join(sorted({bare_kind(layer) for layer in shown}))
        raise LayerNotFound(f"no layer of kind {name.removeprefix('kind:')!r} produced an output; kinds here: {kinds}")
    return layers


def _by_index(table: Sequence[Layer], name: str) -> list[Layer] | None:
    """`19`, `-1` or `#19`: for the command line, where all is text."""
    match = re.fullmatch(r"#?(-?\d+)", name)
    return _at(table, int(match[1])) if match else None


def _by_glob(table: Sequence[Layer], name: str) -> list[Layer] | None:
    if not any(sign in name for sign in "*?["):
        return None
    layers = [
        layer
        for layer in table
        if layer.path and any(fnmatch.fnmatchcase(path, name) for path in (layer.path, *path_endings(layer.path)))
    ]
    ran = [layer for layer in layers if layer.showable]
    if layers and not ran:
        raise LayerNotCalled(f"{name!r} matches only layers that produced no output: {list_paths(layers)}")
    return ran or None


def _ends_with(layer: Layer, name: str) -> bool:
    return bool(name) and layer.path.endswith(("/" + name, "." + name))


def _call_of(layer: Layer, call: int) -> Layer | None:
    if call < len(layer.per_call):
        return layer.per_call[call]
    return layer if call == 0 and layer.calls == 1 else None


def _unknown(table: Sequence[Layer], name: str) -> LayerNotFound:
    names = [known for layer in table for known in (layer.path, *layer.aliases, *path_endings(layer.path))]
    parts = [part.strip() for part in name.split(",")]
    if len(parts) > 1 and any(part in names or part in WORDS for part in parts):
        several = by_surface(f"as a list, {parts}, or with an -l for each", "with an -l for each")
        return unknown_layer(name, (), f". A name is one layer: give several {several}.")
    shown = [layer for layer in table if layer.showable]
    hint = f". Layers {'with an output' if shown else 'here'}: {list_paths(shown or list(table))}."
    return unknown_layer(name, names, hint)


# ---- words -----------------------------------------------------------------------------------------------------------
def _by_word(table: Sequence[Layer], name: str) -> list[Layer] | None:
    return WORDS[name](table) if name in WORDS else None


def _last(table: Sequence[Layer]) -> list[Layer]:
    last = _pictures(table)[-1:]
    if not last:
        raise LayerNotFound("'last' means the last layer with more than one pixel, and no layer here has one")
    return last


def _output(table: Sequence[Layer]) -> list[Layer] | None:
    root = [layer for layer in table if layer.path == ""]
    ran = [layer for layer in table if layer.showable]
    if root and not root[-1].showable and ran:
        raise LayerNotCalled(
            f"'output' is what the model returns, and that has no picture: {why_none(root[-1]) or 'it did not run'}. The last"
            f" layer that has one is {in_order(ran)[-1].path!r}"
        )
    return (root or ran)[-1:] or None


def _stages_or_error(table: Sequence[Layer]) -> list[Layer]:
    stages = _stages(table)
    if not stages:
        raise LayerNotFound("'stages' means the last layer of each resolution, and no layer here has pixels")
    return stages


WORDS = {"last": _last, "stages": _stages_or_error, "output": _output}


def _pictures(table: Sequence[Layer]) -> list[Layer]:
    """The calls that give pictures of more than one pixel, in a network without any those that give more than one position.

    Attention weights aren't pictures of the image.
    """
    ran = [call for call in in_order(table) if call.path and call.showable and not call.attention]
    # What has no receptive field although a later layer has one wasn't made from the image: a table of positions.
    last_receptive = max((position for position, call in enumerate(ran) if call.receptive), default=-1)
    wide = [
        call
        for position, call in enumerate(ran)
        if (call.receptive or position > last_receptive) and max(call.spatial, default=1) > 1
    ]
    return [call for call in wide if len(call.spatial) > 1 and _is_of_image(call)] or [
        call for call in wide if len(call.spatial) == 1
    ]


def _is_of_image(call: Layer) -> bool:
    """Whether the axes of a picture are those of the image, as far as that is known."""
    if not call.grid and "n" in call.axes:  # tokens for each head, or for each step
        return False
    fields = call.receptive or ()
    if any(kind_of(field.unknown) == SEVERAL_MAPS for field in fields):  # lists of boxes
        return False
    if not fields or not call.lines or any(call.lines):
        return True
    # Its units lie nowhere along its axes: rows of another kind where they have boxes, a vector where it has a single row.
    return not all(field.known for field in fields) and min(call.spatial) > 1


def _is_pixelwise(call: Layer) -> bool:
    """Whether each unit sees one pixel, and each pixel has one: arithmetic in front of a network."""
    return bool(call.receptive) and all((field.size, field.stride) == (1, 1) for field in call.receptive or ())


def _stages(table: Sequence[Layer]) -> list[Layer]:
    """The last layer of each resolution on the way down to the smallest one, then of each on the way up again."""
    # Padding before a strided convolution makes sizes of its own that are no stage.
    pictures = [call for call in _pictures(table) if "pad" not in bare_kind(call).lower()]
    pictures = [call for call in pictures if not _is_pixelwise(call)] or pictures
    if not pictures:
        return []
    areas = [math.prod(call.spatial) for call in pictures]
    turn = len(areas) - areas[::-1].index(min(areas))
    stages: list[Layer] = []
    for half in (pictures[:turn], pictures[turn:]):
        last: dict[tuple[int, ...], Layer] = {}
        for call in half:
            last.pop(call.spatial, None)
            last[call.spatial] = call
        stages += last.values()
    return stages
