"""What a backend says of a model without running it, where it says anything."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backends.protocol import Evidence, Facts
from .network import Network, where_offered
from .tiny import tiny_parameters


class FactsTests(Network):
    """What a backend says of a model without running it, where it says anything."""

    @where_offered("facts")
    def test_facts_name_the_model_and_its_input(self) -> None:
        facts = self.backend().facts(self.network())
        assert isinstance(facts, Facts)
        assert facts.name
        for declared in facts.inputs:
            assert len(declared.axes) == len(declared.shape)
            if set(declared.axes) == set(self.axes):
                assert declared.axes == self.axes
                assert declared.shape[declared.axes.index("c")] == 3

    def test_the_digest_tells_states_of_the_weights_apart(self) -> None:
        digests = [self.digest(self.build(tiny_parameters(seed))) for seed in (0, 0, 1)]
        if not digests[0]:
            return
        assert digests[0] == digests[1], "the same weights have the same digest"
        assert digests[0] != digests[2], "other weights have another digest"

    def test_taking_the_digest_changes_nothing(self) -> None:
        model = self.network()
        self.backend().layers(model, self.batch())
        with self.unchanged(model):
            assert self.digest(model) == self.digest(model)

    def digest(self, model: Any) -> str:
        """The digest, `""` where the backend has none."""
        if self.offers("digest"):
            return str(self.backend().digest(model))
        return str(self.backend().facts(model).digest) if self.offers("facts") else ""


MEAN = np.array([0.5, -1.0, 2.0, 0.25], np.float32)
VARIANCE = np.array([0.5, 2.0, 1.5, 0.125], np.float32)


class EvidenceTests(Network):
    """What a backend tells of the first BatchNorm of a model, where it tells anything."""

    @where_offered("evidence")
    def test_evidence_is_what_reaches_the_first_batch_norm(self) -> None:
        model = self.normed(tiny_parameters(), MEAN, VARIANCE)
        if model is None:
            return
        table = self.table(model)
        with self.unchanged(model):
            evidence = self.backend().evidence(model, self.batch(3))
        assert isinstance(evidence, Evidence)
        assert evidence.layer in table
        expected = self.expected(3)["conv1"]
        for values, wanted in (
            (evidence.trained_mean, MEAN),
            (evidence.trained_variance, VARIANCE),
            (evidence.mean, expected.mean((1, 2))),
            (evidence.variance, expected.var((1, 2))),
        ):
            assert values.shape == wanted.shape
            self.same(values, wanted)

    @where_offered("evidence")
    def test_where_nothing_was_trained_there_is_no_evidence(self) -> None:
        assert self.backend().evidence(self.network(), self.batch()) is None, "a network without a BatchNorm"
        fresh = self.normed(tiny_parameters(), np.zeros_like(MEAN), np.ones_like(VARIANCE))
        if fresh is not None:
            assert self.backend().evidence(fresh, self.batch()) is None, "statistics as they begin"
