"""Whose fault an error is: only what the model raises is called a failed forward pass."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import layerscope as ls
from layerscope.backends.common.fault import call_model, own_fault
from layerscope.backends.common.run import first_input
from layerscope.scope.target import resolve_target
from layerscope.testing import TinyBackend, tiny_model

BATCH = np.zeros((1, 3, 8, 8), np.float32)


def fail(*_, **__):
    return [][1]


def error_of(call):
    with pytest.raises((IndexError, RuntimeError)) as raised:
        call()
    return raised.value


def test_what_comes_out_of_a_model_is_the_models():
    assert own_fault(error_of(lambda: call_model(fail))) is None


def test_what_layerscope_raises_while_a_model_runs_is_its_own():
    place = own_fault(error_of(lambda: call_model(lambda: first_input([[]]))))
    assert place is not None
    assert place[0] == "backends/common/run.py"


def test_an_error_that_a_framework_makes_of_ours_is_ours():
    def framework():
        try:
            first_input([[]])
        except IndexError as error:
            raise RuntimeError("node 3 failed") from error

    assert own_fault(error_of(lambda: call_model(framework))) is not None


class OfAnotherPackage(TinyBackend):
    def layers(self, model, batch):
        return fail()


def test_a_backend_of_another_package_is_no_part_of_layerscope():
    with pytest.raises(ls.ModelNotReadable):
        ls.open(tiny_model(), backend=OfAnotherPackage(), preprocess=None).layers(BATCH)


def test_a_backend_that_uses_layerscope_wrongly_is_told_where():
    class Wrong(TinyBackend):
        def layers(self, model, batch):
            return first_input([[]])

    with pytest.raises(ls.InternalError) as raised:
        ls.open(tiny_model(), backend=Wrong(), preprocess=None).layers(BATCH)
    assert isinstance(raised.value.__cause__, IndexError)


def test_a_target_function_that_fails_is_not_the_models_fault():
    scope = ls.open(tiny_model(), backend=TinyBackend(), preprocess=None)
    target = resolve_target(scope, fail)
    with pytest.raises(ls.BadOption) as raised:
        target(BATCH)
    assert isinstance(raised.value.__cause__, IndexError)
    assert resolve_target(scope, target) is target
    assert pickle.loads(pickle.dumps(target)) == target
