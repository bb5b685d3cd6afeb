"""The weights of convolutions and of the last dense layer, where a backend offers them."""

from __future__ import annotations

import contextlib

import numpy as np

from ..backends.protocol import Head, Kernel
from .network import Network, random_state
from .tiny import tiny_parameters


class KernelTests(Network):
    """The weights of convolutions, where a backend gives them."""

    def test_a_kernel_is_the_weights_of_the_convolution(self) -> None:
        if not self.offers("kernel"):
            return
        model, parameters = self.network(), tiny_parameters()
        self.backend().layers(model, self.batch())
        before = self.state(model)
        for name in ("conv1", "conv2"):
            kernel = self.backend().kernel(model, self.paths[name], self.batch())
            assert isinstance(kernel, Kernel)
            assert sorted(kernel.axes) == sorted("oihw")
            assert len(kernel.axes) == kernel.values.ndim
            assert kernel.groups == 1
            assert kernel.values.dtype == np.float32
            self.same(
                kernel.values.transpose([kernel.axes.index(axis) for axis in "oihw"]), parameters[f"{name}.weight"]
            )
        assert self.state(model) == before

    def test_other_layers_have_no_kernel(self) -> None:
        if not self.offers("kernel"):
            return
        model = self.network()
        for path in (self.calls()["act:0"], self.paths["head"]):
            assert self.backend().kernel(model, path, self.batch()) is None

    def test_asking_for_a_kernel_leaves_a_model_that_fails_as_it_was(self) -> None:
        if not self.offers("kernel") or not self.can_fail:
            return
        model = self.build(tiny_parameters(), fail=True)
        before, random_before = self.state(model), random_state()
        # A backend that has to run the model gets as far as the failure.
        with contextlib.suppress(Exception):
            self.backend().kernel(model, self.paths["head"], self.batch())
        assert self.state(model) == before
        assert random_state() == random_before


class HeadTests(Network):
    """The dense layer that runs last, where a backend offers `head`."""

    def test_the_head_is_the_dense_layer_that_runs_last(self) -> None:
        if not self.offers("head"):
            return
        model, parameters = self.network(), tiny_parameters()
        self.backend().layers(model, self.batch())
        before = self.state(model)
        head = self.backend().head(model, self.batch())
        assert isinstance(head, Head)
        assert head.activation == ""
        assert head.weights.dtype == np.float32
        self.same(head.weights, parameters["head.weight"])
        assert head.bias is not None
        self.same(head.bias, parameters["head.bias"])
        assert self.state(model) == before
        assert head.path == self.paths["head"]
        # By its path, it is the layer whose output these weights explain.
        captured = self.backend().capture(model, self.batch(), [head.path])[head.path].values
        self.same(captured, self.expected()["head"])

    def test_asking_for_the_head_leaves_a_model_that_fails_as_it_was(self) -> None:
        if not self.offers("head") or not self.can_fail:
            return
        model = self.build(tiny_parameters(), fail=True)
        before, random_before = self.state(model), random_state()
        # A backend that has to run the model gets as far as the failure.
        with contextlib.suppress(Exception):
            self.backend().head(model, self.batch())
        assert self.state(model) == before
        assert random_state() == random_before
