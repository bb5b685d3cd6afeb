"""The dense layer that runs last, where a backend gives it."""

from __future__ import annotations

import contextlib

import numpy as np

from ..backends import Head
from ..tiny import tiny_parameters
from .network import Network, random_state


class HeadTests(Network):
    """Asked only of a backend with `head`."""

    def test_the_head_is_the_dense_layer_that_runs_last(self) -> None:
        if not hasattr(self.backend(), "head"):
            return
        model, given = self.network(), tiny_parameters()
        self.backend().layers(model, self.batch())
        before = self.state(model)
        found = self.backend().head(model, self.batch())
        assert isinstance(found, Head)
        assert found.activation == ""
        assert found.weights.dtype == np.float32
        self.same(found.weights, given["head.weight"])
        assert found.bias is not None
        self.same(found.bias, given["head.bias"])
        assert self.state(model) == before
        # By its path, it is the layer whose output these weights explain.
        captured = self.backend().capture(model, self.batch(), [found.path])[found.path].values
        self.same(captured, self.expected()["head"])

    def test_asking_for_the_head_leaves_a_model_that_fails_as_it_was(self) -> None:
        if not hasattr(self.backend(), "head") or not self.can_fail:
            return
        model = self.build(tiny_parameters(), fail=True)
        before, drawn = self.state(model), random_state()
        # A backend that has to run the model gets as far as the failure.
        with contextlib.suppress(Exception):
            self.backend().head(model, self.batch())
        assert self.state(model) == before
        assert random_state() == drawn
