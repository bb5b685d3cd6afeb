"""The state of a view: what its fields may hold, and how it reads in Python, where layers and images have their names."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, NamedTuple

from ..channels.sort import check_sort
from ..errors import BadOption, near

LONGEST = 2000  # of a text
LARGEST = 2**53 - 1  # whole number that a page counts to
OWN_MODES = ("channel", "mean", "weights")

State = dict[str, Any]


class Field(NamedTuple):
    """What a field is at the beginning, whether a value is one, and what one is, in words."""

    start: Any
    holds: Callable[[Any], bool]
    words: str


def _text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= LONGEST


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


def _pair(value: Any, each: Callable[[Any], bool]) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(each, value))


def _rising(value: Any) -> bool:
    return _pair(value, _number) and value[0] < value[1]


def _among(*words: str) -> Field:
    return Field(words[0], lambda value: value in words, f"one of {', '.join(map(repr, words))}")


def _or_none(one: Field) -> Field:
    return Field(None, lambda value: value is None or one.holds(value), f"{one.words}, or None")


COUNT = Field(0, _count, "a whole number from 0")
FLAG = Field(False, _flag, "True or False")
TEXT = Field("", _text, "a text")

FIELDS: dict[str, Field] = {
    "input": TEXT,
    "layer": TEXT,
    "beside": _or_none(
        Field(
            None,
            lambda value: (
                isinstance(value, dict) and {*value} <= {"input", "layer"} and all(map(_text, value.values()))
            ),
            "an input, a layer, or both",
        )
    ),
    "scale": Field(
        "channel", lambda value: value in ("channel", "layer") or _rising(value), "'channel', 'layer' or two limits"
    ),
    "clip": _or_none(
        Field(None, lambda value: _rising(value) and value[0] >= 0 and value[1] <= 100, "two percentiles, 0 to 100")
    ),
    "norm": _among("linear", "log", "symlog"),
    "colors": TEXT,
    "sort": Field("index", _text, "the name of an order"),
    "find": TEXT,
    "active": COUNT,
    "unit": _or_none(Field(None, lambda value: _pair(value, _count), "a row and a column")),
    "selected": Field([], lambda value: isinstance(value, list) and all(map(_count, value)), "numbers of channels"),
    "weights": Field(
        {},
        lambda value: isinstance(value, dict) and all(map(_count, value)) and all(map(_number, value.values())),
        "numbers by the number of their channel",
    ),
    "mode": Field("mean", _text, "the name of a combination"),
    "target": _or_none(COUNT),
    "post": _among("none", "relu"),
    "overlay": FLAG,
    "opacity": Field(0.7, lambda value: _number(value) and 0 <= value <= 1, "a number from 0 to 1"),
    "slice": COUNT,
    "query": COUNT,
    "zoom": _or_none(
        Field(
            None,
            lambda value: (
                isinstance(value, dict)
                and {*value} == {"scale", "x", "y"}
                and all(map(_number, value.values()))
                and value["scale"] > 0
            ),
            "scale, x and y",
        )
    ),
    "single": FLAG,
    "table": FLAG,
    "theme": _among("auto", "light", "dark"),
}
OF_A_LAYER = ("active", "unit", "zoom", "slice", "query", "selected", "weights")


@dataclass(frozen=True)
class Names:
    """What ids stand for: the paths of layers, and the names of images, of which more may come."""

    manifest: Mapping[str, Any]
    inputs: Callable[[], Mapping[str, str]]
    layers: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", {layer["id"]: layer["path"] for layer in self.manifest["layers"]})

    def start(self) -> State:
        """The state that a view begins with."""
        start = {name: each.start for name, each in FIELDS.items()} | self.manifest["first"]
        return self.of_page(start)

    def of_page(self, state: Mapping[str, Any]) -> State:
        """A state as a page has it, by ids, in Python's words."""
        named = self._rename(state, lambda word, table: table[word] if word in table else _unknown(word, table))
        return named | ({"weights": by_number(state["weights"])} if "weights" in state else {})

    def to_page(self, state: Mapping[str, Any]) -> State:
        """The same by ids."""
        ids = self._rename(state, _id)
        return ids | {"weights": {str(channel): weight for channel, weight in state["weights"].items()}}

    def merge(self, state: Mapping[str, Any], change: Any) -> State:
        """A state with some fields changed; another layer puts back what holds for one layer alone. Raises `BadOption`."""
        if not isinstance(change, Mapping):
            raise BadOption(f"view={change!r:.80}: give fields by name, such as {{'layer': …, 'norm': 'log'}}")
        change = {name: _plain(value) for name, value in change.items()}
        for name, value in change.items():
            if name not in FIELDS:
                raise BadOption(f"view has no field {name!r}{near(str(name), FIELDS)}")
            if not FIELDS[name].holds(value):
                raise BadOption(f"view: {name}={value!r:.80}: use {FIELDS[name].words}")
        change = self._rename(change, lambda word, table: table.get(_id(word, table), word))
        base = dict(state)
        if change.get("layer", base["layer"]) != base["layer"]:
            base |= {name: FIELDS[name].start for name in OF_A_LAYER}
            # Numbers of channels mean others in another layer.
            base["find"] = "" if re.search(r"(^|and)\s*[0-9:]", base["find"]) else base["find"]
            base["mode"] = base["mode"] if self._offers(change["layer"], base["mode"]) else "mean"
            base["scale"] = base["scale"] if isinstance(base["scale"], str) else "channel"
        base |= change
        self._check(base)
        return base

    def _offers(self, path: str, mode: str) -> bool:
        """Whether the channels of a layer can be combined so."""
        kinds = {layer["path"]: layer["kind_of"] for layer in self.manifest["layers"]}
        fits = ("all", "attention" if kinds.get(path) == "attention" else "spatial")
        known = [rule["name"] for rule in self.manifest["combinations"] if rule["layers"] in fits]
        return mode.partition(":")[0] in (*OWN_MODES, *known)

    def _check(self, state: State) -> None:
        """Raises `BadOption` for what this model doesn't have."""
        layer = next((each for each in self.manifest["layers"] if each["path"] == state["layer"]), None)
        channels = layer["channels"] if layer else 0
        check_sort(state["sort"])
        for name in ("active", "selected", "weights"):
            numbers = [state[name]] if name == "active" else list(state[name])
            if numbers and max(numbers) >= max(1, channels):
                raise BadOption(
                    f"view: {name}={state[name]!r:.80}: {state['layer']!r} has channels 0 to {channels - 1}"
                )
        colors = ["", *(each["name"] for each in self.manifest["colours"])]
        if state["colors"] not in colors:
            raise BadOption(f"view: colors={state['colors']!r}: the viewer has {', '.join(colors[1:])}")
        modes = [*dict.fromkeys([*OWN_MODES, *(each["name"] for each in self.manifest["combinations"])])]
        if state["mode"].partition(":")[0] not in modes:
            raise BadOption(f"view: mode={state['mode']!r}: use {', '.join(modes)}{near(state['mode'], modes)}")

    def _rename(self, state: Mapping[str, Any], name: Callable[[Any, Mapping[str, str]], Any]) -> State:
        """The state with other names for its layers and images."""
        tables: dict[str, Mapping[str, str]] = {"layer": self.layers, "input": self.inputs()}

        def rename(part: Mapping[str, Any]) -> State:  # "" is none at all
            return {
                key: name(word, tables[key]) if key in tables and word != "" else word for key, word in part.items()
            }

        beside = state.get("beside")
        return rename(state) | ({"beside": rename(beside)} if isinstance(beside, Mapping) else {})


def by_number(weights: Any) -> Any:
    """Weights by the number of their channel, where JSON has that as text; what isn't one stays as it is."""
    if not isinstance(weights, Mapping):
        return weights
    return {int(key) if re.fullmatch("[0-9]+", str(key)) else key: weight for key, weight in weights.items()}


def _id(word: Any, table: Mapping[str, str]) -> str:
    """The id of what a name or an id stands for; a name comes first. Raises `BadOption`."""
    ids = {name: id for id, name in table.items()}
    if word in ids:
        return ids[word]
    return word if word in table else _unknown(word, table)


def _unknown(word: Any, table: Mapping[str, str]) -> Any:
    names = [*table.values()]
    raise BadOption(f"view: there is no {word!r:.80} here{near(str(word), names)}")


def _plain(value: Any) -> Any:
    """A value as JSON has it: tuples and numpy's numbers as lists and numbers."""
    if isinstance(value, Mapping):
        return {_plain(key): _plain(each) for key, each in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_plain(each) for each in value]
    return value.tolist() if hasattr(value, "tolist") else value
