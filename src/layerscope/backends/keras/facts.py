"""What is known of a Keras model without running it: its inputs, a digest of its weights, its preprocessing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..common.facts import recipe_of_scaling, sample, sampled_digest
from ..protocol import Facts, Input
from . import evidence
from .axes import input_axes
from .engine import Engine, dtype_name
from .model import KerasModel
from .tree import WITH_KERNEL, Location, is_a, is_layer, walk

SECOND_ARGUMENT = ("x2", "y", "bias", "value")


class Family(NamedTuple):
    """Models of keras.applications that want the same pixels: how their name begins, layers that give them away.

    `filters` are those of some convolutions: a network of somebody's own may have the names and not the sizes.
    """

    name: str
    prefixes: tuple[str, ...]
    layers: frozenset[str]
    recipe: str
    filters: dict[str, int]


def _family(name: str, prefixes: str, layers: str, recipe: str, **filters: int) -> Family:
    """A family with its prefixes and layers given as words."""
    return Family(name, tuple(prefixes.split()), frozenset(layers.split()), recipe, filters)


VGG = {f"block{block}_conv{conv}": min(32 << block, 512) for block in range(1, 6) for conv in range(1, 5)}


# `recipe` is what the network wants once its own rescaling layers are left out (`include_preprocessing=False`)
FAMILIES = (
    _family("vgg", "vgg16 vgg19", "block1_conv1 block1_conv2 block1_pool", "caffe", **VGG),
    _family(
        "resnet v2", "resnet50v2 resnet101v2 resnet152v2", "conv1_conv conv2_block1_preact_bn", "tf", conv1_conv=64
    ),
    _family(
        "resnet",
        "resnet50 resnet101 resnet152",
        "conv1_conv conv1_bn conv2_block1_1_conv pool1_pool",
        "caffe",
        conv1_conv=64,
    ),
    _family("densenet", "densenet", "conv1_conv conv1_bn conv2_block1_concat", "torch", conv1_conv=64),
    _family("mobilenet v2", "mobilenetv2", "Conv1 bn_Conv1 expanded_conv_depthwise", "tf"),
    _family("mobilenet v3", "MobileNetV3", "conv conv_bn expanded_conv_depthwise expanded_conv_project", "tf"),
    _family("mobilenet", "mobilenet_", "conv1 conv1_bn conv_dw_1", "tf"),
    _family("inception resnet v2", "inception_resnet_v2", "mixed_5b block35_1_conv", "tf"),
    _family("inception v3", "inception_v3", "mixed0 mixed1", "tf"),
    _family("xception", "xception", "block1_conv1 block1_conv1_bn block2_sepconv1", "tf", block1_conv1=32),
    _family("nasnet", "NASNet nasnet", "stem_conv1 stem_bn1", "tf"),
    _family("efficientnet", "efficientnetb", "stem_conv block1a_dwconv", "torch"),
    # B0 to B3 were trained on other numbers than S to L; the names of their layers are the same
    _family("efficientnet v2 b", "efficientnetv2-b", "", "torch"),
    _family("efficientnet v2", "efficientnetv2", "stem_conv stem_bn block1a_project_conv block1a_project_bn", "tf"),
    _family("convnext", "convnext", "", "torch"),
)


# Operations of `preprocess_input` when it is part of the graph, each as (scale, offset) of a number; `tf_keras` adds its means
# as a bias.
ARITHMETIC: dict[str, Callable[[np.ndarray], tuple[np.ndarray | float, np.ndarray | float]]] = {
    **dict.fromkeys(("Add", "BiasAdd"), lambda number: (1.0, number)),
    "Subtract": lambda number: (1.0, -number),
    "Multiply": lambda number: (number, 0.0),
    **dict.fromkeys(("Divide", "TrueDivide", "Truediv"), lambda number: (1 / number, 0.0)),
}


# what turns RGB into BGR
MOVES = {"GetItem", "Flip", "Take", "Stack", "Split", "Concat", "Concatenate", "Reverse", "Gather"}


def facts(model: KerasModel) -> Facts:
    """Name, inputs, digest, framework and preprocessing of `model`."""
    recipe, source, assumed = preprocessing(model)
    name, framework = str(model.root.name), model.engine.framework
    taken = inputs(model)
    weights = digest(model)
    return Facts(
        name, taken, weights, framework, recipe, source, assumed=assumed, resizes=evidence.resizes(model, taken)
    )


def inputs(model: KerasModel) -> tuple[Input, ...]:
    """The inputs of a model that knows them; `()` for a subclassed one and a Sequential that was never built."""
    root = model.root
    graph = getattr(root, "_functional", root) if is_a(root, "Sequential") else root
    return tuple(_input(model, tensor) for tensor in getattr(graph, "inputs", None) or ())


def _input(model: KerasModel, tensor: Any) -> Input:
    """One input of the model."""
    dtype = dtype_name(tensor.dtype)
    rank = len(tensor.shape)
    # whole numbers in two axes are the tokens of a text, not channels
    axes = "bn" if rank == 2 and "int" in dtype else input_axes(model.root, rank, model.engine.data_format)
    return Input(str(tensor.name), axes, tuple(tensor.shape), dtype)


def digest(model: KerasModel) -> str:
    """A hash over each variable's path, shape, type and 64 of its values; `""` for a model without variables."""
    engine = model.engine
    variables = engine.variables(model.root)
    values = (engine.as_numpy(engine.stored_value(variable)).reshape(-1) for variable in variables)
    return sampled_digest(
        (engine.describe(variable), sample(flat).tobytes()) for variable, flat in zip(variables, values, strict=True)
    )


def preprocessing(model: KerasModel) -> tuple[str | None, str, bool]:
    """The recipe that fits the model, where that was found, and whether it is only what the architecture suggests.

    `(None, "", False)` where nothing tells.
    """
    layers = list(walk(model.root))
    family, name = _known_family(model.root, layers)
    label = f"keras.applications family {name}" if family else ""
    own, recipe = _own_scaling(layers, model.engine)
    if own:
        source = f"the model's own {own} before its first convolution" + (f" ({label})" if label else "")
        return recipe, source, False
    return (family.recipe, label, True) if family else (None, "", False)


def _known_family(model: Any, layers: list[tuple[Location, Any]]) -> tuple[Family | None, str]:
    """The family by the model's name or its layers' names, and what tells it; `(None, "")` for none."""
    filters = {layer.name: getattr(layer, "filters", None) for _, layer in layers}
    families = [family for family in FAMILIES if not _differ(family.filters, filters)]
    for part in (model, *(layer for _, layer in layers if is_a(layer, "Model"))):
        for family in families:
            if part.name.startswith(family.prefixes):
                return family, part.name
    for family in families:
        if family.layers and family.layers <= filters.keys():
            return family, f"{family.name} (by the names of its layers)"
    return None, ""


def _differ(expected: dict[str, int], filters: dict[str, int | None]) -> bool:
    """Whether a convolution has another number of filters than it has in a family."""
    return any(filters.get(name, count) != count for name, count in expected.items())


def _own_scaling(layers: list[tuple[Location, Any]], engine: Engine) -> tuple[str, str]:
    """The layer that rescales the pixels before the first layer with weights, and the recipe of the pixels that it takes.

    `("", "")` where there is none. Where its numbers don't tell, it takes 0–255, as those of keras.applications do.
    """
    for location, layer in layers:
        if is_a(layer, "Rescaling", "Normalization"):
            return f"{type(layer).__name__} layer {location.path!r}", _layer_recipe(layer, engine) or "raw"
        if is_a(layer, "Lambda") and getattr(layer.function, "__name__", "") == "preprocess_input":
            return f"Lambda layer {location.path!r} (preprocess_input)", "raw"
        if _is_arithmetic(layer):
            return f"arithmetic {location.path!r}", _arithmetic_recipe(layers, engine) or "raw"
        if not is_a(layer, "Model") and _learns(layer):
            break
    return "", ""


def _is_arithmetic(layer: Any) -> bool:
    """Whether a layer is an operation that may rescale pixels or reorder colours."""
    operation = not is_layer(layer) or is_a(layer, "TFOpLambda", "SlicingOpLambda")
    return operation and (_operation(layer) in ARITHMETIC or _operation(layer) == "GetItem")


def _layer_recipe(layer: Any, engine: Engine) -> str | None:
    """Which pixels a Rescaling or an adapted Normalization takes."""
    if is_a(layer, "Rescaling"):
        return recipe_of_scaling(layer.scale, layer.offset)
    statistics = getattr(layer, "mean", None), getattr(layer, "variance", None)
    if statistics[0] is None or statistics[1] is None or layer.invert:
        return None
    mean, variance = (np.asarray(_as_numpy(statistic, engine), np.float64) for statistic in statistics)
    # as the layer itself does: no division by zero
    deviation = np.maximum(np.sqrt(variance), 1e-7)
    return recipe_of_scaling(1 / deviation, -mean / deviation)


def _arithmetic_recipe(layers: list[tuple[Location, Any]], engine: Engine) -> str | None:
    """Which pixels the arithmetic in front takes, as `x * 2 - 1` takes 0–1; the order of the channels doesn't matter."""
    scale, offset = np.ones(1), np.zeros(1)
    for _, layer in layers:
        name = _operation(layer)
        if is_a(layer, "InputLayer") or name in MOVES:
            continue
        number = _number(layer, engine) if name in ARITHMETIC else None
        if number is None or ("Div" in name.title() and not number.all()):
            break
        factor, summand = ARITHMETIC[name](number)
        scale, offset = scale * factor, offset * factor + summand
    return None if (scale == 1).all() and not offset.any() else recipe_of_scaling(scale, offset)


def _as_numpy(value: Any, engine: Engine) -> Any:
    """A value in numpy where it is a tensor, else as it is."""
    return engine.as_numpy(value) if engine.has_values(value) else value


def _number(layer: Any, engine: Engine) -> np.ndarray | None:
    """The number, or the one for each colour, that an operation of the graph takes after its tensor; else `None`."""
    (node, *others) = layer._inbound_nodes
    arguments = getattr(node, "arguments", None)
    args, options = (node.call_args, node.call_kwargs) if arguments is None else (arguments.args, arguments.kwargs)
    second = args[1] if len(args) > 1 else next((options[name] for name in SECOND_ARGUMENT if name in options), None)
    if others or second is None or not args or not engine.is_placeholder(args[0]) or engine.is_placeholder(second):
        return None
    values = np.asarray(_as_numpy(second, engine))
    return values.astype(np.float64).reshape(-1) if values.dtype.kind in "iuf" and values.size in (1, 3) else None


def _operation(layer: Any) -> str:
    """The class of an operation; tf_keras has layers that hold a function of TensorFlow."""
    if is_a(layer, "SlicingOpLambda"):
        return "GetItem"
    function = getattr(layer, "function", None)
    return getattr(function, "__name__", "").title().replace("_", "") if function else type(layer).__name__


def _learns(layer: Any) -> bool:
    """Whether a layer has weights, or will have once it is built."""
    return bool(getattr(layer, "weights", ())) or is_a(layer, *WITH_KERNEL)
