"""Which classes and functions a Keras configuration may name: Keras's own that run no code, and what the user has registered.

A configuration is JSON. While it loads a file, Keras makes an object of every part with a `class_name`, whichever class or
function that is, and tf_keras imports whichever module the part names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from types import FunctionType
from typing import Any, NamedTuple

Part = dict[str, Any]

# Parts that stand for a value that JSON doesn't have.
VALUES = {
    *("__keras_tensor__", "__tensor__", "__numpy__", "__bytes__", "__ellipsis__", "__slice__", "__tuple__"),
    *("TensorShape", "CompositeTensor"),
}
SPECS = {"TensorSpec", "RaggedTensorSpec", "SparseTensorSpec", "IndexedSlicesSpec"}

# Keras's own classes that run what their configuration holds or names: Python, operations, models in other files.
RUN_CODE = {
    *("Lambda", "__lambda__", "ClassMethod", "InstanceMethod", "InstanceProperty", "ModuleWrapper"),
    *("TFSMLayer", "ReloadedLayer", "TorchModuleWrapper", "FlaxLayer", "JaxLayer"),
}

# Where the classes of models are defined; elsewhere in Keras are wrappers of other libraries, and what reads files.
HOMES = (
    *(
        "layers",
        "models",
        "engine",
        "ops",
        "applications",
        "activations",
        "initializers",
        "regularizers",
        "constraints",
    ),
    *("losses", "metrics", "optimizers", "dtype_policies", "mixed_precision", "quantizers", "random", "legacy"),
)
FUNCTION_HOMES = ("activations", "initializers", "regularizers", "constraints", "losses", "metrics", "ops")
OWN = re.compile(r"^(?:tf_)?keras(?:\.src|\.api)?(?:\.|$)")
OF_TENSORFLOW = ("tensorflow.python.ops.init_ops", "tensorflow.python.ops.init_ops_v2")  # initializers as Keras's own
NO_VALUES = ("get", "serialize", "deserialize")  # functions there that read configurations themselves


class Refusal(NamedTuple):
    """A part that isn't allowed: what it is, the name of its class or function, its module, and whether it is known to run
    code, or isn't known at all."""

    holds: str
    name: str
    module: str = ""
    runs: bool = True


@dataclass(frozen=True)
class Names:
    """What one of the two libraries calls its own.

    Attributes:
        library: The library itself.
        bases: The classes whose subclasses a model is made of.
        aliases: More names of such classes.
        operation: Says why a part of one of these classes isn't allowed, as it names a function of the framework.
    """

    library: Any
    bases: tuple[type, ...]
    aliases: Callable[[str], Any] = lambda name: None
    operation: Callable[[Part], Refusal | None] = lambda part: None

    @cached_property
    def classes(self) -> dict[str, type]:
        """The library's classes that models are made of and that run no code, by name."""
        every = (cls for base in self.bases for cls in (base, *_below(base)))
        return {cls.__name__: cls for cls in every if self._fits(cls)}

    def is_class(self, name: str) -> bool:
        """Whether a class is one of these, perhaps under another name that the library has for it."""
        homes = (getattr(getattr(self.library, home, None), name, None) for home in HOMES)
        return name in self.classes or any(self._fits(cls) for cls in (*homes, self.aliases(name)))

    def _fits(self, cls: Any) -> bool:
        if not isinstance(cls, type) or not issubclass(cls, self.bases) or cls.__name__ in RUN_CODE:
            return False
        return cls.__module__.startswith(f"{self.library.__name__}.") and self.is_own(cls.__module__)

    def is_function(self, name: str) -> bool:
        """Whether a function of numbers of the library has this name."""
        homes = (getattr(self.library, home, None) for home in FUNCTION_HOMES)
        return name not in NO_VALUES and any(isinstance(getattr(home, name, None), FunctionType) for home in homes)

    def is_own(self, module: str | None, homes: Iterable[str] = HOMES) -> bool:
        """Whether a module is one of `homes` or inside one, or is the library; in files both libraries are called keras."""
        path = OWN.sub("", module or "keras")
        if module in OF_TENSORFLOW:
            return True
        return path != module and (not path or path.partition(".")[0] in homes)

    def registered(self, name: Any) -> Any:
        """What the user has registered under a name, for good or in a scope around."""
        return self.library.saving.get_registered_object(name) if isinstance(name, str) else None

    def is_registered_function(self, name: str) -> bool:
        """Whether the user has registered a function, which files of Keras up to 3.6 name without its package."""
        known = self.library.saving.get_custom_objects()
        return self.registered(name) is not None or any(key.endswith(f">{name}") for key in known)


def _below(cls: type) -> Iterator[type]:
    subclass: type
    for subclass in cls.__subclasses__():
        yield subclass
        yield from _below(subclass)


def refusal(config: Any, names: Names) -> Refusal | None:
    """The part of a configuration that isn't allowed, first one that runs code; `None` where all are."""
    first = None
    for part in _parts(config):
        problem = _vocabulary(part) or (_of_part(part, names) if "class_name" in part else None)
        if problem is not None and problem.runs:
            return problem
        first = first or problem
    return first


def _parts(config: Any) -> Iterator[Part]:
    """Every mapping in a configuration, without recursion, as depth costs a file nothing."""
    waiting: list[Any] = [config]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            yield value
        inner = value.values() if isinstance(value, dict) else value
        waiting += [item for item in inner if isinstance(item, dict | list)]


def _vocabulary(part: Part) -> Refusal | None:
    """Layers that look up words read the file that a vocabulary names."""
    words = part.get("vocabulary")
    if isinstance(words, dict):
        config = words.get("config")
        words = words.get("items", config.get("value") if isinstance(config, dict) else words)
    return None if words is None or isinstance(words, list) else Refusal("the name of a vocabulary file", str(words))


def _of_part(part: Part, names: Names) -> Refusal | None:
    name, module = part["class_name"], part.get("module")
    if not isinstance(name, str) or not isinstance(module, str | None):
        return Refusal(f"a class without a name ({name!r})", str(name))
    if name in ("TypeSpec", "__typespec__"):
        return _specification(part)
    if name in VALUES:
        return None
    if name in RUN_CODE:
        return Refusal("Python code" if name == "__lambda__" else f"the layer {name}", name)
    if name == "function":
        return _function(part, names)
    if _is_registered(part, names):
        return None
    if names.is_class(name) and names.is_own(module):
        return names.operation(part)
    return Refusal(f"the class {name!r} of {module or 'no module'}", name, module or "", runs=False)


def _is_registered(part: Part, names: Names) -> bool:
    """Whether a part is an object of a registered class. Files from before Keras 3 name that in `class_name` alone."""
    name = part["class_name"]
    registered = part.get("registered_name", name)
    cls = names.registered(registered)
    if cls is None:
        return not part.get("module") and names.registered(name) is not None
    return name in (registered, str(registered).rpartition(">")[2], getattr(cls, "__name__", ""))


def _function(part: Part, names: Names) -> Refusal | None:
    name, module, registered = part.get("config"), part.get("module"), part.get("registered_name")
    if not isinstance(name, str):
        return Refusal("a function without a name", str(name))
    if names.is_registered_function(name):
        return None
    own = module in (None, "builtins") or names.is_own(module, FUNCTION_HOMES)
    same = registered in (None, "function", name) or str(registered).endswith(f">{name}")
    if own and same and names.is_function(name):
        return None
    return Refusal(f"the function {name!r} of {module}", name, module or "", runs=module not in (None, "builtins"))


def _specification(part: Part) -> Refusal | None:
    """A type of tensors: TensorFlow looks up any class that it has registered, and tf_keras any at all."""
    name = str(part.get("type_spec") or part.get("spec_name")).removeprefix("tf.")
    module, registered = str(part.get("module", "tensorflow.python.framework")), part.get("registered_name")
    own = module.startswith(("tensorflow.python.framework", "tensorflow.python.ops")) and registered in (None, name)
    return None if own and name in SPECS else Refusal(f"the type {name!r}", name, module)
