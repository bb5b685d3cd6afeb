"""Receptive fields of JAX modules, followed through the operations (`jaxpr`) that JAX itself says the model consists of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import jax

from ...core.receptive_field import Field, merged, transposed, window
from ..common.field import Factor, Places, constant, followed, plain, seen
from .facts import inputs
from .model import JaxModel
from .watch import Call, Watch

Key = tuple[str, int, str]


Rule = Callable[[Mapping[str, Any], Sequence[Places], tuple[int, ...]], Places]


# An operation whose result may depend on anything in it.
LOOPS = {"scan", "while", "cond", "custom_root", "custom_linear_solve"}


def fields(model: JaxModel, image: Any) -> dict[Key, tuple[Field, ...] | None]:
    """(path, call, place in the output) -> the fields for one image, from a trace that computes nothing.

    Nothing is known of a model with several inputs, or of one that can't be traced since it decides by values.
    """
    axes = inputs(model)[0].axes
    if not hasattr(image, "ndim") or image.ndim != len(axes) or image.ndim < 3:
        return {}
    keys: list[Key] = []

    def outputs(given: Any) -> list[Any]:
        found: list[Any] = []

        def ended(call: Call) -> None:
            for place, value in call.values.items():
                keys.append((call.path, call.number, place))
                found.append(value)

        model.run(given, Watch(ended, differentiating=True))
        return found

    try:
        traced = jax.make_jaxpr(outputs)(image)
    except (jax.errors.JAXTypeError, jax.errors.JAXIndexError):
        return {}
    places = _through(traced.jaxpr, [constant(each.aval.shape) for each in traced.jaxpr.constvars], [
        seen(axes, each.aval.shape) for each in traced.jaxpr.invars
    ])  # fmt: skip
    return {key: each.receptive() for key, each in zip(keys, places, strict=True)}


def _through(jaxpr: Any, constants: Sequence[Places], given: Sequence[Places]) -> list[Places]:
    """The places of what a `jaxpr` returns."""
    held: dict[Any, Places] = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*constants, *given], strict=True))

    def of(atom: Any) -> Places:
        # A literal holds its value, and can be no key.
        return constant(atom.aval.shape) if hasattr(atom, "val") else held[atom]

    for step in jaxpr.eqns:
        for out, places in zip(step.outvars, _after(step, [of(each) for each in step.invars]), strict=True):
            held[out] = places
    return [of(each) for each in jaxpr.outvars]


def _after(step: Any, given: list[Places]) -> Iterator[Places]:
    name = step.primitive.name
    shapes = [tuple(getattr(each.aval, "shape", ())) for each in step.outvars]
    first = next((each for each in given if each.fields), None)
    if first is None:
        yield from (constant(shape) for shape in shapes)
        return
    inner = next((step.params[each] for each in ("jaxpr", "call_jaxpr", "fun_jaxpr") if each in step.params), None)
    if inner is not None and name not in LOOPS:
        closed = hasattr(inner, "consts")
        inside = inner.jaxpr if closed else inner
        constants = [constant(each.aval.shape) for each in inside.constvars]
        if len(inside.invars) == len(given):
            yield from _through(inside, constants, given)
            return
    rule = RULES.get(name)
    for shape in shapes:
        if rule is None:
            yield first.lost(f"{name} isn't followed", shape)
        else:
            yield followed(partial(rule, step.params, given, shape), first, name, shape)


def _together(params: Mapping[str, Any], given: Sequence[Places], shape: tuple[int, ...]) -> Places:
    """Element by element: operands have one shape, or are single numbers."""
    whole = [each for each in given if each.dims or not shape]
    return whole[0].over(whole[1:])


def _windows(params: Mapping[str, Any], given: Sequence[Places], shape: tuple[int, ...]) -> Places:
    source, rules = given[0], {}
    options = ("window_dimensions", "window_strides", "window_dilation", "padding", "base_dilation")
    for dim, (kernel, stride, dilation, (low, _), inner) in enumerate(zip(*(params[o] for o in options), strict=True)):
        if source.along(dim):
            rules[dim] = _window(kernel, stride, dilation, low, inner)
    return source.windowed(rules, shape)


def _window(kernel: int, stride: int, dilation: int, low: int, inner: int) -> Callable[[Field], Field]:
    if inner == 1:
        return partial(window, kernel=kernel, stride=stride, dilation=dilation, padding=low)
    # Zeros between the units of the input: the transpose of a strided window.
    if stride != 1:
        raise ValueError("a window with strides on both sides")
    return partial(transposed, kernel=kernel, stride=inner, dilation=dilation, padding=(kernel - 1) * dilation - low)


def _convolution(params: Mapping[str, Any], given: Sequence[Places], shape: tuple[int, ...]) -> Places:
    source, kernel = given
    if kernel.fields or params["batch_group_count"] != 1:
        return source.lost("a convolution with a kernel that is computed", shape)
    left, right, out = params["dimension_numbers"]
    sizes = kernel.shape
    # As if the image's axes lay where the output has them.
    order = [left[out.index(dim)] for dim in range(len(out))]
    rules = {
        dim: _window(sizes[right[at]], stride, dilation, low, inner)
        for at, (dim, stride, dilation, (low, _), inner) in enumerate(
            zip(out[2:], params["window_strides"], params["rhs_dilation"], params["padding"], params["lhs_dilation"],
                strict=True), 2)
    }  # fmt: skip
    mixed = source.permuted(order).mixed([out[1]])
    return mixed.windowed(rules, shape)


def _product(params: Mapping[str, Any], given: Sequence[Places], shape: tuple[int, ...]) -> Places:
    (summed, batch) = params["dimension_numbers"]
    mixed = [each.mixed(over) for each, over in zip(given, summed, strict=True)]
    dims = [next((m.dims[at] for m, at in zip(mixed, pair, strict=True) if m.along(at)), mixed[0].dims[pair[0]])
            for pair in zip(*batch, strict=True)]  # fmt: skip
    for each, gone, shared in zip(mixed, summed, batch, strict=True):
        dims += [dim for at, dim in enumerate(each.dims) if at not in gone and at not in shared]
    bearing = [dict(each.fields) for each in mixed if each.fields]
    if any(list(each) != list(bearing[0]) for each in bearing):
        return given[0].lost("inputs of different kinds meet", shape)
    made = Places(tuple(dims), tuple((axis, merged(each[axis] for each in bearing)) for axis in bearing[0]))
    used = [axis for dim in dims for factor in dim for axis in factor.axes]
    return made if len(used) == len(set(used)) else made.pairs()


def _reduced(params: Mapping[str, Any], given: Sequence[Places], shape: tuple[int, ...]) -> Places:
    return given[0].reduced(params["axes"])


def _spread(params: Mapping[str, Any], given: Sequence[Places], shape: tuple[int, ...]) -> Places:
    source, dims = given[0], list(plain(shape))
    for dim, at in enumerate(params["broadcast_dimensions"]):
        if source.shape[dim] == shape[at]:
            dims[at] = source.dims[dim]
    return Places(tuple(dims), source.fields)


def _viewed(params: Mapping[str, Any], given: Sequence[Places], shape: tuple[int, ...]) -> Places:
    return given[0].viewed(shape)


def _permuted(params: Mapping[str, Any], given: Sequence[Places], shape: tuple[int, ...]) -> Places:
    return given[0].permuted(params["permutation"])


def _joined(params: Mapping[str, Any], given: Sequence[Places], shape: tuple[int, ...]) -> Places:
    return given[0].joined(given[1:], params["dimension"])


def _split(params: Mapping[str, Any], given: Sequence[Places], shape: tuple[int, ...]) -> Places:
    source, axis = given[0], params["axis"]
    if source.along(axis):
        return source.lost("split along the image", shape)
    return Places((*source.dims[:axis], (Factor("", shape[axis]),), *source.dims[axis + 1 :]), source.fields)


def _padded(params: Mapping[str, Any], given: Sequence[Places], shape: tuple[int, ...]) -> Places:
    source = given[0]
    rules = {
        dim: _window(1, 1, 1, low, inner + 1)
        for dim, (low, high, inner) in enumerate(params["padding_config"])
        if source.along(dim) and (low, high, inner) != (0, 0, 0)
    }
    return source.windowed(rules, shape)


def _sliced(params: Mapping[str, Any], given: Sequence[Places], shape: tuple[int, ...]) -> Places:
    source, strides = given[0], params["strides"] or [1] * len(shape)
    rules, picked = {}, []
    for dim, (start, stride) in enumerate(zip(params["start_indices"], strides, strict=True)):
        if not source.along(dim) or source.shape[dim] == shape[dim]:
            continue
        if shape[dim] == 1:
            picked.append(dim)
        else:
            rules[dim] = partial(window, kernel=1, stride=stride, padding=-start)
    if picked:
        source = source.mixed(picked)
    return source.windowed(rules, shape)


def _mixed_along(params: Mapping[str, Any], given: Sequence[Places], shape: tuple[int, ...]) -> Places:
    """A running sum or a reversal: each unit may depend on all along its axis."""
    over = params["dimensions"] if "dimensions" in params else [params["axis"]]
    source = given[0]
    return Places(source.dims, source.mixed(over).fields)


ALIKE = (
    *("add", "sub", "mul", "div", "rem", "max", "min", "pow", "atan2", "nextafter", "and", "or", "xor", "add_any"),
    *("eq", "ne", "lt", "le", "gt", "ge", "select_n", "clamp", "not", "neg", "sign", "abs", "floor", "ceil", "round"),
    *("exp", "exp2", "expm1", "log", "log1p", "sqrt", "rsqrt", "cbrt", "square", "integer_pow", "is_finite"),
    *("logistic", "tanh", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "erf", "erf_inv", "erfc"),
    *("convert_element_type", "reduce_precision", "stop_gradient", "copy", "copy_p", "real", "imag", "optimization_barrier"),
)  # fmt: skip


RULES: dict[str, Rule] = {
    **dict.fromkeys(ALIKE, _together),
    "conv_general_dilated": _convolution,
    "dot_general": _product,
    **dict.fromkeys(("reduce_window_max", "reduce_window_sum", "reduce_window_min", "reduce_window"), _windows),
    **dict.fromkeys(("reduce_sum", "reduce_max", "reduce_min", "reduce_prod", "reduce_and", "reduce_or"), _reduced),
    **dict.fromkeys(("argmax", "argmin"), _reduced),
    "broadcast_in_dim": _spread,
    **dict.fromkeys(("reshape", "squeeze", "expand_dims"), _viewed),
    "transpose": _permuted,
    "concatenate": _joined,
    "split": _split,
    "pad": _padded,
    "slice": _sliced,
    **dict.fromkeys(("cumsum", "cumprod", "cummax", "cummin", "cumlogsumexp", "rev"), _mixed_along),
}
