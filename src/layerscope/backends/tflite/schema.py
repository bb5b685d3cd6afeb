"""Numbers of the TFLite schema that layerscope reads by: operators, types, and where operators keep their settings.

From tensorflow/compiler/mlir/lite/schema/schema.fbs; numbers are only ever added there. A test compares this page with
the schema that `ai_edge_litert` ships.
"""

from __future__ import annotations

_OPERATORS = (
    "ADD AVERAGE_POOL_2D CONCATENATION CONV_2D DEPTHWISE_CONV_2D DEPTH_TO_SPACE DEQUANTIZE EMBEDDING_LOOKUP FLOOR"
    " FULLY_CONNECTED HASHTABLE_LOOKUP L2_NORMALIZATION L2_POOL_2D LOCAL_RESPONSE_NORMALIZATION LOGISTIC"
    " LSH_PROJECTION LSTM MAX_POOL_2D MUL RELU RELU_N1_TO_1 RELU6 RESHAPE RESIZE_BILINEAR RNN SOFTMAX SPACE_TO_DEPTH"
    " SVDF TANH CONCAT_EMBEDDINGS SKIP_GRAM CALL CUSTOM EMBEDDING_LOOKUP_SPARSE PAD UNIDIRECTIONAL_SEQUENCE_RNN GATHER"
    " BATCH_TO_SPACE_ND SPACE_TO_BATCH_ND TRANSPOSE MEAN SUB DIV SQUEEZE UNIDIRECTIONAL_SEQUENCE_LSTM STRIDED_SLICE"
    " BIDIRECTIONAL_SEQUENCE_RNN EXP TOPK_V2 SPLIT LOG_SOFTMAX DELEGATE BIDIRECTIONAL_SEQUENCE_LSTM CAST PRELU MAXIMUM"
    " ARG_MAX MINIMUM LESS NEG PADV2 GREATER GREATER_EQUAL LESS_EQUAL SELECT SLICE SIN TRANSPOSE_CONV SPARSE_TO_DENSE"
    " TILE EXPAND_DIMS EQUAL NOT_EQUAL LOG SUM SQRT RSQRT SHAPE POW ARG_MIN FAKE_QUANT REDUCE_PROD REDUCE_MAX PACK"
    " LOGICAL_OR ONE_HOT LOGICAL_AND LOGICAL_NOT UNPACK REDUCE_MIN FLOOR_DIV REDUCE_ANY SQUARE ZEROS_LIKE FILL FLOOR_MOD"
    " RANGE RESIZE_NEAREST_NEIGHBOR LEAKY_RELU SQUARED_DIFFERENCE MIRROR_PAD ABS SPLIT_V UNIQUE CEIL REVERSE_V2 ADD_N"
    " GATHER_ND COS WHERE RANK ELU REVERSE_SEQUENCE MATRIX_DIAG QUANTIZE MATRIX_SET_DIAG ROUND HARD_SWISH IF WHILE"
    " NON_MAX_SUPPRESSION_V4 NON_MAX_SUPPRESSION_V5 SCATTER_ND SELECT_V2 DENSIFY SEGMENT_SUM BATCH_MATMUL"
    " PLACEHOLDER_FOR_GREATER_OP_CODES CUMSUM CALL_ONCE BROADCAST_TO RFFT2D CONV_3D IMAG REAL COMPLEX_ABS HASHTABLE"
    " HASHTABLE_FIND HASHTABLE_IMPORT HASHTABLE_SIZE REDUCE_ALL CONV_3D_TRANSPOSE VAR_HANDLE READ_VARIABLE"
    " ASSIGN_VARIABLE BROADCAST_ARGS RANDOM_STANDARD_NORMAL BUCKETIZE RANDOM_UNIFORM MULTINOMIAL GELU"
    " DYNAMIC_UPDATE_SLICE RELU_0_TO_1 UNSORTED_SEGMENT_PROD UNSORTED_SEGMENT_MAX UNSORTED_SEGMENT_SUM ATAN2"
    " UNSORTED_SEGMENT_MIN SIGN BITCAST BITWISE_XOR RIGHT_SHIFT STABLEHLO_LOGISTIC STABLEHLO_ADD STABLEHLO_DIVIDE"
    " STABLEHLO_MULTIPLY STABLEHLO_MAXIMUM STABLEHLO_RESHAPE STABLEHLO_CLAMP STABLEHLO_CONCATENATE"
    " STABLEHLO_BROADCAST_IN_DIM STABLEHLO_CONVOLUTION STABLEHLO_SLICE STABLEHLO_CUSTOM_CALL STABLEHLO_REDUCE"
    " STABLEHLO_ABS STABLEHLO_AND STABLEHLO_COSINE STABLEHLO_EXPONENTIAL STABLEHLO_FLOOR STABLEHLO_LOG"
    " STABLEHLO_MINIMUM STABLEHLO_NEGATE STABLEHLO_OR STABLEHLO_POWER STABLEHLO_REMAINDER STABLEHLO_RSQRT"
    " STABLEHLO_SELECT STABLEHLO_SUBTRACT STABLEHLO_TANH STABLEHLO_SCATTER STABLEHLO_COMPARE STABLEHLO_CONVERT"
    " STABLEHLO_DYNAMIC_SLICE STABLEHLO_DYNAMIC_UPDATE_SLICE STABLEHLO_PAD STABLEHLO_IOTA STABLEHLO_DOT_GENERAL"
    " STABLEHLO_REDUCE_WINDOW STABLEHLO_SORT STABLEHLO_WHILE STABLEHLO_GATHER STABLEHLO_TRANSPOSE DILATE"
    " STABLEHLO_RNG_BIT_GENERATOR REDUCE_WINDOW STABLEHLO_COMPOSITE STABLEHLO_SHIFT_LEFT STABLEHLO_CBRT STABLEHLO_CASE"
)


OPERATORS = _OPERATORS.split()


_TYPES = (
    "float32 float16 int32 uint8 int64 string bool int16 complex64 int8 float64 complex128 uint64 resource variant"
    " uint32 uint16 int4 bfloat16 int2 uint4 float8_e4m3fn float8_e5m2"
)


TYPES = _TYPES.split()


ACTIVATIONS = ("", "relu", "relu_n1_to_1", "relu6", "tanh", "sign_bit")


# The field of each operator's options that holds the activation that is fused in.
FUSED = {
    "CONV_2D": 3, "TRANSPOSE_CONV": 3, "DEPTHWISE_CONV_2D": 4, "CONV_3D": 4, "CONV_3D_TRANSPOSE": 4,
    "AVERAGE_POOL_2D": 5, "MAX_POOL_2D": 5, "L2_POOL_2D": 5, "FULLY_CONNECTED": 0, "CONCATENATION": 1,
    "ADD": 0, "SUB": 0, "MUL": 0, "DIV": 0, "L2_NORMALIZATION": 0,
}  # fmt: skip


# Operators that run another subgraph of the file.
BODIES = {"IF", "WHILE", "CALL", "CALL_ONCE", "STABLEHLO_WHILE", "STABLEHLO_CASE", "STABLEHLO_REDUCE",
          "STABLEHLO_REDUCE_WINDOW", "STABLEHLO_SORT", "STABLEHLO_SCATTER", "STABLEHLO_COMPOSITE"}  # fmt: skip


# Operators that act on a state beside the tensors, so that what they need can't be read from the graph.
STATEFUL = {"VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE", "CALL_ONCE", "HASHTABLE", "HASHTABLE_FIND",
            "HASHTABLE_IMPORT", "HASHTABLE_SIZE", "RANDOM_STANDARD_NORMAL", "RANDOM_UNIFORM", "MULTINOMIAL",
            "STABLEHLO_RNG_BIT_GENERATOR"}  # fmt: skip


SHAPE_BOOKKEEPING = {"SHAPE", "RANK"}


def kind(operator: str, activation: str = "") -> str:
    """An operator as layers are called elsewhere, the activation that runs inside it after a plus sign.

    >>> kind("DEPTHWISE_CONV_2D", "relu6"), kind("MAX_POOL_2D"), kind("L2_NORMALIZATION"), kind("PADV2")
    ('DepthwiseConv2D+relu6', 'MaxPool2D', 'L2Normalization', 'Padv2')
    """
    words = "".join(word if word in ("2D", "3D", "ND") else word.capitalize() for word in operator.split("_"))
    return f"{words}+{activation}" if activation else words


# Bits that a number of each type takes; texts and handles have no fixed size.
BITS = {
    **dict.fromkeys(("bool", "int8", "uint8", "float8_e4m3fn", "float8_e5m2"), 8),
    **dict.fromkeys(("float16", "bfloat16", "int16", "uint16"), 16),
    **dict.fromkeys(("float32", "int32", "uint32"), 32),
    **dict.fromkeys(("float64", "int64", "uint64", "complex64"), 64),
    "complex128": 128,
    "int4": 4,
    "uint4": 4,
    "int2": 2,
}


# The inputs that an operator may lack, `None` for any of them.
OPTIONAL: dict[str, tuple[int, ...] | None] = {
    **dict.fromkeys(("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "CONV_3D"), (2,)),
    **dict.fromkeys(("TRANSPOSE_CONV", "CONV_3D_TRANSPOSE", "SVDF"), (3,)),
    **dict.fromkeys(
        ("LSTM", "UNIDIRECTIONAL_SEQUENCE_LSTM", "BIDIRECTIONAL_SEQUENCE_LSTM", "CUSTOM", "DELEGATE"), None
    ),
    **dict.fromkeys(("BIDIRECTIONAL_SEQUENCE_RNN", "STABLEHLO_COMPOSITE", "STABLEHLO_CUSTOM_CALL"), None),
}


# How many inputs operators take, at least and at most.
TAKES = {
    **dict.fromkeys(("CONV_2D", "DEPTHWISE_CONV_2D", "CONV_3D"), (2, 3)),
    "FULLY_CONNECTED": (2, 3),
    "TRANSPOSE_CONV": (3, 4),
    "CONV_3D_TRANSPOSE": (3, 4),
    "SVDF": (5, 5),
    **dict.fromkeys(("ADD", "SUB", "MUL", "DIV", "MAXIMUM", "MINIMUM", "POW", "SQUARED_DIFFERENCE"), (2, 2)),
    **dict.fromkeys(
        ("FLOOR_DIV", "FLOOR_MOD", "PRELU", "PAD", "MIRROR_PAD", "TRANSPOSE", "BATCH_MATMUL", "TILE"), (2, 2)
    ),
    **dict.fromkeys(("EQUAL", "NOT_EQUAL", "LESS", "LESS_EQUAL", "GREATER", "GREATER_EQUAL"), (2, 2)),
    **dict.fromkeys(("MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD", "REDUCE_ANY", "REDUCE_ALL"), (2, 2)),
    **dict.fromkeys(
        ("ARG_MAX", "ARG_MIN", "EXPAND_DIMS", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "SPLIT"), (2, 2)
    ),
    **dict.fromkeys(("GATHER", "GATHER_ND", "TOPK_V2", "REVERSE_V2", "CUMSUM", "FILL", "BROADCAST_TO"), (2, 2)),
    **dict.fromkeys(
        ("SLICE", "SELECT", "SELECT_V2", "PADV2", "SPLIT_V", "SPACE_TO_BATCH_ND", "BATCH_TO_SPACE_ND"), (3, 3)
    ),
    "STRIDED_SLICE": (4, 4),
    "ONE_HOT": (4, 4),
    "RANGE": (3, 3),
    "RESHAPE": (1, 2),
    "LSTM": (5, 24),
    **dict.fromkeys(("AVERAGE_POOL_2D", "MAX_POOL_2D", "L2_POOL_2D", "SOFTMAX", "LOG_SOFTMAX", "LOGISTIC"), (1, 1)),
    **dict.fromkeys(
        ("RELU", "RELU6", "RELU_N1_TO_1", "RELU_0_TO_1", "LEAKY_RELU", "ELU", "GELU", "HARD_SWISH"), (1, 1)
    ),
    **dict.fromkeys(
        ("TANH", "QUANTIZE", "DEQUANTIZE", "CAST", "SQUEEZE", "SHAPE", "RANK", "UNPACK", "DEPTH_TO_SPACE"), (1, 1)
    ),
    **dict.fromkeys(
        ("SPACE_TO_DEPTH", "L2_NORMALIZATION", "LOCAL_RESPONSE_NORMALIZATION", "NEG", "ABS", "EXP"), (1, 1)
    ),
    **dict.fromkeys(("LOG", "SQRT", "RSQRT", "SQUARE", "SIN", "COS", "FLOOR", "CEIL", "ROUND", "SIGN"), (1, 1)),
    **dict.fromkeys(("CONCATENATION", "PACK", "ADD_N"), (1, 1 << 20)),
}


# Operators that give floats for floats and codes for codes; some of their kernels take that for granted.
KEEPS_TYPE = {
    *(
        "CONV_2D",
        "DEPTHWISE_CONV_2D",
        "FULLY_CONNECTED",
        "CONV_3D",
        "BATCH_MATMUL",
        "ADD",
        "SUB",
        "MUL",
        "DIV",
        "MAXIMUM",
    ),
    *(
        "MINIMUM",
        "PRELU",
        "PAD",
        "PADV2",
        "MIRROR_PAD",
        "TRANSPOSE",
        "RESHAPE",
        "SQUEEZE",
        "EXPAND_DIMS",
        "TILE",
        "MEAN",
    ),
    *(
        "SUM",
        "REDUCE_MAX",
        "REDUCE_MIN",
        "REDUCE_PROD",
        "RESIZE_BILINEAR",
        "RESIZE_NEAREST_NEIGHBOR",
        "GATHER",
        "SLICE",
    ),
    *(
        "STRIDED_SLICE",
        "AVERAGE_POOL_2D",
        "MAX_POOL_2D",
        "L2_POOL_2D",
        "SOFTMAX",
        "LOG_SOFTMAX",
        "LOGISTIC",
        "TANH",
        "RELU",
    ),
    *(
        "RELU6",
        "RELU_N1_TO_1",
        "RELU_0_TO_1",
        "LEAKY_RELU",
        "ELU",
        "GELU",
        "HARD_SWISH",
        "CONCATENATION",
        "PACK",
        "UNPACK",
    ),
    *("SPACE_TO_DEPTH", "DEPTH_TO_SPACE", "SPACE_TO_BATCH_ND", "BATCH_TO_SPACE_ND", "L2_NORMALIZATION", "REVERSE_V2"),
}
