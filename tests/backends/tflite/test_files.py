"""What TFLite files state about themselves and their inputs, and how damaged and unusual files are handled."""

from __future__ import annotations

import io
import re
import sys
import warnings
import zipfile
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import pytest

import layerscope as ls
from helpers.tflite_models import (
    BACKEND,
    Interpreter,
    K,
    captured,
    changed,
    converted,
    keras,
    network,
    of_function,
    operator,
    rows,
    schema,
    tf,
    tiny,
    with_a_determinant,
)
from helpers.wording import raises, wording
from layerscope.backends import registry
from layerscope.backends.tflite import run
from layerscope.backends.tflite import schema as numbers
from layerscope.backends.tflite.backend import TfliteBackend
from layerscope.tiny import tiny_parameters

IMAGES = np.random.default_rng(3).random((2, 8, 8, 3)).astype(np.float32)


# ---- opening ---------------------------------------------------------------------------------------------------------


def test_a_file_its_bytes_and_an_interpreter_on_them_are_the_same_model(tmp_path: Path) -> None:
    path = tmp_path / "tiny.tflite"
    path.write_bytes(tiny())
    interpreter = Interpreter(model_content=tiny())
    values = [
        ls.open(model, preprocess=None).capture(IMAGES, "conv1")["tiny/conv1"].values
        for model in (path, tiny(), interpreter)
    ]
    assert np.array_equal(values[0], values[1]) and np.array_equal(values[0], values[2])
    assert ls.open(path, preprocess=None).facts.digest == ls.open(tiny(), preprocess=None).facts.digest


def test_an_interpreter_on_a_file_is_refused_with_a_remedy(tmp_path: Path) -> None:
    path = tmp_path / "tiny.tflite"
    path.write_bytes(tiny())
    with pytest.warns(UserWarning, match="deprecated"):
        older = tf.lite.Interpreter(model_path=str(path))
    for interpreter in (Interpreter(model_path=str(path)), older):
        with raises(ls.ModelNotReadable):
            ls.open(interpreter)


@pytest.mark.parametrize("keep", [0, 4, 8, 40, 0.3, 0.6, 0.95], ids=str)
def test_a_truncated_file_is_named(tmp_path: Path, keep: float) -> None:
    path = tmp_path / "half.tflite"
    path.write_bytes(tiny()[: int(keep * len(tiny())) if keep < 1 else int(keep)])
    with raises(ls.ModelNotReadable, "half.tflite"):
        ls.open(path)


def test_damaged_bytes_never_do_worse_than_a_named_error() -> None:
    """One byte after the other is wrong: what can still be read runs, the rest is a named error."""
    draw, content, outcomes = np.random.default_rng(0), tiny(), set()
    for offset in draw.integers(8, len(content), 150):
        damaged = bytearray(content)
        damaged[offset] ^= 0xFF
        backend = TfliteBackend()
        try:
            backend.facts(bytes(damaged))
            backend.capture(bytes(damaged), IMAGES[:1], ["tiny/conv1"])
            outcomes.add("ran")
        except ls.LayerscopeError as error:
            outcomes.add(type(error).__name__)
    assert {"ran"} < outcomes <= {"ran", "ModelNotReadable", "Damaged", "LayerNotFound", "LayerNotCalled"}


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"no model at all, but long enough", bytes(64)], ids=repr)
def test_another_file_under_the_suffix_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other.tflite"
    path.write_bytes(content)
    with raises(ls.ModelNotReadable, "other.tflite"):
        ls.open(path)


def test_what_does_not_go_with_a_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tiny.tflite"
    path.write_bytes(tiny())
    with raises(ls.ModelNotReadable):
        ls.open(path, weights="x.h5")
    with raises(ls.ModelNotReadable):
        BACKEND.load(tmp_path / "none.tflite")


def test_without_a_runtime_the_pip_line_is_given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "tiny.tflite"
    path.write_bytes(tiny())
    monkeypatch.setattr(registry.importlib.util, "find_spec", lambda name: None)
    with raises(ls.BackendMissing, 'layerscope[tflite]"'):
        ls.open(path)


def test_tensorflows_own_interpreter_does_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = captured(tiny(), IMAGES, "tiny/conv2")[0]
    find = run.importlib.util.find_spec
    monkeypatch.setattr(
        run.importlib.util, "find_spec", lambda name, *rest: None if name in HIDDEN else find(name, *rest)
    )
    assert run.runtime()[0].startswith("tensorflow ")
    backend = registry.named("tflite").backend()
    before = list(warnings.filters)
    assert np.array_equal(backend.capture(tiny(), IMAGES, ["tiny/conv2"])["tiny/conv2"].values, expected)
    assert warnings.filters == before
    assert backend.facts(tiny()).framework.startswith("tensorflow ")


HIDDEN = {"ai_edge_litert", "tflite_runtime"}


def test_the_numbers_are_those_of_the_schema() -> None:
    for ours, theirs in ((numbers.OPERATORS, schema.BuiltinOperator), (numbers.TYPES, schema.TensorType)):
        known = {value: name for name, value in vars(theirs).items() if isinstance(value, int)}
        for number, name in enumerate(ours):
            assert known.get(number, name).lower() == name.lower()
        assert set(range(len(ours))) <= set(known)
    known = {value: name for name, value in vars(schema.ActivationFunctionType).items() if isinstance(value, int)}
    assert [known[code].lower() for code in range(1, 6)] == list(numbers.ACTIVATIONS[1:])


OPTIONS = {
    "CONV_2D": "Conv2DOptions", "TRANSPOSE_CONV": "TransposeConvOptions", "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions",
    "CONV_3D": "Conv3DOptions", "CONV_3D_TRANSPOSE": "Conv3DOptions", "AVERAGE_POOL_2D": "Pool2DOptions",
    "MAX_POOL_2D": "Pool2DOptions", "L2_POOL_2D": "Pool2DOptions", "FULLY_CONNECTED": "FullyConnectedOptions",
    "CONCATENATION": "ConcatenationOptions", "ADD": "AddOptions", "SUB": "SubOptions", "MUL": "MulOptions",
    "DIV": "DivOptions", "L2_NORMALIZATION": "L2NormOptions",
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(numbers.FUSED))
def test_a_fused_activation_is_read_from_where_the_schema_writes_it(name: str) -> None:
    from layerscope.backends.tflite.flatbuffer import Table
    from layerscope.backends.tflite.graph import Operator

    options = getattr(schema, f"{OPTIONS[name]}T")()
    options.fusedActivationFunction = schema.ActivationFunctionType.RELU6
    builder = flatbuffers.Builder(64)
    builder.Finish(options.Pack(builder))
    assert Operator(0, name, (), (), Table.root(bytes(builder.Output()))).activation == "relu6"


# ---- what a file says ------------------------------------------------------------------------------------------------


def metadata(mean: list[float], std: list[float], files: list[tuple[str, int, str]]) -> bytes:
    """A `ModelMetadata` buffer, written field by field as metadata_schema.fbs numbers them."""
    builder = flatbuffers.Builder(256)

    def table(size: int, **slots: int) -> int:
        builder.StartObject(size)
        for name, value in slots.items():
            builder.PrependUOffsetTRelativeSlot(int(name[1:]), value, 0)
        return int(builder.EndObject())

    def vector(items: list[int]) -> int:
        builder.StartVector(4, len(items), 4)
        for offset in reversed(items):
            builder.PrependUOffsetTRelative(offset)
        return int(builder.EndVector())

    def floats(values: list[float]) -> int:
        return int(builder.CreateNumpyVector(np.asarray(values, np.float32)))

    options = table(2, f0=floats(mean), f1=floats(std))
    builder.StartObject(2)
    builder.PrependUint8Slot(0, 1, 0)
    builder.PrependUOffsetTRelativeSlot(1, options, 0)
    unit = int(builder.EndObject())
    entries = []
    for name, kind, locale in files:
        text, language = builder.CreateString(name), builder.CreateString(locale) if locale else 0
        builder.StartObject(4)
        builder.PrependUOffsetTRelativeSlot(0, text, 0)
        builder.PrependInt8Slot(2, kind, 0)
        builder.PrependUOffsetTRelativeSlot(3, language, 0)
        entries.append(int(builder.EndObject()))
    first, last = table(7, f4=vector([unit])), table(7, f6=vector(entries))
    graph = table(5, f2=vector([first]), f3=vector([last]))
    name = builder.CreateString("Flower sorter")
    builder.Finish(table(8, f0=name, f3=vector([graph])), b"M001")
    return bytes(builder.Output())


def with_metadata(content: bytes, buffer: bytes, files: dict[str, str]) -> bytes:
    def change(model: Any) -> None:
        model.buffers.append(schema.BufferT(data=np.frombuffer(buffer, np.uint8)))
        model.metadata = [
            *(model.metadata or []),
            schema.MetadataT(name="TFLITE_METADATA", buffer=len(model.buffers) - 1),
        ]

    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        for name, text in files.items():
            file.writestr(name, text)
    return changed(content, change) + archive.getvalue()


def test_preprocessing_and_labels_come_from_the_metadata(tmp_path: Path) -> None:
    names = "rose\ntulip\ndaisy\naster\nlily\niris\n"
    buffer = metadata([127.5], [127.5], [("de.txt", 2, "de"), ("labels.txt", 2, ""), ("notes.txt", 1, "")])
    path = tmp_path / "flowers.tflite"
    path.write_bytes(with_metadata(tiny(), buffer, {"de.txt": "Rose", "labels.txt": names, "notes.txt": "no"}))
    scope = ls.open(path)
    assert scope.facts.name == "Flower sorter"
    assert scope.labels == ("rose", "tulip", "daisy", "aster", "lily", "iris")
    wording(scope.plan.note)
    photo = np.full((8, 8, 3), 255, np.uint8)
    white = scope.capture(photo, "conv1")["tiny/conv1"].values
    np.testing.assert_allclose(white, captured(tiny(), np.ones((1, 8, 8, 3), np.float32), "tiny/conv1")[0], atol=1e-5)
    assert scope.predict(photo, top=6)[0][0].label in scope.labels


@pytest.mark.parametrize("buffer", [b"", b"\x08\x00\x00\x00M001", bytes(40), b"\xff" * 40], ids=repr)
def test_metadata_that_can_not_be_read_is_left_out(buffer: bytes) -> None:
    facts = BACKEND.facts(with_metadata(tiny(), buffer, {}))
    assert (facts.recipe, facts.labels) == (None, None)


def test_label_files_that_are_not_there_are_left_out() -> None:
    buffer = metadata([0.0], [1.0], [("labels.txt", 2, "")])
    assert BACKEND.facts(with_metadata(tiny(), buffer, {"other.txt": "x"})).labels is None
    assert BACKEND.facts(with_metadata(tiny(), metadata([0.0], [0.0], []), {})).recipe is None, "division by 0"


def quantised_net(low: float, high: float, kind: str) -> bytes:
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, K.Conv2D(2, 3, name="conv", bias_initializer="random_normal")(inputs), name="q")
    draw = np.random.default_rng(0)
    edges = np.tile(np.array([low, high], np.float32), 96).reshape(1, 8, 8, 3)
    return converted(model, kind, lambda: iter([[edges], [draw.uniform(low, high, (1, 8, 8, 3)).astype(np.float32)]]))


@pytest.mark.parametrize(
    ("low", "high", "recipe"), [(0, 1, "unit"), (-1, 1, "tf"), (0, 255, "raw"), (-2.1, 2.6, None)], ids=str
)
def test_the_range_of_a_quantised_input_shows_what_it_takes(low: float, high: float, recipe: str | None) -> None:
    facts = BACKEND.facts(quantised_net(low, high, "int8"))
    assert facts.recipe == recipe
    assert facts.inputs[0].dtype == "float32"
    assert bool(facts.source) == bool(recipe)


def test_a_uint8_input_takes_pixels_as_they_are() -> None:
    content = quantised_net(0, 1, "uint8")
    scope = ls.open(content)
    photo = np.random.default_rng(1).integers(0, 256, (8, 8, 3), np.uint8)
    assert scope.facts.inputs[0].dtype == scope.plan.dtype == "uint8"
    assert "quantised" not in scope.plan.note
    path = scope.layers()[-1].path
    fm = scope.capture(photo, "output")["output"] if not path else scope.capture(photo, path)[path]
    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], photo[None])
    interpreter.invoke()
    last = interpreter.get_output_details()[0]
    scale, zero = last["quantization"]
    np.testing.assert_allclose(
        fm.values, (interpreter.get_tensor(last["index"]).astype(float) - zero) * scale, rtol=1e-5
    )


@pytest.mark.parametrize("kind", ["int8", "uint8"])
@pytest.mark.parametrize(
    "preprocess", ["tf", {"divide": 255, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}]
)
def test_a_photo_is_quantised_into_the_input_of_the_file(kind: str, preprocess: Any) -> None:
    content = quantised_net(-2.1, 2.6, kind)
    scope = ls.open(content, preprocess=preprocess)
    photo = np.random.default_rng(1).integers(0, 256, (8, 8, 3), np.uint8)
    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    first, last = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    scale, zero = first["quantization"]
    quantised = f"then quantised into the model's input ({kind}, scale {scale:g}, zero point {zero})"
    assert quantised in scope.plan.note and quantised in repr(scope)
    assert scope.plan.dtype == "float32"
    model_input = photo / 127.5 - 1 if preprocess == "tf" else (photo / 255 - preprocess["mean"]) / preprocess["std"]
    limits = np.iinfo(kind)
    codes = np.clip(np.round(model_input / scale) + zero, limits.min, limits.max).astype(kind)
    interpreter.set_tensor(first["index"], codes[None])
    interpreter.invoke()
    (fm,) = scope.capture(photo, "output").values()
    scale, zero = last["quantization"]
    expected = (interpreter.get_tensor(last["index"]).astype(float) - zero) * scale
    assert len(np.unique(expected)) > 20
    np.testing.assert_allclose(fm.values, expected, rtol=1e-5, atol=1e-6)


def test_files_over_the_limit_of_the_format_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "LIMIT", len(tiny()) // 2)
    with raises(ls.ModelNotReadable, "2"):
        captured(tiny(), IMAGES, "tiny/conv1")


# ---- inputs ----------------------------------------------------------------------------------------------------------


def two_inputs() -> tuple[Any, bytes]:
    left, right = keras.Input((8, 8, 3), name="left"), keras.Input((5,), name="right")
    x = K.Flatten(name="flat")(K.Conv2D(2, 3, name="conv", bias_initializer="random_normal")(left))
    out = K.Concatenate(name="joined")([x, K.Dense(3, name="dense", bias_initializer="random_normal")(right)])
    model = keras.Model([right, left], K.Dense(2, name="last")(out), name="two")
    return model, converted(model)


def test_several_inputs_go_by_name_or_in_the_files_order() -> None:
    model, content = two_inputs()
    batches = {"left": IMAGES, "right": np.ones((2, 5), np.float32)}
    expected = np.asarray(
        keras.Model(model.inputs, model.get_layer("joined").output)([batches["right"], batches["left"]])
    )
    order = [value.name for value in BACKEND.facts(content).inputs]
    assert sorted(order) == ["left", "right"]
    tensors = {f"serving_default_{name}:0": value for name, value in batches.items()}
    for batch in (batches, tensors, tuple(batches[name] for name in order)):
        np.testing.assert_allclose(captured(content, batch, "two/joined")[0], expected, rtol=1e-5, atol=1e-5)
    for wrong in (IMAGES, {"left": IMAGES}, {**batches, "more": IMAGES}, (IMAGES,)):
        with raises(ls.ModelNotReadable, "2", "'left'"):
            captured(content, wrong, "two/joined")


@pytest.mark.parametrize(
    "batch", [IMAGES.astype(np.int32), IMAGES[:, :7], IMAGES[0], IMAGES[..., :1]], ids=lambda x: str(x.shape)
)
def test_a_batch_that_does_not_fit_is_named(batch: np.ndarray) -> None:
    with raises(ls.ModelNotReadable, "8", "3"):
        captured(tiny(), batch, "tiny/conv1")


def test_a_fixed_number_of_images_is_named() -> None:
    content = changed(network(tiny_parameters()), _take_four)
    with raises(ls.ModelNotReadable, "4", "2"):
        captured(content, IMAGES, "tiny/conv1")


def _take_four(model: Any) -> None:
    for tensor in model.subgraphs[0].tensors:
        if tensor.shapeSignature is not None and len(tensor.shapeSignature):
            tensor.shapeSignature = [4, *tensor.shapeSignature[1:]]


def test_channels_first_inputs_are_found_through_the_transpose() -> None:
    weights = tf.constant(np.random.default_rng(0).standard_normal((3, 3, 3, 2)).astype(np.float32))

    def function(x: Any) -> Any:
        return tf.nn.conv2d(tf.transpose(x, [0, 2, 3, 1]), weights, 1, "SAME")

    content = of_function(function, tf.TensorSpec([1, 3, 8, 6], tf.float32))
    assert BACKEND.facts(content).inputs[0].axes == "bchw"


def test_axes_that_no_operator_states_are_assumed_with_a_note() -> None:
    content = of_function(lambda x: tf.nn.relu(x) * 2.0 + 1.0, tf.TensorSpec([1, 4, 5, 7], tf.float32))
    assert BACKEND.facts(content).inputs[0].axes == "bhwc"
    table = list(rows(content, np.ones((1, 4, 5, 7), np.float32)).values())
    assert {layer.axes for layer in table} == {"bhwc"}
    mixed = of_function(lambda x: tf.reshape(x, [1, 70, 2]), tf.TensorSpec([1, 4, 5, 7], tf.float32))
    last = rows(mixed, np.ones((1, 4, 5, 7), np.float32))[""]
    assert last.axes == "bnc"
    wording(last.note)


# ---- names -----------------------------------------------------------------------------------------------------------


def test_wrong_names_are_answered_with_near_ones_and_reasons() -> None:
    for path, error in (
        ("tiny/conv3", ls.LayerNotFound),
        ("tiny/conv1:1", ls.LayerNotFound),
        ("serving_default_image:0", ls.LayerNotCalled),
        ("tiny/pool/Mean/reduction_indices", ls.LayerNotCalled),
    ):
        known = path if "pool" not in path else _constant_name()
        with raises(error):
            BACKEND.capture(tiny(), IMAGES, [known])


def _constant_name() -> str:
    from layerscope.backends.tflite.model import TfliteModel

    graph = TfliteModel(tiny()).graph
    mean = next(node for node in graph.operators if node.name == "MEAN")
    return graph.tensors[mean.inputs[1]].name


def test_layers_are_found_by_the_names_of_what_runs_in_them() -> None:
    inputs = keras.Input((8, 8, 3))
    x = K.ReLU(name="act")(K.Conv2D(2, 3, name="conv", bias_initializer="random_normal")(inputs))
    model = keras.Model(inputs, K.Conv2D(2, 3, name="last")(K.MaxPooling2D(name="pool")(x)), name="net")
    scope = ls.open(converted(model), preprocess=None)
    table = scope.layers(IMAGES)
    expected = table.choose("act")
    assert [layer.path for layer in expected] == ["net/act"]
    assert table.choose("net/conv") == table.choose("conv") == expected
    assert table.choose(next(alias for alias in expected[0].aliases if ";" in alias)) == expected
    wording(expected[0].note, "'conv'", "'act'")
    assert [layer.path for layer in table.choose("kind:Conv2D")] == ["net/act", "net/last"]


def test_names_of_other_layers_that_share_a_constant_are_not_taken_for_fused_ones() -> None:
    """As older converters write them where the biases of two layers are the same zeros."""
    shared = "tiny/conv1/BiasAdd;tiny/conv2/Conv2D;tiny/norm/FusedBatchNormV3;tiny/conv1/Conv2D;tiny/conv1/resource"

    def change(model: Any) -> None:
        graph = model.subgraphs[0]
        first = next(node for node in graph.operators if graph.tensors[node.outputs[0]].name == b"tiny/conv1/Conv2D")
        graph.tensors[first.outputs[0]].name = shared
        graph.tensors[first.inputs[1]].name = "tiny/conv1/Conv2D_dequantize"

    row = rows(changed(tiny(), change), IMAGES)["tiny/conv1"]
    assert row.note == ""
    assert row.aliases == (shared,)


def test_names_without_a_layer_stay_and_repeated_ones_are_numbered() -> None:
    def change(model: Any) -> None:
        for node in model.subgraphs[0].operators:
            model.subgraphs[0].tensors[node.outputs[0]].name = "x:1"

    table = rows(changed(tiny(), change), IMAGES)
    assert list(table) == ["x[1]", "x[1]_2", "x[1]_3", "x[1]_4", "x[1]_5", "x[1]_6", ""]
    assert next(iter(rows(changed(tiny(), _unnamed), IMAGES))) == "Conv2D"


def _unnamed(model: Any) -> None:
    for tensor in model.subgraphs[0].tensors:
        tensor.name = ""


# ---- unusual operators -----------------------------------------------------------------------------------------------


def test_custom_operators_are_named_and_what_comes_before_them_is_shown() -> None:
    def change(model: Any) -> None:
        graph = model.subgraphs[0]
        last = graph.operators[-1]
        custom = operator(model, "CUSTOM", last.inputs[:1], last.outputs)
        model.operatorCodes[-1].customCode = "Sparkle"
        graph.operators[-1] = custom

    content = changed(tiny(), change)
    assert captured(content, IMAGES, "tiny/conv2")[0].shape == (2, 3, 3, 5)
    with raises(ls.ModelNotReadable, "'Sparkle'"):
        captured(content, IMAGES, "tiny/head")
    scope = ls.open(content, preprocess=None)
    assert [layer.path for layer in scope.layers(IMAGES) if not layer.calls] == ["tiny/head", ""]
    assert list(scope.capture(IMAGES, "last")) == ["tiny/act_two"]
    with raises(ls.LayerNotCalled, "'tiny/head'", "'Sparkle'"):
        scope.capture(IMAGES, "head")


def test_operators_of_tensorflow_itself_are_named_with_a_remedy() -> None:
    content = of_function(with_a_determinant, tf.TensorSpec([1, 3, 3], tf.float32), flex=True)
    batch = np.arange(-4, 5, dtype=np.float32).reshape(1, 3, 3)
    with raises(ls.ModelNotReadable, "'FlexMatrixDeterminant'", "TFLITE_BUILTINS"):
        captured(content, batch, "")
    wording(rows(content, batch)[""].note, "'FlexMatrixDeterminant'")
    first = captured(content, batch, _first_name(content))[0]
    assert np.array_equal(first, np.maximum(batch, 0))


def _first_name(content: bytes) -> str:
    from layerscope.backends.tflite.model import TfliteModel

    return TfliteModel(content).outputs[0].address.path


def test_control_flow_is_a_layer_whose_body_is_not_listed() -> None:
    def function(x: Any) -> Any:
        return tf.cond(tf.reduce_sum(x) > 0, lambda: tf.nn.relu(x) * 2.0, lambda: x - tf.reduce_max(x)) + 1.0

    content = of_function(function, tf.TensorSpec([1, 4, 4, 2], tf.float32))
    images = np.random.default_rng(0).standard_normal((1, 4, 4, 2)).astype(np.float32)
    table = rows(content, images)
    (branch,) = (layer for layer in table.values() if layer.kind == "If")
    wording(branch.note)
    np.testing.assert_allclose(captured(content, images, "")[0], np.asarray(function(tf.constant(images))), rtol=1e-6)


def test_other_signatures_are_noted_not_listed() -> None:
    class Two(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([1, 4], tf.float32)])
        def first(self, x: Any) -> Any:
            return {"a": tf.nn.relu(x) + 1.0}

        @tf.function(input_signature=[tf.TensorSpec([1, 4], tf.float32)])
        def second(self, x: Any) -> Any:
            return {"b": tf.nn.relu(x) * 3.0}

    module = Two()
    content = tf.lite.TFLiteConverter.from_concrete_functions(
        [module.first.get_concrete_function(), module.second.get_concrete_function()], module
    ).convert()
    table = rows(content, np.zeros((1, 4), np.float32))
    assert re.search("of the signature '(first|second)'; the layers of (first|second) are not listed", table[""].note)


def test_a_capture_that_fails_leaves_the_process_as_it_was() -> None:
    content = network(tiny_parameters(), fail=True)
    before = (list(warnings.filters), sys.flags, np.geterr())
    with raises(ls.ModelNotReadable, "'failed in the middle'"):
        captured(content, IMAGES, "tiny/head")
    assert (list(warnings.filters), sys.flags, np.geterr()) == before
    good = captured(tiny(), IMAGES, "tiny/conv1")[0]
    assert np.array_equal(captured(content, IMAGES, "tiny/conv1")[0], good)
