"""Flax linen: `intercept_methods` around one `apply`."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.errors import ModifyScopeVariableError

from ...errors import ModelNotReadable
from ..common.fault import call_model
from ..protocol import Kernel
from .model import FirstLayer, Unwrapped, flax_kernel, inference_arguments, unwrap
from .outputs import call_arguments, floating_leaf
from .watch import Watch, watching

ACCEPTED = (
    "give (module, variables), module.bind(variables), functools.partial(module.apply, variables, ...), or a TrainState"
)


# Layers that call no other module. Compiled functions in them may run compiled: otherwise each would trace anew, at each
# call, how its parameters are initialised.
LEAVES = (
    *(nn.Dense, nn.DenseGeneral, nn.Conv, nn.ConvLocal, nn.ConvTranspose, nn.Embed),
    *(nn.BatchNorm, nn.LayerNorm, nn.RMSNorm, nn.GroupNorm, nn.InstanceNorm),
)


STATISTICS = "batch_stats"
WRITING: dict[Any, bool] = {}  # whether modules write to their statistics in inference, too
MOST_KNOWN = 64


class _Found(BaseException):
    """Ends a trace at the module that was looked for. Not an `Exception`, which models catch."""

    def __init__(self, path: str, module: Any) -> None:
        self.path, self.module = path, module


class LinenModel:
    """A linen module with its variables, the method to call, and further arguments of it."""

    library = "flax"
    channels_first = False

    def __init__(self, unwrapped: Unwrapped, variables: Mapping[str, Any]) -> None:
        self.unwrapped = unwrapped
        self.variables = variables
        self.name = type(unwrapped.module).__name__

    @classmethod
    def read(cls, model: Any) -> LinenModel | None:
        """The model, `None` for what isn't one; raises `ModelNotReadable` for a module without variables."""
        if isinstance(model, tuple) and len(model) == 2 and isinstance(model[1], Mapping):
            unwrapped = unwrap(model[0])
            if not isinstance(unwrapped.module, nn.Module):
                return None
            return cls(_unbind(unwrapped), _check_variables(model[1]))
        if _is_train_state(model):
            return cls._from_state(model)
        unwrapped = unwrap(model)
        if not isinstance(unwrapped.module, nn.Module):
            return None
        if unwrapped.method == "apply":
            return cls._from_apply(unwrapped)
        if unwrapped.module.scope is None:
            raise ModelNotReadable(f"the linen module {type(unwrapped.module).__name__} has no variables: {ACCEPTED}")
        return cls(_unbind(unwrapped), unwrapped.module.variables)

    @classmethod
    def _from_apply(cls, unwrapped: Unwrapped) -> LinenModel:
        """The model of a `functools.partial` of `module.apply`."""
        args, kwargs = list(unwrapped.args), unwrapped.keywords
        variables = args.pop(0) if args else kwargs.pop("variables", None)
        if not isinstance(variables, Mapping):
            raise ModelNotReadable(f"module.apply of {type(unwrapped.module).__name__} without variables: {ACCEPTED}")
        return cls(Unwrapped(unwrapped.module, "__call__", tuple(args), kwargs), _check_variables(variables))

    @classmethod
    def _from_state(cls, state: Any) -> LinenModel:
        """The model of a `TrainState`."""
        module = getattr(state.apply_fn, "__self__", None)
        if not isinstance(module, nn.Module):
            raise ModelNotReadable(f"the TrainState's apply_fn is not the apply of a linen module: {ACCEPTED}")
        known = ("step", "apply_fn", "params", "tx", "opt_state")
        fields = {name: value for name, value in vars(state).items() if name not in known}
        collections = {name: value for name, value in fields.items() if isinstance(value, Mapping)}
        return cls(Unwrapped(module), {"params": state.params, **collections})

    def at_one_moment(self) -> LinenModel:
        return self  # its arrays can't change

    def run(self, batch: Any, watch: Watch) -> Any:
        module, kwargs = self.unwrapped.module, self.unwrapped.keywords
        settings = {name: kwargs.pop(name) for name in ("rngs", "capture_intermediates") if name in kwargs}
        settings.pop("capture_intermediates", None)
        mutable = kwargs.pop("mutable", None)
        method = kwargs.pop("method", None) or self.unwrapped.method
        name = method if isinstance(method, str) else getattr(method, "__name__", "__call__")
        args, named = call_arguments(batch, floating_leaf(self.variables.get("params")))
        args, kwargs = (*self.unwrapped.args, *args), {**kwargs, **named}
        function = getattr(module, name) if isinstance(method, str) else _bind(method, module)
        kwargs |= inference_arguments(module, function, args, kwargs)

        def path_of(inner: Any, called: str) -> str | None:
            return "/".join(inner.path) if called == "__call__" or (not inner.path and called == name) else None

        apply = functools.partial(module.apply, self.variables, *args, method=method, **settings, **kwargs)
        mutable = self._memory(apply) if mutable is None else mutable
        with watching(watch), reporting(watch, path_of):
            output = call_model(apply, mutable=mutable or False)
            return output[0] if mutable else output

    def _memory(self, apply: Callable[..., Any]) -> list[str]:
        """The collections that the model may write to in inference, in a copy that nobody keeps.

        Statistics only where it writes to them whether it may or not: others take it for training that they may.
        """
        others = [name for name in self.variables if name not in ("params", STATISTICS, "intermediates", "constants")]
        if STATISTICS not in self.variables:
            return others
        key = self.unwrapped.module, self.unwrapped.method
        try:
            known = WRITING.get(key)
        except TypeError:  # a module with fields that have no hash
            key, known = (id(self.unwrapped.module), ""), None
        if known is None:
            known = WRITING[key] = _writes(functools.partial(apply, mutable=others or False))
            while len(WRITING) > MOST_KNOWN:
                del WRITING[next(iter(WRITING))]
        return [*others, STATISTICS] if known else others

    @functools.cached_property
    def modules(self) -> dict[str, Any]:
        """The modules that have parameters, as far as the tree of variables tells."""
        modules: dict[str, Any] = {"": self.unwrapped.module}
        for collection in self.variables.values():
            for steps, _ in jax.tree_util.tree_leaves_with_path(collection):
                names = [str(step.key) for step in steps[:-1] if hasattr(step, "key")]
                for count in range(1, len(names) + 1):
                    modules.setdefault("/".join(names[:count]), None)
        return modules

    @functools.cached_property
    def aliases(self) -> dict[str, tuple[str, ...]]:
        return {}

    def leaves(self) -> Iterator[tuple[str, Any]]:
        for steps, leaf in jax.tree_util.tree_leaves_with_path(dict(self.variables)):
            yield jax.tree_util.keystr(steps, simple=True, separator="/"), leaf

    def parameters(self, path: str) -> int | None:
        return sum(array.size for array in jax.tree.leaves(self._params(path)))

    def kernel(self, path: str, image: Any) -> Kernel | None:
        values = self._kernel(path)
        output = None if values is None else self._find(lambda name, _: name == path, image)
        if output is None or not isinstance(output.module, nn.Conv | nn.ConvTranspose):
            return None
        return flax_kernel(output.module, values, isinstance(output.module, nn.ConvTranspose))

    def first_layer(self) -> FirstLayer | None:
        """Found by tracing the model, without computing, as far as its first layer."""

        def matches(path: str, module: Any) -> bool:
            return isinstance(module, nn.Conv | nn.Dense) and self._kernel(path) is not None

        try:
            output = self._find(matches, jnp.zeros((1, 64, 64, 3)))
        except Exception:
            # Another input than a photo, or a fixed size: then the model's input isn't known, which is no error.
            return None
        return None if output is None else FirstLayer(output.module, tuple(self._kernel(output.path).shape))

    def _find(self, matches: Callable[[str, Any], bool], image: Any) -> _Found | None:
        """The first module that matches, met by tracing the model without computing; `None` where none does."""

        def on_start(path: str, module: Any) -> None:
            if matches(path, module):
                raise _Found(path, module)

        try:
            jax.eval_shape(lambda images: self.run(images, Watch(lambda call: None, on_start)), image)
        except _Found as found:
            return found
        return None

    def _params(self, path: str) -> Any:
        """The parameters of the module at `path`, `{}` where it has none."""
        node: Any = self.variables.get("params", {})
        for step in path.split("/") if path else ():
            node = node.get(step, {}) if isinstance(node, Mapping) else {}
        return node

    def _kernel(self, path: str) -> Any:
        """The kernel of the module at `path`, `None` where it has none."""
        params = self._params(path)
        return params.get("kernel") if isinstance(params, Mapping) else None


def _writes(apply: Callable[..., Any]) -> bool:
    """Whether a model writes to a collection that it may not write to, told by tracing it."""
    try:
        jax.eval_shape(lambda: apply())
    except ModifyScopeVariableError:
        return True
    except Exception:  # whatever a model does that can't be traced: the run itself tells
        return False
    return False


def reporting(watch: Watch, path_of: Callable[[Any, str], str | None]) -> contextlib.AbstractContextManager[None]:
    """Inside, calls of linen modules go to `watch`, under the path that `path_of(module, method)` gives, `None` for none."""

    def intercept(call: Callable[..., Any], args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
        path = path_of(context.module, context.method_name)
        if type(context.module) in LEAVES and getattr(context.module, "dot_general_cls", None) is None:
            call = functools.partial(_run_compiled, call)
        if path is None:
            return call_model(call, *args, **kwargs)
        return watch.call(path, context.module, call, (args, kwargs))

    return nn.intercept_methods(intercept)


def _run_compiled(call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """A call whose compiled functions stay compiled."""
    with jax.disable_jit(False):
        return call_model(call, *args, **kwargs)


def _unbind(unwrapped: Unwrapped) -> Unwrapped:
    """The same with a module that isn't bound to its variables, and the random keys that it is bound to as an argument."""
    scope = unwrapped.module.scope
    if scope is None:
        return unwrapped
    keys = {name: key.as_jax_rng() for name, key in scope.rngs.items()}
    kwargs = {**({"rngs": keys} if keys else {}), **unwrapped.keywords}
    return replace(unwrapped, module=unwrapped.module.unbind()[0], kwargs=kwargs)


def _bind(method: Any, module: Any) -> Any:
    """A method of the class as one of `module`."""
    return method.__get__(module) if hasattr(method, "__get__") and not hasattr(method, "__self__") else method


def _is_train_state(model: Any) -> bool:
    """Whether a value is a `TrainState` of Flax, or of a child of it."""
    names = {cls.__name__ for cls in type(model).__mro__}
    return "TrainState" in names and hasattr(model, "apply_fn") and hasattr(model, "params")


def _check_variables(variables: Mapping[str, Any]) -> Mapping[str, Any]:
    """The variables; raises `ModelNotReadable` where they are parameters alone, without the name of their collection."""
    if variables and not {"params", "batch_stats", "cache", "constants"} & set(variables):
        raise ModelNotReadable(
            f"these variables have no collection 'params', only {', '.join(map(str, list(variables)[:5]))}: give what "
            "module.init returned, {'params': ...} with the other collections"
        )
    return variables
