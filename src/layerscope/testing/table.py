"""What the table of layers says, before anything is captured."""

from __future__ import annotations

import numpy as np

from ..backends.protocol import Backend
from ..backends.registry import adapt
from ..core.axes import channels_last
from .network import Network


class TableTests(Network):
    """What the table of layers says, before anything is captured."""

    def test_it_is_a_backend(self) -> None:
        assert isinstance(adapt(self.backend()), Backend)

    def test_it_owns_its_models_only(self) -> None:
        assert self.backend().owns(self.network())
        for other in (None, np.zeros(3), "model", object()):
            assert not self.backend().owns(other)

    def test_rows_are_numbered_and_in_execution_order(self) -> None:
        rows = self.backend().layers(self.network(), self.batch())
        assert [layer.index for layer in rows] == list(range(len(rows)))
        paths = [layer.path for layer in rows]
        order = [paths.index(self.paths[name]) for name in ("conv1", "conv2", "head")]
        assert order == sorted(order)
        assert len(set(paths)) == len(paths)
        ran = [bool(layer.calls) for layer in rows]
        assert ran == sorted(ran, reverse=True), "layers that never ran come last"

    def test_calls_know_their_order(self) -> None:
        table, calls = self.table(self.network()), self.calls()
        steps = [table[calls[name]].step for name in ("conv1", "act:0", "conv2", "act:1", "head")]
        assert -1 not in steps
        assert steps == sorted(set(steps))

    def test_shapes_and_axes_are_those_of_one_image(self) -> None:
        table = self.table(self.network())
        for name, path in self.calls().items():
            layer = table[path]
            wanted = self.expected(1)[name].shape
            assert layer.shape is not None
            assert channels_last(np.zeros(layer.shape), layer.axes).shape == wanted
            assert layer.channels == wanted[-1]

    def test_a_shared_layer_has_calls(self) -> None:
        if not self.shared:
            return
        act = self.table(self.network())[self.paths["act"]]
        assert act.calls == 2
        assert [call.path for call in act.per_call] == [f"{self.paths['act']}:0", f"{self.paths['act']}:1"]

    def test_the_table_is_the_same_each_time(self) -> None:
        model = self.network()
        assert self.backend().layers(model, self.batch()) == self.backend().layers(model, self.batch())

    def test_the_table_does_not_depend_on_the_number_of_images(self) -> None:
        model = self.network()
        one, three = (self.backend().layers(model, self.batch(count)) for count in (1, 3))
        assert [(layer.path, layer.shape) for layer in one] == [(layer.path, layer.shape) for layer in three]

    def test_every_layer_that_can_be_shown_gives_what_the_table_says(self) -> None:
        model = self.network()
        calls = [call for row in self.backend().layers(model, self.batch()) for call in row.per_call or (row,)]
        shown = {call.path: call for call in calls if call.showable}
        assert shown
        captured = self.backend().capture(model, self.batch(2), list(shown))
        assert set(captured) == set(shown)
        for path, layer in shown.items():
            assert layer.shape is not None
            assert len(layer.axes) == len(layer.shape) == captured[path].values.ndim, path
            wanted = [2 * size if axis == "b" else size for axis, size in zip(layer.axes, layer.shape, strict=True)]
            assert list(captured[path].values.shape) == wanted, path

    def test_parameters_are_counted_where_they_are_given(self) -> None:
        table, calls = self.table(self.network()), self.calls()
        wanted = {"conv1": 3 * 4 * 9 + 4, "act:0": 0, "conv2": 4 * 5 * 9 + 5, "act:1": 0, "head": 5 * 6 + 6}
        for name, count in wanted.items():
            assert table[calls[name]].parameters in (None, count), name

    def test_receptive_fields_are_those_of_the_windows_where_they_are_given(self) -> None:
        """conv1 sees 3 × 3 pixels around its own; conv2 goes on from it in steps of 2, from the pixel at (1, 1)."""
        table, calls = self.table(self.network()), self.calls()
        wanted = {"conv1": (3, 1, 0), "act:0": (3, 1, 0), "conv2": (5, 2, 1), "act:1": (5, 2, 1)}
        for name, field in wanted.items():
            fields = table[calls[name]].receptive
            if fields is not None and not any(axis.unknown for axis in fields):
                assert [(axis.size, axis.stride, axis.offset) for axis in fields] == [field] * 2, name
        head = table[calls["head"]].receptive
        assert head is None or all(axis.whole or axis.unknown for axis in head), "the mean sees the whole image"
