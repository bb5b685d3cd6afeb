"""Every network of keras.applications gets the model input that its own `preprocess_input`, or its own layers, make."""

import functools
import importlib
import inspect

import keras
import numpy as np
import pytest
from PIL import Image

import layerscope as ls
from helpers.photos import CAT, pil
from helpers.wording import raises
from layerscope.backends.keras.applications import require_name
from layerscope.inputs import preprocess

K = keras.layers
NETWORKS = sorted(name for name in dir(keras.applications) if name[0].isupper())
# Their `preprocess_input` does nothing, since the network scales by itself.
SCALING = ("EfficientNet", "ConvNeXt", "MobileNetV3")
# MobileNet and NASNet make up their names from their options.
MADE_UP = {"MobileNet": "mobilenet_1.00_224", "MobileNetV2": "mobilenetv2_1.00_224"}

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


def own_name(network):
    """The name that the network's function gives its model."""
    function = getattr(keras.applications, network)
    return MADE_UP.get(network) or str(inspect.signature(function).parameters["name"].default)


def own_function(network):
    """`preprocess_input` of the module that the network is from."""
    module = importlib.import_module(getattr(keras.applications, network).__module__)
    return module.preprocess_input


def model_input(scope):
    array, _ = preprocess.batch([CAT], scope.preprocess, scope.plan)
    return array


def loaded(side):
    """As `keras.utils.load_img(path, target_size=(side, side))` gives the photo."""
    return np.asarray(pil(CAT).resize((side, side), Image.Resampling.NEAREST), np.float32)[None]


def values_alone(scope, size=64):
    """The recipe's numbers for a photo without resizing, so that filters and crops don't matter."""
    from layerscope.inputs.photo import Photo

    pixels = np.asarray(pil(CAT).resize((size, size)))
    # `short` of the same side: nothing is cut off
    recipe = ls.Recipe(**{**vars(scope.preprocess), "size": (size, size), "resize": "squash"})
    array, _ = preprocess.apply(recipe, Photo("cat", pixels), "hwc", (size, size))
    return array[None], pixels.astype(np.float32)[None]


def named_like(name, *layers):
    return keras.Sequential([keras.Input((64, 64, 3)), *layers, K.Conv2D(2, 3)], name=name)


@pytest.mark.parametrize("network", [item for item in NETWORKS if not item.startswith(SCALING)])
def test_the_recipe_gives_what_preprocess_input_gives(network):
    scope = ls.open(named_like(own_name(network)))
    assert scope.plan.known, scope.plan.note
    assert scope.facts.assumed
    array, pixels = values_alone(scope)
    np.testing.assert_allclose(array, own_function(network)(pixels.copy()), atol=1e-4)
    if scope.preprocess.resize == "squash":
        np.testing.assert_allclose(model_input(scope), own_function(network)(loaded(64)), atol=1e-4)


@pytest.mark.parametrize("network", [item for item in NETWORKS if item.startswith(SCALING)])
def test_networks_that_scale_get_pixels(network):
    assert np.array_equal(own_function(network)(loaded(8)), loaded(8)), "its preprocess_input does nothing"
    scope = ls.open(named_like(own_name(network), *scaling_layers(network)))
    assert (scope.preprocess.name, scope.plan.known, scope.facts.assumed) == ("raw", True, False)


def can_leave_its_scaling_out(network):
    return "include_preprocessing" in inspect.signature(getattr(keras.applications, network)).parameters


@pytest.mark.parametrize(
    "network", [item for item in NETWORKS if item.startswith(SCALING) and can_leave_its_scaling_out(item)]
)
def test_without_its_scaling_a_network_gets_what_the_scaling_would_give(network):
    array, pixels = values_alone(ls.open(named_like(own_name(network))))
    for layer in scaling_layers(network):
        pixels = np.asarray(layer(pixels))
    # EfficientNetV2 S to L divide by 128, "tf" by 127.5
    np.testing.assert_allclose(array, pixels, atol=0.01)


SMALLEST = {
    "ConvNeXt": "ConvNeXtTiny",
    "MobileNetV3": "MobileNetV3Small",
    "EfficientNetB": "EfficientNetB0",
    "EfficientNetV2B": "EfficientNetV2B0",
    "EfficientNetV2": "EfficientNetV2S",
}


def scaling_layers(network):
    """The layers that scale, from the smallest network of the same kind."""
    return leading(next(small for kind, small in SMALLEST.items() if network.startswith(kind)))


@functools.cache
def leading(network):
    model = getattr(keras.applications, network)(weights=None, input_shape=(64, 64, 3), include_top=False)
    parts = [part for item in model.layers for part in (item.layers if isinstance(item, keras.Sequential) else [item])]
    first = next(index for index, item in enumerate(parts) if isinstance(item, K.Conv2D))
    return [item for item in parts[:first] if isinstance(item, K.Rescaling | K.Normalization)]


def test_a_wrong_name_is_said_without_importing_keras():
    with raises(ls.ModelNotReadable, "VGG17", "Did you mean 'VGG19' or 'VGG16'", *NETWORKS):
        require_name("VGG17")
    require_name("vgg16")
