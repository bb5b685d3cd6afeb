"""The weights of convolutions and of the last dense layer, where a backend offers them."""

from __future__ import annotations

from contextlib import suppress

import numpy as np

from ..backends.protocol import Head, Kernel
from .network import Network, where_offered
from .tiny import tiny_parameters


class KernelTests(Network):
    """The weights of convolutions, where a backend gives them."""

    @where_offered("kernel")
    def test_a_kernel_is_the_weights_of_the_convolution(self) -> None:
        model, parameters = self.network(), tiny_parameters()
        self.backend().layers(model, self.batch())
        for name in ("conv1", "conv2"):
            with self.unchanged(model):
                kernel = self.backend().kernel(model, self.paths[name], self.batch())
            assert isinstance(kernel, Kernel)
            assert sorted(kernel.axes) == sorted("oihw")
            assert len(kernel.axes) == kernel.values.ndim
            assert kernel.groups == 1
            assert kernel.values.dtype == np.float32
            self.same(
                kernel.values.transpose([kernel.axes.index(axis) for axis in "oihw"]), parameters[f"{name}.weight"]
            )

    @where_offered("kernel")
    def test_other_layers_have_no_kernel(self) -> None:
        model = self.network()
        for path in (self.calls()["act:0"], self.paths["head"]):
            assert self.backend().kernel(model, path, self.batch()) is None

    @where_offered("kernel")
    def test_asking_for_a_kernel_leaves_a_model_that_fails_as_it_was(self) -> None:
        if not self.can_fail:
            return
        model = self.build(tiny_parameters(), fail=True)
        # A backend that has to run the model gets as far as the failure.
        with self.unchanged(model), suppress(Exception):
            self.backend().kernel(model, self.paths["head"], self.batch())


class HeadTests(Network):
    """The dense layer that runs last, where a backend offers `head`."""

    @where_offered("head")
    def test_the_head_is_the_dense_layer_that_runs_last(self) -> None:
        model, parameters = self.network(), tiny_parameters()
        self.backend().layers(model, self.batch())
        with self.unchanged(model):
            head = self.backend().head(model, self.batch())
        assert isinstance(head, Head)
        assert head.activation == ""
        assert head.weights.dtype == np.float32
        self.same(head.weights, parameters["head.weight"])
        assert head.bias is not None
        self.same(head.bias, parameters["head.bias"])
        assert head.path == self.paths["head"]
        # By its path, it is the layer whose output these weights explain.
        self.same(self.values(model, head.path), self.expected()["head"])

    @where_offered("head")
    def test_asking_for_the_head_leaves_a_model_that_fails_as_it_was(self) -> None:
        if not self.can_fail:
            return
        model = self.build(tiny_parameters(), fail=True)
        # A backend that has to run the model gets as far as the failure.
        with self.unchanged(model), suppress(Exception):
            self.backend().head(model, self.batch())
