"""Flax linen: `intercept_methods` around one `apply`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from ...errors import ModelNotReadable
from ..protocol import Kernel
from .model import Given, at_rest, flax_kernel, taken_apart
from .outputs import fed, floating_leaf
from .watch import Watch, watching

WAYS = (
    "give (module, variables), module.bind(variables), functools.partial(module.apply, variables, ...), or a TrainState"
)


# Layers that call no other module. Compiled functions in them may run compiled: undone, each would trace anew, at each
# call, how its parameters are initialised.
CLOSED = (
    *(nn.Dense, nn.DenseGeneral, nn.Conv, nn.ConvLocal, nn.ConvTranspose, nn.Embed),
    *(nn.BatchNorm, nn.LayerNorm, nn.RMSNorm, nn.GroupNorm, nn.InstanceNorm),
)


class LinenModel:
    """A linen module with its variables, the method to call, and further arguments of it."""

    library = "flax"
    channels_first = False

    def __init__(self, given: Given, variables: Mapping[str, Any]) -> None:
        self.given = given
        self.variables = variables
        self.name = type(given.module).__name__

    @classmethod
    def read(cls, model: Any) -> LinenModel | None:
        """The model, `None` for what isn't one; raises `ModelNotReadable` for a module without variables."""
        if isinstance(model, tuple) and len(model) == 2 and isinstance(model[1], Mapping):
            given = taken_apart(model[0])
            if not isinstance(given.module, nn.Module):
                return None
            return cls(_unbound(given), _checked(model[1]))
        if _is_train_state(model):
            return cls._of_state(model)
        given = taken_apart(model)
        if not isinstance(given.module, nn.Module):
            return None
        if given.method == "apply":
            return cls._of_apply(given)
        if given.module.scope is None:
            raise ModelNotReadable(f"the linen module {type(given.module).__name__} has no variables: {WAYS}")
        return cls(_unbound(given), given.module.variables)

    @classmethod
    def _of_apply(cls, given: Given) -> LinenModel:
        kwargs = given.keywords
        args = list(given.args)
        variables = args.pop(0) if args else kwargs.pop("variables", None)
        if not isinstance(variables, Mapping):
            raise ModelNotReadable(f"module.apply of {type(given.module).__name__} without variables: {WAYS}")
        return cls(Given(given.module, "__call__", tuple(args), kwargs), _checked(variables))

    @classmethod
    def _of_state(cls, state: Any) -> LinenModel:
        module = getattr(state.apply_fn, "__self__", None)
        if not isinstance(module, nn.Module):
            raise ModelNotReadable(f"the TrainState's apply_fn is not the apply of a linen module: {WAYS}")
        known = ("step", "apply_fn", "params", "tx", "opt_state")
        others = {name: each for name, each in vars(state).items() if name not in known and isinstance(each, Mapping)}
        return cls(Given(module), {"params": state.params, **others})

    def run(self, batch: Any, watch: Watch) -> Any:
        module, kwargs = self.given.module, self.given.keywords
        settings = {name: kwargs.pop(name) for name in ("rngs", "capture_intermediates") if name in kwargs}
        settings.pop("capture_intermediates", None)
        kwargs.pop("mutable", None)
        method = kwargs.pop("method", None) or self.given.method
        name = method if isinstance(method, str) else getattr(method, "__name__", "__call__")
        args, named = fed(batch, floating_leaf(self.variables.get("params")))
        args, kwargs = (*self.given.args, *args), {**kwargs, **named}
        function = getattr(module, name) if isinstance(method, str) else _bound(method, module)
        kwargs |= at_rest(module, function, args, kwargs)

        def seen(call: Callable[..., Any], args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
            path = "/".join(context.module.path)
            if type(context.module) in CLOSED and getattr(context.module, "dot_general_cls", None) is None:
                call = functools.partial(_compiled, call)
            if context.method_name == "__call__" or (not path and context.method_name == name):
                return watch.through(path, context.module, call, args, kwargs)
            return call(*args, **kwargs)

        with watching(watch), nn.intercept_methods(seen):
            return module.apply(self.variables, *args, method=method, mutable=False, **settings, **kwargs)

    def modules(self) -> dict[str, Any]:
        """The modules that have parameters, as far as the tree of variables tells."""
        found: dict[str, Any] = {"": self.given.module}
        for collection in self.variables.values():
            for steps, _ in jax.tree_util.tree_leaves_with_path(collection):
                names = [str(each.key) for each in steps[:-1] if hasattr(each, "key")]
                for count in range(1, len(names) + 1):
                    found.setdefault("/".join(names[:count]), None)
        return found

    def aliases(self) -> dict[str, tuple[str, ...]]:
        return {}

    def leaves(self) -> Iterator[tuple[str, Any]]:
        for steps, leaf in jax.tree_util.tree_leaves_with_path(dict(self.variables)):
            yield jax.tree_util.keystr(steps, simple=True, separator="/"), leaf

    def parameters(self, path: str) -> int | None:
        node: Any = self.variables.get("params", {})
        for step in path.split("/") if path else ():
            node = node.get(step, {}) if isinstance(node, Mapping) else {}
        return sum(each.size for each in jax.tree.leaves(node))

    def kernel(self, path: str, image: Any) -> Kernel | None:
        found = self._kernel(path)
        module = self._traced(path, image) if found is not None else None
        if not isinstance(module, nn.Conv | nn.ConvTranspose):
            return None
        return flax_kernel(module, found, isinstance(module, nn.ConvTranspose))

    def _traced(self, path: str, image: Any) -> Any:
        """The module at `path`, met by tracing the model without computing; `None` where none is."""
        found: list[Any] = []

        class Found(BaseException):
            pass

        def started(name: str, module: Any) -> None:
            if name == path:
                found.append(module)
                raise Found

        try:
            jax.eval_shape(lambda images: self.run(images, Watch(lambda call: None, started)), image)
        except Found:
            return found[0]
        return None

    def first(self) -> tuple[str, Any, tuple[int, ...]] | None:
        """Found by tracing the model, without computing, as far as its first layer."""
        found: list[tuple[str, Any, tuple[int, ...]]] = []

        class Found(BaseException):
            pass

        def started(path: str, module: Any) -> None:
            kernel = self._kernel(path)
            if isinstance(module, nn.Conv | nn.Dense) and kernel is not None:
                found.append((path, module, tuple(kernel.shape)))
                raise Found

        def abstract(images: Any) -> Any:
            return self.run(images, Watch(lambda call: None, started))

        try:
            jax.eval_shape(abstract, jnp.zeros((1, 64, 64, 3)))
        except Found:
            return found[0]
        except Exception:
            # Another input than a photo, or a fixed size: then the model's input isn't known, which is no error.
            return None
        return None

    def _kernel(self, path: str) -> Any:
        node: Any = self.variables.get("params", {})
        for step in path.split("/") if path else ():
            node = node.get(step, {}) if isinstance(node, Mapping) else {}
        return node.get("kernel") if isinstance(node, Mapping) else None


def _compiled(call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    with jax.disable_jit(False):
        return call(*args, **kwargs)


def _unbound(given: Given) -> Given:
    module = given.module if given.module.scope is None else given.module.unbind()[0]
    return Given(module, given.method, given.args, given.kwargs)


def _bound(method: Any, module: Any) -> Any:
    return method.__get__(module) if hasattr(method, "__get__") and not hasattr(method, "__self__") else method


def _is_train_state(model: Any) -> bool:
    names = {each.__name__ for each in type(model).__mro__}
    return "TrainState" in names and hasattr(model, "apply_fn") and hasattr(model, "params")


def _checked(variables: Mapping[str, Any]) -> Mapping[str, Any]:
    if variables and not {"params", "batch_stats", "cache", "constants"} & set(variables):
        raise ModelNotReadable(
            f"these variables have no collection 'params' but {', '.join(map(str, list(variables)[:5]))}: give what module.init"
            " returned, {'params': ...} with the other collections"
        )
    return variables
