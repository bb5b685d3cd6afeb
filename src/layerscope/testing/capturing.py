"""Values, calls, order and early stop of a capture."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from ..backends.protocol import Pick
from ..backends.registry import adapt
from ..errors import LayerNotCalled, LayerNotFound
from .network import Network, refused
from .tiny import tiny_parameters


class CaptureTests(Network):
    """Values, calls, order and early stop of a capture."""

    def test_values_are_those_of_the_network(self) -> None:
        model = self.network()
        table, calls = self.table(model), self.calls()
        captured = self.read(self.backend().capture(model, self.batch(), list(calls.values())), table)
        assert set(captured) == set(calls.values())
        for name, path in calls.items():
            self.same(captured[path], self.expected()[name])
        assert captured[calls["conv1"]].min() < 0, "a later in-place ReLU must not reach the capture"

    def test_one_layer_alone_gives_the_same(self) -> None:
        model = self.network()
        together = self.backend().capture(model, self.batch(), list(self.calls().values()))
        for path in self.calls().values():
            self.same(self.values(model, path), together[path].values)

    def test_a_plain_path_gives_every_call(self) -> None:
        if not self.shared:
            return
        act = self.paths["act"]
        captured = self.backend().capture(self.network(), self.batch(), [act])
        assert list(captured) == [f"{act}:0", f"{act}:1"]

    def test_a_single_call_can_be_asked_for_by_number(self) -> None:
        path = self.paths["conv1"]
        captured = self.backend().capture(self.network(), self.batch(), [f"{path}:0"])
        assert list(captured) == [f"{path}:0"]

    def test_results_come_in_execution_order(self) -> None:
        calls = self.calls()
        order = [calls[name] for name in ("conv1", "act:0", "conv2", "act:1", "head")]
        captured = self.backend().capture(self.network(), self.batch(), order[::-1])
        assert list(captured) == order

    def test_images_do_not_mix(self) -> None:
        model, path = self.network(), self.paths["conv2"]
        table = self.table(model)
        captured = self.read(self.backend().capture(model, self.batch(3), [path]), table)[path]
        assert captured.shape[0] == 3
        self.same(captured, self.expected(3)["conv2"])

    def test_an_unknown_layer_is_named_with_near_ones(self) -> None:
        path = self.paths["conv1"]
        wrong = path[:-2] + path[-1]
        with refused(LayerNotFound, naming=repr(path)):
            self.values(self.network(), wrong)

    def test_a_layer_that_never_ran_is_an_error(self) -> None:
        if "spare" not in self.paths:
            return
        model, path = self.network(), self.paths["spare"]
        assert self.table(model)[path].calls == 0
        assert self.table(model)[path].note
        with refused(LayerNotCalled, naming=path):
            self.values(model, path)

    def test_later_layers_do_not_run(self) -> None:
        model = self.network()
        if self.ran(model) is None:
            return
        before = len(self.ran(model) or ())
        self.values(model, f"{self.paths['conv1']}:0")
        after = list(self.ran(model) or ())[before:]
        assert "conv1" in after
        assert "head" not in after

    def test_the_batch_is_not_written_to(self) -> None:
        batch = self.batch()
        before = batch.copy()
        self.backend().capture(self.network(), batch, list(self.calls().values()))
        assert np.array_equal(batch, before)

    def test_results_are_copies(self) -> None:
        model, path = self.network(), self.paths["conv1"]
        first = self.values(model, path)
        kept = first.copy()
        second = self.values(model, path)
        assert not np.shares_memory(first, second)
        assert np.array_equal(first, kept)
        assert np.array_equal(second, kept), "two runs give the same"

    def test_batches_of_any_memory_order_and_type_are_read(self) -> None:
        """A read-only array, one whose axes are permuted in memory, one in float64: all give the same values."""
        model, path = self.network(), self.paths["conv2"]
        wanted = self.values(model, path)
        fixed = self.batch()
        fixed.flags.writeable = False
        turned = np.ascontiguousarray(self.batch().transpose(3, 1, 2, 0)).transpose(3, 1, 2, 0)
        for batch in (fixed, turned, self.batch().astype(np.float64)):
            self.same(self.backend().capture(model, batch, [path])[path].values, wanted)

    def test_values_are_real_arrays_of_the_host(self) -> None:
        for output in self.backend().capture(self.network(), self.batch(), list(self.calls().values())).values():
            assert type(output.values) is np.ndarray
            assert output.values.dtype == np.float32

    def test_nothing_asked_twice_comes_twice(self) -> None:
        path = self.paths["conv1"]
        assert list(self.backend().capture(self.network(), self.batch(), [path, path])) == [path]

    def test_two_threads_do_not_mix(self) -> None:
        """Two models at once, each in a thread of its own: nobody sees what the other's layers produce."""
        path = self.paths["conv2"]
        models = [self.build(tiny_parameters(seed)) for seed in (0, 1)]
        wanted = [self.values(model, path) for model in models]
        assert not np.allclose(wanted[0], wanted[1])

        def repeated(model: Any) -> list[np.ndarray]:
            return [self.values(model, path) for _ in range(5)]

        with ThreadPoolExecutor(2) as threads:
            for captures, values in zip(threads.map(repeated, models), wanted, strict=True):
                for output in captures:
                    self.same(output, values)

    def test_picked_channels_are_those_of_the_whole(self) -> None:
        if not adapt(self.backend()).picks:
            return
        model, calls = self.network(), self.calls()
        table = self.table(model)
        whole = self.backend().capture(model, self.batch(), list(calls.values()))
        for numbers in ((1, 2), (3, 0), (2,)):
            picks = {path: Pick(table[path].axes.index("c"), numbers) for path in calls.values()}
            captured = self.backend().capture(model, self.batch(), list(calls.values()), None, picks=picks)
            for path, output in captured.items():
                wanted = np.take(whole[path].values, numbers, picks[path].axis)
                assert np.array_equal(output.values, wanted), (path, numbers)
