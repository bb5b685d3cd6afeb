"""A capture of a PyTorch model: values of layers, and their gradients, from one run that stops as soon as it can."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch

from ...memory import rarely_collected
from ..protocol import Captured, Pick, Target
from .isolation import run_replica
from .keeping import COUNTS, Habits, WrittenTo
from .model import forward
from .recorder import Recorder, Wanted, recording
from .target import GradientRecorder

MANY = 100  # layers: a collection in the middle of the pass would look at all that is kept of them


def capture(
    model: torch.nn.Module,
    batch: Any,
    paths: Sequence[str],
    target: Target | None,
    picks: Mapping[str, Pick] | None = None,
) -> dict[str, Captured]:
    """What the named layers produce for a batch, in execution order, with gradients where there is a target."""

    def run(replica: torch.nn.Module) -> dict[str, Captured]:
        # The garbage of one pass is no more than the outputs of so many layers, which are all kept.
        with rarely_collected() if len(paths) >= MANY else nullcontext():
            wanted = Wanted.find_all(replica, paths, picks)
            recorder = Recorder(wanted, replica, None if copy else habits)
            with recording(replica, recorder):
                forward(replica, batch)
            return recorder.results()

    def run_back(replica: torch.nn.Module) -> dict[str, Captured]:
        assert target is not None
        gradients = GradientRecorder(Wanted.find_all(replica, paths, picks))
        with recording(replica, gradients):
            gradients.differentiate(forward(replica, batch), target)
        return gradients.results()

    habits = Habits.of(model)
    # An exported program is another module each time: it has no habits.
    copy = not COUNTS or habits.uncounted or isinstance(model, torch.export.UnflattenedModule)
    if target is not None:
        return run_replica(model, run_back, gradients=True)
    try:
        return run_replica(model, run)
    except WrittenTo:
        copy = True
        return run_replica(model, run)
