"""ONNX files as other tools write them: PyTorch's exporters and ONNX Runtime's quantiser."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from helpers.onnx_models import BACKEND

FORMATS = {"qdq": QuantFormat.QDQ, "qoperator": QuantFormat.QOperator}


class Batches(CalibrationDataReader):
    def __init__(self, name: str, batches: list[np.ndarray]) -> None:
        self.left = [{name: batch} for batch in batches]

    def get_next(self) -> Any:
        return self.left.pop() if self.left else None


def quantised(
    model: onnx.ModelProto, folder: Path, batches: list[np.ndarray], how: str, per_channel: bool, code: str
) -> onnx.ModelProto:
    """A model as ONNX Runtime's own quantiser writes it, calibrated on the batches."""
    onnx.save(model, folder / "float.onnx")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the quantiser's own
        quantize_static(
            folder / "float.onnx",
            folder / "codes.onnx",
            Batches(model.graph.input[0].name, batches),
            quant_format=FORMATS[how],
            per_channel=per_channel,
            activation_type=QuantType.QUInt8 if code == "uint8" else QuantType.QInt8,
            weight_type=QuantType.QInt8,
            reduce_range=True,  # 7 bits: processors without VNNI saturate sums of 8 bit products
        )
    return onnx.load(folder / "codes.onnx")


def export(torch: Any, model: Any, images: Any, path: Path, dynamo: bool) -> Any:
    """A PyTorch model as the file of one of torch's two exporters."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations inside torch's exporters, which no user of ours can change
        if dynamo:
            free = {"dynamic_shapes": ({0: torch.export.Dim("n")},), "opset_version": 18, "verbose": False}
        else:
            free = {"dynamic_axes": {"x": {0: "n"}}, "opset_version": 17}
        torch.onnx.export(model, (images,), path, dynamo=dynamo, input_names=["x"], output_names=["y"], **free)
    return BACKEND.load(path)
