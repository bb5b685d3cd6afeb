"""Running a PyTorch model so that nobody notices: neither its owner afterwards, nor another thread meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from ...errors import ModelNotReadable
from ...memory import rarely_collected
from ..common.fault import call_model
from ..common.run import EAGERLY, TensorMap, identities, others_inside
from .replica import replicate
from .tree import check_weights, modules_of, weights_of
from .values import is_strided
from .writes import WriteGuard, WritesWeights

Value = TypeVar("Value")


# Models whose weights changed during a run: trained in another thread, or written to by their own forward.
CHANGING: TensorMap[bool] = TensorMap()
# Whether a model writes to its own weights, where that was looked at.
WRITING: TensorMap[bool] = TensorMap()
# Whether a model draws random numbers in evaluation mode, where that was asked.
DRAWS: TensorMap[bool] = TensorMap()
ATTEMPTS = 100  # to copy the weights between two steps of an optimizer
OPTIMIZERS = str(Path(torch.optim.__file__).parent)  # every step of every optimizer goes through its code
# What writes one weight after another, too.
WRITERS = identities(torch.nn.Module._apply, torch.nn.Module.load_state_dict)
# What an optimizer calls in a closure: it runs between two updates.
CLOSURES = identities(torch.nn.Module._call_impl, torch.autograd.backward, torch.autograd.grad)


def run_replica(
    model: torch.nn.Module,
    run: Callable[[torch.nn.Module], Value],
    *,
    gradients: bool = False,
    to_the_end: bool = False,
) -> Value:
    """What `run` returns for a replica of the model in evaluation mode, with gradients only if asked for.

    `to_the_end`: it runs all of the model, with its functions watched. Then it is known whether the model writes to its own
    weights; until then each run is tried under a guard before.

    The user's modules are neither touched nor run. Gradients work inside the caller's `no_grad` and `inference_mode` too.
    The replica shares the model's weights. Where they change meanwhile, `run` is called again, with a copy of the weights as
    they were between two steps; raises `ModelNotReadable` where they never stand still for long enough.
    """
    with ExitStack() as stack:
        if gradients:
            stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.set_grad_enabled(gradients))
        stack.enter_context(EAGERLY())

        def evaluated(replica: torch.nn.Module) -> Value:
            for module in modules_of(replica):
                # Set, not replica.eval(): a model may override train() with effects of its own, or forbid it.
                if module.training:
                    module.training = False
            with _keep_random_state(model, devices, lambda: run(replica)):
                return run(replica)

        weights = weights_of(model)
        check_weights(model, weights)
        devices = sorted({weight.device.index for weight in weights if weight.is_cuda})
        kept = gradients and any(weight.is_inference() for weight in weights)  # autograd takes copies of these alone
        if not (kept or WRITING.get(model) or CHANGING.get(model)):
            shared = _on_shared_weights(model, evaluated, weights, to_the_end=to_the_end)
            if shared is not None:
                return shared[0]
        replica = _copied_between_steps(model)
        before, copied = _versions(model), _versions(replica)
        result = evaluated(replica)
        # A training that has ended needs no more copies; a model that writes its own weights does.
        CHANGING.set(model, _changed(model, before))
        writing = WRITING.get(model) or _shares_memory_with_arrays(model) or _changed(replica, copied)
        if writing or to_the_end:
            WRITING.set(model, bool(writing))
        return result


def _on_shared_weights(
    model: torch.nn.Module,
    evaluated: Callable[[torch.nn.Module], Value],
    weights: list[torch.nn.Parameter],
    *,
    to_the_end: bool,
) -> tuple[Value] | None:
    """What a replica with the model's own weights gives; `None` where these change meanwhile, or may be written to."""
    known = WRITING.get(model) is not None
    if not known and _may_write_unseen(model):
        return None
    before = _versions(model, weights=weights)
    with rarely_collected():
        replica = replicate(model)
    try:
        with nullcontext() if known else WriteGuard(weights):
            result = evaluated(replica)
        if not known and not to_the_end:
            result = evaluated(replicate(model))  # where functions are watched, they may compute by another way
    except WritesWeights:
        WRITING.set(model, True)
        return None
    except Exception:
        if not _changed(model, before):
            raise
        CHANGING.set(model, True)
        return None
    if to_the_end:
        WRITING.set(model, False)
    if not _changed(model, before):
        return (result,)
    CHANGING.set(model, True)
    return None


def _may_write_unseen(model: torch.nn.Module) -> bool:
    """Whether a model may write to its weights where no watch sees it: in TorchScript, or as arrays."""
    scripted = any(isinstance(module, torch.jit.ScriptModule) for module in modules_of(model))
    return scripted or _shares_memory_with_arrays(model)


def _shares_memory_with_arrays(model: torch.nn.Module) -> bool:
    """Whether attributes of a model are arrays of numpy in the memory of its weights."""
    arrays = [
        value for module in modules_of(model) for value in list(module.__dict__.values()) if type(value) is np.ndarray
    ]
    places = {weight.data_ptr() for weight in weights_of(model) if is_strided(weight)} if arrays else set()
    return any(array.__array_interface__["data"][0] in places for array in arrays)


def _copied_between_steps(model: torch.nn.Module) -> torch.nn.Module:
    """A replica with weights of its own, which are those of one moment."""
    for _ in range(ATTEMPTS):
        start = time.perf_counter()
        before = _versions(model)
        replica = replicate(model, own_parameters=True)
        # An update in plain Python stands between two weights for a moment: it is given the time to go on, and be seen.
        time.sleep(min(time.perf_counter() - start, 0.05))
        if not _changed(model, before):
            return replica
    raise ModelNotReadable(
        "the weights of this model change all the time, in another thread: capture between two steps of the training, or from"
        " a copy of the model (copy.deepcopy)"
    )


class Versions(NamedTuple):
    """The weights, what changes with a write to them, and whether other threads lived, so that more was looked at."""

    weights: list[torch.Tensor]
    state: list[Any]
    shared: bool


def _versions(
    model: torch.nn.Module, shared: bool | None = None, weights: Sequence[torch.Tensor] | None = None
) -> Versions | None:
    """The versions of a model's weights; `None` where another thread is in the middle of writing."""
    shared = threading.active_count() > 1 if shared is None else shared
    if others_inside(OPTIMIZERS, codes=WRITERS, ended_by=CLOSURES):
        return None
    weights = list(weights_of(model) if weights is None else weights)
    if not shared:
        return Versions(weights, _counts(weights), shared)
    try:
        # Held before they are looked at: the memory that they have stays theirs, though they move, and is no other's.
        held = [weight.detach() for weight in weights]
        state = _counts(held)
        state += [(id(weight), weight.dtype, weight.device) for weight in weights]
        state += _samples(
            memory for weight, memory in zip(weights, held, strict=True) if type(weight) is torch.nn.Parameter
        )
    except RuntimeError:  # a weight that was replaced meanwhile
        return None
    weights += held
    return Versions(weights, state, shared)


VERSION_OF = torch.Tensor._version.__get__


def _counts(weights: Sequence[torch.Tensor]) -> list[Any]:
    """What changes with a write to each weight, and where its memory is."""
    if {torch.nn.Parameter}.issuperset(map(type, weights)):
        with suppress(RuntimeError, NotImplementedError):  # one without a count, or without memory
            return [*map(VERSION_OF, weights), *map(torch.Tensor.data_ptr, weights)]
    # A weight made in inference mode keeps no count.
    return [
        (0 if weight.is_inference() else weight._version, weight.data_ptr() if is_strided(weight) else 0)
        for weight in weights
    ]


def _samples(weights: Iterable[torch.Tensor]) -> list[Any]:
    """Each weight's memory, and three numbers of it: fused optimizers, and what writes to `weight.data`, leave no count."""
    places: list[Any] = []
    samples: dict[Any, list[torch.Tensor]] = {}
    with torch.no_grad():
        for weight in weights:
            dense = weight.layout is torch.strided and not weight.is_meta
            if dense and weight.is_contiguous() and weight.numel():
                places.append(weight.data_ptr())
                three = weight.as_strided((3,), ((weight.numel() - 1) // 2,))
                samples.setdefault((weight.dtype, weight.device), []).append(three)
        return places + [torch.cat(three).view(torch.uint8).cpu().numpy().tobytes() for three in samples.values()]


def _changed(model: torch.nn.Module, before: Versions | None) -> bool:
    """Whether the weights may have changed since `before`, or are about to."""
    if before is None:
        return True
    # A thread that begins or ends meanwhile, such as a progress bar's, is no change. Nobody but it puts other weights there.
    now = _versions(model, before.shared, None if before.shared else before.weights)
    return now is None or now.state != before.state


@contextmanager
def _keep_random_state(model: torch.nn.Module, devices: list[int], again: Callable[[], Any]) -> Iterator[None]:
    """Put torch's random state back where the model drew from it; what other threads draw meanwhile is theirs.

    `again` repeats the run, to see whether the model draws.
    """
    before = _random_states(devices)
    try:
        yield
    except BaseException:
        if DRAWS.get(model) is not False:
            _restore_random_states(before, devices)
        raise
    changed = any(not torch.equal(old, new) for old, new in zip(before, _random_states(devices), strict=True))
    if changed and _draws(model, again):
        _restore_random_states(before, devices)


def _random_states(devices: list[int]) -> list[torch.Tensor]:
    return [torch.get_rng_state(), *(torch.cuda.get_rng_state(device) for device in devices)]


def _restore_random_states(states: list[torch.Tensor], devices: list[int]) -> None:
    torch.set_rng_state(states[0])
    for device, state in zip(devices, states[1:], strict=True):
        torch.cuda.set_rng_state(state, device)


def _draws(model: torch.nn.Module, again: Callable[[], Any]) -> bool:
    """Whether it was the model that drew random numbers: asked once, and only where it may have been another thread."""
    if threading.active_count() == 1:
        return True
    known = DRAWS.get(model)
    if known is None:
        watch = DrawWatch()
        with watch:
            again()
        known = watch.drew
        DRAWS.set(model, known)
    return known


class DrawWatch(TorchDispatchMode):
    """Sees whether an operator that draws random numbers runs in this thread."""

    def __init__(self) -> None:
        super().__init__()
        self.drew = False

    def __torch_dispatch__(self, func: Any, kinds: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if torch.Tag.nondeterministic_seeded in func.tags:
            self.drew |= _dropout(func, args, kwargs) != 0
        return call_model(func, *args, **kwargs)


def _dropout(func: Any, args: Any, kwargs: Any) -> float | None:
    """The probability of dropout where an operator has one: at 0 it draws nothing."""
    for position, argument in enumerate(func._schema.arguments):
        if argument.name == "dropout_p":
            default = argument.default_value
            probability: float = args[position] if position < len(args) else kwargs.get("dropout_p", default)
            return probability
    return None
