"""TFLite files that would end the interpreter's process, take all memory, or hide their labels."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest

from helpers.tflite_models import changed, constant_free, operator, schema, tiny
from helpers.wording import raises
from layerscope.backends.tflite import facts
from layerscope.backends.tflite.backend import TfliteBackend
from layerscope.backends.tflite.graph import Graph
from layerscope.backends.tflite.verify import _options, _tables
from layerscope.errors import ModelNotReadable

BACKEND = TfliteBackend()
content = cache(tiny)


def first(model: Any, name: str) -> Any:
    """The first operator of that kind."""
    code = getattr(schema.BuiltinOperator, name)
    return next(
        node for node in model.subgraphs[0].operators if model.operatorCodes[node.opcodeIndex].builtinCode == code
    )


def without_weights(model: Any) -> None:
    first(model, "CONV_2D").inputs = [first(model, "CONV_2D").inputs[0], -1, first(model, "CONV_2D").inputs[2]]


def one_input(model: Any) -> None:
    first(model, "CONV_2D").inputs = first(model, "CONV_2D").inputs[:1]


def tensor_that_isnt(model: Any) -> None:
    first(model, "CONV_2D").inputs = [4711, *first(model, "CONV_2D").inputs[1:]]


def kind_that_isnt(model: Any) -> None:
    first(model, "CONV_2D").opcodeIndex = 4711


def buffer_that_isnt(model: Any) -> None:
    model.subgraphs[0].tensors[1].buffer = 4711


def type_that_isnt(model: Any) -> None:
    model.subgraphs[0].tensors[1].type = 99


def short_weights(model: Any) -> None:
    tensor = model.subgraphs[0].tensors[first(model, "CONV_2D").inputs[1]]
    model.buffers[tensor.buffer].data = model.buffers[tensor.buffer].data[:-4]


def written_weights(model: Any) -> None:
    first(model, "CONV_2D").outputs = [first(model, "CONV_2D").inputs[1]]


def backwards(model: Any) -> None:
    model.subgraphs[0].operators = model.subgraphs[0].operators[::-1]


def integers(model: Any) -> None:
    model.subgraphs[0].tensors[first(model, "CONV_2D").outputs[0]].type = schema.TensorType.UINT8


def wrong_scales(model: Any) -> None:
    tensor = model.subgraphs[0].tensors[first(model, "CONV_2D").inputs[1]]
    tensor.quantization = schema.QuantizationParametersT(scale=[1.0] * 7, zeroPoint=[0] * 7, quantizedDimension=3)


def endless(model: Any) -> None:
    graph = model.subgraphs[0]
    end = constant_free(model, "end", [1], schema.TensorType.BOOL)
    options = schema.WhileOptionsT(condSubgraphIndex=0, bodySubgraphIndex=0)
    graph.operators.append(operator(model, "WHILE", graph.inputs, [end], options))


def nowhere(model: Any) -> None:
    graph = model.subgraphs[0]
    end = constant_free(model, "end", [1], schema.TensorType.BOOL)
    options = schema.IfOptionsT(thenSubgraphIndex=4711, elseSubgraphIndex=-3)
    graph.operators.append(operator(model, "IF", graph.inputs, [end], options))


def wide(model: Any) -> None:
    model.subgraphs[0].tensors[model.subgraphs[0].inputs[0]].shape = [1, 60_000, 60_000, 3]


def many(model: Any) -> None:
    tensor = model.subgraphs[0].tensors[model.subgraphs[0].inputs[0]]
    tensor.shape = tensor.shapeSignature = [100_000_000, *tensor.shape[1:]]


FAULTS = [
    *(without_weights, one_input, tensor_that_isnt, kind_that_isnt, buffer_that_isnt, type_that_isnt, short_weights),
    *(written_weights, backwards, integers, wrong_scales, endless, nowhere, wide, many),
]


@pytest.mark.parametrize("change", FAULTS)
def test_what_the_interpreter_takes_for_granted(tmp_path, monkeypatch, change: Callable[[Any], None]):
    monkeypatch.setenv("LAYERSCOPE_MAX_MEMORY", "4GB")
    file = tmp_path / "evil.tflite"
    file.write_bytes(changed(content(), change))
    with raises(ModelNotReadable, "evil.tflite"):
        BACKEND.load(file)


def test_every_length_and_offset_is_checked(tmp_path):
    """A file cut off anywhere, and one with any of its first words changed, is opened or refused by name."""
    file, refused = tmp_path / "damaged.tflite", 0
    for size in range(0, len(content()), len(content()) // 40):
        file.write_bytes(content()[:size])
        with pytest.raises(ModelNotReadable, match=r"damaged\.tflite"):
            BACKEND.load(file)
    for start in range(8, 2000, 12):
        damaged = bytearray(content())
        damaged[start : start + 4] = b"\xff\xff\xff\x7f"
        try:
            Graph(bytes(damaged))
        except ModelNotReadable:
            refused += 1
    assert refused > 20


def test_the_checks_know_the_schema_that_the_interpreter_ships():
    """Every vector, text and table of the schema is one of ours, by its number."""
    names = {
        "Quantization": "QuantizationParameters",
        "Sparsity": "SparsityParameters",
        "Dimension": "DimensionMetadata",
    }
    for name, fields in _tables().items():
        table = getattr(schema, names.get(name, name))
        start = getattr(schema, f"{table.__name__}Start")
        assert max(fields) < _number_of_fields(start)
    for field, union in ((4, schema.BuiltinOptions), (12, schema.BuiltinOptions2)):
        by_number = {number: name for name, number in vars(union).items() if isinstance(number, int)}
        starts = [key.partition("Start") for key in vars(schema) if key.endswith("Vector")]
        vectors = {number for number, name in by_number.items() if any(start[0] == name for start in starts)}
        assert vectors <= set(_options(field)), {by_number[number] for number in vectors - set(_options(field))}


def _number_of_fields(start: Callable[[Any], None]) -> int:
    class Builder:
        def StartObject(self, count: int) -> None:  # FlatBuffers' own name
            self.count = count

    builder = Builder()
    start(builder)
    return builder.count


def test_damaged_labels_leave_the_model_usable(monkeypatch):
    """Whatever the archive behind the model raises while it is read."""
    model = BACKEND.open(content())
    for error in (EOFError, ValueError, NotImplementedError, MemoryError):

        class Broken:
            def __init__(self, *_: Any, error: type[Exception] = error) -> None:
                raise error

        monkeypatch.setattr("zipfile.ZipFile", Broken)
        assert facts._unzip(model.graph, "labels.txt") is None
    np.testing.assert_array_equal(
        BACKEND.facts(content()).inputs[0].shape[1:], model.takes[model.graph.inputs[0]].shape[1:]
    )
