"""What the numbers of a model's output are: followed from the activation of its head through the steps behind it.

Steps go by the names that frameworks give them (`LogSoftmax`, `log_softmax`, `LOG_SOFTMAX` are one).
"""

from __future__ import annotations

from collections.abc import Sequence

# The head gives sums of products, and nothing follows.
LINEAR = "linear"
# What the model's own configuration says of such sums: how they become probabilities, or that they don't.
SOFTMAX_LOGITS, SIGMOID_LOGITS, REGRESSION = "softmax-logits", "sigmoid-logits", "regression"
SOFTMAX, SIGMOID, LOG_SOFTMAX, LOG_SIGMOID = "softmax", "sigmoid", "log_softmax", "log_sigmoid"
OVER_IMAGES = (
    " over images"  # behind the name of a softmax that goes along the batch axis: what it gives says nothing of classes
)
# In front of one of these: numbers that were scaled or shifted after it, or that are several of it added up.
SCALED, SUM = "scaled ", "sum of "

_OTHERS = (
    "relu relu6 relun1to1 leakyrelu prelu elu selu celu gelu silu swish mish hardswish tanh hardtanh softplus softsign clip"
    " clamp sqrt square abs argmax argmin argsort topk"
)
_SUMS = (
    "linear dense einsumdense fullyconnected gemm matmul mm bmm addmm baddbmm einsum dotgeneral dot tensordot batchmatmul"
    " matmulinteger qgemm dynamicquantizematmul bilinear fusedmatmul fusedgemm conv conv1d conv2d conv3d convolution"
    " convgeneraldilated depthwiseconv2d"
)
_MOVES = (
    "view viewas reshape reshapeas flatten squeeze unsqueeze expanddims permute transpose t swapaxes swapdims movedim"
    " moveaxis contiguous clone copy detach to float double half bfloat16 type typeas cast convertelementtype quantize"
    " quantizelinear dequantize dequantizelinear identity dropout select slice stridedslice getitem narrow broadcastindim"
    " broadcastto expand expandas stopgradient alias unflatten aliascopy tocopy gather indexselect split unbind chunk"
    " unsafeview dynamicslice reduceprecision identityn activation"
)
_JOINS = (
    "add addn sub subtract mul multiply div divide truediv truedivide mean reducemean average averagepool concat"
    " concatenate cat stack pack neg negative biasadd globalaveragepool adaptiveavgpool2d avgpool2d"
    " averagepool2d globalaveragepooling2d"
)

ACTIVATIONS = {
    **dict.fromkeys(("softmax", "safesoftmax"), SOFTMAX),
    **dict.fromkeys(("sigmoid", "logistic", "expit", "specialexpit", "hardsigmoid"), SIGMOID),
    **dict.fromkeys(("logsoftmax", "speciallogsoftmax"), LOG_SOFTMAX),
    **dict.fromkeys(("logsigmoid", "logsigmoidforward"), LOG_SIGMOID),
    **{name: name for name in _OTHERS.split()},
}
SUMS = frozenset(_SUMS.split())  # of products
MOVES = frozenset(_MOVES.split())  # they move numbers, or change their type
JOINS = frozenset(_JOINS.split())  # they bring the numbers of several together, or scale them


PROBABILITIES = (SOFTMAX, SIGMOID)
_ARITHMETIC = "add addn sub subtract mul multiply div divide truediv truedivide neg negative biasadd"
ARITHMETIC = frozenset(_ARITHMETIC.split())


def plain(name: str) -> str:
    """The name of a step in one spelling.

    >>> plain("LogSoftmax"), plain("LOG_SOFTMAX"), plain("_log_softmax")
    ('logsoftmax', 'logsoftmax', 'logsoftmax')
    """
    return name.lower().replace("_", "").removeprefix("qlinear").removesuffix("v2")


def follow(name: str, inputs: Sequence[str]) -> str:
    """What a step gives, from its name and what it takes (its inputs that depend on the image): `""` where nothing tells.

    >>> follow("Gemm", [""]), follow("Sigmoid", ["linear"]), follow("Reshape", ["sigmoid"]), follow("Sin", ["sigmoid"])
    ('linear', 'sigmoid', 'sigmoid', '')
    """
    step = plain(name)
    if step in ACTIVATIONS:
        return ACTIVATIONS[step]
    if step in SUMS:
        return LINEAR
    if step in ARITHMETIC and (counted := _arithmetic(step, inputs)):
        return counted
    if step in MOVES | JOINS:
        known = inputs[0] if len(set(inputs)) == 1 else ""
        return _quotient(step, inputs) or ("" if step in JOINS and known in (LOG_SOFTMAX, LOG_SIGMOID) else known)
    return _exponential(step, inputs)


def _arithmetic(step: str, inputs: Sequence[str]) -> str:
    """What arithmetic makes of probabilities alone: products of them are some, and so is the mean of several. Their logarithms
    are none after it.

    >>> _arithmetic("add", [SIGMOID, SIGMOID]), _arithmetic("mul", ["sum of sigmoid"]), _arithmetic("mul", [SIGMOID])
    ('sum of sigmoid', 'sigmoid', 'scaled sigmoid')
    """
    kinds = {known.removeprefix(SUM) for known in inputs}
    kind = kinds.pop() if len(kinds) == 1 else ""
    activation = kind.removeprefix(SCALED)
    if activation in (LOG_SOFTMAX, LOG_SIGMOID) and len(inputs) == 1:
        return SCALED + activation
    if activation not in PROBABILITIES:
        return ""
    if len(inputs) > 1 and "sub" not in step:
        return SUM + kind if "add" in step else kind
    mean = inputs[0].startswith(SUM) and step.startswith(("mul", "div", "true"))
    return kind if mean or kind.startswith(SCALED) else SCALED + kind


def _exponential(step: str, inputs: Sequence[str]) -> str:
    """The parts of a softmax that is written out; `exp` of anything else is no sum of products any more."""
    if step == "exp":
        return "exp"
    if step == "log" and list(inputs) in ([SOFTMAX], [SIGMOID]):
        return LOG_SOFTMAX if inputs[0] == SOFTMAX else LOG_SIGMOID
    if step in ("logsumexp", "reducelogsumexp"):
        return "log of sum"
    if step in ("sum", "reducesum", "sumdimintlist") and list(inputs) == ["exp"]:
        return "sum of exp"
    return "log of sum" if step == "log" and list(inputs) == ["sum of exp"] else ""


def _quotient(step: str, inputs: Sequence[str]) -> str:
    if list(inputs) == ["exp", "sum of exp"] and step in ("div", "divide", "truediv"):
        return SOFTMAX
    if list(inputs[1:]) == ["log of sum"] and step in ("sub", "subtract"):
        return LOG_SOFTMAX
    return ""
