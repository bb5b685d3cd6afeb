"""What a backend says of a model without running it, where it says anything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..backends import Facts, Head
from ..tiny import tiny_parameters
from .network import Network


class FactsTests(Network):
    """What a backend says of a model without running it, where it says anything."""

    def test_facts_name_the_model_and_its_input(self) -> None:
        if not hasattr(self.backend(), "facts"):
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

    def test_the_head_is_the_dense_layer_that_runs_last(self) -> None:
        if not hasattr(self.backend(), "head"):
            return
        model, parameters = self.network(), tiny_parameters()
        before = self.state(model)
        head = self.backend().head(model, self.batch())
        assert isinstance(head, Head)
        assert head.path == self.paths["head"]
        values = self.expected()["act:1"].mean((1, 2), dtype=np.float64)
        bias = 0 if head.bias is None else head.bias
        self.same(values @ head.weights.T.astype(np.float64) + bias, self.expected()["head"])
        assert head.weights.dtype == np.float32
        assert head.weights.shape == (6, 5), parameters.keys()
        assert self.state(model) == before

    def digest(self, parameters: Mapping[str, np.ndarray]) -> str:
        return self.digest_of(self.build(parameters))

    def digest_of(self, model: Any) -> str:
        """The digest, `""` where the backend has none."""
        backend = self.backend()
        if hasattr(backend, "digest"):
            found: str = backend.digest(model)
            return found
        return backend.facts(model).digest if hasattr(backend, "facts") else ""
