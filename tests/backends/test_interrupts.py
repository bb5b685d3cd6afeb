"""Ctrl-C at any moment of a capture or of a method by scores, on every backend: the model and all else as found."""

import contextlib
import gc
import inspect
import random
import sys
import warnings

import numpy as np
import pytest

import layerscope as ls
from helpers.score_networks import in_jax, in_keras, in_onnx, in_tflite, in_torch
from layerscope.core.progress import progress

MAKERS = {"torch": in_torch, "keras": in_keras, "jax": in_jax, "onnx": in_onnx, "tflite": in_tflite}
OTHERS = sorted(set(MAKERS) - {"keras"})
POINTS = 6  # moments at which each is interrupted
MOMENTS = 200  # at which modes are looked at
UNSEEN = ("_handle", "_xla_gc_callback")  # called by C++ of TensorFlow and JAX that looks at no errors


@pytest.fixture(autouse=True)
def gradients_as_before():
    """An interrupt leaves no mode of torch behind, for which every later test would pay."""
    yield
    torch = sys.modules.get("torch")
    if torch is not None and not torch.is_grad_enabled():
        torch.set_grad_enabled(True)
        pytest.fail("gradients are switched off")


class Interrupt(KeyboardInterrupt):
    """Ours, and nobody else's."""


@pytest.fixture(scope="module", params=[pytest.param("keras", marks=pytest.mark.each_framework), *OTHERS])
def network(request):
    return MAKERS[request.param]()


def parameters(model):
    """The numbers and settings of a model of any framework."""
    if hasattr(model, "state_dict"):
        hooks = [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules()]
        return [*(value.numpy().tobytes() for value in model.state_dict().values()), *hooks, model.training]
    if hasattr(model, "get_weights"):
        return [value.tobytes() for value in model.get_weights()]
    if hasattr(model, "SerializeToString"):
        return model.SerializeToString()
    if isinstance(model, bytes):
        return model
    import jax
    from flax import nnx

    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(nnx.state(model))]


def interrupted(run, at):
    """How many functions a run calls; it is interrupted where it calls number `at`.

    A generator doesn't count: where Python closes one that nobody needs any more, it swallows what is raised. Nor do
    those of `UNSEEN`.
    """
    count = 0

    def trace(frame, event, _):
        nonlocal count
        code = frame.f_code
        if event == "call" and not code.co_flags & inspect.CO_GENERATOR and code.co_name not in UNSEEN:
            count += 1
            if count == at:
                raise Interrupt

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        run()
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize("method", ["capture", "stream", "score_cam", "ablation_cam", "smooth"])
def test_an_interrupt_at_any_moment_leaves_all_as_it_was(network, method):
    scope, own = network
    images = own(np.random.default_rng(0).normal(size=(2, 3, 8, 8)).astype(np.float32))
    fm = scope.capture(images, "relu")["relu"]
    run = {
        "capture": lambda: scope.capture(images, "relu", batch=1)["relu"].values,
        "stream": lambda: np.concatenate([maps["relu"].values for maps in scope.stream(images, "relu", batch=1)]),
        "score_cam": lambda: ls.score_cam(fm, 3, batch=3).values,
        "ablation_cam": lambda: ls.ablation_cam(fm, 3, batch=3).values,
        "smooth": lambda: ls.eigen_cam(fm, smooth=3).values,
    }[method]
    expected = run()
    random.seed(5)
    np.random.seed(5)
    before = parameters(scope.model), random.getstate(), np.random.get_state()[1].tolist()
    total, stopped = interrupted(run, -1), 0
    for at in np.linspace(1, 0.9 * total, POINTS).astype(int):
        try:
            assert interrupted(run, at) < at, "swallowed; only a run that was shorter this time may end"
        except Interrupt:
            stopped += 1
        assert (parameters(scope.model), random.getstate(), np.random.get_state()[1].tolist()) == before, at
        np.testing.assert_allclose(run(), expected, rtol=1e-5, atol=1e-6, err_msg=str(at))
    assert stopped > POINTS // 2


def modes():
    """What frameworks and layerscope keep switched in this process and this thread."""
    found = {"warnings": list(warnings.filters), "garbage": gc.isenabled()}
    if (torch := sys.modules.get("torch")) is not None:
        stack = torch.overrides._get_current_function_mode_stack()
        found |= {
            "gradients": torch.is_grad_enabled(),
            "inference": torch.is_inference_mode_enabled(),
            "torch": len(stack),
        }
        found["drawn by torch"] = torch.get_rng_state().tolist()
        found["compiled"] = getattr(sys.modules.get("torch._dynamo.eval_frame"), "_stance", None)
    if "jax" in sys.modules:
        import jax

        config, core = sys.modules["jax._src.config"], sys.modules["jax._src.core"]
        found |= {"jax": config.trace_context(), "tracing": core.trace_ctx.trace}
        found["arrays"] = [vars(type(jax.numpy.zeros(())))[name] for name in ("_value", "item")]
    if "keras" in sys.modules:
        from keras.src.backend.common import global_state

        from layerscope.backends.keras import engines

        state = vars(global_state.GLOBAL_STATE_TRACKER)
        found["keras"] = [state.get(name) for name in ("current_call_ctx", "stateless_scope", "symbolic_scope")]
        found["scopes"] = list(state.get("name_scope_stack") or ())
        found["methods"] = [vars(owner)[name] for owner, name, _ in engines.engine().watched_methods()]
    if "keras" in sys.modules and engines.keras.backend.backend() == "tensorflow":
        from tensorflow.python import pywrap_tfe
        from tensorflow.python.eager import context

        eager = context.context()
        found |= {"scope": eager.scope_name, "device": eager.device_name, "seeds": getattr(eager, "_rng", None)}
        found |= {"eager": eager.executing_eagerly(), "tapes": pywrap_tfe.TFE_Py_TapeSetIsEmpty()}
    return found


@pytest.mark.parametrize("target", [None, 3], ids=["capture", "gradient"])
def test_nothing_stays_switched_wherever_a_capture_is_interrupted(network, target):
    scope, own = network
    if target is not None and not scope.backend.gradients:
        pytest.skip("there are no gradients")
    images = own(np.zeros((1, 3, 8, 8), np.float32))

    def run():
        scope.capture(images, "relu", target=target)

    run()
    total, before = interrupted(run, -1), modes()
    for at in range(1, total, max(1, total // MOMENTS)):
        with contextlib.suppress(Interrupt, ls.ModelNotReadable):  # a bare `except` of Keras turns one into a warning
            interrupted(run, at)
        assert modes() == before, at
    run()


@pytest.mark.parametrize("method", [ls.score_cam, ls.ablation_cam, lambda fm, _: ls.eigen_cam(fm, smooth=3, flip=True)])
def test_an_interrupt_between_two_steps_runs_the_model_no_more(network, method):
    scope, own = network
    images = own(np.random.default_rng(0).normal(size=(1, 3, 8, 8)).astype(np.float32))
    fm = scope.capture(images, "relu")["relu"]
    events = []

    def observer(event):
        events.append(event)
        if event.what != "images" and event.done:
            raise Interrupt

    with pytest.raises(Interrupt), progress(observer):
        method(fm, 3)
    assert len([event for event in events if event.what != "images"]) == 2
