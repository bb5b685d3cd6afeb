"""JAX: models of Flax (NNX and linen) and Equinox, each read in its library's own way."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ...core.layer import Layer
from ...errors import ModelNotReadable
from ..protocol import Backend, Captured, Change, Evidence, Facts, Head, Kernel, Target, not_offered
from .capture import capture
from .evidence import evidence
from .facts import digest, facts
from .model import JaxModel
from .table import layers
from .target import scores
from .weights import head, kernel


class JaxBackend(Backend):
    """Reads `nnx.Module`, linen modules with their variables, `TrainState`, and `eqx.Module`."""

    name = "jax"
    gradients = True
    load = not_offered("a checkpoint of JAX holds arrays without the code that runs them: give the model itself")
    from_library = not_offered("Flax and Equinox have no models of their own to name")
    load_weights = not_offered("a checkpoint of JAX is a tree of arrays of its own kind: restore it in the factory")

    def owns(self, model: Any) -> bool:
        """Whether `model` is of Flax or Equinox."""
        try:
            return _read(model) is not None
        except ModelNotReadable:
            # One of theirs, but something is missing: `facts` and the verbs name it.
            return True

    def facts(self, model: Any) -> Facts:
        """What is known of the model without running it."""
        return facts(_opened(model))

    def digest(self, model: Any) -> str:
        """A digest of the weights as they are now."""
        return digest(_opened(model))

    def evidence(self, model: Any, batch: Any) -> Evidence | None:
        """What reaches the first BatchNorm of Flax, against what it has seen in training."""
        return evidence(_opened(model), batch)

    def head(self, model: Any, batch: Any) -> Head | None:
        """The dense layer that runs last."""
        return head(_opened(model), batch)

    def kernel(self, model: Any, path: str, batch: Any) -> Kernel | None:
        """The weights of the convolution at `path`; linen is traced as far as that layer."""
        return kernel(_opened(model), path, batch)

    def layers(self, model: Any, batch: Any) -> list[Layer]:
        """Every layer, in the order in which its first call ended; those that never ran last."""
        return layers(_opened(model), batch)

    def capture(
        self, model: Any, batch: Any, paths: Sequence[str], target: Target | None = None
    ) -> dict[str, Captured]:
        """What the named layers produce for `batch`, in execution order."""
        return capture(_opened(model), batch, paths, target)

    def scores(self, model: Any, batch: Any, target: Target, changes: Mapping[str, Change]) -> list[float]:
        """The target's number for each image, with other values in the place of what some layers return."""
        return scores(_opened(model), batch, target, changes)


def _readers() -> list[Callable[[Any], JaxModel | None]]:
    """What reads the models of each library that has been imported."""
    readers: list[Callable[[Any], JaxModel | None]] = []
    if "flax.nnx" in sys.modules:
        from .nnx import NnxModel

        readers.append(NnxModel.read)
    if "flax.linen" in sys.modules:
        from .linen import LinenModel

        readers.append(LinenModel.read)
    if "equinox" in sys.modules:
        from .equinox import EquinoxModel

        readers.append(EquinoxModel.read)
    return readers


def _read(model: Any) -> JaxModel | None:
    """The model opened by the library it is of, `None` for what none reads."""
    opened = (read(model) for read in _readers())
    return next((jax_model for jax_model in opened if jax_model is not None), None)


def _opened(model: Any) -> JaxModel:
    """The opened model; raises `ModelNotReadable` for what no library reads."""
    opened = _read(model)
    if opened is None:
        raise ModelNotReadable(
            f"the JAX backend doesn't read a {type(model).__qualname__}: give an nnx.Module, (linen module, variables), a"
            " TrainState or an eqx.Module; a plain function has no layers with names"
        )
    return opened
