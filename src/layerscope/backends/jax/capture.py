"""What was asked for, taken from the calls of a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ...core.layer import split_call
from ...errors import LayerNotCalled, LayerNotFound, near
from ..protocol import Captured
from .model import JaxModel
from .outputs import as_captured, main_part
from .watch import Call, Stop, Watch

Key = tuple[str, int, str]


class Recorder:
    """Copies what was asked for and stops the run when it has everything.

    `taken` holds, for each path that was asked for, the keys (path, call, place) of its arrays in the order of the run.
    """

    def __init__(self, paths: Sequence[str], aliases: dict[str, str]) -> None:
        self._names = {_plain(path, aliases): path for path in paths}
        self._endless = any(split_call(path)[1] is None for path in paths)
        self._leading = {name[:at] for name in self._names for at in (*_ends(name), len(name))}
        self._places: set[str] = set()
        self.taken: dict[str, list[Key]] = {}
        self.captured: dict[Key, Captured] = {}

    def wants(self, path: str) -> bool:
        """Whether an array asked for may come from the module at `path`."""
        return path in self._leading

    def wanted(self, call: Call) -> Iterator[tuple[str, str]]:
        """The paths asked for that mean this call, each with the place of the array in the output."""
        main = main_part(call.values)
        for place in call.values:
            for path in dict.fromkeys((call.path + place, call.path) if place == main else (call.path + place,)):
                self._places.add(path)
                for name in (path, f"{path}:{call.number}"):
                    if name in self._names:
                        yield self._names[name], place

    def ended(self, call: Call) -> None:
        for path, place in self.wanted(call):
            key = (call.path, call.number, place)
            if key not in self.captured:
                self.captured[key] = as_captured(call.values[place])
            self.taken.setdefault(path, []).append(key)
        if not self._endless and len(self.taken) == len(self._names):
            raise Stop(self)

    def results(self, model: JaxModel, watch: Watch) -> dict[str, Key]:
        """Name -> key, in the order of the run; raises where something asked for isn't there."""
        for path in self._names.values():
            if path not in self.taken:
                raise self.missing(path, model, watch)
        found: list[tuple[int, str, Key]] = []
        order = list(self.captured)
        for path, keys in self.taken.items():
            several = len(keys) > 1
            for key in keys:
                found.append((order.index(key), f"{path}:{key[1]}" if several else path, key))
        return {name: key for _, name, key in sorted(found, key=lambda each: each[0])}

    def missing(self, path: str, model: JaxModel, watch: Watch) -> Exception:
        """The error that says why nothing came of a path."""
        base, call = split_call(path)
        known = {*model.modules(), *watch.ran, *self._places}
        if base not in known and path not in known:
            return LayerNotFound(f"no layer {path!r}.{near(path, known)} layers() lists them all")
        ran = watch.counts[base]
        if ran and call is not None:
            why = f"it ran {ran} times in this forward pass"
        elif base in watch.traced:
            why = "it ran only inside a function that JAX traces, where it has no values"
        else:
            why = "it did not run in this forward pass" if not ran else "its output holds no array"
        return LayerNotCalled(f"layer {path!r} has no output: {why}")


def _ends(name: str) -> Iterator[int]:
    """Where the path of a module may end in the name of an array: before a call, a place, or a child."""
    return (at for at, each in enumerate(name) if each in ":[./")


def _plain(path: str, aliases: dict[str, str]) -> str:
    """The path by which a module is reported, for another name of it."""
    base, call = split_call(path)
    if path in aliases or base in aliases:
        return aliases[path] if path in aliases else f"{aliases[base]}:{call}"
    return path
