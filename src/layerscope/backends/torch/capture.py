"""A capture of a PyTorch model: values of layers, and their gradients, from one run that stops as soon as it can."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from ..protocol import Captured, Pick, Target
from .isolation import run_replica
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

    def run(replica: torch.nn.Module) -> dict[str, Captured]:
        wanted = Wanted.find_all(replica, paths, picks)
        if target is None:
            recorder = Recorder(wanted)
            with recording(replica, recorder):
                forward(replica, batch)
            return recorder.results()
        gradients = GradientRecorder(wanted)
        with recording(replica, gradients):
            gradients.differentiate(forward(replica, batch), target)
        return gradients.results()

    return run_replica(model, run, gradients=target is not None)
