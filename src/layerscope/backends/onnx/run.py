"""Running a cut ONNX graph: its inputs, its sessions, and what comes out."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime

from ...errors import LayerNotCalled, ModelNotReadable
from ..graph.codes import encoded
from ..graph.run import given
from .cut import Cut, Given, cut
from .files import SideFiles
from .graph import Graph, Taken

THREADS = "LAYERSCOPE_ONNX_THREADS"


NOT_IN_NUMPY = ("bfloat16", "float8", "int4", "float4")


ODD = "no tensor but a sequence or an optional"


TEXT = "no numbers but text"


Feeds = dict[str, Any]


class Session:
    """A cut of a model, ready to run. `dtypes` names the type of each tensor where its values come in another: codes, and
    types that numpy doesn't have."""

    def __init__(
        self,
        graph: Graph,
        tensors: Sequence[str],
        files: SideFiles | None,
        threads: int | None,
        part: Cut | None = None,
        given: Sequence[Given] = (),
    ) -> None:
        self.tensors = tuple(tensors)
        part = part or cut(graph, tensors, files, given=given)
        self._weights = part.weights  # the runtime reads them where they are
        self.session = opened(part, threads, graph.quantised)
        types = [each.type for each in self.session.get_outputs()]
        self.unshown = {name: said for name, type_ in zip(tensors, types, strict=True) if (said := _unshown(type_))}
        inner = [each.removeprefix("tensor(").removesuffix(")") for each in types]
        self.dtypes = [each if each.startswith(NOT_IN_NUMPY) else "" for each in inner]
        wide = [name for name, dtype in zip(tensors, self.dtypes, strict=True) if dtype]
        for at, name in enumerate(tensors):
            if name in graph.codes:
                self.dtypes[at] = graph.code_type(name)
        if wide:
            self.session = opened(cut(graph, tensors, files, wide, given), threads, graph.quantised)
        self._needed = [each.name for each in self.session.get_inputs()]

    def run(self, feeds: Feeds) -> list[np.ndarray]:
        try:
            found = self.session.run(None, {name: feeds[name] for name in self._needed})
        except Exception as error:  # ONNX Runtime's errors have no common parent but Exception
            raise ModelNotReadable(f"ONNX Runtime could not run the model on this batch: {error}") from error
        return [
            each if name in self.unshown else np.asarray(each) for name, each in zip(self.tensors, found, strict=True)
        ]

    def check(self) -> None:
        """Raise `LayerNotCalled` where a tensor has no picture."""
        for name, said in self.unshown.items():
            raise LayerNotCalled(f"{name!r} has no output to show: {said}")


def _unshown(type_: str) -> str:
    """Why what ONNX Runtime calls so has no picture, `""` for numbers."""
    if not type_.startswith("tensor("):
        return ODD
    return TEXT if type_ == "tensor(string)" else ""


def opened(part: Cut, threads: int | None, quantised: bool) -> onnxruntime.InferenceSession:
    """A session on the CPU that logs errors only.

    Optimisation stays on, because a tensor that is asked for is never fused away and the rest moves values by 1e-6 at
    most. Not so in a quantised graph: there fusing rounds differently, and a layer would depend on what else
    is asked for.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if quantised:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    number = threads if threads is not None else int(os.environ.get(THREADS, "0"))
    if number:
        options.intra_op_num_threads = number
    if part.root:
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(part.root))
    if part.weights:
        values = [onnxruntime.OrtValue.ortvalue_from_numpy(each) for each in part.weights.values()]
        options.add_external_initializers(list(part.weights), values)
    try:
        return onnxruntime.InferenceSession(part.content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's errors have no common parent but Exception
        raise ModelNotReadable(
            f"ONNX Runtime {onnxruntime.__version__} does not accept the model: {str(error).strip()}{_way_out(error)}"
        ) from error


def _way_out(error: Exception) -> str:
    """What to do about a model that is newer than the runtime, which its messages don't say."""
    newer = re.search("support for domain .* is till opset|max supported IR version", str(error))
    return ": upgrade onnxruntime, or export the model for an older opset" if newer else ""


def feeds_of(graph: Graph, batch: Any) -> Feeds:
    """The arrays of a batch by input name, in the model's own types. Only one kind of float is turned into another."""
    found = given(batch, list(graph.takes), graph.names, lambda name: f"{name!r} {graph.takes[name]}")
    return {name: _cast(each, found[name]) for name, each in graph.takes.items()}


def _cast(wanted: Taken, value: Any) -> np.ndarray:
    array = np.asarray(value.numpy() if isinstance(value, onnxruntime.OrtValue) else value)
    if wanted.codes and array.dtype.kind == "f" and wanted.fits(array.shape):
        return encoded(array, *wanted.codes, str(wanted.dtype))
    floats = array.dtype.kind == "f" and wanted.dtype.kind == "f"
    text = array.dtype.kind in "OUT" and wanted.dtype.kind == "O"
    if not wanted.fits(array.shape) or not (array.dtype == wanted.dtype or floats or text):
        raise ModelNotReadable(f"input {wanted.name!r} takes {wanted}; the batch is {array.dtype}{list(array.shape)}")
    if text:
        return array.astype(object)
    return array if array.dtype == wanted.dtype else array.astype(wanted.dtype)
