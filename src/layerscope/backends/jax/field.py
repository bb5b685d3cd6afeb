"""Receptive fields of JAX modules, followed through the operations (`jaxpr`) that JAX itself says the model consists of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import jax
import numpy as np

from ..common.field import Positions, constant, image_positions
from ..common.field_rules import Operation, by_centres, by_name, follow, nary, unary, unknown
from .constants import evaluate, reading
from .facts import inputs
from .model import JaxModel
from .watch import Call, Watch

Key = tuple[str, int, str]


@dataclass(frozen=True)
class Step:
    """One operation: its parameters, the positions of its operands and the shape of one of its outputs."""

    params: Mapping[str, Any]
    inputs: Sequence[Positions]
    shape: tuple[int, ...]
    index: int = 0
    values: Sequence[Any] = ()  # of the operands that the code alone makes, `None` for the others

    @property
    def source(self) -> Positions:
        return self.inputs[0]


MOST_NUMBERS = 16  # of a constant whose value may matter, such as the translation of a resize

Rule = Callable[[Step], Operation]


# An operation whose result may depend on anything in it.
LOOPS = {"scan", "while", "cond", "custom_root", "custom_linear_solve"}


class Fields:
    """What every output of the model's modules sees of one image, from a trace that computes nothing."""

    def __init__(self, model: JaxModel, image: Any) -> None:
        self._fields = _trace(model, image)

    def get(self, output: Key) -> Positions | None:
        """The positions of an output, which is (path, call, subpath in what the module returned)."""
        return self._fields.get(output)


def _trace(model: JaxModel, image: Any) -> dict[Key, Positions]:
    """(path, call, subpath in the output) -> the positions.

    Nothing is known of a model with several inputs, or of one that can't be traced since it decides by values.
    """
    axes = inputs(model)[0].axes
    if not hasattr(image, "ndim") or image.ndim != len(axes) or image.ndim < 3:
        return {}
    keys: list[Key] = []

    def outputs(image: Any) -> list[Any]:
        values: list[Any] = []

        def ended(call: Call) -> None:
            for subpath, value in call.values.items():
                keys.append((call.path, call.number, subpath))
                values.append(value)

        model.run(image, Watch(ended, differentiating=True))
        return values

    try:
        traced = jax.make_jaxpr(outputs)(image)
    except (jax.errors.JAXTypeError, jax.errors.JAXIndexError):
        return {}
    constants = [constant(variable.aval.shape) for variable in traced.jaxpr.constvars]
    images = [image_positions(axes, variable.aval.shape) for variable in traced.jaxpr.invars]
    numbers = [_small(value) for value in traced.consts]
    positions = _through(traced.jaxpr, constants, images, [*numbers, *[None] * len(images)])
    return dict(zip(keys, positions, strict=True))


def _small(value: Any) -> np.ndarray | None:
    """The values of a small array, which may tell where things lie; no random key."""
    plain = isinstance(value, jax.Array | np.ndarray) and not jax.dtypes.issubdtype(value.dtype, jax.dtypes.extended)
    return np.asarray(value) if plain and value.size <= MOST_NUMBERS else None


def _through(
    jaxpr: Any, constants: Sequence[Positions], inputs: Sequence[Positions], numbers: Sequence[Any]
) -> list[Positions]:
    """The positions of what a `jaxpr` returns; `numbers` are the values of its constants and inputs, where they are known."""
    variables = [*jaxpr.constvars, *jaxpr.invars]
    known: dict[Any, Positions] = dict(zip(variables, [*constants, *inputs], strict=True))
    values: dict[Any, Any] = dict(zip(variables, numbers, strict=True))

    def positions(atom: Any) -> Positions:
        # A literal holds its value, and can be no key.
        return constant(atom.aval.shape) if hasattr(atom, "val") else known[atom]

    for equation in jaxpr.eqns:
        read = [atom.val if hasattr(atom, "val") else values.get(atom) for atom in equation.invars]
        size = max((prod(getattr(variable.aval, "shape", ())) for variable in equation.outvars), default=0)
        if len(equation.outvars) == 1:
            values[equation.outvars[0]] = evaluate(equation.primitive.name, equation.params, read, size)
        after = _after(equation, [positions(atom) for atom in equation.invars], read)
        known.update(zip(equation.outvars, after, strict=True))
    return [positions(atom) for atom in jaxpr.outvars]


def _after(equation: Any, inputs: list[Positions], values: list[Any]) -> Iterator[Positions]:
    """The positions of the outputs of one operation, or of the operations inside it."""
    name, params = equation.primitive.name, equation.params
    shapes = [tuple(getattr(variable.aval, "shape", ())) for variable in equation.outvars]
    first = next((positions for positions in inputs if positions.fields), None)
    if first is None:
        yield from (constant(shape) for shape in shapes)
        return
    inner = next((params[key] for key in ("jaxpr", "call_jaxpr", "fun_jaxpr") if key in params), None)
    if inner is not None and name not in LOOPS:
        inside = inner.jaxpr if hasattr(inner, "consts") else inner
        constants = [constant(variable.aval.shape) for variable in inside.constvars]
        if len(inside.invars) == len(inputs):
            yield from _through(inside, constants, inputs, [*[None] * len(constants), *values])
            return
    for index, shape in enumerate(shapes):
        yield follow(RULES.get(name), Step(params, inputs, shape, index, values), first, name)


def _elementwise(step: Step) -> Operation:
    """Element by element: operands have one shape, or are single numbers."""
    return Operation("elementwise", [positions for positions in step.inputs if positions.dims or not step.shape])


def _windows(inputs: Sequence[Positions], dims: Sequence[int] | None, numbers: Sequence[Any]) -> Operation:
    """Windows along `dims`: kernels, strides, dilations, paddings, and the dilations of what they slide over."""
    kernel, stride, dilation, padding, inner = numbers
    fronts = [pair[0] for pair in padding]
    if all(step == 1 for step in inner):
        return Operation("window", inputs, dims, kernel=kernel, stride=stride, dilation=dilation, padding=fronts)
    if any(step != 1 for step in stride):
        return Operation("unknown", inputs, reason="a window with strides on both sides")
    # Zeros between the units of the input: the transpose of a strided window.
    cut = [(size - 1) * apart - front for size, apart, front in zip(kernel, dilation, fronts, strict=True)]
    return Operation("transposed", inputs, dims, kernel=kernel, stride=inner, dilation=dilation, padding=cut)


def _window(step: Step) -> Operation:
    names = ("window_dimensions", "window_strides", "window_dilation", "padding", "base_dilation")
    return _windows([step.source], None, [step.params[name] for name in names])


def _pad(step: Step) -> Operation:
    config, ones = step.params["padding_config"], [1] * len(step.shape)
    return _windows([step.source], None, (ones, ones, ones, config, [inner + 1 for *_, inner in config]))


def _convolution(step: Step) -> Operation:
    params, (source, weight) = step.params, step.inputs
    if params["batch_group_count"] != 1:
        return unknown(step, "a convolution in groups of images")
    left, right, out = params["dimension_numbers"]
    # As if the image's axes lay where the output has them.
    source = source.permute([left[out.index(dim)] for dim in range(len(out))]).mix([out[1]])
    names = ("window_strides", "rhs_dilation", "padding", "lhs_dilation")
    kernel = [weight.shape[dim] for dim in right[2:]]
    return _windows([source, weight], out[2:], (kernel, *(params[name] for name in names)))


def _product(step: Step) -> Operation:
    """A product that sums over some dimensions and keeps those of the batch, which come first in the output."""
    resized = _resized(step)
    if resized is not None:
        return Operation("same", [resized])
    summed, batch = step.params["dimension_numbers"]
    letters = map(chr, range(ord("A"), ord("z")))
    labels = [dict[int, str]() for _ in step.inputs]
    output = ""
    for pairs, kept in ((zip(*batch, strict=True), True), (zip(*summed, strict=True), False)):
        for pair in pairs:
            letter = next(letters)
            output += letter * kept
            for names, dim in zip(labels, pair, strict=True):
                names[dim] = letter
    for positions, names in zip(step.inputs, labels, strict=True):
        free = {dim: next(letters) for dim in range(len(positions.dims)) if dim not in names}
        names.update(free)
        output += "".join(free.values())
    reads = ["".join(names[dim] for dim in sorted(names)) for names in labels]
    return Operation("einsum", step.inputs, labels=[*reads, output])


def _resized(step: Step) -> Positions | None:
    """The positions after a product with the weights of a resize, `None` where it is another product."""
    summed, batch = step.params["dimension_numbers"]
    left = step.values[0] is not None
    weights, positions = np.asarray(step.values[not left]), step.inputs[left]
    if weights.ndim != 2 or batch[0] or any(len(dims) != 1 for dims in summed):
        return None
    over, dim = summed[not left][0], summed[left][0]
    rule = reading(weights.T if over else weights) if positions.along(dim) else None
    if rule is None:
        return None
    shape = list(positions.shape)
    shape[dim] = weights.shape[1 - over]
    order = [other for other in range(len(shape)) if other != dim]
    # the dimensions of the first operand come first
    return positions.slide({dim: rule}, shape).permute([dim, *order] if left else [*order, dim])


def _rows(source: Positions, dim: int, picks: np.ndarray) -> Positions:
    """The positions at some indices of a dimension, among them those that a resize to the nearest pixel reads."""
    before, after = source.shape[dim], len(picks)
    if np.array_equal(picks, np.floor((np.arange(after) + 0.5) * (before / after))):
        shape = [*source.shape[:dim], after, *source.shape[dim + 1 :]]
        samplings = by_centres(source.shape, tuple(shape), [dim], nearest=True)
        return Operation("resize", [source], [dim], samplings=samplings).after(shape)
    return source.take(dim, picks.clip(0, before - 1))


def _gather(step: Step) -> Operation:
    """Rows along one dimension, at indices that the code alone makes."""
    numbers, picks = step.params["dimension_numbers"], step.values[1]
    (*others,) = numbers.collapsed_slice_dims
    full = [1 if dim in others else size for dim, size in enumerate(step.source.shape)]
    plain = len(others) == 1 and tuple(others) == tuple(numbers.start_index_map) and not numbers.operand_batching_dims
    if not plain or picks is None or np.ndim(picks) != 2 or list(step.params["slice_sizes"]) != full:
        return unknown(step, "gather isn't followed")
    taken = _rows(step.source, others[0], np.asarray(picks)[:, 0])
    (at,) = set(range(len(step.shape))) - set(numbers.offset_dims)
    order = [dim for dim in range(len(step.shape)) if dim != others[0]]
    return Operation("same", [taken.permute([*order[:at], others[0], *order[at:]])])


def _dynamic_slice(step: Step) -> Operation:
    """A slice whose start is known."""
    if any(start is None for start in step.values[1:]):
        return unknown(step, "dynamic_slice isn't followed")
    sizes = zip(step.values[1:], step.source.shape, step.shape, strict=True)
    starts = [-min(max(int(start), 0), before - after) for start, before, after in sizes]
    return Operation("slice", [step.source], None, padding=starts)


def _slice(step: Step) -> Operation:
    starts = [-start for start in step.params["start_indices"]]
    return Operation("slice", [step.source], None, stride=step.params["strides"] or 1, padding=starts)


def _split(step: Step) -> Operation:
    start = sum(step.params["sizes"][: step.index])
    return Operation("slice", [step.source], [step.params["axis"]], padding=-start)


def _param(name: str) -> Callable[[Step], Any]:
    """A parameter of the operation."""
    return lambda step: step.params[name]


RULES: dict[str, Rule] = by_name(
    (
        _elementwise,
        "add sub mul div rem max min pow atan2 nextafter and or xor add_any eq ne lt le gt ge select_n clamp",
    ),
    (_elementwise, "not neg sign abs floor ceil round exp exp2 expm1 log log1p sqrt rsqrt cbrt square integer_pow"),
    (
        _elementwise,
        "is_finite logistic tanh sin cos tan asin acos atan sinh cosh erf erf_inv erfc convert_element_type",
    ),
    (_elementwise, "reduce_precision stop_gradient copy copy_p real imag optimization_barrier"),
    (_convolution, "conv_general_dilated"),
    (_product, "dot_general"),
    (_window, "reduce_window_max reduce_window_sum reduce_window_min reduce_window"),
    (
        unary("reduce", _param("axes")),
        "reduce_sum reduce_max reduce_min reduce_prod reduce_and reduce_or argmax argmin",
    ),
    (unary("expand", _param("broadcast_dimensions")), "broadcast_in_dim"),
    (unary("reshape"), "reshape squeeze expand_dims"),
    (unary("permute", _param("permutation")), "transpose"),
    (nary("concatenate", _param("dimension")), "concatenate"),
    (_split, "split"),
    (_pad, "pad"),
    (_slice, "slice"),
    (_dynamic_slice, "dynamic_slice"),
    (_gather, "gather"),
    (unary("normalize", _param("axis")), "cumsum cumprod cummax cummin cumlogsumexp"),
    (unary("flip", _param("dimensions")), "rev"),
)
