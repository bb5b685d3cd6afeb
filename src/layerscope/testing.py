"""For tests: `TinyBackend`, a whole model in numpy, and `BackendTests`, the suite that every backend passes.

```python
class TestMine(BackendTests):
    def backend(self):
        return MyBackend()

    def build(self, parameters, fail=False):
        return ...  # the network drawn below, with these weights

    paths = {"conv1": "conv1", "act": "act", "conv2": "conv2", "head": "head"}
```

The network of the suite, on images of 8 × 8 with 3 channels:

    conv1 3→4, 3×3, padding 1 ─ act ─ conv2 4→5, 3×3, stride 2, no padding ─ act ─ mean over the pixels ─ head 5→6
          [4, 8, 8]           :0 (ReLU, one layer, called twice)  [5, 3, 3]  :1                           [6]
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from .axes import channels_last
from .backends import Backend, Captured
from .errors import GradientsUnavailable, LayerNotCalled, LayerNotFound
from .layer import Layer
from .tiny import Step, TinyBackend, TinyModel, convolution, tiny_model, tiny_parameters

__all__ = [
    "BackendTests",
    "Captured",
    "Step",
    "TinyBackend",
    "TinyModel",
    "convolution",
    "tiny_model",
    "tiny_parameters",
]


class BackendTests:
    """The behaviour that every backend owes the core; subclass it in a pytest module, and say how to build the network.

    `paths` gives the backend's own path for each layer of the network (`"spare"`: one that never runs, where the
    framework can hold such a layer). `axes` are the model's input axes. `can_fail` says whether `build(fail=True)` gives a
    model that raises between `conv1` and `conv2`. Values are compared with numpy's own sums.
    """

    paths: ClassVar[Mapping[str, str]] = {"conv1": "conv1", "act": "act", "conv2": "conv2", "head": "head"}
    axes: ClassVar[str] = "bchw"
    can_fail: ClassVar[bool] = True
    shared: ClassVar[bool] = True
    tolerance: ClassVar[float] = 2e-5

    def backend(self) -> Any:
        """The backend under test."""
        raise NotImplementedError

    def build(self, parameters: Mapping[str, np.ndarray], fail: bool = False) -> Any:
        """The network with these weights; with `fail`, one that raises an error between `conv1` and `conv2`."""
        raise NotImplementedError

    def state(self, model: Any) -> bytes:
        """Everything that must be the same after a capture: weights, flags, statistics."""
        raise NotImplementedError

    def ran(self, model: Any) -> Sequence[str] | None:
        """The names of the layers that have run so far, where the model can tell, else `None`."""
        return None

    # What the suite works with.

    def images(self, count: int = 2) -> np.ndarray:
        return np.random.default_rng(7).standard_normal((count, 3, 8, 8)).astype(np.float32)

    def batch(self, count: int = 2) -> np.ndarray:
        return np.ascontiguousarray(self.images(count).transpose(["bchw".index(each) for each in self.axes]))

    def expected(self, count: int = 2) -> dict[str, np.ndarray]:
        """Each call's output in numpy, as `[image, *spatial, channel]`."""
        value, named = self.images(count), {}
        for name, step in zip(("conv1", "act:0", "conv2", "act:1", "head"), tiny_model().steps, strict=True):
            value = step.run(value.copy())
            named[name] = channels_last(value, step.axes)
        return named

    def calls(self) -> dict[str, str]:
        """The suite's name of each call -> the path that asks for it."""
        act = self.paths["act"]
        first, second = (f"{act}:0", f"{act}:1") if self.shared else act.split("|")
        return {**{name: self.paths[name] for name in ("conv1", "conv2", "head")}, "act:0": first, "act:1": second}

    def table(self, model: Any) -> dict[str, Layer]:
        rows = self.backend().layers(model, self.batch())
        return {each.path: each for row in rows for each in (row, *row.per_call)}

    def read(self, captured: Mapping[str, Captured], table: Mapping[str, Layer]) -> dict[str, np.ndarray]:
        return {path: channels_last(each.values, table[path].axes) for path, each in captured.items()}

    def same(self, found: np.ndarray, wanted: np.ndarray) -> None:
        np.testing.assert_allclose(found, wanted, rtol=self.tolerance, atol=self.tolerance)

    # The suite.

    def test_it_is_a_backend(self) -> None:
        assert isinstance(self.backend(), Backend)

    def test_it_owns_its_models_only(self) -> None:
        assert self.backend().owns(self.build(tiny_parameters()))
        for other in (None, np.zeros(3), "model", object()):
            assert not self.backend().owns(other)

    def test_rows_are_numbered_and_in_execution_order(self) -> None:
        rows = self.backend().layers(self.build(tiny_parameters()), self.batch())
        assert [each.index for each in rows] == list(range(len(rows)))
        paths = [each.path for each in rows]
        order = [paths.index(self.paths[name]) for name in ("conv1", "conv2", "head")]
        assert order == sorted(order)
        assert len(set(paths)) == len(paths)
        ran = [bool(each.calls) for each in rows]
        assert ran == sorted(ran, reverse=True), "layers that never ran come last"

    def test_calls_know_their_order(self) -> None:
        table, calls = self.table(self.build(tiny_parameters())), self.calls()
        steps = [table[calls[name]].step for name in ("conv1", "act:0", "conv2", "act:1", "head")]
        assert -1 not in steps
        assert steps == sorted(set(steps))

    def test_shapes_and_axes_are_those_of_one_image(self) -> None:
        table = self.table(self.build(tiny_parameters()))
        for name, path in self.calls().items():
            layer = table[path]
            wanted = self.expected(1)[name].shape
            assert layer.shape is not None
            assert channels_last(np.zeros(layer.shape), layer.axes).shape == wanted
            assert layer.channels == wanted[-1]

    def test_a_shared_layer_has_calls(self) -> None:
        if not self.shared:
            return
        act = self.table(self.build(tiny_parameters()))[self.paths["act"]]
        assert act.calls == 2
        assert [each.path for each in act.per_call] == [f"{self.paths['act']}:0", f"{self.paths['act']}:1"]

    def test_values_are_those_of_the_network(self) -> None:
        model = self.build(tiny_parameters())
        table, calls = self.table(model), self.calls()
        found = self.read(self.backend().capture(model, self.batch(), list(calls.values())), table)
        assert set(found) == set(calls.values())
        for name, path in calls.items():
            self.same(found[path], self.expected()[name])
        assert found[calls["conv1"]].min() < 0, "a later in-place ReLU must not reach the capture"

    def test_one_layer_alone_gives_the_same(self) -> None:
        model = self.build(tiny_parameters())
        together = self.backend().capture(model, self.batch(), list(self.calls().values()))
        for path in self.calls().values():
            alone = self.backend().capture(model, self.batch(), [path])
            assert list(alone) == [path]
            self.same(alone[path].values, together[path].values)

    def test_a_plain_path_gives_every_call(self) -> None:
        if not self.shared:
            return
        act = self.paths["act"]
        found = self.backend().capture(self.build(tiny_parameters()), self.batch(), [act])
        assert list(found) == [f"{act}:0", f"{act}:1"]

    def test_a_single_call_can_be_asked_for_by_number(self) -> None:
        path = self.paths["conv1"]
        found = self.backend().capture(self.build(tiny_parameters()), self.batch(), [f"{path}:0"])
        assert list(found) == [f"{path}:0"]

    def test_results_come_in_execution_order(self) -> None:
        calls = self.calls()
        order = [calls[name] for name in ("conv1", "act:0", "conv2", "act:1", "head")]
        found = self.backend().capture(self.build(tiny_parameters()), self.batch(), order[::-1])
        assert list(found) == order

    def test_images_do_not_mix(self) -> None:
        model, path = self.build(tiny_parameters()), self.paths["conv2"]
        table = self.table(model)
        found = self.read(self.backend().capture(model, self.batch(3), [path]), table)[path]
        assert found.shape[0] == 3
        self.same(found, self.expected(3)["conv2"])

    def test_an_unknown_layer_is_named_with_near_ones(self) -> None:
        path = self.paths["conv1"]
        wrong = path[:-2] + path[-1]
        try:
            self.backend().capture(self.build(tiny_parameters()), self.batch(), [wrong])
        except LayerNotFound as error:
            assert repr(path) in str(error)
        else:
            raise AssertionError("a layer that doesn't exist was accepted")

    def test_a_layer_that_never_ran_is_an_error(self) -> None:
        if "spare" not in self.paths:
            return
        model, path = self.build(tiny_parameters()), self.paths["spare"]
        assert self.table(model)[path].calls == 0
        assert self.table(model)[path].note
        try:
            self.backend().capture(model, self.batch(), [path])
        except LayerNotCalled as error:
            assert path in str(error)
        else:
            raise AssertionError("a layer that never ran was accepted")

    def test_later_layers_do_not_run(self) -> None:
        model = self.build(tiny_parameters())
        if self.ran(model) is None:
            return
        before = len(self.ran(model) or ())
        self.backend().capture(model, self.batch(), [f"{self.paths['conv1']}:0"])
        after = list(self.ran(model) or ())[before:]
        assert "conv1" in after
        assert "head" not in after

    def test_the_model_is_left_as_it_was(self) -> None:
        model = self.build(tiny_parameters())
        self.backend().layers(model, self.batch())
        before, state = self.state(model), _random_state()
        self.backend().layers(model, self.batch())
        self.backend().capture(model, self.batch(), list(self.calls().values()))
        self.backend().capture(model, self.batch(), [self.paths["conv1"] + ":0"])
        assert self.state(model) == before
        assert _random_state() == state

    def test_the_model_is_left_as_it_was_when_it_raises(self) -> None:
        if not self.can_fail:
            return
        good, model = self.build(tiny_parameters()), self.build(tiny_parameters(), fail=True)
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

    def test_the_batch_is_not_written_to(self) -> None:
        batch = self.batch()
        before = batch.copy()
        self.backend().capture(self.build(tiny_parameters()), batch, list(self.calls().values()))
        assert np.array_equal(batch, before)

    def test_results_are_copies(self) -> None:
        model, path = self.build(tiny_parameters()), self.paths["conv1"]
        first = self.backend().capture(model, self.batch(), [path])[path].values
        kept = first.copy()
        second = self.backend().capture(model, self.batch(), [path])[path].values
        assert not np.shares_memory(first, second)
        assert np.array_equal(first, kept)
        assert np.array_equal(second, kept), "two runs give the same"

    def test_gradients_are_those_of_the_network(self) -> None:
        if not self.backend().gradients:
            return
        model, calls = self.build(tiny_parameters()), self.calls()
        table = self.table(model)
        before = self.state(model)
        found = self.backend().capture(model, self.batch(), list(calls.values()), 2)
        assert self.state(model) == before
        values, wanted = self.expected(), self.gradients(2)
        for name, path in calls.items():
            gradient = found[path].gradient
            assert gradient is not None
            self.same(channels_last(found[path].values, table[path].axes), values[name])
            self.same(channels_last(gradient, table[path].axes), wanted[name])

    def gradients(self, target: int) -> dict[str, np.ndarray]:
        """The derivative of one class score with respect to each call's output, by the chain rule in numpy."""
        given, values = tiny_parameters(), self.expected()
        head = np.zeros_like(values["head"])
        head[:, target] = 1
        last = np.broadcast_to(given["head.weight"][target] / values["act:1"][0, ..., 0].size, values["act:1"].shape)
        conv2 = last * (values["conv2"] > 0)
        act = np.zeros_like(values["act:0"])
        for y, x in np.ndindex(3, 3):
            rows, columns = conv2.shape[1], conv2.shape[2]
            act[:, y : y + 2 * rows : 2, x : x + 2 * columns : 2] += conv2 @ given["conv2.weight"][:, :, y, x]
        return {"head": head, "act:1": last, "conv2": conv2, "act:0": act, "conv1": act * (values["conv1"] > 0)}

    def test_gradients_are_given_or_refused(self) -> None:
        if self.backend().gradients:
            return
        try:
            self.backend().capture(self.build(tiny_parameters()), self.batch(), [self.paths["conv1"]], 0)
        except GradientsUnavailable:
            return
        raise AssertionError("a target was ignored")


def _random_state() -> str:
    return hashlib.sha256(repr((random.getstate(), np.random.get_state())).encode()).hexdigest()
