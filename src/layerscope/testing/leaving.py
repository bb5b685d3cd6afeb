"""The model, the random state and the process are left as they were found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import LayerNotFound
from .network import Network, random_state
from .tiny import tiny_parameters


class LeavingTests(Network):
    """The model, the random state and the process are left as they were found."""

    def test_the_model_is_left_as_it_was(self) -> None:
        model = self.network()
        self.backend().layers(model, self.batch())
        before, state = self.state(model), random_state()
        self.backend().layers(model, self.batch())
        self.backend().capture(model, self.batch(), list(self.calls().values()))
        self.backend().capture(model, self.batch(), [self.paths["conv1"] + ":0"])
        assert self.state(model) == before
        assert random_state() == state

    def test_the_model_is_left_as_it_was_when_it_raises(self) -> None:
        if not self.can_fail:
            return
        good, model = self.network(), self.build(tiny_parameters(), fail=True)
        self.backend().layers(good, self.batch())
        before = self.state(model)
        runs: list[Callable[[], Any]] = [
            lambda: self.backend().layers(model, self.batch()),
            lambda: self.backend().capture(model, self.batch(), [self.paths["head"]]),
        ]
        for run in runs:
            try:
                run()
            except Exception as error:
                # Any class: frameworks wrap what a model raises.
                assert "failed in the middle" in str(error)
            else:
                raise AssertionError("the model's own error was swallowed")
        assert self.state(model) == before
        self.same(
            self.backend().capture(good, self.batch(), [self.paths["conv1"]])[self.paths["conv1"]].values,
            self.backend()
            .capture(model, self.batch(), [self.paths["conv1"] + ":0"])[self.paths["conv1"] + ":0"]
            .values,
        )

    def test_an_unknown_layer_costs_the_model_nothing(self) -> None:
        model = self.network()
        self.backend().layers(model, self.batch())
        before = self.state(model)
        try:
            self.backend().capture(model, self.batch(), [self.paths["conv1"], "no such layer"])
        except LayerNotFound:
            assert self.state(model) == before
        else:
            raise AssertionError("a layer that doesn't exist was accepted")
