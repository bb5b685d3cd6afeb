"""JAX: models of Flax (NNX and linen) and Equinox, each read in its library's own way."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ...core.layer import Layer, split_call
from ...errors import ModelNotReadable
from ..common.outputs import first_image, first_input
from ..protocol import Backend, Captured, Change, Evidence, Facts, Head, Kernel, Target, not_offered
from .capture import Recorder
from .evidence import evidence
from .facts import digest, facts
from .field import fields
from .model import JaxModel
from .table import Tabulator
from .target import gradients, scores
from .watch import Stop, Watch
from .weights import head


class JaxBackend(Backend):
    """Reads `nnx.Module`, linen modules with their variables, `TrainState`, and `eqx.Module`."""

    name = "jax"
    gradients = True
    load = not_offered("a checkpoint of JAX holds arrays without the code that runs them: give the model itself")
    from_library = not_offered("Flax and Equinox have no models of their own to name")
    load_weights = not_offered("a checkpoint of JAX is a tree of arrays of its own kind: restore it in the factory")

    def owns(self, model: Any) -> bool:
        try:
            return _read(model) is not None
        except ModelNotReadable:
            # Ours, but something is missing: `facts` and the verbs say what.
            return True

    def facts(self, model: Any) -> Facts:
        return facts(_opened(model))

    def digest(self, model: Any) -> str:
        return digest(_opened(model))

    def evidence(self, model: Any, batch: Any) -> Evidence | None:
        return evidence(_opened(model), batch)

    def head(self, model: Any, batch: Any) -> Head | None:
        return head(_opened(model), first_image(batch))

    def kernel(self, model: Any, path: str, batch: Any) -> Kernel | None:
        """The weights of the convolution at `path`; linen is traced as far as that layer."""
        opened = _opened(model)
        base = split_call(path)[0]
        return opened.kernel(_names(opened).get(base, base), first_image(batch))

    def layers(self, model: Any, batch: Any) -> list[Layer]:
        opened = _opened(model)
        image = first_image(batch)
        tabulator = Tabulator(opened, fields(opened, image))
        watch = Watch(tabulator.ended)
        opened.run(image, watch)
        return tabulator.table(watch)

    def capture(
        self, model: Any, batch: Any, paths: Sequence[str], target: Target | None = None
    ) -> dict[str, Captured]:
        opened = _opened(model)
        recorder = Recorder(paths, _names(opened))
        watch = Watch(recorder.ended, wants=recorder.wants)
        try:
            opened.run(batch, watch)
        except Stop as stop:
            if stop.of is not recorder:
                raise
        results = recorder.results(opened, watch)
        captured = {name: recorder.captured[key] for name, key in results.items()}
        if target is None or not results:
            return captured
        found = gradients(opened, batch, recorder.captured, dict.fromkeys(results.values()), target)
        return {name: replace(captured[name], gradient=found[key]) for name, key in results.items()}

    def scores(self, model: Any, batch: Any, target: Target, changes: Mapping[str, Change]) -> list[float]:
        """The target's number for each image, with other values in the place of what some layers return."""
        opened = _opened(model)
        return scores(opened, batch, target, changes, _names(opened), len(first_input(batch)))


def _names(model: JaxModel) -> dict[str, str]:
    """The path of each module by its other paths."""
    return {other: path for path, others in model.aliases().items() for other in others}


def _readers() -> list[Callable[[Any], JaxModel | None]]:
    """Those of the libraries that are imported in this process; no other is."""
    found: list[Callable[[Any], JaxModel | None]] = []
    if "flax.nnx" in sys.modules:
        from .nnx import NnxModel

        found.append(NnxModel.read)
    if "flax.linen" in sys.modules:
        from .linen import LinenModel

        found.append(LinenModel.read)
    if "equinox" in sys.modules:
        from .equinox import EquinoxModel

        found.append(EquinoxModel.read)
    return found


def _read(model: Any) -> JaxModel | None:
    opened = (read(model) for read in _readers())
    return next((each for each in opened if each is not None), None)


def _opened(model: Any) -> JaxModel:
    opened = _read(model)
    if opened is None:
        raise ModelNotReadable(
            f"the JAX backend doesn't read a {type(model).__qualname__}: give an nnx.Module, (linen module, variables), a"
            " TrainState or an eqx.Module; a plain function has no layers with names"
        )
    return opened
