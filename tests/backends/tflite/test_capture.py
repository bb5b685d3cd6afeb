"""Captured values of TFLite layers against the plain interpreter, against Keras, and recomputed by hand."""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import layerscope as ls
from helpers.tflite_models import (
    BACKEND,
    Interpreter,
    K,
    captured,
    changed,
    constant,
    constant_free,
    converted,
    interpreted,
    keras,
    of_function,
    operator,
    rows,
    schema,
    tf,
)
from helpers.wording import raises, wording
from layerscope.backends.tflite.backend import TfliteBackend

IMAGES = np.random.default_rng(3).random((2, 12, 10, 3)).astype(np.float32)


@functools.cache
def net() -> keras.Model:
    """Every layer of it is a layer of the file; statistics of the BatchNorms as if trained."""
    keras.utils.set_random_seed(5)
    inputs = keras.Input((12, 10, 3))
    x = K.Conv2D(8, 3, padding="same", name="stem")(inputs)
    x = K.BatchNormalization(name="norm", moving_mean_initializer="random_normal")(x)
    x = K.ReLU(6.0, name="clipped")(x)
    x = K.MaxPooling2D(name="pool")(x)
    x = K.DepthwiseConv2D(3, padding="same", activation="relu", bias_initializer="random_normal", name="depthwise")(x)
    x = K.Conv2D(8, 1, bias_initializer="random_normal", name="narrow")(x)
    x = K.AveragePooling2D(2, name="average")(x)
    x = K.GlobalAveragePooling2D(name="flat")(x)
    return keras.Model(inputs, K.Dense(4, bias_initializer="random_normal", name="scores")(x), name="net")


LAYERS = ("clipped", "pool", "depthwise", "narrow", "average", "flat", "scores")


def samples() -> Iterator[list[np.ndarray]]:
    draw = np.random.default_rng(1)
    for _ in range(20):
        yield [draw.random((1, 12, 10, 3)).astype(np.float32)]


@functools.cache
def file(quantise: str = "") -> bytes:
    return converted(net(), quantise, samples)


def of_keras(*names: str) -> dict[str, np.ndarray]:
    model = keras.Model(net().input, {name: net().get_layer(name).output for name in names})
    return {name: np.asarray(value) for name, value in model(IMAGES).items()}


def test_every_layer_is_that_of_keras() -> None:
    expected = of_keras(*LAYERS)
    for name, values in zip(LAYERS, captured(file(), IMAGES, *(f"net/{layer}" for layer in LAYERS)), strict=True):
        np.testing.assert_allclose(values, expected[name], rtol=1e-5, atol=1e-5, err_msg=name)


def test_the_table_shows_what_runs_fused() -> None:
    table = rows(file(), IMAGES)
    assert [path.rpartition("/")[2] for path in table] == [*LAYERS, ""]
    assert {layer: table[f"net/{layer}"].kind for layer in ("clipped", "pool", "depthwise", "narrow")} == {
        "clipped": "Conv2D+relu6",
        "pool": "MaxPool2D",
        "depthwise": "DepthwiseConv2D+relu",
        "narrow": "Conv2D",
    }
    wording(table["net/clipped"].note, "BatchNorm", "'clipped'")
    assert table["net/narrow"].note == ""
    assert {layer.axes for layer in table.values()} == {"bhwc", "bc"}


def test_a_max_pool_is_recomputed_from_its_captured_input() -> None:
    """The interpreter reuses the memory of its input, so that without care the input is no longer there."""
    before, after = captured(file(), IMAGES, "net/clipped", "net/pool")
    assert np.array_equal(before.reshape(2, 6, 2, 5, 2, 8).max((2, 4)), after)
    interpreter = Interpreter(model_content=file(), experimental_op_resolver_type=_without_delegates())
    interpreter.resize_tensor_input(0, IMAGES.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(0, IMAGES)
    interpreter.invoke()
    names = {tensor["name"].partition(";")[0]: tensor["index"] for tensor in interpreter.get_tensor_details()}
    reused = interpreter.get_tensor(names["net_1/clipped_1/Relu6"])
    assert not np.array_equal(reused, before), "the case that this test is about"


def _without_delegates() -> object:
    from ai_edge_litert.interpreter import OpResolverType

    return OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES


@pytest.mark.parametrize("delegate", [False, True], ids=["no delegate", "XNNPACK"])
def test_float_layers_equal_the_interpreters_own_tensors(delegate: bool) -> None:
    table, every = rows(file(), IMAGES), interpreted(file(), IMAGES, delegate)
    paths = [path for path in table if path]
    for path, values in zip(paths, captured(file(), IMAGES, *paths), strict=True):
        name = next(tensor for tensor in every if tensor in table[path].aliases or tensor == path)
        np.testing.assert_allclose(values, every[name], rtol=1e-5, atol=1e-5, err_msg=path)


@pytest.mark.parametrize("kind", ["int8", "uint8", "int16"])
def test_quantised_layers_are_the_codes_of_the_interpreter_and_near_the_float_ones(kind: str) -> None:
    content = file(kind)
    table = rows(content, IMAGES)
    paths = [
        path for path in table if table[path].note.endswith(f"dequantised from {'int8' if kind == 'uint8' else kind}")
    ]
    paths = [path for path in paths if path and path != "output_0"]
    assert len(paths) >= 6
    interpreter = Interpreter(model_content=content)
    details = {tensor["name"]: tensor["quantization_parameters"] for tensor in interpreter.get_tensor_details()}
    start = interpreter.get_input_details()[0]
    scale, zero = start["quantization"]
    limits = np.iinfo(kind)
    codes = np.clip(np.round(IMAGES / scale) + zero, limits.min, limits.max).astype(kind)
    runs, expected = [interpreted(content, codes, delegate) for delegate in (True, False)], of_keras(*LAYERS)
    captures = BACKEND.capture(content, IMAGES, paths)
    for path in paths:
        name = next(tensor for tensor in (path, *table[path].aliases) if tensor in details)
        step = float(details[name]["scales"][0])
        assert captures[path].dtype == str(runs[0][name].dtype) and captures[path].values.dtype == np.float32
        own, plain = ((run[name].astype(np.float64) - details[name]["zero_points"][0]) * step for run in runs)
        np.testing.assert_allclose(captures[path].values, own, rtol=1e-6, err_msg=path)
        # kernels of the delegate round a code up or down that the plain ones don't, and layers add that up
        assert np.abs(captures[path].values - plain).max() <= 4.01 * step, path
        layer = path.rpartition("/")[2]
        if layer in expected:
            assert np.abs(captures[path].values - expected[layer]).mean() <= 3 * max(step, 1e-3), path


def test_weights_differ_in_scale_along_an_axis() -> None:
    """Per-axis parameters, on a tensor that shows them: the interpreter's own are the reference."""
    from layerscope.backends.tflite.model import TfliteModel
    from layerscope.backends.tflite.run import dequantise

    graph = TfliteModel(file("int8")).graph
    details = {
        tensor["index"]: tensor["quantization_parameters"]
        for tensor in Interpreter(model_content=file("int8")).get_tensor_details()
    }
    several = [tensor for tensor in graph.tensors if tensor.scale.size > 1 and tensor.type == "int8"]
    assert several
    for tensor in several:
        expected, raw = details[tensor.index], graph.stored(tensor)
        assert raw is not None
        codes = raw.view(np.int8).reshape([size or 1 for size in tensor.shape])
        for index, (scale, zero) in enumerate(zip(expected["scales"], expected["zero_points"], strict=True)):
            part = np.take(dequantise(tensor, codes), index, expected["quantized_dimension"])
            values = (np.take(codes, index, expected["quantized_dimension"]).astype(np.float32) - zero) * scale
            np.testing.assert_allclose(part, values, rtol=1e-6)


@pytest.mark.parametrize("kind", ["int8", "dynamic", "float16"])
def test_a_layer_does_not_depend_on_the_other_layers_of_a_capture(kind: str) -> None:
    content = file(kind)
    table = rows(content, IMAGES)
    together = BACKEND.capture(content, IMAGES, list(table))
    for path in table:
        assert np.array_equal(BACKEND.capture(content, IMAGES, [path])[path].values, together[path].values), path


@pytest.mark.parametrize(("kind", "tolerance"), [("float16", 5e-3), ("dynamic", 5e-2)])
def test_files_with_small_weights_give_nearly_the_float_layers(kind: str, tolerance: float) -> None:
    expected = of_keras(*LAYERS)
    for name, values in zip(LAYERS, captured(file(kind), IMAGES, *(f"net/{layer}" for layer in LAYERS)), strict=True):
        assert values.dtype == np.float32
        np.testing.assert_allclose(
            values, expected[name], rtol=tolerance, atol=tolerance * np.abs(expected[name]).max()
        )


def test_codes_can_be_given_instead_of_pixels() -> None:
    scale, zero = Interpreter(model_content=file("int8")).get_input_details()[0]["quantization"]
    codes = np.clip(np.round(IMAGES / scale) + zero, -128, 127).astype(np.int8)
    assert np.array_equal(captured(file("int8"), codes, "net/pool")[0], captured(file("int8"), IMAGES, "net/pool")[0])


def test_only_what_is_needed_runs() -> None:
    backend = TfliteBackend()
    model = file()
    backend.capture(model, IMAGES, ["net/pool"])
    ((_, entry),) = backend._models
    (session,) = entry.sessions._kept.values()
    assert [entry.graph.operators[index].name for index in session.operators] == ["CONV_2D", "MAX_POOL_2D"]
    assert session.interpreter.get_tensor_details()[0]["name"], "an interpreter of its own"


def test_interpreters_are_kept_for_the_next_capture_and_not_too_many() -> None:
    backend = TfliteBackend()
    for path in ("net/clipped", "net/pool", "net/depthwise", "net/narrow", "net/pool"):
        backend.capture(file(), IMAGES, [path])
    ((_, entry),) = backend._models
    assert len(entry.sessions) == 3
    before = list(entry.sessions._kept.values())
    backend.capture(file(), IMAGES[:1], ["net/pool"])
    assert list(entry.sessions._kept.values())[-1] is before[-1]


def test_threads_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = []
    import layerscope.backends.tflite.run as run

    class Spy(Interpreter):
        def __init__(self, **options: object) -> None:
            threads.append(options["num_threads"])
            super().__init__(**options)

    monkeypatch.setattr(run, "runtime", lambda: ("spy", Spy))
    TfliteBackend().capture(file(), IMAGES, ["net/pool"])
    monkeypatch.setenv("LAYERSCOPE_TFLITE_THREADS", "2")
    TfliteBackend().capture(file(), IMAGES, ["net/pool"])
    assert threads == [1, 2]
    for wrong in ("0", "many"):
        monkeypatch.setenv("LAYERSCOPE_TFLITE_THREADS", wrong)
        with raises(ls.BadOption, "1"):
            TfliteBackend().capture(file(), IMAGES, ["net/pool"])


def test_threads_that_share_a_model_do_not_mix() -> None:
    """An interpreter holds one batch at a time, so they take turns, however often Python changes between them."""
    backend, draw = TfliteBackend(), np.random.default_rng(4)
    batches = [draw.random((index % 3 + 1, 12, 10, 3)).astype(np.float32) for index in range(400)]
    pooled = [BACKEND.capture(file(), batch, ["net/pool"])["net/pool"].values for batch in batches]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as threads:
            captures = list(threads.map(lambda batch: backend.capture(file(), batch, ["net/pool"]), batches))
    finally:
        sys.setswitchinterval(before)
    for capture, expected in zip(captures, pooled, strict=True):
        assert np.array_equal(capture["net/pool"].values, expected)


def test_gradients_are_refused_with_a_remedy() -> None:
    with raises(ls.GradientsUnavailable):
        BACKEND.capture(file(), IMAGES, ["net/pool"], 1)


def test_the_bytes_are_not_written_to() -> None:
    before = bytes(bytearray(file()))
    captured(file(), IMAGES, "net/pool")
    assert file() == before


def test_what_a_file_holds_over_the_end_is_kept() -> None:
    """A zip archive with labels is appended to files; the cut adds its outputs after it."""
    padded = file() + b"PK\x03\x04 not a whole archive"
    assert np.array_equal(captured(padded, IMAGES, "net/pool")[0], captured(file(), IMAGES, "net/pool")[0])


def test_a_dilated_convolution_with_its_pixels_in_the_batch_axis_has_a_note() -> None:
    inputs = keras.Input((8, 8, 3))
    outer = K.Conv2D(4, 3, padding="same", dilation_rate=2, name="wide", bias_initializer="random_normal")(inputs)
    model = keras.Model(inputs, K.Dense(2, name="dense")(outer), name="far")
    content, images = converted(model), IMAGES[:, :8, :8]
    table = rows(content, images)
    hidden = [layer for layer in table.values() if layer.shape and layer.shape[0] != 1]
    for layer in hidden:
        assert not layer.showable
        wording(layer.note)
    expected = np.asarray(keras.Model(inputs, outer)(images))
    np.testing.assert_allclose(captured(content, images, "far/wide")[0], expected, rtol=1e-5, atol=1e-5)
    expected = np.asarray(model(images))
    np.testing.assert_allclose(captured(content, images, "far/dense")[0], expected, rtol=1e-5, atol=1e-5)


def test_tokens_lie_on_the_grid_of_their_patches() -> None:
    inputs = keras.Input((12, 8, 3))
    x = K.Reshape((6, 5), name="tokens")(K.Conv2D(5, 4, strides=4, name="patches")(inputs))
    x = K.Add(name="sum")([x, K.Dense(5, name="mix")(K.LayerNormalization(name="norm")(x))])
    model = keras.Model(inputs, K.GlobalAveragePooling1D(name="mean")(x), name="vit")
    content, images = converted(model), np.random.default_rng(2).random((2, 12, 8, 3)).astype(np.float32)
    table = rows(content, images)
    assert (table["vit/sum"].axes, table["vit/sum"].grid) == ("bnc", (3, 2))
    values = captured(content, images, "vit/sum")[0]
    np.testing.assert_allclose(values, np.asarray(keras.Model(inputs, x)(images)), rtol=1e-4, atol=1e-5)


def test_attention_weights_have_queries_keys_and_heads() -> None:
    inputs = keras.Input((12, 8, 3))
    x = K.Reshape((6, 6), name="tokens")(K.Conv2D(6, 4, strides=4, name="patches")(inputs))
    mixed, weights = K.MultiHeadAttention(2, 3, name="mixer")(x, x, return_attention_scores=True)
    model = keras.Model(inputs, K.GlobalAveragePooling1D(name="mean")(K.Add(name="sum")([x, mixed])), name="vit")
    content, images = converted(model), np.random.default_rng(2).random((2, 12, 8, 3)).astype(np.float32)
    (row,) = (layer for layer in rows(content, images).values() if layer.kind == "Softmax")
    assert (row.axes, row.grid, row.attention) == ("bcqk", (3, 2), True)
    fm = ls.open(content, preprocess=None).capture(images, row.path)[row.path]
    expected = np.asarray(keras.Model(inputs, weights)(images))
    np.testing.assert_allclose(fm.values, expected.transpose(0, 2, 3, 1), rtol=1e-4, atol=1e-6)
    looked = ls.attention(fm, query="mean").values
    np.testing.assert_allclose(looked, expected.mean(2).transpose(0, 2, 1).reshape(2, 3, 2, 2), rtol=1e-4, atol=1e-6)


def test_free_sizes_are_taken_from_the_batch() -> None:
    inputs = keras.Input((None, None, 3))
    out = K.Conv2D(4, 3, strides=2, name="conv", bias_initializer="random_normal")(inputs)
    model = keras.Model(inputs, K.GlobalMaxPooling2D(name="top")(out), name="free")
    content = converted(model)
    assert BACKEND.facts(content).inputs[0].shape == (None, None, None, 3)
    for images in (IMAGES, IMAGES[:1, :9, :7], np.concatenate([IMAGES] * 2)):
        np.testing.assert_allclose(
            captured(content, images, "free/conv")[0],
            np.asarray(keras.Model(inputs, out)(images)),
            rtol=1e-5,
            atol=1e-5,
        )


def test_mobilenet_layer_by_layer() -> None:
    """A real architecture with statistics as if trained: every layer that has a Keras layer's name has its values."""
    keras.utils.set_random_seed(1)
    model = keras.applications.MobileNetV2(weights=None, input_shape=(64, 64, 3), alpha=0.35, include_top=False)
    # up to the block where it halves the picture for the third time; the rest repeats it
    model = keras.Model(model.input, model.get_layer("block_3_project_BN").output)
    draw = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, K.BatchNormalization):
            gamma, beta, mean, variance = layer.get_weights()
            layer.set_weights(
                [
                    draw.uniform(0.5, 1.5, gamma.shape),
                    draw.normal(0, 0.3, beta.shape),
                    draw.normal(0, 0.3, mean.shape),
                    draw.uniform(0.5, 1.5, variance.shape),
                ]
            )
    content = converted(model)
    images = draw.random((1, 64, 64, 3)).astype(np.float32)
    table = rows(content, images)
    names = {layer.name for layer in model.layers}
    paths = [path for path in table if path.rpartition("/")[2] in names]
    named = [path.rpartition("/")[2] for path in paths]
    assert len(paths) >= 12
    expected = keras.Model(model.input, {name: model.get_layer(name).output for name in named})(images)
    for path, values in zip(paths, captured(content, images, *paths), strict=True):
        value = np.asarray(expected[path.rpartition("/")[2]])
        np.testing.assert_allclose(values, value, rtol=1e-3, atol=1e-4 * np.abs(value).max(), err_msg=path)
    assert sum("BatchNorm" in row.note for row in table.values()) >= 9


def test_the_file_that_is_cut_is_the_file_with_two_places_changed() -> None:
    """Nothing but the lists of operators and outputs differs, so the weights of the cut are those of the file."""
    from layerscope.backends.tflite.model import TfliteModel
    from layerscope.backends.tflite.run import cut

    graph = TfliteModel(file()).graph
    content, operators = cut(graph, [graph.operators[1].outputs[0]])
    assert operators == [0, 1]
    same = np.frombuffer(content[: len(file())], np.uint8) == np.frombuffer(file(), np.uint8)
    assert (~same).sum() <= 4 * (1 + 1 + 2)
    assert len(content) - len(file()) <= 3 + 8


def test_operators_without_weights_between_branches() -> None:
    """Only the requested branch runs: `left` needs nothing of `right`."""
    inputs = keras.Input((8, 8, 3))
    left = K.Conv2D(2, 3, name="left", bias_initializer="random_normal")(inputs)
    right = K.Conv2D(2, 3, name="right", bias_initializer="random_normal")(inputs)
    model = keras.Model(
        inputs, K.Add(name="sum")([K.MaxPooling2D(name="less")(right), K.MaxPooling2D(name="more")(left)])
    )
    content = converted(model)
    images = IMAGES[:, :8, :8]
    backend = TfliteBackend()
    path = next(row_path for row_path in rows(content, images) if row_path.endswith("/right"))
    backend.capture(content, images, [path])
    ((_, entry),) = backend._models
    (session,) = entry.sessions._kept.values()
    assert len(session.operators) == 1


def test_a_trained_network_and_its_quantised_file_see_the_same() -> None:
    """Digits: every layer of the int8 file is near that of the float model, and so are the classes."""
    from sklearn.datasets import load_digits

    keras.utils.set_random_seed(0)
    digits, classes = load_digits(return_X_y=True)
    digits = (digits.reshape(-1, 8, 8, 1) / 16).astype(np.float32)
    inputs = keras.Input((8, 8, 1))
    x = K.Conv2D(16, 3, padding="same", activation="relu", name="one")(inputs)
    norm, flat, scores = K.BatchNormalization(name="norm"), K.Flatten(name="flat"), K.Dense(10, name="scores")
    x = flat(K.Conv2D(32, 3, activation="relu", name="two")(K.MaxPooling2D(name="pool")(norm(x))))
    model = keras.Model(inputs, scores(x), name="digits")
    # Random filters, statistics of their own maps, and the classifier solved for: trained without a loop of training.
    maps = np.asarray(keras.Model(inputs, model.get_layer("one").output)(digits[:1000]))
    norm.set_weights([np.ones(16), np.zeros(16), maps.mean((0, 1, 2)), maps.var((0, 1, 2))])
    features = np.asarray(keras.Model(inputs, flat.output)(digits[:1000]))
    ridge = features.T @ features + 0.1 * len(features) * np.eye(features.shape[1])
    scores.set_weights([np.linalg.solve(ridge, features.T @ np.eye(10)[classes[:1000]]), np.zeros(10)])
    content = converted(model, "int8", lambda: ([digit[None]] for digit in digits[:100]))
    names = ["digits/one", "digits/two", "digits/scores"]
    expected = keras.Model(inputs, [model.get_layer(path.rpartition("/")[2]).output for path in names])(digits[1500:])
    captures = captured(content, digits[1500:], *names)
    for name, values, value in zip(names, captures, expected, strict=True):
        assert np.corrcoef(values.ravel(), np.asarray(value).ravel())[0, 1] > 0.995, name
    assert (captures[-1].argmax(-1) == classes[1500:]).mean() > 0.85


def test_changed_is_the_same_file_when_nothing_changes() -> None:
    """The helper that other tests change files with writes what it read."""
    again = changed(file(), lambda model: None)
    assert np.array_equal(captured(again, IMAGES, "net/scores")[0], captured(file(), IMAGES, "net/scores")[0])


def test_fused_layers():
    scope = ls.open(file(), preprocess=None)
    batch = np.ones((1, 12, 10, 3), np.float32)
    paths = {layer.path for layer in scope.layers(batch)}
    assert not [path for path in paths if path.endswith(("stem", "norm"))]
    (fm,) = scope.capture(batch, "stem").values()
    assert fm.layer.path == "net/clipped"
    wording(fm.layer.note, "'clipped'")


def test_what_a_recurrent_layer_keeps_is_of_one_run() -> None:
    """The last output of a recurrent layer is a tensor that the interpreter keeps from one run to the next."""
    draw = np.random.default_rng(0)
    weights = [draw.standard_normal(shape).astype(np.float32) for shape in ((3, 4), (3, 3), (3,))]

    def recurrent(model: Any) -> None:
        graph = model.subgraphs[0]
        state = constant_free(model, "state", (1, 3), schema.TensorType.FLOAT32)
        graph.tensors[state].isVariable = True
        inputs = [*graph.inputs, *(constant(model, values) for values in weights), state]
        tanh = schema.SequenceRNNOptionsT(fusedActivationFunction=schema.ActivationFunctionType.TANH)
        outputs = graph.operators[0].outputs
        graph.operators[0] = operator(model, "UNIDIRECTIONAL_SEQUENCE_RNN", inputs, outputs, tanh)

    spec = tf.TensorSpec((1, 6, 4))
    content = changed(of_function(lambda x: tf.nn.relu(x[..., :3], name="head"), spec), recurrent)
    x = draw.standard_normal((1, 6, 4)).astype(np.float32)
    (path,) = [path for path, row in rows(content, x).items() if row.kind == "Relu"]
    state, expected = np.zeros(3), []
    for step in x[0]:
        state = np.tanh(weights[0] @ step + weights[1] @ state + weights[2])
        expected.append(np.maximum(state, 0))
    for _ in range(3):
        np.testing.assert_allclose(captured(content, x, path)[0][0], expected, rtol=1e-4, atol=1e-5)


def test_variables_with_a_handle_are_those_of_a_fresh_interpreter():
    class Sum(tf.Module):
        def __init__(self):
            super().__init__()
            self.total = tf.Variable(tf.zeros([1, 4, 4, 3]))

        @tf.function(input_signature=[tf.TensorSpec([1, 4, 4, 3], tf.float32)])
        def __call__(self, x):
            self.total.assign_add(x)
            return tf.nn.relu(self.total * 2.0)

    model = Sum()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([model.__call__.get_concrete_function()], model)
    converter.experimental_enable_resource_variables = True
    scope, x = ls.open(converter.convert(), preprocess=None), np.ones((1, 4, 4, 3), np.float32)
    for _ in range(3):
        maps = scope.capture(x, "*")
        assert len(maps) > 1
        np.testing.assert_array_equal(list(maps.values())[-1].values, 2 * x)


def test_steps_in_front_of_the_only_image_are_still_steps():
    """An unrolled LSTM takes its steps from a reshape where there is one image: nothing lies in the batch axis."""
    inputs = keras.Input((8, 6, 3), batch_size=1)
    columns = K.Reshape((6, 4))(K.Permute((2, 1, 3))(K.Conv2D(4, (8, 1), name="conv")(inputs)))
    steps = K.LSTM(5, return_sequences=True, unroll=True, name="lstm")(columns)
    model = keras.Model(inputs, K.Dense(3, bias_initializer="random_normal", name="each")(steps), name="net")
    images = IMAGES[:, :8, :6]
    layers = rows(converted(model), images[:1])
    assert not [layer.path for layer in layers.values() if not layer.showable]
    scope = ls.open(converted(model), preprocess=None)
    maps = scope.capture(images, ["net/lstm", "net/each"])
    expected = keras.Model(inputs, [model.get_layer("lstm").output, model.output])
    for row, image in enumerate(images):
        for fm, values in zip(maps.values(), expected(image[None]), strict=True):
            np.testing.assert_allclose(fm.values[row], values[0], atol=1e-5)


@pytest.mark.parametrize(("axis", "axes"), [(-1, "bhwc"), (1, "bchw")])
def test_classes_as_ones_and_zeros_are_channels(axis: int, axes: str) -> None:
    kernel = tf.constant(np.random.default_rng(0).random((1, 1, 3, 4)).astype(np.float32))

    def masks(x: Any) -> Any:
        return tf.one_hot(tf.argmax(tf.nn.conv2d(x, kernel, 1, "SAME"), -1), 5, axis=axis)

    content = of_function(masks, tf.TensorSpec((1, 12, 10, 3)))
    (layer,) = [layer for layer in rows(content, IMAGES[:1]).values() if layer.kind == "OneHot"]
    assert layer.axes == axes and not layer.doubt
    fm = ls.open(content, preprocess=None).capture(IMAGES[:1], layer)[layer.path]
    classes = (IMAGES[:1] @ kernel.numpy()[0, 0]).argmax(-1)
    np.testing.assert_array_equal(fm.values, classes[..., None] == np.arange(5))
