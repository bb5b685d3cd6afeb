"""The TensorFlow functions and operations that a file of tf.keras 2 may name: those that only compute."""

from __future__ import annotations

import re

from ..keras.allowed import Part, Refusal

# Every function of these is arithmetic; classes, which begin with a capital letter, aren't meant.
NAMESPACES = (
    "math|nn|linalg|signal|bitwise|image|quantization|__operators__|keras.activations|math.special|nn.experimental"
)

_FUNCTIONS = (
    "abs acos acosh add add_n argmax argmin argsort asin asinh atan atan2 atanh batch_to_space batch_to_space_nd bitcast"
    " boolean_mask broadcast_to cast ceil clip_by_norm clip_by_value complex concat constant convert_to_tensor cos cosh"
    " cumprod cumsum depth_to_space divide dynamic_partition dynamic_stitch einsum ensure_shape equal erf exp expand_dims"
    " expm1 extract_image_patches extract_volume_patches eye fill floor floordiv floormod gather gather_nd greater"
    " greater_equal histogram_fixed_width identity identity_n is_finite is_inf is_nan less less_equal linspace log log1p"
    " log_sigmoid logical_and logical_not logical_or logical_xor matmul matrix_band_part matrix_diag matrix_inverse"
    " matrix_transpose maximum meshgrid minimum mod multiply negative norm not_equal one_hot ones ones_like pad pow range"
    " rank real realdiv reciprocal reduce_all reduce_any reduce_logsumexp reduce_max reduce_mean reduce_min reduce_prod"
    " reduce_sum repeat reshape reverse reverse_sequence rint roll round rsqrt saturate_cast scalar_mul scatter_nd"
    " searchsorted sequence_mask shape shape_n sigmoid sign sin sinh size slice sort space_to_batch space_to_batch_nd"
    " space_to_depth split sqrt square squared_difference squeeze stack stop_gradient strided_slice subtract tan tanh"
    " tensor_scatter_nd_add tensor_scatter_nd_max tensor_scatter_nd_min tensor_scatter_nd_sub tensor_scatter_nd_update"
    " tensordot tile trace transpose truediv truncatediv truncatemod unique unique_with_counts unravel_index unstack where"
    " zeros zeros_like random.normal random.uniform random.truncated_normal random.categorical random.shuffle"
    " random.stateless_normal random.stateless_uniform"
)
FUNCTIONS = set(_FUNCTIONS.split())

_BACKEND = (
    "abs all any argmax argmin batch_dot batch_flatten batch_normalization bias_add binary_crossentropy cast cast_to_floatx"
    " categorical_crossentropy clip concatenate constant conv1d conv2d conv2d_transpose conv3d cos cumprod cumsum"
    " depthwise_conv2d dot dropout elu equal exp expand_dims eye flatten gather greater greater_equal hard_sigmoid"
    " l2_normalize less less_equal log max maximum mean min minimum not_equal one_hot ones_like permute_dimensions pool2d"
    " pool3d pow prod relu repeat repeat_elements reshape resize_images resize_volumes reverse round separable_conv2d shape"
    " sigmoid sign sin softmax softplus softsign spatial_2d_padding spatial_3d_padding sqrt square squeeze stack std"
    " stop_gradient sum tanh temporal_padding tile transpose var zeros_like"
)
BACKEND = set(_BACKEND.split())

# What TensorFlow 2.0 to 2.3 wrote in place of functions.
_OPERATIONS = (
    "Abs Add AddN AddV2 All Any ArgMax ArgMin AvgPool BatchMatMul BatchMatMulV2 BatchToSpaceND BiasAdd BroadcastTo Cast Ceil"
    " ClipByValue Concat ConcatV2 Const Conv2D Cos Cumsum DepthToSpace DepthwiseConv2dNative Div DivNoNan Einsum Elu Equal"
    " Erf Exp ExpandDims Fill Floor FloorDiv FloorMod Gather GatherNd GatherV2 Greater GreaterEqual Identity LeakyRelu Less"
    " LessEqual Log Log1p LogSoftmax LogicalAnd LogicalNot LogicalOr MatMul Max MaxPool Maximum Mean Min Minimum MirrorPad"
    " Mul Neg NotEqual OneHot Pack Pad PadV2 Pow Prod Range Rank RealDiv Reciprocal Relu Relu6 Reshape"
    " ResizeBicubic ResizeBilinear ResizeNearestNeighbor ReverseV2 Round Rsqrt Select SelectV2 Selu Shape Sigmoid Sign Sin"
    " Size Slice Softmax Softplus Softsign SpaceToBatchND SpaceToDepth Split SplitV Sqrt Square SquaredDifference Squeeze"
    " StopGradient StridedSlice Sub Sum Tan Tanh Tile TopKV2 Transpose Unpack Where ZerosLike"
)
OPERATIONS = set(_OPERATIONS.split())


def is_pure(symbol: str) -> bool:
    """Whether the public name of a function, as files hold it, is known to be one that only computes.

    >>> is_pure("math.add"), is_pure("compat.v1.nn.relu"), is_pure("io.write_file"), is_pure("raw_ops.WriteFile")
    (True, True, False, False)
    """
    name = symbol.removeprefix("compat.v1.")
    if name.startswith("keras.backend."):
        return name.removeprefix("keras.backend.") in BACKEND
    last = name.rpartition(".")[2]
    inside = re.fullmatch(rf"(?:{NAMESPACES.replace('.', '[.]')})\.[a-z0-9_]+", name) is not None
    return name in FUNCTIONS or (inside and last not in ("get", "serialize", "deserialize"))


def operation(part: Part) -> Refusal | None:
    """Why a layer that names a TensorFlow function or operation isn't allowed, `None` where it is or names none."""
    config = part.get("config")
    options = config if isinstance(config, dict) else {}
    if part["class_name"] in ("TFOpLambda", "SlicingOpLambda"):
        name = options.get("function")
        return None if isinstance(name, str) and is_pure(name) else Refusal(f"the function tf.{name}", str(name))
    if part["class_name"] == "TensorFlowOpLayer":
        node = options.get("node_def")
        name = node.get("op") if isinstance(node, dict) else None
        return None if name in OPERATIONS else Refusal(f"the TensorFlow operation {name!r}", str(name))
    return None
