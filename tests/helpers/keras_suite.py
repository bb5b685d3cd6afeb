"""The network of the suite in Keras 3 and in tf_keras, as a Functional model and as a subclassed one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from layerscope.testing import BackendTests

RAN: list[str] = []  # what has run; a list of the model's own would be put back


@dataclass
class Library:
    """What differs: the module, a layer that fails in the middle, a mean over the pixels, an array of a variable."""

    module: Any
    fails: type
    mean: Callable[[Any], Any]
    to_numpy: Callable[[Any], np.ndarray]
    backend: Any

    @property
    def layers(self) -> Any:
        return self.module.layers

    def parts(self) -> tuple[Any, Any, Any]:
        of = self.layers
        conv1 = of.Conv2D(4, 3, padding="same", name="conv1")
        return conv1, of.Conv2D(5, 3, strides=2, name="conv2"), of.Dense(6, name="head")

    def functional(self, fail: bool = False, normed: bool = False) -> Any:
        conv1, conv2, head = self.parts()
        inputs, act = self.module.Input((8, 8, 3)), self.layers.ReLU(name="act")
        out = conv1(inputs)
        out = act(self.layers.BatchNormalization(name="norm")(out) if normed else out)
        out = act(conv2(self.fails()(out) if fail else out))
        return self.module.Model(inputs, head(self.layers.GlobalAveragePooling2D()(out)))

    @cached_property
    def subclassed(self) -> Callable[[bool], Any]:
        """The network as a subclass; `RAN` lists what has run."""
        of, library = self.layers, self

        class Network(self.module.Model):  # type: ignore[misc, name-defined] # of either library
            def __init__(self, fail: bool) -> None:
                super().__init__()
                self.conv1, self.conv2, self.head = library.parts()
                self.act, self.spare = of.ReLU(), of.Dense(2)
                self.between = library.fails() if fail else of.Activation("linear")

            def call(self, x: Any) -> Any:
                for name in ("conv1", "act", "between", "conv2", "act"):
                    RAN.append(name)
                    x = getattr(self, name)(x)
                RAN.append("head")
                return self.head(library.mean(x))

        return Network


class Suite(BackendTests):
    """The suite on models of one of the libraries."""

    axes = "bhwc"
    library: ClassVar[Library]

    def backend(self) -> Any:
        return self.library.backend

    def make(self, fail: bool) -> Any:
        raise NotImplementedError

    def part(self, model: Any, name: str) -> Any:
        raise NotImplementedError

    def build(self, parameters: Mapping[str, np.ndarray], fail: bool = False) -> Any:
        model = self.make(fail)
        self.fill(parameters, lambda name: self.part(model, name))
        if not fail:
            # builds what is left to build, so that `ran` holds runs alone
            model(self.batch())
        return model

    def fill(self, parameters: Mapping[str, np.ndarray], part: Callable[[str], Any]) -> None:
        for name in ("conv1", "conv2", "head"):
            weight, layer = parameters[f"{name}.weight"], part(name)
            if not layer.built:
                layer.build((None, 8, 8, weight.shape[1]) if weight.ndim == 4 else (None, weight.shape[1]))
            layer.set_weights(
                [weight.transpose(2, 3, 1, 0) if weight.ndim == 4 else weight.T, parameters[f"{name}.bias"]]
            )

    def normed(self, parameters: Mapping[str, np.ndarray], mean: np.ndarray, variance: np.ndarray) -> Any:
        model = self.library.functional(normed=True)
        self.fill(parameters, model.get_layer)
        model.get_layer("norm").set_weights([np.ones_like(mean), np.zeros_like(mean), mean, variance])
        return model

    def state(self, model: Any) -> bytes:
        flags = str([(layer.name, layer.trainable) for layer in model._flatten_layers()])
        return flags.encode() + b"".join(self.library.to_numpy(variable).tobytes() for variable in model.variables)

    def answer(self, model: Any, batch: np.ndarray) -> np.ndarray:
        return self.library.to_numpy(model(batch))


class FunctionalSuite(Suite):
    def make(self, fail: bool) -> Any:
        return self.library.functional(fail)

    def part(self, model: Any, name: str) -> Any:
        return model.get_layer(name)


class SubclassedSuite(Suite):
    paths = {**BackendTests.paths, "spare": "spare"}

    def make(self, fail: bool) -> Any:
        return self.library.subclassed(fail)

    def part(self, model: Any, name: str) -> Any:
        return getattr(model, name)

    def ran(self, model: Any) -> list[str]:
        return list(RAN)
