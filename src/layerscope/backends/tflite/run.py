"""Running a cut TFLite file: its inputs, its interpreters, and what comes out."""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import threading
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...errors import BackendMissing, BadOption, ModelNotReadable
from ..graph.codes import encode
from ..graph.run import match_inputs
from .cut import cut
from .graph import Graph, Tensor

THREADS = "LAYERSCOPE_TFLITE_THREADS"


# The packages that hold an interpreter, the first one installed is taken: (package, module with the class).
RUNTIMES = (
    ("ai_edge_litert", "ai_edge_litert.interpreter"),
    ("tflite_runtime", "tflite_runtime.interpreter"),
    ("tensorflow", "tensorflow.lite"),
)


FAILED = re.compile(r"Node number (\d+) \(\w+\)")


Feeds = dict[int, np.ndarray]


def runtime() -> tuple[str, Any]:
    """(package and version, its `Interpreter` class)."""
    for package, module in RUNTIMES:
        if importlib.util.find_spec(package) is not None:
            library = importlib.import_module(package)
            holder = library.lite if package == "tensorflow" else importlib.import_module(module)
            return f"{package} {getattr(library, '__version__', '')}".strip(), holder.Interpreter
    raise BackendMissing("a TFLite file needs ai_edge_litert, which isn't installed: pip install 'layerscope[tflite]'")


def _threads() -> int:
    number = os.environ.get(THREADS, "1")
    if not number.isdecimal() or not int(number):
        raise BadOption(f"{THREADS}={number!r}: use a whole number from 1")
    return int(number)


class Session:
    """An interpreter on a cut of a model, which takes the tensors `replaced` as well. Several threads may ask it; one at a
    time runs."""

    def __init__(self, graph: Graph, tensors: Sequence[int], threads: int | None, replaced: Sequence[int] = ()) -> None:
        self.graph = graph
        self.tensors = tuple(tensors)
        content, self.operators = cut(graph, self.tensors, replaced)
        number = threads if threads is not None else _threads()
        _, interpreter = runtime()
        with self._named_errors("does not accept the model"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # tf.lite.Interpreter says that it will move to another package
            self.interpreter = interpreter(model_content=content, num_threads=number)
        self._lock = threading.Lock()
        self._sizes: dict[int, tuple[int, ...]] | None = None

    def run(self, feeds: Feeds) -> list[np.ndarray]:
        """The tensors for one feed, each in the file's own type."""
        sizes = {index: value.shape for index, value in feeds.items()}
        with self._lock, self._named_errors("could not run the model on this batch"):
            if self._sizes != sizes:
                now = {detail["index"]: tuple(detail["shape"]) for detail in self.interpreter.get_input_details()}
                for index, shape in sizes.items():
                    if now[index] != shape:
                        self.interpreter.resize_tensor_input(index, shape)
                self.interpreter.allocate_tensors()
                self._sizes = sizes
            for index, value in feeds.items():
                self.interpreter.set_tensor(index, value)
            self.interpreter.invoke()
            return [np.array(self.interpreter.get_tensor(index)) for index in self.tensors]

    def _named_errors(self, what: str) -> _Named:
        return _Named(self.graph, self.operators, what)


class _Named:
    """Turns what an interpreter raises into a `ModelNotReadable` that names the operator and what to do."""

    def __init__(self, graph: Graph, operators: Sequence[int], what: str) -> None:
        self.graph, self.operators, self.what = graph, operators, what

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if not isinstance(error, RuntimeError | ValueError):
            return
        name, _ = runtime()
        message = " ".join(str(error).split()) or type(error).__name__
        raise ModelNotReadable(f"{name} {self.what}: {self._custom()}{self._where(message)}{message}") from error

    def _custom(self) -> str:
        """The operators that need more than the interpreter itself, and where they come from."""
        custom = sorted({name for step in self.operators if (name := self.graph.operators[step].custom)})
        if not custom:
            return ""
        listed = ", ".join(map(repr, custom))
        if any(name.startswith("Flex") for name in custom):
            return (
                f"it needs the operators {listed} of TensorFlow itself (Select TF ops): convert the model with"
                " TFLITE_BUILTINS alone, or ask for layers before them. "
            )
        return f"it needs the custom operators {listed}, which are in no file: ask for layers before them. "

    def _where(self, message: str) -> str:
        match = FAILED.search(message)
        if match is None or int(match[1]) >= len(self.operators):
            return ""
        operator = self.graph.operators[self.operators[int(match[1])]]
        return f"the {operator.name} that makes {self.graph.tensors[operator.outputs[0]].name!r} failed: "


def feeds_of(graph: Graph, names: Mapping[str, int], batch: Any) -> Feeds:
    """The arrays of a batch by input, in the model's own types; float pixels of a quantised input become its codes."""
    by_name = {graph.tensors[index].name: index for index in graph.inputs} | dict(names)
    own = {index: name for name, index in names.items()}

    def wanted(index: int) -> str:
        return f"{own.get(index, graph.tensors[index].name)!r} {_wanted(graph.tensors[index])}"

    arrays = match_inputs(batch, graph.inputs, by_name, wanted)
    return {index: _cast(graph.tensors[index], arrays[index]) for index in graph.inputs}


def _cast(wanted: Tensor, value: Any) -> np.ndarray:
    array = np.asarray(value)
    fits = len(wanted.shape) == array.ndim and all(
        a in (b, None) for a, b in zip(wanted.shape[1:], array.shape[1:], strict=True)
    )
    floats = array.dtype.kind == "f"
    if fits and wanted.quantised and floats:
        return quantise(wanted, array)
    if not fits or not (array.dtype == wanted.type or (floats and wanted.type.startswith("float"))):
        raise ModelNotReadable(
            f"input {wanted.name!r} takes {_wanted(wanted)}; the batch is {array.dtype}{list(array.shape)}"
        )
    return np.ascontiguousarray(array, wanted.type)


def _wanted(tensor: Tensor) -> str:
    either = " or float32 to be quantised" if tensor.quantised else ""
    return f"{tensor.type}[{', '.join('any' if size is None else str(size) for size in tensor.shape)}]{either}"


def quantise(tensor: Tensor, values: np.ndarray) -> np.ndarray:
    """The codes nearest to `values`."""
    return encode(values, *_along(tensor, values.ndim), tensor.type)


def dequantise(tensor: Tensor, values: np.ndarray) -> np.ndarray:
    """What the codes stand for, `(code - zero) * scale`, in float32; values that are no codes as they are."""
    if not tensor.quantised:
        return values
    scale, zero = _along(tensor, values.ndim)
    return ((values.astype(np.float64) - zero) * scale).astype(np.float32)


def _along(tensor: Tensor, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """Scale and zero point, shaped to go along the axis that they differ on."""
    shape = [1] * rank
    if tensor.scale.size > 1:
        shape[tensor.axis % rank] = tensor.scale.size
    return tensor.scale.reshape(shape), tensor.zero.reshape(shape)
