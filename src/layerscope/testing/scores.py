"""A target's number for each image, while layers return other values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..core.axes import channels_last
from ..errors import LayerscopeError
from .network import Network, refused, where_offered


class ScoreTests(Network):
    """Scores while layers return other values, where a backend offers `scores`."""

    def scores(self, model: Any, target: Any, changes: Mapping[str, Any], count: int = 2) -> np.ndarray:
        return np.asarray(self.backend().scores(model, self.batch(count), target, changes))

    @where_offered("scores")
    def test_scores_are_those_of_the_output(self) -> None:
        model = self.network()
        with self.unchanged(model):
            self.same(self.scores(model, 3, {}), self.expected()["head"][:, 3])

    @where_offered("scores")
    def test_a_layer_returns_what_the_change_says(self) -> None:
        model = self.network()
        path = self.calls()["conv2"]
        axes = self.table(model)[path].axes
        received: list[np.ndarray] = []

        def change(values: np.ndarray) -> np.ndarray:
            received.append(values.copy())
            return _zeroed(values, axes, 2)

        with self.unchanged(model):
            changed = self.scores(model, 1, {f"{path}:0": change})
        self.same(changed, self.expected(zeroed={"conv2": 2})["head"][:, 1])
        assert len(received) == 1, "a change is asked once for each call"
        self.same(channels_last(received[0], axes), self.expected()["conv2"])
        self.same(self.scores(model, 1, {}), self.expected()["head"][:, 1])

    @where_offered("scores")
    def test_one_call_is_changed_and_the_plain_path_means_all(self) -> None:
        model, calls = self.network(), self.calls()
        axes = self.table(model)[calls["act:0"]].axes

        def change(values: np.ndarray) -> np.ndarray:
            return _zeroed(values, axes, 1)

        first, second = calls["act:0"], calls["act:1"]
        # Two of them in the order of the run, whatever the order here.
        cases = [((first,), ("act:0",)), ((second,), ("act:1",)), ((second, first), ("act:0", "act:1"))]
        if self.shared:
            cases.append(((self.paths["act"],), ("act:0", "act:1")))
        for paths, names in cases:
            expected = self.expected(zeroed=dict.fromkeys(names, 1))["head"][:, 1]
            self.same(self.scores(model, 1, dict.fromkeys(paths, change)), expected)

    @where_offered("scores")
    def test_a_function_as_target_gives_each_image_its_number(self) -> None:
        model = self.network()
        cases: list[tuple[Any, int]] = [
            (lambda out: out[:, 3] * 2, 2),
            (lambda out: out[0, 3] * 2, 2),
            # A number of Python's own, where there is one image.
            (lambda out: float(out[0, 3]) * 2, 1),
        ]
        for target, count in cases:
            self.same(self.scores(model, target, {}, count), self.expected(count)["head"][:, 3] * 2)

    @where_offered("scores")
    def test_what_can_not_be_changed_is_named(self) -> None:
        model, path = self.network(), self.calls()["conv2"]
        self.backend().layers(model, self.batch())
        cases: list[tuple[dict[str, Any], int, str]] = [
            ({"no_such_layer": np.copy}, 1, "no_such_layer"),
            ({f"{path}:7": np.copy}, 1, path),
            ({path: lambda values: values[:1, :1]}, 1, path),
            ({}, 1000, "1000"),
        ]
        with self.unchanged(model):
            for changes, target, argument in cases:
                with refused(LayerscopeError, naming=argument):
                    self.scores(model, target, changes)

    @where_offered("scores")
    def test_a_change_that_raises_leaves_the_model_as_it_was(self) -> None:
        model = self.network()
        self.backend().layers(model, self.batch())

        def change(values: np.ndarray) -> Any:
            raise ZeroDivisionError("raised by the suite")

        with self.unchanged(model), refused(Exception, naming="raised by the suite"):
            self.scores(model, 1, {f"{self.calls()['conv2']}:0": change})


def _zeroed(values: np.ndarray, axes: str, channel: int) -> np.ndarray:
    """A copy of a layer's values with one channel set to 0."""
    changed = np.moveaxis(values.copy(), axes.index("c"), 0)
    changed[channel] = 0
    return np.moveaxis(changed, 0, axes.index("c"))
