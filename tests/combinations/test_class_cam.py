"""The weights of a classifier: the class activation map adds up to the model's own score, or is refused."""

import numpy as np
import pytest

import layerscope as ls
from helpers.wording import raises, wording
from layerscope.core.note import kind_of


def adds_up(scope, image, target, layer="last", output="output", reach=1e-3):
    """The mean over the positions of the weighted map, plus the bias, is the score that the model itself gave."""
    (fm,) = scope.capture(image, layer).values()
    weights = ls.head_weights(scope, target, layer, images=image)
    assert weights.dtype == np.float32 and weights.shape == (fm.shape[-1],)
    (scores,) = scope.capture(image, output).values()
    score = ls.weighted(fm, weights).values.mean(dtype=np.float64) + scope.head(image).bias[target]
    assert score == pytest.approx(float(scores.values.reshape(-1)[target]), abs=reach, rel=1e-4)


def test_the_onnx_demo_adds_up_to_its_logit():
    scope = ls.open("demo")
    adds_up(scope, ls.demo_photo(), 282)
    weights = ls.head_weights(scope, 282)
    onnx = pytest.importorskip("onnx")
    graph = onnx.load(str(ls.demo_model())).graph
    stored = next(onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer if tensor.name == "_fc.weight")
    np.testing.assert_array_equal(weights, stored[282].astype(np.float32))
    np.testing.assert_array_equal(ls.head_weights(scope, "tiger cat"), weights)
    with raises(ls.BadOption, "'tiger cat'"):
        ls.head_weights(scope, "tiger ca")
    for bad in (
        1000,
        -1,
        True,
        1.5,
    ):
        with raises(ls.BadOption):
            ls.head_weights(scope, bad)


@pytest.mark.limit("class weights (`class_cam`, `head_weights`)")
def test_another_layer_than_the_one_before_the_average_is_refused(limit):
    scope = ls.open("demo")
    with limit.raises("1,280", "'_blocks.4._swish:1'", "240", "grad_cam"):
        ls.head_weights(scope, 282, "_blocks.4._swish:1")
    with raises(ls.BadOption):
        ls.head_weights(scope, 282, "stages")


@pytest.mark.parametrize("kind", ["gemm", "gemm transposed", "matmul", "cast", "codes"])
def test_a_dense_layer_of_onnx_is_read_however_it_is_written(kind):
    onnx = pytest.importorskip("onnx")
    from onnx import helper, numpy_helper

    random = np.random.default_rng(0)
    weights, bias = random.normal(size=(6, 4)).astype(np.float32), random.normal(size=4).astype(np.float32)
    stored = {"w": weights.T if kind == "gemm transposed" else weights, "b": bias}
    nodes = [
        helper.make_node("Relu", ["x"], ["map"]),
        helper.make_node("GlobalAveragePool", ["map"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
    ]
    if kind.startswith("gemm"):
        settings = {"transB": int(kind == "gemm transposed"), "alpha": 0.5, "beta": 2.0}
        nodes.append(helper.make_node("Gemm", ["flat", "w", "b"], ["y"], **settings))
        weights, bias = weights * 0.5, bias * 2
    elif kind == "cast":
        stored["w"] = weights = weights.astype(np.float16)
        nodes.append(helper.make_node("Cast", ["w"], ["wide"], to=onnx.TensorProto.FLOAT))
        nodes.append(helper.make_node("Gemm", ["flat", "wide", "b"], ["y"]))
    elif kind == "codes":
        stored["w"] = random.integers(-90, 90, (6, 4)).astype(np.int8)
        stored |= {"scale": np.array([0.1, 0.2, 0.3, 0.4], np.float32), "zero": np.array([1, 2, 3, 4], np.int8)}
        weights = (stored["w"].astype(np.float32) - stored["zero"]) * stored["scale"]
        nodes.append(helper.make_node("DequantizeLinear", ["w", "scale", "zero"], ["wide"], axis=1))
        nodes.append(helper.make_node("Gemm", ["flat", "wide", "b"], ["y"]))
    else:
        nodes.append(helper.make_node("MatMul", ["flat", "w"], ["product"]))
        nodes.append(helper.make_node("Add", ["product", "b"], ["y"]))
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", 1, [1, 6, 5, 5])],
        [helper.make_tensor_value_info("y", 1, [1, 4])],
        [numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in stored.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    batch = random.normal(size=(1, 6, 5, 5)).astype(np.float32)
    scope = ls.open(model, preprocess=None)
    np.testing.assert_allclose(ls.head_weights(scope, 3, "map", images=batch), weights[:, 3], rtol=1e-6)
    np.testing.assert_allclose(scope.head(batch).bias, bias, rtol=1e-6)
    # ONNX Runtime multiplies codes by codes, with a rounding of its own.
    adds_up(scope, batch, 3, "map", reach=0.05 if kind == "codes" else 1e-4)


torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402 # behind the check that it is there


class Small(nn.Module):
    """A few convolutions, a pooling and a classifier; `last` is what stands before the pooling."""

    def __init__(self, pool, between=None, head=None):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.Conv2d(8, 6, 3), nn.ReLU())
        self.pool, self.between = pool, between or nn.Identity()
        self.head = head if head is not None else nn.Linear(6, 4)

    def forward(self, x):
        return self.head(self.between(self.pool(self.features(x)).flatten(1)))


def mean_pool(x):
    return x.mean((2, 3))


@pytest.fixture
def batch():
    return torch.randn(2, 3, 20, 20, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def scopeof(model):
    return ls.open(model.eval(), preprocess=None)


@pytest.mark.parametrize("pool", [nn.AdaptiveAvgPool2d(1), mean_pool], ids=["module", "function"])
def test_a_torch_model_adds_up_to_its_logit(pool, batch):
    model = Small(pool)
    scope = scopeof(model)
    adds_up(scope, batch[:1], 3, "features.3")
    np.testing.assert_array_equal(
        ls.head_weights(scope, 1, "features.3", images=batch), model.head.weight.detach().numpy()[1]
    )


@pytest.mark.parametrize(
    "model",
    [
        lambda: Small(nn.AdaptiveMaxPool2d(1)),
        lambda: Small(nn.AdaptiveAvgPool2d(1), nn.LayerNorm(6)),
        lambda: Small(nn.AdaptiveAvgPool2d(2), head=nn.Linear(24, 4)),
        lambda: Small(nn.Conv2d(6, 4, 1), head=nn.Identity()),
    ],
    ids=["max", "norm", "flattened", "convolution"],
)
def test_where_it_would_not_hold_it_is_refused(model, batch):
    with raises(ls.BadWeights):
        ls.head_weights(scopeof(model()), 1, "features.3", images=batch)


def test_without_preprocessing_a_ready_batch_is_required(batch):
    with raises(ls.BadOption, "images="):
        ls.head_weights(scopeof(Small(mean_pool)), 1)


def test_the_model_is_left_as_it_was_also_when_it_raises(batch):
    model = Small(nn.AdaptiveAvgPool2d(1)).train()
    ls.open(model, preprocess=None).head(batch)
    assert model.training and not model.head._forward_hooks

    class Failing(nn.Module):
        def forward(self, x):
            raise RuntimeError("failed in the middle")

    model.between = Failing()
    with raises(ls.ModelNotReadable):
        ls.open(model, preprocess=None).head(batch)
    assert model.training and not model.head._forward_hooks


@pytest.mark.parametrize("activation", [None, "softmax", "sigmoid"])
def test_a_keras_model_adds_up_to_its_logit(activation):
    keras = pytest.importorskip("keras")
    keras.utils.set_random_seed(0)
    inputs = keras.Input((20, 20, 3))
    x = keras.layers.Conv2D(6, 3, activation="relu", name="conv")(inputs)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, keras.layers.Dense(4, activation=activation, name="head")(x))
    batch = np.random.default_rng(0).random((1, 20, 20, 3), dtype=np.float32)
    scope = ls.open(model, preprocess=None)
    weights = ls.head_weights(scope, 2, "conv", images=batch)
    np.testing.assert_array_equal(weights, np.asarray(model.get_layer("head").kernel)[:, 2])
    assert scope.head(batch).activation == (activation or "")
    if activation is None:
        adds_up(scope, batch, 2, "conv")


def test_the_class_activation_map_is_the_sum_with_those_weights():
    scope = ls.open("demo")
    fm = scope.capture(ls.demo_photo(), "last")["_swish:1"]
    expected = ls.weighted(fm, ls.head_weights(scope, "tiger cat")).values
    for target in (282, "tiger cat", None):
        cam = ls.class_cam(fm, target)
        np.testing.assert_array_equal(cam.values, expected)
        wording(cam.rule, '"tiger cat"')
        assert cam.provenance["class"] == 282
    assert ls.class_cam(fm, "espresso").values.max() < expected.max()
    assert (ls.class_cam(fm, "espresso", positive=True).values >= 0).all()
    with raises(ls.BadOption, "'tiger cat'"):
        ls.class_cam(fm, "tigercat")
    with raises(ls.BadOption, "0", "999"):
        ls.class_cam(fm, 1000)
    with raises(ls.BadOption):
        ls.class_cam(fm, lambda output: output[0, 282])


def test_a_class_activation_map_of_some_channels_is_their_part(batch):
    scope = scopeof(Small(nn.AdaptiveAvgPool2d(1)))
    whole = scope.capture(batch, "features.3")["features.3"]
    weights = scope.head(batch).weights
    for fm in (
        scope.capture(batch, "features.3", channels=[4, 1])["features.3"],
        whole.select([4, 1]),
        whole.select([5, 4, 3, 2, 1, 0]),
    ):
        expected = np.stack(
            [fm.values[..., position] * weights[2, channel] for position, channel in enumerate(fm.channels)]
        ).sum(0)
        cam = ls.class_cam(fm, 2)
        np.testing.assert_allclose(cam.values[..., 0], expected, rtol=1e-5, atol=1e-6)
        kinds = [kind_of(note) for note in cam.notes]
        assert ("channels" in kinds) == (len(fm.channels) == 2)
        assert ("against" in kinds) == bool((cam.values < 0).any())


def test_nan_is_named_as_the_reason(batch):
    scope = scopeof(Small(nn.AdaptiveAvgPool2d(1)))
    broken = batch.clone()
    broken[0, 0, 3, 3] = float("nan")
    fm = scope.capture(broken, "features.3")["features.3"]
    with raises(ls.BadWeights):
        ls.class_cam(fm, 2)
    for method in (ls.score_cam, ls.ablation_cam):
        with raises(ls.BadOption, "target="):
            method(fm)


def test_the_first_class_of_another_output_is_no_row_of_the_classifier(batch):
    class TwoHeads(Small):
        def __init__(self, count):
            super().__init__(mean_pool)
            torch.manual_seed(4)
            self.other = nn.Linear(6, count)

        def forward(self, x):
            scores = self.head(self.pool(self.features(x)).flatten(1))
            return scores, self.other(self.pool(self.features(x)).flatten(1))

    for count in (7, 4):
        fm = scopeof(TwoHeads(count)).capture(batch, "features.3:1")["features.3:1"]
        with raises(ls.BadOption, "'other'", "target=", "0", count - 1, "'other'"):
            ls.class_cam(fm)
        wording(ls.class_cam(fm, 1).rule, "1")


def test_a_class_activation_map_needs_its_model_and_the_layer_before_the_average():
    scope = ls.open("demo")
    with raises(ls.BadOption):
        ls.class_cam(np.ones((1, 7, 7, 1280), np.float32))
    (middle,) = scope.capture(ls.demo_photo(), "_blocks.4._swish:1").values()
    with raises(ls.BadWeights, "1,280"):
        ls.class_cam(middle, 282)


def test_what_a_capture_of_one_layer_gave_is_its_map():
    maps = ls.open("demo").capture(ls.demo_photo(), "last")
    (fm,) = maps.values()
    assert np.array_equal(ls.class_cam(maps, "tiger cat").values, ls.class_cam(fm, "tiger cat").values)


def test_a_map_says_that_its_mean_and_the_bias_are_the_score():
    scope = ls.open(ls.demo_model())
    maps = scope.capture(ls.demo_photo(), ["last", "output"])
    last = scope.capture(ls.demo_photo(), "last")
    fm = ls.class_cam(last, "tiger cat")
    assert any(kind_of(note) == "score" for note in fm.notes)
    assert fm.values.mean() + scope.head().bias[282] == pytest.approx(maps["output"].values[0, 282], rel=1e-4)
    assert not any(kind_of(note) == "score" for note in ls.class_cam(last, "tiger cat", positive=True).notes)
    part = scope.capture(ls.demo_photo(), "last")["_swish:1"].select(range(100))
    assert not any(kind_of(note) == "score" for note in ls.class_cam(part, "tiger cat").notes)


def test_a_model_is_opened_for_its_class_weights():
    np.testing.assert_array_equal(ls.head_weights("demo", "tiger cat"), ls.head_weights(ls.open("demo"), "tiger cat"))
