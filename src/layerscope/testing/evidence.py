"""What a backend tells of the first BatchNorm of a model, where it tells anything."""

from __future__ import annotations

import numpy as np

from ..backends import Evidence
from ..tiny import tiny_parameters
from .network import Network

MEAN = np.array([0.5, -1.0, 2.0, 0.25], np.float32)
VARIANCE = np.array([0.5, 2.0, 1.5, 0.125], np.float32)


class EvidenceTests(Network):
    """What a backend tells of the first BatchNorm of a model, where it tells anything."""

    def test_evidence_is_what_reaches_the_first_batch_norm(self) -> None:
        if not hasattr(self.backend(), "evidence"):
            return
        model = self.normed(tiny_parameters(), MEAN, VARIANCE)
        if model is None:
            return
        table = self.table(model)
        before = self.state(model)
        found = self.backend().evidence(model, self.batch(3))
        assert self.state(model) == before
        assert isinstance(found, Evidence)
        assert found.layer in table
        given = self.expected(3)["conv1"]
        for values, wanted in (
            (found.trained_mean, MEAN),
            (found.trained_variance, VARIANCE),
            (found.mean, given.mean((1, 2))),
            (found.variance, given.var((1, 2))),
        ):
            assert values.shape == wanted.shape
            self.same(values, wanted)

    def test_where_nothing_was_trained_there_is_no_evidence(self) -> None:
        if not hasattr(self.backend(), "evidence"):
            return
        assert self.backend().evidence(self.network(), self.batch()) is None, "a network without a BatchNorm"
        fresh = self.normed(tiny_parameters(), np.zeros_like(MEAN), np.ones_like(VARIANCE))
        if fresh is not None:
            assert self.backend().evidence(fresh, self.batch()) is None, "statistics as they begin"
