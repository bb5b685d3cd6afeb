"""The conformance suite on the backend without a framework, and proof that it notices a wrong one."""

import numpy as np
import pytest

from layerscope.testing import BackendTests, Captured, TinyBackend, tiny_model


class TestTiny(BackendTests):
    paths = {"conv1": "conv1", "act": "act", "conv2": "conv2", "head": "head", "spare": "spare"}

    def backend(self):
        return TinyBackend()

    def build(self, parameters, fail=False):
        return tiny_model(parameters, fail)

    def state(self, model):
        return repr([each.path for each in model.steps]).encode()

    def ran(self, model):
        return model.ran


class Views(TinyBackend):
    """What a hook without a copy gives: the next layer writes into it."""

    def capture(self, model, batch, paths, target=None):
        found = super().capture(model, batch, paths, target)
        return {path: Captured(np.maximum(each.values, 0)) for path, each in found.items()}


class Swapped(TinyBackend):
    """Rows of the batch in another order."""

    def capture(self, model, batch, paths, target=None):
        found = super().capture(model, batch, paths, target)
        return {path: Captured(each.values[::-1]) for path, each in found.items()}


class Unordered(TinyBackend):
    def capture(self, model, batch, paths, target=None):
        found = super().capture(model, batch, paths, target)
        return {path: found[path] for path in paths}


class Writing(TinyBackend):
    def capture(self, model, batch, paths, target=None):
        batch[:] = 0
        return super().capture(model, batch, paths, target)


@pytest.mark.parametrize(
    ("wrong", "test"),
    [
        (Views, "test_values_are_those_of_the_network"),
        (Swapped, "test_images_do_not_mix"),
        (Unordered, "test_results_come_in_execution_order"),
        (Writing, "test_the_batch_is_not_written_to"),
    ],
)
def test_the_suite_notices_a_wrong_backend(wrong, test):
    suite = TestTiny()
    suite.backend = wrong
    with pytest.raises(AssertionError):
        getattr(suite, test)()
