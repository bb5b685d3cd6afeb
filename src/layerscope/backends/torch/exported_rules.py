"""The rules of exported programs: for each text that torch's schema has a place for, what it may be.

A rule returns the text, or one written anew in its place, or raises `Code`. What has no rule is refused, so that a field that a
later version of torch adds is refused too.
"""

from __future__ import annotations

import ast
import json
import keyword
import re
from collections.abc import Callable, Mapping
from typing import Any

import torch


class Code(Exception):
    """Something that torch would evaluate, unpickle or import; the message says what."""


def _refuse(what: str) -> str:
    raise Code(what)


def _name(text: str) -> str:
    """A name of a value: torch makes Python source of it."""
    if not re.fullmatch(r"[A-Za-z_]\w*", text, re.ASCII) or keyword.iskeyword(text) or text.startswith("__"):
        raise Code(f"a name that isn't one ({text!r:.60})")
    return text


def _path(text: str) -> str:
    """A dotted path of a module or weight; a second call has `@1` at its end."""
    if text and not all(re.fullmatch(r"(?!__)[\w-]+(@\d+)?", part, re.ASCII) for part in text.split(".")):
        raise Code(f"a path that isn't one ({text!r:.60})")
    return text


def _plain(text: str) -> str:
    """An option of an operator, such as "bilinear"."""
    if not text.isprintable() or len(text) > 1000:
        raise Code(f"a text that isn't one ({text!r:.60})")
    return text


def _file(text: str) -> str:
    if not re.fullmatch(r"(weight|tensor)_\d+", text, re.ASCII):
        raise Code(f"constants of another kind than tensors ({text!r:.60})")
    return text


def _device(text: str) -> str:
    if not re.fullmatch(r"[a-z]{2,12}", text):
        raise Code(f"a device that isn't one ({text!r:.60})")
    return text


SYMBOLIC = {
    *(f"_operator.{name}" for name in (
        "add", "and_", "eq", "floordiv", "ge", "getitem", "gt", "le", "lshift", "lt", "mod", "mul", "ne", "neg", "or_", "pos",
        "pow", "rshift", "sub", "truediv",
    )),
    *(f"torch.sym_{name}" for name in ("float", "int", "ite", "max", "min", "not", "sqrt")),
    "torch._sym_sqrt", "math.trunc", "math.ceil", "math.floor",
    "torch.ops.higher_order.wrap_with_set_grad_enabled", "torch.ops.higher_order.wrap_with_autocast",
}  # fmt: skip
DETECTION = {f"torch.ops.torchvision.{name}.default" for name in (
    "deform_conv2d", "nms", "ps_roi_align", "ps_roi_pool", "roi_align", "roi_pool",
)}  # fmt: skip
OPERATOR = re.compile(r"torch\.ops\.(aten|quantized_decomposed)\.([a-z_]\w*)\.([A-Za-z_]\w*)", re.ASCII)
# Of torch's own operators: those that name a file, that put a tensor onto other memory, that take places in memory from
# tensors unchecked, or that no model in evaluation mode has (gradients, sparse layouts).
UNCHECKED = re.compile(
    r"from_file|save|load|set_?|set_data|resize\w*|record_stream|retain_grad|segment_reduce|\w*_backward|\w*sparse\w*"
    r"|(fbgemm|mkldnn|cudnn|miopen|quantized)_\w*"
)
# Those with an underscore before their name are private: they leave checks to their caller. Programs have these.
PRIVATE = {
    *("__and__", "__lshift__", "__or__", "__rshift__", "__xor__"),
    *(f"_{name}" for name in (
        "adaptive_avg_pool2d", "adaptive_avg_pool3d", "aminmax", "assert_async", "assert_scalar", "assert_tensor_metadata",
        "batch_norm_with_update", "batch_norm_with_update_functional", "cdist_forward", "conj", "conj_physical", "convolution",
        "convolution_mode", "euclidean_dist", "fft_c2c", "fft_c2r", "fft_r2c", "functional_assert_async",
        "functional_assert_scalar", "functional_sym_constrain_range", "functional_sym_constrain_range_for_size",
        "fused_rms_norm", "int_mm",
        "is_all_true", "is_any_true", "linalg_det", "linalg_eigh", "linalg_slogdet", "linalg_solve_ex",
        "linalg_svd", "local_scalar_dense", "log_softmax", "logcumsumexp", "native_batch_norm_legit",
        "native_batch_norm_legit_functional", "native_batch_norm_legit_no_training", "native_multi_head_attention",
        "neg_view", "pad_circular", "pad_enum", "pdist_forward", "prelu_kernel", "reshape_copy", "safe_softmax",
        "scaled_dot_product_attention_math", "scaled_dot_product_efficient_attention",
        "scaled_dot_product_flash_attention", "scaled_dot_product_flash_attention_for_cpu", "shape_as_tensor", "softmax",
        "stack", "to_copy", "to_cpu", "transform_bias_rescale_qkv", "transformer_encoder_layer_fwd", "trilinear", "unique2",
        "unsafe_index", "unsafe_index_put", "unsafe_view", "upsample_bicubic2d_aa", "upsample_bilinear2d_aa",
        "upsample_nearest_exact1d", "upsample_nearest_exact2d", "upsample_nearest_exact3d", "weight_norm",
        "weight_norm_interface",
    )),
}  # fmt: skip


def _operator(text: str) -> str:
    """An operator: torch's own on tensors (those of its dispatcher, which leaves out TorchScript's), arithmetic on sizes."""
    if text in SYMBOLIC or text in DETECTION:
        return text
    match = OPERATOR.fullmatch(text)
    if match is None or UNCHECKED.fullmatch(match[2]) or (match[2].startswith("_") and match[2] not in PRIVATE):
        raise Code(f"an operator that isn't torch's own ({text!r:.100})")
    name = f"{match[1]}::{match[2]}" + ("" if match[3] == "default" else f".{match[3]}")
    try:
        there = torch._C._dispatch_has_kernel(name)
    except RuntimeError:  # nobody has registered it
        there = False
    return text if there else _refuse(f"an operator that isn't torch's own ({text!r:.100})")


CALLS = {
    "Abs", "Add", "And", "CeilDiv", "CeilToInt", "CleanDiv", "Equality", "Eq", "Float", "FloatTrueDiv", "FloorDiv",
    "FloorToInt", "Ge", "GreaterThan", "Gt", "Identity", "IntTrueDiv", "Integer", "Le", "LessThan", "Lt", "Max", "Min", "Mod",
    "ModularIndexing", "Mul", "Ne", "Not", "Or", "Pow", "PythonMod", "Rational", "RoundToInt", "StrictGreaterThan",
    "StrictLessThan", "Symbol", "ToFloat", "TruncToFloat", "TruncToInt", "Unequality", "Where",
}  # fmt: skip
SYMBOL = re.compile(r"[suz][a-z]{0,3}\d{1,6}", re.ASCII)
OPERATIONS = (ast.Add, ast.Sub, ast.Mult, ast.FloorDiv, ast.Div, ast.Mod, ast.USub)


def _expression(text: str) -> str:
    """Arithmetic on the symbols of sizes, written anew: sympy evaluates it as Python."""
    if len(text) > 2000 or text.count("Pow") > 3:
        raise Code("an expression of excessive length")
    try:
        tree = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise Code(f"an expression that isn't arithmetic ({text!r:.60})") from error
    if not _arithmetic(tree):
        raise Code(f"an expression that isn't arithmetic ({text!r:.60})")
    return ast.unparse(tree)


def _arithmetic(node: ast.expr) -> bool:
    if isinstance(node, ast.Call):
        known = (
            isinstance(node.func, ast.Name) and node.func.id in CALLS and (node.func.id != "Pow" or _small_power(node))
        )
        flags = all(
            isinstance(flag.value, ast.Constant) and type(flag.value.value) in (bool, int) for flag in node.keywords
        )
        return known and flags and all(map(_arithmetic, node.args))
    if isinstance(node, ast.BinOp):
        return isinstance(node.op, OPERATIONS) and _arithmetic(node.left) and _arithmetic(node.right)
    if isinstance(node, ast.UnaryOp):
        return isinstance(node.op, OPERATIONS) and _arithmetic(node.operand)
    if isinstance(node, ast.Name):
        return SYMBOL.fullmatch(node.id) is not None
    if not isinstance(node, ast.Constant):
        return False
    value = node.value
    if isinstance(value, str):  # of a Symbol, or of a Float
        return (
            SYMBOL.fullmatch(value) is not None or re.fullmatch(r"-?\d{1,20}(\.\d{1,20})?", value, re.ASCII) is not None
        )
    return type(value) in (bool, float) or (type(value) is int and abs(value) < 2**63)


def _small_power(node: ast.Call) -> bool:
    """Whether it is something to the power of a literal up to 8: a few more digits would take all memory."""
    return len(node.args) == 2 and re.fullmatch(r"Integer\([0-8]\)", ast.unparse(node.args[1])) is not None


def _symbol(text: str) -> str:
    if not SYMBOL.fullmatch(text):
        raise Code(f"a symbol that isn't one ({text!r:.60})")
    return text


CONTAINERS = {"builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict"}


def _tree(text: str) -> str:
    """How inputs or outputs are nested, as JSON, written anew: torch imports what it names."""
    version, node = json.loads(text)
    return json.dumps([_of(int, version), _branch(node)])


def _of(kind: type, value: Any) -> Any:
    if type(value) is not kind:
        raise TypeError(f"{value!r:.60} in a tree of inputs or outputs, where {kind.__name__} is needed")
    return value


def _branch(node: Any) -> dict[str, Any]:
    kind, context, children = node["type"], node["context"], [_branch(child) for child in node["children_spec"]]
    outputs = isinstance(kind, str) and re.fullmatch(r"transformers(\.[A-Za-z_]\w*)+", kind, re.ASCII)
    if not (kind is None or kind in CONTAINERS or outputs):
        raise Code(f"inputs or outputs in a {kind!r:.60}")
    if context is not None:
        keys = json.loads(context) if isinstance(context, str) else context
        if keys is not None and not (type(keys) is list and all(type(key) in (int, str) for key in keys)):
            raise Code("inputs or outputs of which not every key is a name")
        for key in keys or ():
            if type(key) is str:
                _name(key)
        context = json.dumps(keys)
    return {"type": kind, "context": context, "children_spec": children}


def _stack(text: str) -> str:
    """The modules around a node: key, path and class of each."""
    if not re.fullmatch(r"[\w\s.,;:@()\[\]'<>/-]*", text, re.ASCII) or re.search(r",(\w+\.)*__\w+__[.,]\w*,", text):
        raise Code(f"paths of modules that aren't such ({text!r:.60})")
    return text


def _version(text: str) -> str:
    return text if re.fullmatch(r"[\w.+<>=-]{0,60}", text, re.ASCII) else ""


def _dialect(text: str) -> str:
    return text if text in ("", "ATEN", "TRAINING") else _refuse(f"a dialect that isn't known ({text!r:.60})")


RULES: Mapping[str, Callable[[str], str]] = {
    "Argument.as_string": _plain,
    "ConstantValue.as_string": _plain,
    "Device.type": _device,
    "ExportedProgram.opset_version[]": _path,
    "ExportedProgram.range_constraints[]": _symbol,
    "ExportedProgram.torch_version": _version,
    "ExportedProgram.verifiers": _dialect,
    "Graph.sym_bool_values[]": _name,
    "Graph.sym_float_values[]": _name,
    "Graph.sym_int_values[]": _name,
    "Graph.tensor_values[]": _name,
    "GraphArgument.name": _name,
    "InputToBufferSpec.buffer_name": _path,
    "InputToConstantInputSpec.name": _name,
    "InputToParameterSpec.parameter_name": _path,
    "InputToTensorConstantSpec.tensor_constant_name": _path,
    "BufferMutationSpec.buffer_name": _path,
    "ParameterMutationSpec.parameter_name": _path,
    "UserInputMutationSpec.user_input_name": _name,
    "ModuleCallEntry.fqn": _path,
    "ModuleCallSignature.forward_arg_names": _name,
    "ModuleCallSignature.in_spec": _tree,
    "ModuleCallSignature.out_spec": _tree,
    "NamedArgument.name": lambda text: text and _name(text),
    "Node.metadata": _stack,
    "Node.metadata[]": _name,
    "Node.name": _name,
    "Node.target": _operator,
    "PayloadConfig.config[]": _path,
    "PayloadMeta.path_name": _file,
    "SymBoolArgument.as_name": _name,
    "SymExpr.expr_str": _expression,
    "SymFloatArgument.as_name": _name,
    "SymIntArgument.as_name": _name,
    "TensorArgument.name": _name,
}
# Of these mappings, the only keys that are read.
KEPT = {"Node.metadata": {"nn_module_stack"}}
# Fields that are left empty: Python that checks the inputs, and remarks.
DROPPED = {
    "ExportedProgram.guards_code", "Graph.custom_obj_values", "GraphModule.metadata", "GraphModule.treespec_namedtuple_fields",
}  # fmt: skip
REFUSED = {
    "Argument.as_operator": "an operator as an argument",
    "Argument.as_strings": "texts as an argument",
    "Argument.as_string_to_argument": "a mapping as an argument",
    "CustomObjArgument": "an object of a class of its own",
    "TokenArgument": "calls with side effects",
}
