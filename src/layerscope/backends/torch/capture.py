"""A capture of a PyTorch model: values of layers, and their gradients, from one run that stops as soon as it can."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from ..protocol import Captured, Pick, Target
from .model import forward
from .recorder import Recorder, Wanted, recording
from .target import GradientRecorder


def capture(
    model: torch.nn.Module,
    batch: Any,
    paths: Sequence[str],
    target: Target | None,
    picks: Mapping[str, Pick] | None = None,
) -> dict[str, Captured]:
    """What the named layers produce for a batch, in execution order, with gradients where there is a target."""
    wanted = [Wanted.find(model, path, (picks or {}).get(path)) for path in paths]
    if target is None:
        recorder = Recorder(wanted)
        with recording(model, recorder):
            forward(model, batch)
        return recorder.results()
    gradients = GradientRecorder(wanted)
    with recording(model, gradients, gradients=True):
        gradients.differentiate(forward(model, batch), target)
    return gradients.results()
