"""The question that began it: VGG16, a model on top of it, `block1_conv2`, one photo."""

import keras
import numpy as np
import pytest
from PIL import Image

import layerscope as ls
from helpers.wording import wording
from layerscope import cli

# Keras's own Variable, when Keras on TensorFlow turns it into an array.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


@pytest.fixture(scope="module")
def base():
    keras.utils.set_random_seed(0)
    return keras.applications.VGG16(weights=None, include_top=False, input_shape=(224, 224, 3))


@pytest.fixture(scope="module")
def on_top(base):
    """Input → Rescaling → VGG16 → pooling → Dense, as people fine-tune it."""
    inputs = keras.Input((224, 224, 3))
    x = keras.layers.GlobalAveragePooling2D()(base(keras.layers.Rescaling(1 / 255)(inputs)))
    return keras.Model(inputs, keras.layers.Dense(3, activation="softmax", name="head")(x))


@pytest.fixture
def coffee(tmp_path):
    data = pytest.importorskip("skimage.data", reason="brings the photo")
    path = tmp_path / "coffee.jpg"
    Image.fromarray(data.coffee()).save(path)
    return path


def sub_model(base, batch):
    """Keras's own way for a flat model."""
    model = keras.Model(base.inputs, base.get_layer("block1_conv2").output)
    return np.asarray(keras.ops.convert_to_numpy(model([batch], training=False)))


def test_vgg16_itself(base, coffee):
    picture = ls.show(base, coffee, "block1_conv2")
    assert len(picture.cells) == 64
    assert [cell.channel for cell in picture.cells if cell.y == picture.cells[0].y] == list(range(8))
    assert picture.title == "block1_conv2 · 64 channels of 224 × 224"
    assert picture.lines[0].startswith("Conv2D+relu · ")
    scope = ls.open(base)
    assert scope.preprocess.name == "caffe"
    fm = scope.capture(coffee, "block1_conv2")["block1_conv2"]
    assert fm.values.shape == (1, 224, 224, 64)
    pixels = keras.utils.img_to_array(keras.utils.load_img(coffee, target_size=(224, 224)))[None]
    expected = sub_model(base, keras.applications.vgg16.preprocess_input(pixels))
    np.testing.assert_allclose(fm.values, expected, rtol=1e-5, atol=1e-4)


def test_a_model_on_top_of_it(base, on_top, coffee):
    scope = ls.open(on_top)
    assert scope.preprocess.name == "raw", "the model rescales by itself"
    fm = scope.capture(coffee, "block1_conv2")["block1_conv2"]
    assert fm.layer.path == "vgg16/block1_conv2"
    assert fm.values.shape == (1, 224, 224, 64)
    pixels = np.asarray(Image.open(coffee).resize((224, 224), Image.Resampling.BILINEAR), np.float32)[None]
    np.testing.assert_allclose(fm.values, sub_model(base, pixels / 255), rtol=1e-5, atol=1e-5)
    weights = np.linspace(-1, 1, 64)
    for combined, expected in (
        (ls.mean(fm), fm.values.mean(-1)),
        (ls.weighted(fm, weights), np.sum(fm.values * weights, axis=-1)),
    ):
        np.testing.assert_allclose(combined.values[..., 0], expected, rtol=1e-4, atol=1e-5)
        picture = ls.heatmap(combined)
        assert picture.bar.low == pytest.approx(expected.min(), abs=1e-5)
        assert picture.bar.high == pytest.approx(expected.max(), abs=1e-5)


def test_sequential_around_it(base, coffee):
    model = keras.Sequential([keras.Input((224, 224, 3)), base, keras.layers.Flatten(), keras.layers.Dense(2)])
    fm = ls.open(model, preprocess="unit").capture(coffee, "block1_conv2")["block1_conv2"]
    assert fm.layer.path == "vgg16/block1_conv2"
    pixels = np.asarray(Image.open(coffee).resize((224, 224), Image.Resampling.BILINEAR), np.float32)[None]
    np.testing.assert_allclose(fm.values, sub_model(base, pixels / np.float32(255)), rtol=1e-5, atol=1e-5)


def test_last_is_a_layer_with_pixels(on_top):
    table = ls.open(on_top).layers()
    assert table.choose("last")[0].path == "vgg16"
    assert len(table.choose("stages")) == 6


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_a_saved_model_from_the_command_line(suffix, coffee, tmp_path, capsys):
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(4, 3, name="conv_1"),
            keras.layers.Flatten(),
        ]
    )
    model.save(tmp_path / f"model{suffix}")
    assert cli.main(["layers", str(tmp_path / f"model{suffix}")]) == 0
    assert "conv_1" in capsys.readouterr().out
    arguments = ["-l", "conv_1", "-o", str(tmp_path / "out.png"), "--values", str(tmp_path / "out.npz")]
    assert cli.main(["show", str(tmp_path / f"model{suffix}"), str(coffee), *arguments]) == 0
    expected = ls.open(model).capture(coffee, "conv_1")["conv_1"]
    np.testing.assert_allclose(ls.load(tmp_path / "out.npz").values, expected.values, atol=1e-6)


def test_a_reference_without_weights_says_that_they_are_random(capsys):
    assert cli.main(["layers", "keras:MobileNetV3Small"]) == 0
    wording(capsys.readouterr().err)


def test_a_sheet_of_the_strongest_channels():
    scope, photo = ls.open("demo"), ls.demo_photo()
    fm = scope.capture(photo, "_blocks.4")["_blocks.4"]
    assert [cell.channel for cell in ls.show(scope, photo, "_blocks.4", top=10).cells] == ls.strongest(fm)
    among = ls.show(scope, photo, "_blocks.4", top=2, channels="3:9")
    assert [cell.channel for cell in among.cells] == ls.strongest(fm.select(range(3, 9)), top=2)
    assert "strongest channels" in " ".join(among.lines)


@pytest.mark.parametrize(
    "option", [{"columns": 3}, {"sort": "mean"}, {"statistics": True}, {"per_page": 4}, {"top": 4}]
)
def test_options_of_tiles_are_refused_where_one_map_is_drawn(option):
    scope, photo = ls.open("demo"), ls.demo_photo()
    with pytest.raises(ls.BadOption, match="for a sheet"):
        ls.show(scope, photo, "_blocks.4", combine="mean", **option)
    if "top" not in option:
        with pytest.raises(ls.BadOption, match="for a sheet"):
            ls.show(scope, photo, "_blocks.4", overlay=True, **option)
