"""PyTorch: forward hooks that copy what passes, in one run that stops as soon as it can."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.nn.parameter import UninitializedParameter

from ...core.layer import Layer
from ...errors import ModelNotReadable
from ..common.outputs import first_image, first_input
from ..protocol import Backend, Captured, Change, Evidence, Facts, Head, Kernel, Pick, Target
from .capture import Changer, GradientTaker, Taker, Wanted
from .evidence import evidence
from .facts import digest, facts
from .hub import from_hf, from_timm, from_torchvision
from .load import load, load_weights
from .run import AIM, Stop, fed, left_as_found, unwrapped
from .table import DryRunWatch, Record
from .watch import makes_weights
from .weights import head, kernel


class TorchBackend(Backend):
    """Reads a `torch.nn.Module`, compiled, parallel or exported (`torch.export`)."""

    name = "torch"
    gradients = True
    picks = True

    def owns(self, model: Any) -> bool:
        # On Keras's torch backend every Keras layer is a module as well, and Keras knows it better.
        if any(each.__module__.partition(".")[0] in ("keras", "tf_keras") for each in type(model).__mro__):
            return False
        return isinstance(model, torch.nn.Module | torch.export.ExportedProgram)

    def facts(self, model: Any) -> Facts:
        return facts(_readable(model))

    def digest(self, model: Any) -> str:
        return digest(_readable(model))

    def evidence(self, model: Any, batch: Any) -> Evidence | None:
        return evidence(_readable(model), batch)

    def head(self, model: Any, batch: Any) -> Head | None:
        return head(_readable(model), batch)

    def kernel(self, model: Any, path: str, batch: Any) -> Kernel | None:
        """The weights of the convolution at `path`; nothing has to run for them."""
        return kernel(_readable(model), path)

    def load(self, source: Path, weights: Path | None = None, trust: bool = False) -> Any:
        return load(source, weights, trust)

    def load_weights(self, model: Any, path: Path) -> None:
        load_weights(model, path)

    def from_library(self, library: str, name: str, weights: Path | None = None) -> tuple[Any, Any]:
        """The model of that name of torchvision (with the entry of its default weights), timm, or transformers (`hf`)."""
        if library == "torchvision":
            return from_torchvision(name, weights)
        return (from_timm if library == "timm" else from_hf)(name, weights), None

    def layers(self, model: Any, batch: Any) -> list[Layer]:
        model = _readable(model)
        record = Record(model)
        watch = DryRunWatch(record)
        with left_as_found(model) as added, watch:
            added.append(model.register_forward_pre_hook(record.start, with_kwargs=True))
            for name, module in model.named_modules():
                if not makes_weights(name):
                    added.append(module.register_forward_hook(record.hook(name, module)))
            added += watch.hooked(model, record.entered)
            with record.fields:
                fed(model, first_image(batch))
        return record.table(model)

    def capture(
        self,
        model: Any,
        batch: Any,
        paths: Sequence[str],
        target: Target | None = None,
        picks: Mapping[str, Pick] | None = None,
    ) -> dict[str, Captured]:
        model = _readable(model)
        wanted = [Wanted.find(model, path, (picks or {}).get(path)) for path in paths]
        taker = Taker(wanted) if target is None else GradientTaker(wanted)
        with _watched(model, taker, gradients=target is not None):
            output = fed(model, batch)
            if isinstance(taker, GradientTaker):
                assert target is not None
                taker.differentiate(output, target)
        return taker.results()

    def scores(self, model: Any, batch: Any, target: Target, changes: Mapping[str, Change]) -> list[float]:
        """The target's number for each image, with other values in the place of what some layers return."""
        model = _readable(model)
        changer = Changer([Wanted.find(model, path) for path in changes], changes)
        with _watched(model, changer):
            found = AIM.of_images(fed(model, batch), target, len(first_input(batch)))
        changer.results()
        return found


@contextmanager
def _watched(model: torch.nn.Module, taker: Taker, gradients: bool = False) -> Iterator[None]:
    """Around a run in which `taker` sees what it wants, which it may end early; nothing is left behind."""
    with left_as_found(model, gradients) as added, ExitStack() as watching:
        for module in dict.fromkeys(each.source for each in taker.wanted if isinstance(each.source, torch.nn.Module)):
            added.append(module.register_forward_hook(taker.hook))
        for watch in taker.watches():
            added += watch.hooked(model)
            watching.enter_context(watch)
        try:
            yield
        except Stop as stop:
            if stop.of is not taker:
                raise


def _readable(model: Any) -> torch.nn.Module:
    model = unwrapped(model)
    if isinstance(model, torch.jit.ScriptModule):
        raise ModelNotReadable(
            "this is a TorchScript module, whose layers can't be watched: give the original nn.Module, or export it anew"
            " with torch.export.save (.pt2)"
        )
    lazy = [name for name, each in model.named_parameters() if isinstance(each, UninitializedParameter)]
    if lazy:
        raise ModelNotReadable(
            f"{', '.join(lazy[:3])}: weights of lazy modules have no size yet; run the model once on a batch of yours"
        )
    return model
