"""Running a cut ONNX graph: its inputs, its sessions, and what comes out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime

from ...checks import MOST_THREADS, setting
from ...errors import LayerNotCalled, ModelNotReadable, one_line
from .cut import Cut, Replacement, cut
from .files import SideFiles
from .graph import Graph
from .providers import Execution, check_used

THREADS = "LAYERSCOPE_ONNX_THREADS"


NOT_IN_NUMPY = ("bfloat16", "float8", "int4", "float4")


ODD = "not a tensor but a sequence or an optional"


TEXT = "not numbers but text"


Feeds = dict[str, Any]


class Session:
    """A cut of a model, ready to run. `dtypes` names the type of each tensor where its values come in another: codes, and
    types that numpy doesn't have."""

    def __init__(
        self,
        graph: Graph,
        tensors: Sequence[str],
        files: SideFiles | None,
        execution: Execution,
        *,
        replacements: Sequence[Replacement] = (),
        part: Cut | None = None,
    ) -> None:
        self.tensors = tuple(tensors)
        part = part or cut(graph, tensors, files, replacements=replacements)
        self._weights = part.weights  # the runtime reads them where they are
        self.session = open_session(part, execution, graph.quantised)
        types = [value.type for value in self.session.get_outputs()]
        self.unshown = {name: reason for name, type_ in zip(tensors, types, strict=True) if (reason := _unshown(type_))}
        inner = [type_.removeprefix("tensor(").removesuffix(")") for type_ in types]
        self.dtypes = [dtype if dtype.startswith(NOT_IN_NUMPY) else "" for dtype in inner]
        wide = [name for name, dtype in zip(tensors, self.dtypes, strict=True) if dtype]
        for index, name in enumerate(tensors):
            if name in graph.codes:
                self.dtypes[index] = graph.code_type(name)
        if wide:
            self.session = open_session(
                cut(graph, tensors, files, cast=wide, replacements=replacements), execution, graph.quantised
            )
        self._needed = [value.name for value in self.session.get_inputs()]

    def run(self, feeds: Feeds) -> list[np.ndarray]:
        try:
            values = self.session.run(None, {name: feeds[name] for name in self._needed})
        except Exception as error:  # ONNX Runtime's errors have no common parent but Exception
            raise ModelNotReadable(f"ONNX Runtime could not run the model on this batch: {one_line(error)}") from error
        return [
            value if name in self.unshown else np.asarray(value)
            for name, value in zip(self.tensors, values, strict=True)
        ]

    def check(self) -> None:
        """Raise `LayerNotCalled` where a tensor has no picture."""
        for name, reason in self.unshown.items():
            raise LayerNotCalled(f"{name!r} has no output to show: {reason}")


def _unshown(type_: str) -> str:
    """Why what ONNX Runtime calls so has no picture, `""` for numbers."""
    if not type_.startswith("tensor("):
        return ODD
    return TEXT if type_ == "tensor(string)" else ""


def open_session(part: Cut, execution: Execution, quantised: bool) -> onnxruntime.InferenceSession:
    """A session that logs nothing: its errors are raised, and it would print names from the file as they are.

    Optimisation stays on, because a tensor that is asked for is never fused away and the rest moves values by 1e-6 at
    most. Not so in a quantised graph: there fusing rounds differently, and a layer would depend on what else
    is asked for.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    if quantised:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    number = execution.threads if execution.threads is not None else setting(THREADS, 0, 0, MOST_THREADS)
    if number:
        options.intra_op_num_threads = number
    if part.root:
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(part.root))
    if part.weights:
        values = [onnxruntime.OrtValue.ortvalue_from_numpy(values) for values in part.weights.values()]
        options.add_external_initializers(list(part.weights), values)
    try:
        session = onnxruntime.InferenceSession(part.content, options, providers=list(execution.providers))
    except Exception as error:  # ONNX Runtime's errors have no common parent but Exception
        raise ModelNotReadable(
            f"ONNX Runtime {onnxruntime.__version__} does not accept the model: {_reason(error)}"
        ) from error
    check_used(session.get_providers(), execution.providers)
    return session


def _reason(error: Exception) -> str:
    """Why the runtime can't run a model, and what to do where its messages don't say it."""
    if "layout_ == 0 was false" in str(error):
        return "it runs recurrent operators with layout=0 alone: export them with that, and with transpositions around them"
    newer = re.search("support for domain .* is till opset|max supported IR version", str(error))
    return one_line(error) + ": upgrade onnxruntime, or export the model for an older opset" * bool(newer)
