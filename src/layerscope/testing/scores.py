"""A target's number for each image, while layers return other values."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import LayerscopeError
from .network import Network
from .tiny import tiny_model


class ScoreTests(Network):
    """Scores while layers return other values, where a backend offers `scores`."""

    def test_scores_are_those_of_the_output(self) -> None:
        if not self.offers("scores"):
            return
        model = self.network()
        before = self.state(model)
        scores = self.backend().scores(model, self.batch(), 3, {})
        self.same(np.asarray(scores), self.expected()["head"][:, 3])
        assert self.state(model) == before

    def test_a_layer_returns_what_the_change_says(self) -> None:
        if not self.offers("scores"):
            return
        model = self.network()
        path = self.calls()["conv2"]
        axes = self.table(model)[path].axes
        before, received = self.state(model), []

        def change(values: np.ndarray) -> np.ndarray:
            received.append(values.copy())
            changed = np.moveaxis(values.copy(), axes.index("c"), 0)
            changed[2] = 0
            return np.moveaxis(changed, 0, axes.index("c"))

        scores = self.backend().scores(model, self.batch(), 1, {f"{path}:0": change})
        self.same(np.asarray(scores), self._without(2, "conv2")[:, 1])
        assert len(received) == 1, "a change is asked once for each call"
        self.same(np.moveaxis(received[0], axes.index("c"), -1).reshape(-1), self._flat(axes))
        assert self.state(model) == before
        self.same(np.asarray(self.backend().scores(model, self.batch(), 1, {})), self.expected()["head"][:, 1])

    def test_one_call_is_changed_and_the_plain_path_means_all(self) -> None:
        if not self.offers("scores"):
            return
        model, calls = self.network(), self.calls()
        table = self.table(model)

        def change(values: np.ndarray, path: str) -> np.ndarray:
            changed = np.moveaxis(values.copy(), table[path].axes.index("c"), 0)
            changed[1] = 0
            return np.moveaxis(changed, 0, table[path].axes.index("c"))

        first, second = calls["act:0"], calls["act:1"]
        cases: list[tuple[dict[str, Any], tuple[str, ...]]] = [
            ({first: lambda values: change(values, first)}, ("act:0",)),
            ({second: lambda values: change(values, second)}, ("act:1",)),
            # In the order of the run, whatever the order here.
            (
                {second: lambda values: change(values, second), first: lambda values: change(values, first)},
                ("act:0", "act:1"),
            ),
        ]
        if self.shared:
            plain = self.paths["act"]
            cases.append(({plain: lambda values: change(values, first)}, ("act:0", "act:1")))
        for changes, names in cases:
            scores = self.backend().scores(model, self.batch(), 1, changes)
            self.same(np.asarray(scores), self._without(1, *names)[:, 1])

    def test_a_function_as_target_gives_each_image_its_number(self) -> None:
        if not self.offers("scores"):
            return
        model = self.network()
        cases: list[tuple[Any, int]] = [
            (lambda out: out[:, 3] * 2, 2),
            (lambda out: out[0, 3] * 2, 2),
            # A number of Python's own, where there is one image.
            (lambda out: float(out[0, 3]) * 2, 1),
        ]
        for target, images in cases:
            scores = self.backend().scores(model, self.batch(images), target, {})
            self.same(np.asarray(scores), self.expected(images)["head"][:, 3] * 2)

    def test_what_can_not_be_changed_is_named(self) -> None:
        if not self.offers("scores"):
            return
        model, path = self.network(), self.calls()["conv2"]
        self.backend().layers(model, self.batch())
        before = self.state(model)
        for changes, target, argument in (
            ({"no_such_layer": np.copy}, 1, "no_such_layer"),
            ({f"{path}:7": np.copy}, 1, path),
            ({path: lambda values: values[:1, :1]}, 1, path),
            ({}, 1000, "1000"),
        ):
            try:
                self.backend().scores(model, self.batch(), target, changes)
            except LayerscopeError as error:
                assert argument in str(error)
            else:
                raise AssertionError(f"{argument} was accepted")
        assert self.state(model) == before

    def test_a_change_that_raises_leaves_the_model_as_it_was(self) -> None:
        if not self.offers("scores"):
            return
        model = self.network()
        self.backend().layers(model, self.batch())
        before = self.state(model)

        def change(values: np.ndarray) -> Any:
            raise ZeroDivisionError("raised by the suite")

        try:
            self.backend().scores(model, self.batch(), 1, {f"{self.calls()['conv2']}:0": change})
        except Exception as error:
            assert "raised by the suite" in f"{error} {error.__cause__}"
        else:
            raise AssertionError("the change's own error got lost")
        assert self.state(model) == before

    def _without(self, channel: int, *names: str) -> np.ndarray:
        """The head's output with one channel of these calls set to 0."""
        value = self.images()
        for name, step in zip(("conv1", "act:0", "conv2", "act:1", "head"), tiny_model().steps, strict=True):
            value = step.run(value.copy())
            if name in names:
                value[:, channel] = 0
        return value

    def _flat(self, axes: str) -> np.ndarray:
        """What `conv2` gives, in the order of the layer's axes with the channels last."""
        values = self.expected()["conv2"]
        return values.transpose(["bhwc".index(axis) for axis in axes if axis != "c"] + [3]).reshape(-1)
