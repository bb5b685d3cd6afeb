"""The network of the suite: how a backend's test class builds it, and its values worked out in numpy."""

from __future__ import annotations

import functools
import hashlib
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np

from ..backends.protocol import Backend, Captured, NotOffered
from ..core.axes import channels_last
from ..core.layer import Layer
from .tiny import tiny_model, tiny_parameters


class Network:
    """What a backend's test class says of itself, and what the tests compare with.

    `paths` gives the backend's own path for each layer of the network (`"spare"`: one that never runs, where the
    framework can hold such a layer; `"act"`: `"first|second"` where it can't hold a layer that is called twice, with
    `shared = False`). `axes` are the model's input axes. `can_fail` says whether `build(fail=True)` gives a model that
    raises "failed in the middle" between `conv1` and `conv2`. `tolerance` is relative and absolute, against numpy's sums.
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

    def normed(self, parameters: Mapping[str, np.ndarray], mean: np.ndarray, variance: np.ndarray) -> Any:
        """The network with a BatchNorm of these running statistics behind `conv1`; what follows that is free.

        Called only for a backend that offers `evidence`; `None` where that says nothing of such models.
        """
        raise NotImplementedError

    def ran(self, model: Any) -> Sequence[str] | None:
        """The names of the layers that have run so far, where the model can tell, else `None`."""
        return None

    def answer(self, model: Any, batch: np.ndarray) -> np.ndarray | None:
        """The model's output for a batch as its user gets it, without layerscope; `None` where a file has no such way."""
        return None

    def offers(self, verb: str) -> bool:
        """Whether the backend offers a verb.

        A child of `Backend` that says nothing about it raises `AssertionError`; without the base class it isn't offered.
        """
        backend = self.backend()
        value = getattr(backend, verb, None)
        if isinstance(backend, Backend) and (value is None or (isinstance(value, NotOffered) and not value.reason)):
            raise AssertionError(f"{verb}: write the method, or {verb} = not_offered(reason)")
        return bool(value)

    def images(self, count: int = 2) -> np.ndarray:
        return np.random.default_rng(7).standard_normal((count, 3, 8, 8)).astype(np.float32)

    def batch(self, count: int = 2) -> np.ndarray:
        return np.ascontiguousarray(self.images(count).transpose(["bchw".index(axis) for axis in self.axes]))

    def expected(self, count: int = 2, zeroed: Mapping[str, int] | None = None) -> dict[str, np.ndarray]:
        """Each call's output in numpy, as `[image, *spatial, channel]`; where `zeroed` names a call, a channel of it is 0."""
        value, named = self.images(count), {}
        for name, step in zip(("conv1", "act:0", "conv2", "act:1", "head"), tiny_model().steps, strict=True):
            value = step.run(value.copy())
            if zeroed and name in zeroed:
                value[:, zeroed[name]] = 0
            named[name] = channels_last(value, step.axes)
        return named

    def calls(self) -> dict[str, str]:
        """The suite's name of each call -> the path that asks for it."""
        act = self.paths["act"]
        first, second = (f"{act}:0", f"{act}:1") if self.shared else act.split("|")
        return {**{name: self.paths[name] for name in ("conv1", "conv2", "head")}, "act:0": first, "act:1": second}

    def table(self, model: Any) -> dict[str, Layer]:
        rows = self.backend().layers(model, self.batch())
        return {layer.path: layer for row in rows for layer in (row, *row.per_call)}

    def read(self, captured: Mapping[str, Captured], table: Mapping[str, Layer]) -> dict[str, np.ndarray]:
        return {path: channels_last(one.values, table[path].axes) for path, one in captured.items()}

    def same(self, found: np.ndarray, wanted: np.ndarray) -> None:
        np.testing.assert_allclose(found, wanted, rtol=self.tolerance, atol=self.tolerance)

    def network(self) -> Any:
        """The network with the suite's own weights."""
        return self.build(tiny_parameters())

    def values(self, model: Any, path: str) -> np.ndarray:
        """What a capture of one layer alone gives, in the layer's own axes."""
        return np.asarray(self.backend().capture(model, self.batch(), [path])[path].values)

    @contextmanager
    def unchanged(self, model: Any) -> Iterator[None]:
        """The model must be the same after the block as before, and so must Python's and numpy's random state."""
        before = self.state(model), random_state()
        yield
        assert (self.state(model), random_state()) == before


def where_offered(verb: str) -> Callable[[Callable[[Any], None]], Callable[[Any], None]]:
    """For the tests of a verb: they pass where the backend says that it doesn't offer it."""

    def decorate(test: Callable[[Any], None]) -> Callable[[Any], None]:
        @functools.wraps(test)
        def checked(self: Network) -> None:
            if self.offers(verb):
                test(self)

        return checked

    return decorate


@contextmanager
def refused(error: type[Exception], naming: str = "") -> Iterator[None]:
    """The block must raise this error, with `naming` in its message or in that of its cause."""
    try:
        yield
    except error as raised:
        assert naming in f"{raised} {raised.__cause__}"
    else:
        raise AssertionError(f"no {error.__name__} was raised{f' that names {naming}' if naming else ''}")


def random_state() -> str:
    """Python's and numpy's random state, as a digest."""
    return hashlib.sha256(repr((random.getstate(), np.random.get_state())).encode()).hexdigest()
