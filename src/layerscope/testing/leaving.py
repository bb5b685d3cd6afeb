"""The model, the random state and the process are left as they were found."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from ..errors import LayerNotFound
from .network import Network, refused
from .tiny import tiny_parameters


class LeavingTests(Network):
    """The model, the random state and the process are left as they were found."""

    def test_the_model_is_left_as_it_was(self) -> None:
        model = self.network()
        self.backend().layers(model, self.batch())
        with self.unchanged(model):
            self.backend().layers(model, self.batch())
            self.backend().capture(model, self.batch(), list(self.calls().values()))
            self.values(model, self.paths["conv1"] + ":0")

    def test_threads_share_a_model(self) -> None:
        model, paths = self.network(), list(self.calls().values())
        batches = [self.batch(), np.ascontiguousarray(self.batch()[::-1])]
        self.backend().layers(model, batches[0])
        expected = [self.backend().capture(model, batch, paths) for batch in batches]
        answers = [self.answer(model, batch) for batch in batches]

        def work(number: int) -> None:
            index = number % 2
            for _ in range(2):
                if number < 6 or answers[index] is None:
                    for path, output in self.backend().capture(model, batches[index], paths).items():
                        assert np.array_equal(output.values, expected[index][path].values), path
                else:
                    assert np.array_equal(self.answer(model, batches[index]), answers[index])  # type: ignore[arg-type]

        with self.unchanged(model), ThreadPoolExecutor(8) as threads:
            list(threads.map(work, range(8)))

    def test_the_model_is_left_as_it_was_when_it_raises(self) -> None:
        if not self.can_fail:
            return
        good, model = self.network(), self.build(tiny_parameters(), fail=True)
        self.backend().layers(good, self.batch())
        with self.unchanged(model):
            # Any class of error: frameworks wrap what a model raises.
            with refused(Exception, naming="failed in the middle"):
                self.backend().layers(model, self.batch())
            with refused(Exception, naming="failed in the middle"):
                self.values(model, self.paths["head"])
        self.same(self.values(good, self.paths["conv1"]), self.values(model, self.paths["conv1"] + ":0"))

    def test_an_unknown_layer_costs_the_model_nothing(self) -> None:
        model = self.network()
        self.backend().layers(model, self.batch())
        with self.unchanged(model), refused(LayerNotFound):
            self.backend().capture(model, self.batch(), [self.paths["conv1"], "no such layer"])
