"""Gradients of each layer with respect to a target, or a named refusal."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backends.protocol import Pick
from ..backends.registry import adapt
from ..core.axes import channels_last
from ..errors import GradientsUnavailable, LayerscopeError
from .network import Network, refused, where_offered
from .tiny import tiny_parameters


class GradientTests(Network):
    """Gradients of each layer with respect to a target, or a named refusal."""

    @where_offered("gradients")
    def test_gradients_are_those_of_the_network(self) -> None:
        model, calls = self.network(), self.calls()
        table = self.table(model)
        with self.unchanged(model):
            captured = self.backend().capture(model, self.batch(), list(calls.values()), 2)
        values, wanted = self.expected(), self.gradients(2)
        for name, path in calls.items():
            gradient = captured[path].gradient
            assert gradient is not None
            self.same(channels_last(captured[path].values, table[path].axes), values[name])
            self.same(channels_last(gradient, table[path].axes), wanted[name])

    def gradients(self, target: int) -> dict[str, np.ndarray]:
        """The derivative of one class score with respect to each call's output, by the chain rule in numpy."""
        parameters, values = tiny_parameters(), self.expected()
        head = np.zeros_like(values["head"])
        head[:, target] = 1
        last = np.broadcast_to(
            parameters["head.weight"][target] / values["act:1"][0, ..., 0].size, values["act:1"].shape
        )
        conv2 = last * (values["conv2"] > 0)
        act = np.zeros_like(values["act:0"])
        for y, x in np.ndindex(3, 3):
            rows, columns = conv2.shape[1], conv2.shape[2]
            act[:, y : y + 2 * rows : 2, x : x + 2 * columns : 2] += conv2 @ parameters["conv2.weight"][:, :, y, x]
        return {"head": head, "act:1": last, "conv2": conv2, "act:0": act, "conv1": act * (values["conv1"] > 0)}

    def test_gradients_of_picked_channels_are_those_of_the_whole(self) -> None:
        if not self.offers("gradients") or not adapt(self.backend()).picks:
            return
        model, path = self.network(), self.paths["conv2"]
        pick = Pick(self.table(model)[path].axes.index("c"), (3, 0))
        whole = self.backend().capture(model, self.batch(), [path], 2)[path]
        captured = self.backend().capture(model, self.batch(), [path], 2, picks={path: pick})[path]
        for part, of in ((captured.values, whole.values), (captured.gradient, whole.gradient)):
            assert part is not None
            assert of is not None
            self.same(part, np.take(of, pick.numbers, pick.axis))

    def test_gradients_are_given_or_refused(self) -> None:
        if self.offers("gradients"):
            return
        with refused(GradientsUnavailable):
            self.gradient(self.network(), 0)

    def gradient(self, model: Any, target: Any) -> np.ndarray:
        """The gradient of `conv1`, which must be there."""
        path = self.paths["conv1"]
        gradient = self.backend().capture(model, self.batch(), [path], target)[path].gradient
        assert gradient is not None
        return np.asarray(gradient)

    @where_offered("gradients")
    def test_a_function_as_target_equals_the_class_it_picks(self) -> None:
        model = self.network()
        # One number, written so that every framework's tensors take it.
        self.same(self.gradient(model, lambda out: out[0, 2] + out[1, 2]), self.gradient(model, 2))

    @where_offered("gradients")
    def test_a_function_may_give_one_number_for_each_image(self) -> None:
        model = self.network()
        self.same(self.gradient(model, lambda out: out[:, 2]), self.gradient(model, 2))

    @where_offered("gradients")
    def test_a_target_that_does_not_exist_is_a_named_error(self) -> None:
        model = self.network()
        self.backend().layers(model, self.batch())
        with self.unchanged(model):
            for target in (6, -7, 1000):
                with refused(LayerscopeError, naming=str(target)):
                    self.gradient(model, target)

    @where_offered("gradients")
    def test_a_target_that_raises_leaves_the_model_as_it_was(self) -> None:
        model, path = self.network(), self.paths["conv1"]
        self.backend().layers(model, self.batch())
        wanted = self.values(model, path)

        def wrong(out: Any) -> Any:
            raise RuntimeError("the target failed")

        # Any class of error: a framework may wrap what the target raises.
        with self.unchanged(model), refused(Exception, naming="the target failed"):
            self.gradient(model, wrong)
        self.same(self.values(model, path), wanted)

    @where_offered("gradients")
    def test_a_target_that_is_no_number_is_a_named_error(self) -> None:
        with refused(LayerscopeError):
            self.gradient(self.network(), lambda out: out)
