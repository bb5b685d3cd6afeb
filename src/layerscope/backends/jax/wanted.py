"""Which arrays of which calls the names that were asked for mean, and why nothing came of one."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from ...core.layer import split_call, times
from ...errors import LayerNotCalled, unknown_layer
from ..common.outputs import quoted
from .model import JaxModel, canonical_paths
from .outputs import main_part
from .watch import Call, Watch

# path, number of the call, subpath in the output
Key = tuple[str, int, str]


class Wanted:
    """The names that were asked for, by the paths under which modules are reported."""

    def __init__(self, model: JaxModel, names: Iterable[str]) -> None:
        self._model, self._aliases = model, canonical_paths(model)
        self.names = {self._canonical(name): name for name in names}
        self._prefixes = {path[:end] for path in self.names for end in (*_ends(path), len(path))}
        self._seen: set[str] = set()
        self._modules = {*model.modules, *self._aliases}

    def wants(self, path: str) -> bool:
        """Whether an array asked for may come from the module at `path`."""
        return path in self._prefixes

    def of_call(self, call: Call) -> Iterator[tuple[str, str]]:
        """The names asked for that mean this call, each with the subpath of the array in the output."""
        main = main_part(call.values)
        self._modules.add(call.path)
        for subpath in call.values:
            part = name_part(self._modules, call.path, subpath)
            for path in dict.fromkeys((part, call.path) if subpath == main else (part,)):
                self._seen.add(path)
                for numbered in (path, f"{path}:{call.number}"):
                    if numbered in self.names:
                        yield self.names[numbered], subpath

    def missing(self, name: str, watch: Watch) -> Exception:
        """The error that says why nothing came of a name."""
        base, call = split_call(name)
        known = {*self._model.modules, *watch.ran, *self._seen}
        if base not in known and name not in known:
            return unknown_layer(name, known)
        ran = watch.counts[base]
        if ran and call is not None:
            why = f"it ran {times(ran)} in this forward pass"
        elif base in watch.traced:
            why = "it ran only inside a function that JAX traces, where it has no values"
        else:
            why = "it did not run in this forward pass" if not ran else "its output holds no array"
        return LayerNotCalled(f"layer {name!r} has no output: {why}")

    def _canonical(self, name: str) -> str:
        """The path by which a module is reported, for any of its names."""
        base, call = split_call(name)
        if base not in self._aliases:
            return self._aliases.get(name, name)
        return self._aliases[base] if call is None else f"{self._aliases[base]}:{call}"


def name_part(modules: Collection[str], path: str, subpath: str) -> str:
    """The path of a part of an output, with brackets where a module has it or is around it.

    >>> name_part({"p", "p.b"}, "p", ".a"), name_part({"p", "p.b"}, "p", ".b[0]")
    ('p.a', "p['b'][0]")
    """
    plain = path + subpath
    starts = (plain[:end] for end in (*_ends(plain), len(plain)) if end > len(path))
    return path + quoted(subpath) if any(start in modules for start in starts) else plain


def _ends(path: str) -> Iterator[int]:
    """Where the path of a module may end in the name of an array: before a call, a subpath, or a child."""
    return (index for index, letter in enumerate(path) if letter in ":[./")
