"""What the layers that were asked for return, copied while the model runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ...core.layer import split_call
from ..common.run import Stop
from ..protocol import Captured, Pick, Target
from .engine import Engine, copy_to_host
from .model import KerasModel
from .moment import at_one_moment
from .table import complete
from .target import wants, with_gradients
from .watch import Call, run


def capture(
    model: KerasModel,
    batch: Any,
    paths: Sequence[str],
    target: Target | None = None,
    *,
    picks: Mapping[str, Pick] | None = None,
) -> dict[str, Captured]:
    """What the named layers produce for `batch`, in execution order."""
    if not paths:
        return {}

    def attempt() -> tuple[Recorder, list[str]]:
        recorder = Recorder(paths, model.engine, picks or {})
        run(model, lambda: model.forward(batch), recorder.record, recorder.wants)
        return recorder, recorder.missing()

    def captures() -> dict[str, Captured]:
        # The plain run comes first: it says which layers ran, and its values are what the gradients belong to.
        recorder = complete(model, batch, attempt)
        captured = recorder.captured()
        if target is None:
            return captured
        return with_gradients(model, batch, captured, target, pick=recorder.pick)

    return at_one_moment(model, captures)


class Recorder:
    """Copies what the wanted layers return, and stops the run once nothing is left to wait for."""

    def __init__(self, paths: Iterable[str], engine: Engine, picks: Mapping[str, Pick]) -> None:
        self._paths, self._picks, self._engine = frozenset(paths), picks, engine
        self._copies: dict[tuple[str, int], dict[str, Captured]] = {}
        single = all(split_call(path)[1] is not None for path in self._paths)
        self._waiting: set[str] | None = set(self._paths) if single else None

    def record(self, call: Call) -> None:
        """Copy what is wanted of one call."""
        for part in self._engine.parts_of(call.output):
            path = call.location.path + part.suffix
            numbered = f"{path}:{call.number}"
            wanted = [name for name in (path, numbered) if name in self._paths]
            if part.numeric and wanted:
                self._copies[path, call.number] = {name: self._copy(part.tensor, name) for name in wanted}
                if self._waiting is not None:
                    self._waiting -= {numbered}
        if self._waiting is not None and not self._waiting:
            raise Stop

    def wants(self, path: str) -> bool:
        """Whether any call of this path is wanted."""
        return wants(self._paths, path)

    def missing(self) -> list[str]:
        """The wanted paths of which nothing came, in the order of their names."""
        names = {path for path, _ in self._copies} | {f"{path}:{number}" for path, number in self._copies}
        return sorted(self._paths - names)

    def captured(self) -> dict[str, Captured]:
        """What came, under the names of the contract, in execution order."""
        calls = Counter(path for path, _ in self._copies)
        result = {}
        for (path, number), copies in self._copies.items():
            numbered = f"{path}:{number}"
            if path in self._paths:
                result[numbered if calls[path] > 1 else path] = copies[path]
            if numbered in self._paths:
                result[numbered] = copies[numbered]
        return result

    def pick(self, path: str) -> Pick | None:
        """The channels that were captured of a path."""
        return self._picks.get(path if path in self._paths else split_call(path)[0])

    def _copy(self, tensor: Any, name: str) -> Captured:
        """One tensor on the host, with the channels that are wanted."""
        values, dtype = copy_to_host(self._engine, tensor, self._picks.get(name))
        return Captured(values, None, dtype)
