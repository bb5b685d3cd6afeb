"""Running a cut TFLite file: its inputs, its interpreters, and what comes out."""

from __future__ import annotations

import importlib
import importlib.util
import re
import struct
import threading
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...checks import MOST_THREADS, setting
from ...errors import BackendMissing, ModelNotReadable, one_line
from .flatbuffer import unpack
from .graph import Graph, Tensor

THREADS = "LAYERSCOPE_TFLITE_THREADS"


# The packages that hold an interpreter, the first one installed is taken: (package, module with the class).
RUNTIMES = (
    ("ai_edge_litert", "ai_edge_litert.interpreter"),
    ("tflite_runtime", "tflite_runtime.interpreter"),
    ("tensorflow", "tensorflow.lite"),
)


FAILED = re.compile(r"Node number (\d+) \(\w+\)")


LIMIT = 2**31


# Fields of a subgraph.
INPUTS, OUTPUTS, OPERATORS = 1, 2, 3


Feeds = dict[int, np.ndarray]


def runtime() -> tuple[str, Any]:
    """(package and version, its `Interpreter` class)."""
    for package, module in RUNTIMES:
        if importlib.util.find_spec(package) is not None:
            library = importlib.import_module(package)
            holder = library.lite if package == "tensorflow" else importlib.import_module(module)
            return f"{package} {getattr(library, '__version__', '')}".strip(), holder.Interpreter
    raise BackendMissing(
        "a TFLite file needs ai_edge_litert, which isn't installed", 'pip install "layerscope[tflite]"'
    )


class Session:
    """An interpreter on a cut of a model, which takes the tensors `replaced` as well. Several threads may ask it; one at a
    time runs."""

    def __init__(self, graph: Graph, tensors: Sequence[int], threads: int | None, replaced: Sequence[int] = ()) -> None:
        self.graph = graph
        self.tensors = tuple(tensors)
        content, self.operators = cut(graph, self.tensors, replaced)
        number = threads if threads is not None else setting(THREADS, 1, 1, MOST_THREADS)
        _, interpreter = runtime()

        def start() -> Any:
            with self._named_errors("does not accept the model"), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # tf.lite.Interpreter says that it will move to another package
                return interpreter(model_content=content, num_threads=number)

        self.interpreter = start()
        # What an interpreter keeps of variables that have a handle, it keeps for as long as it lives.
        variables = any(graph.operators[step].name == "VAR_HANDLE" for step in self.operators)
        self._start = start if variables else None
        self._lock = threading.Lock()
        self._sizes: dict[int, tuple[int, ...]] | None = None

    def run(self, feeds: Feeds) -> list[np.ndarray]:
        """The tensors for one feed, each in the file's own type."""
        sizes = {index: value.shape for index, value in feeds.items()}
        with self._lock, self._named_errors("could not run the model on this batch"):
            if self._start is not None and self._sizes is not None:
                self.interpreter, self._sizes = self._start(), None
            if self._sizes != sizes:
                self._sizes = None  # until all have changed, Ctrl-C or not
                now = {detail["index"]: tuple(detail["shape"]) for detail in self.interpreter.get_input_details()}
                for index, shape in sizes.items():
                    if now[index] != shape:
                        self.interpreter.resize_tensor_input(index, shape)
                self.interpreter.allocate_tensors()
                self._sizes = sizes
            self.interpreter.reset_all_variables()  # what an LSTM or a stream has kept of the run before
            for index, value in feeds.items():
                self.interpreter.set_tensor(index, value)
            self.interpreter.invoke()
            return [self.interpreter.get_tensor(index) for index in self.tensors]  # each a copy

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
        message = one_line(error)
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
        return f"it needs the custom operators {listed}, which a model file doesn't hold: ask for layers before them. "

    def _where(self, message: str) -> str:
        match = FAILED.search(message)
        if match is None or int(match[1]) >= len(self.operators):
            return ""
        operator = self.graph.operators[self.operators[int(match[1])]]
        return f"the {operator.name} that makes {self.graph.tensors[operator.outputs[0]].name!r} failed: "


def dequantise(tensor: Tensor, values: np.ndarray) -> np.ndarray:
    """What the codes stand for, `(code - zero) * scale`, in float32; values that are no codes as they are."""
    if tensor.codes is None:
        return values
    scale, zero = tensor.codes
    return ((values.astype(np.float64) - zero) * scale).astype(np.float32)


def cut(graph: Graph, tensors: Sequence[int], replaced: Sequence[int] = ()) -> tuple[bytes, list[int]]:
    """(the file that ends at `tensors`, the operators that it holds), without writing it anew. The weights are copied once.

    Two parts of the file change, on a copy: the list of operators keeps only those that are needed, and the list of outputs,
    which is added at the end, names the tensors asked for. A tensor that is an output keeps its memory to itself, so nothing
    that runs later writes into it, and no delegate may leave it out. The tensors in `replaced`, whose values are given, become
    inputs after the model's own, and what makes them is left out.
    """
    content = memoryview(graph.content)
    vector = graph.table.target(OPERATORS)
    padding = bytes(-len(content) % 4)
    if vector is None:
        raise ModelNotReadable("the model has no operators")
    kept = graph.needed(tensors, replaced)
    offsets = [vector + 4 + 4 * index + unpack(content, "<I", vector + 4 + 4 * index) for index in kept]
    operators = struct.pack(
        f"<{len(kept) + 1}I", len(kept), *(offset - (vector + 4 + 4 * index) for index, offset in enumerate(offsets))
    )
    patches, added = [(vector, operators)], padding
    for number, listed in ((INPUTS, (*graph.inputs, *replaced) if replaced else ()), (OUTPUTS, tensors)):
        if listed:
            patches.append(_point(graph, number, len(content) + len(added)))
            added += struct.pack(f"<I{len(listed)}i", len(listed), *listed)
    parts: list[bytes | memoryview] = []
    copied = 0
    for index, patch in sorted(patches):
        parts += [content[copied:index], patch]
        copied = index + len(patch)
    return b"".join([*parts, content[copied:], added]), kept


def _point(graph: Graph, number: int, end: int) -> tuple[int, bytes]:
    """(where a field lies, what makes it refer to a list at `end`)."""
    field = graph.table.position(number)
    if field is None:
        raise ModelNotReadable(f"the model has no {'inputs' if number == INPUTS else 'outputs'}")
    if end - field >= LIMIT:
        raise ModelNotReadable("layers of a TFLite file over 2 GB can't be captured: convert it with smaller weights")
    return field, struct.pack("<I", end - field)
