"""What a backend says of a model without running it, where it says anything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..backends.protocol import Evidence, Facts
from .network import Network
from .tiny import tiny_parameters


class FactsTests(Network):
    """What a backend says of a model without running it, where it says anything."""

    def test_facts_name_the_model_and_its_input(self) -> None:
        if not self.offers("facts"):
            return
        facts = self.backend().facts(self.network())
        assert isinstance(facts, Facts)
        assert facts.name
        for each in facts.inputs:
            assert len(each.axes) == len(each.shape)
            if set(each.axes) == set(self.axes):
                assert each.axes == self.axes
                assert each.shape[each.axes.index("c")] == 3

    def test_the_digest_tells_states_of_the_weights_apart(self) -> None:
        found = [self.digest(parameters) for parameters in (tiny_parameters(), tiny_parameters(), tiny_parameters(1))]
        if not found[0]:
            return
        assert found[0] == found[1], "the same weights have the same digest"
        assert found[0] != found[2], "other weights have another digest"

    def test_taking_the_digest_changes_nothing(self) -> None:
        model = self.network()
        self.backend().layers(model, self.batch())
        before = self.state(model)
        assert self.digest_of(model) == self.digest_of(model)
        assert self.state(model) == before

    def digest(self, parameters: Mapping[str, np.ndarray]) -> str:
        return self.digest_of(self.build(parameters))

    def digest_of(self, model: Any) -> str:
        """The digest, `""` where the backend has none."""
        if self.offers("digest"):
            return str(self.backend().digest(model))
        return str(self.backend().facts(model).digest) if self.offers("facts") else ""


MEAN = np.array([0.5, -1.0, 2.0, 0.25], np.float32)


VARIANCE = np.array([0.5, 2.0, 1.5, 0.125], np.float32)


class EvidenceTests(Network):
    """What a backend tells of the first BatchNorm of a model, where it tells anything."""

    def test_evidence_is_what_reaches_the_first_batch_norm(self) -> None:
        if not self.offers("evidence"):
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
        if not self.offers("evidence"):
            return
        assert self.backend().evidence(self.network(), self.batch()) is None, "a network without a BatchNorm"
        fresh = self.normed(tiny_parameters(), np.zeros_like(MEAN), np.ones_like(VARIANCE))
        if fresh is not None:
            assert self.backend().evidence(fresh, self.batch()) is None, "statistics as they begin"
