"""Layers are chosen by path, call, index, kind, glob, word or function."""

import pytest

import layerscope as ls
from helpers.layer_table import TABLE, layer
from helpers.wording import raises, wording
from layerscope.core.note import Note
from layerscope.core.receptive_field import SEVERAL_MAPS, WHOLE, Field, Line, unknown, window


def paths(choice):
    return [layer.path for layer in TABLE.choose(choice)]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("vgg16/block1_conv2", ["vgg16/block1_conv2"]),
        ("block1_conv2", ["vgg16/block1_conv2"]),
        ("mobilenetv2_1.00_224/Conv1", ["mobilenetv2_1.00_224/Conv1"]),
        ("Conv1", ["mobilenetv2_1.00_224/Conv1"]),
        ("0", ["features.0"]),
        ("getitem_6", ["features.0"]),
        ("block1_*", ["vgg16/block1_conv1", "vgg16/block1_conv2", "vgg16/block1_pool"]),
        ("vgg16/*_conv?", ["vgg16/block1_conv1", "vgg16/block1_conv2"]),
        ("kind:MaxPooling2D", ["vgg16/block1_pool"]),
        ("kind:Conv2D+relu", ["vgg16/block1_conv1", "vgg16/block1_conv2"]),
        ("last", ["features.10"]),
        ("stages", ["vgg16/block1_conv2", "act/relu:0", "features.10"]),
        ("output", [""]),
        ("#1", ["vgg16/block1_conv2"]),
        ("1", ["vgg16/block1_conv2"]),
        ("-3", ["head/pool"]),
        ("kind:maxpooling2d", ["vgg16/block1_pool"]),
        ("kind:*pool*", ["vgg16/block1_pool", "head/pool"]),
        ("**/block1_conv1", ["vgg16/block1_conv1"]),
        (1, ["vgg16/block1_conv2"]),
        (-2, None),
        ("relu", ["act/relu:0", "act/relu:1"]),
        ("relu:1", ["act/relu:1"]),
        ("block1_conv2:0", ["vgg16/block1_conv2"]),
        (["last", "block1_conv1", "block1_conv1"], ["vgg16/block1_conv1", "features.10"]),
        (lambda layer: layer.channels == 10, ["logits_conv", ""]),
        (TABLE[2], ["vgg16/block1_pool"]),
    ],
)
def test_a_layer_is_found(choice, expected):
    if expected is None:
        assert len(TABLE.choose(choice)) == 1
    else:
        assert paths(choice) == expected


@pytest.mark.parametrize(
    ("choice", "error"),
    [
        ("block1_con2", ls.LayerNotFound),
        ("BLOCK1_CONV2", ls.LayerNotFound),
        ("relu:2", ls.LayerNotFound),
        ("act/relu:7", ls.LayerNotFound),
        ("kind:Dense", ls.LayerNotFound),
        ("zzz*", ls.LayerNotFound),
        (99, ls.LayerNotFound),
        ("#99", ls.LayerNotFound),
        (True, ls.LayerNotFound),
        ([], ls.LayerNotFound),
        (1.5, ls.LayerNotFound),
        ([1.5], ls.LayerNotFound),
        (lambda layer: False, ls.LayerNotFound),
        ("spare", ls.LayerNotCalled),
        ("spar*", ls.LayerNotCalled),
    ],
)
def test_a_choice_that_selects_nothing_is_refused(choice, error):
    with raises(error):
        TABLE.choose(choice)


def test_last_is_the_last_with_more_than_one_pixel():
    """MobileNetV3 ends in a 1 × 1 convolution, which is no map to look at."""
    assert paths("last") == ["features.10"]
    flat = ls.LayerTable([layer("a", 0, (1, 1, 1, 4)), layer("b", 1, (1, 4))])
    with raises(ls.LayerNotFound):
        flat.choose("last")


def test_a_shared_layer_that_runs_again_at_the_end_is_the_last():
    """EfficientNet calls one activation after the first convolution and after the last."""
    calls = tuple(layer(f"act:{call}", 0, (1, size, size, 4), step=step) for call, size, step in ((0, 8, 1), (1, 2, 3)))
    shared = layer("act", 0, (1, 8, 8, 4), calls=2, per_call=calls, step=1)
    table = ls.LayerTable([layer("stem", 1, step=0), shared, layer("head", 2, (1, 2, 2, 4), step=2)])
    assert table.choose("last")[0].path == "act:1"
    assert [layer.path for layer in table.choose("stages")] == ["act:0", "act:1"]
    assert [layer.path for layer in table.choose(["head", "act", "stem"])] == ["stem", "act:0", "head", "act:1"]


def test_padding_is_no_stage():
    table = ls.LayerTable(
        [
            layer("pad", 0, (1, 9, 9, 4), "ZeroPad2d"),
            layer("conv", 1, (1, 4, 4, 4)),
            layer("pad2", 2, (1, 5, 5, 4), "Pad"),
        ]
    )
    assert [layer.path for layer in table.choose("stages")] == ["conv"]


def test_the_way_up_again_has_stages_of_its_own():
    """A U-Net gives the last layer of each resolution on its way down, and again on its way up."""
    sizes = [16, 16, 8, 4, 4, 8, 16, 16]
    table = ls.LayerTable([layer(f"l{index}", index, (1, size, size, 4)) for index, size in enumerate(sizes)])
    assert [layer.path for layer in table.choose("stages")] == ["l1", "l2", "l4", "l5", "l7"]


def test_last_is_explained_with_the_alternatives():
    message = TABLE.explained("last")
    wording(message, "'features.10'", "4×4", "'logits_conv'", "'vgg16/block1_conv2'")


def test_last_mentions_one_pixel_only_for_layers_that_have_one():
    conv = ls.Layer("conv", "Conv", "bchw", (1, 2, 8, 8), 0, 1)
    weights = ls.Layer("attention_map", "AttentionMap", "bcqk", (1, 2, 4, 4), 1, 1)
    table = ls.LayerTable([conv, weights, ls.Layer("", "Model", "bchw", (1, 2, 8, 8), 2, 1)])
    assert table.explained("last") == "last is 'conv' (Conv, 8×8)"


def test_a_table_of_positions_is_no_picture_of_the_image():
    conv = ls.Layer("conv", "Conv", "bchw", (1, 2, 8, 8), 0, 1, receptive=(Field(), Field()))
    positions = ls.Layer("positions", "Resize", "bchw", (1, 2, 117, 768), 1, 1)
    tokens = ls.Layer("tokens", "Linear", "bnc", (1, 117, 8), 2, 1, receptive=(Field(), Field()))
    table = ls.LayerTable([conv, positions, tokens])
    assert table.choose("last") == table.choose("stages") == [conv]
    # Behind a detour through numpy nothing has a field any more, and yet all is made from the image.
    assert ls.LayerTable([conv, positions]).choose("last") == [positions]


@pytest.mark.parametrize(
    ("axes", "shape", "changes"),
    [
        ("bchw", (1, 1, 4, 2100), {"receptive": (unknown(Note(SEVERAL_MAPS, "")),) * 2, "lines": (None, None)}),
        ("bchw", (1, 1, 1, 1024), {"receptive": (WHOLE, WHOLE), "lines": (None, None)}),
        ("bhwc", (1, 4, 16, 8), {"receptive": (Field(), Field()), "lines": (None, None)}),
        ("bdnc", (1, 4, 16, 8), {"receptive": (Field(), Field())}),
    ],
    ids=["boxes of several maps", "a vector", "heads named h", "tokens of each head"],
)
def test_what_has_other_axes_than_the_image_is_no_picture_of_it(axes, shape, changes):
    lines = {"lines": (Line(0.5, 4.0), Line(0.5, 4.0)), "receptive": (window(Field(), 3, 4),) * 2}
    conv = ls.Layer("conv", "Conv", "bchw", (1, 2, 8, 8), 0, 1, **lines)
    table = ls.LayerTable([conv, ls.Layer("other", "Layer", axes, shape, 1, 1, **changes)])
    assert table.choose("last") == table.choose("stages") == [conv]


def test_a_decoder_behind_a_vector_has_pictures():
    conv = ls.Layer("conv", "Conv", "bchw", (1, 2, 8, 8), 0, 1, receptive=(Field(), Field()))
    decoder = ls.Layer("decoder", "Conv", "bchw", (1, 2, 16, 16), 1, 1, receptive=(WHOLE, WHOLE), lines=(None, None))
    assert ls.LayerTable([conv, decoder]).choose("last") == [decoder]


def test_arithmetic_in_front_of_a_network_is_no_stage():
    scaled = ls.Layer("scaled", "Rescaling", "bhwc", (1, 16, 16, 3), 0, 1, receptive=(Field(), Field()))
    conv = ls.Layer("conv", "Conv", "bhwc", (1, 8, 8, 4), 1, 1, receptive=(window(Field(), 3, 2),) * 2)
    assert ls.LayerTable([scaled, conv]).choose("stages") == [conv]
    assert ls.LayerTable([scaled]).choose("stages") == [scaled], "a network of nothing else"


def test_a_network_of_one_dimension_has_a_last_layer_and_stages():
    sizes = [30, 30, 13, 1]
    table = ls.LayerTable([ls.Layer(f"l{n}", "Conv1d", "bcn", (1, 8, size), n, 1) for n, size in enumerate(sizes)])
    assert [layer.path for layer in table.choose("last")] == ["l2"]
    assert [layer.path for layer in table.choose("stages")] == ["l1", "l2"]


def test_a_name_with_a_comma_is_refused_with_how_to_give_several():
    with raises(ls.LayerNotFound):
        TABLE.choose("block1_conv1,last")


def test_an_ambiguous_end_names_the_candidates():
    table = ls.LayerTable([layer("a/conv", 0), layer("b/conv", 1)])
    with raises(ls.LayerNotFound, "'a/conv'", "'b/conv'"):
        table.choose("conv")


def test_names_with_a_colon_of_their_own_win():
    table = ls.LayerTable([layer("conv/Relu:0", 0), layer("conv/Relu", 1)])
    assert [layer.path for layer in table.choose("conv/Relu:0")] == ["conv/Relu:0"]
    assert table.choose("conv/Relu:0")[0].index == 0


def test_a_container_does_not_hide_a_keyword():
    conv = ls.Layer("encoder.conv", "Conv", "bchw", (1, 2, 8, 8), 0, 1)
    table = ls.LayerTable([conv, ls.Layer("encoder.stages", "ModuleList", note="a container")])
    assert table.choose("stages") == [conv]
    table = ls.LayerTable([conv, ls.Layer("stages", "Sequential", "bchw", (1, 2, 4, 4), 1, 1)])
    assert [layer.path for layer in table.choose("stages")] == ["stages"]
    inner = ls.Layer("stages.0", "Conv", "bchw", (1, 2, 4, 4), 1, 1)
    table = ls.LayerTable([conv, inner, ls.Layer("stages", "Sequential", "bchw", (1, 2, 4, 4), 2, 1)])
    assert [layer.path for layer in table.choose("stages")] == ["encoder.conv", "stages"]
    conv = ls.Layer("stages.0", "Conv", "bchw", (1, 2, 8, 8), 0, 1)
    container = ls.Layer("stages", "Sequential", "bchw", (1, 2, 4, 4), 1, 1)
    table = ls.LayerTable([conv, container, ls.Layer("norm", "Norm", "bchw", (1, 2, 4, 4), 2, 1)])
    assert [layer.path for layer in table.choose("stages")] == ["stages.0", "norm"]
    assert table.choose(container) == table.choose("#1") == [container], "a layer itself is never a word"


def test_what_was_chosen_once_is_kept_and_a_caller_may_change_his_list():
    table = ls.LayerTable([ls.Layer("a", "Conv", "bc", (1, 2), calls=1), ls.Layer("b", "Conv", "bc", (1, 2), calls=1)])
    for words in ("kind:Conv", ["b", "a"], ("a", "b")):
        first = table.choose(words)
        assert [layer.path for layer in first] == ["a", "b"]
        first.clear()
        assert [layer.path for layer in table.choose(words)] == ["a", "b"]
    assert [layer.path for layer in table.choose("b")] == ["b"]
    with raises(ls.LayerNotFound):
        table.choose(["a", "missing"])


def test_an_unknown_layer_is_a_key_error_whose_message_has_no_quotes():
    with pytest.raises(KeyError) as caught:
        TABLE.choose("nowhere")
    assert isinstance(caught.value, ls.LayerscopeError | LookupError)
    assert str(caught.value) == caught.value.args[0]


class Identity:
    """Stands for a layer of a framework, which can be called too and returns what it gets."""

    def __call__(self, layer):
        return layer


class Dense(Identity):
    """Takes tensors alone."""

    def __call__(self, layer):
        raise TypeError(f"not a tensor: {layer}")


@pytest.mark.parametrize(
    "choice", [Identity(), Dense(), lambda layer: layer.path + layer.index], ids=["identity", "dense", "function"]
)
def test_what_is_no_condition_is_said(choice):
    with raises(ls.LayerNotFound):
        TABLE.choose(choice)
