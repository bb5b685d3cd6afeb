"""Bars: as long as their values, in their order, with their labels."""

import numpy as np
import pytest

import layerscope as ls
from helpers.arrays import map_of, noise
from helpers.wording import raises, wording
from layerscope.picture.codes import ABOVE, NAN, TOP
from layerscope.picture.font import small


def dense(values, names=()):
    fm = ls.FeatureMap.of_array(np.asarray(values, np.float32))
    return fm if not names else ls.FeatureMap(fm.values, fm.layer, fm.ids, fm.channels, names=tuple(names))


def test_bars_are_in_the_order_of_their_rank_and_as_long_as_their_values():
    values = noise(200)
    picture = ls.bars(values, top=12)
    order = np.sort(values)[::-1][:12]
    assert [cell.channel for cell in picture.cells] == np.argsort(-values)[:12].tolist()
    lengths = np.array([cell.width for cell in picture.cells])
    np.testing.assert_allclose(lengths, order / order[0] * lengths[0], atol=1.01)
    assert len({cell.x for cell in picture.cells}) == 1, "all begin at 0"
    for cell, value in zip(picture.cells, order, strict=True):
        np.testing.assert_allclose(picture.decode(cell), value, atol=order[0] / TOP)
        assert float(cell.note) == pytest.approx(value, rel=5e-3)


def test_bars_of_both_signs_begin_at_the_same_zero():
    picture = ls.bars([3.0, -1.0, 0.5, -3.0], by="magnitude")
    right = {cell.channel: cell for cell in picture.cells}
    zero = right[0].x
    assert [cell.channel for cell in picture.cells] == [0, 3, 1, 2]
    assert right[2].x == zero
    for channel in (1, 3):
        left = right[channel]
        assert left.x + left.width - 1 == zero
    assert right[3].width == right[0].width == pytest.approx(3 * right[1].width, abs=3)
    assert picture.scale.center == 0


def test_bars_of_several_images_may_share_their_scale():
    fm = ls.FeatureMap.of_array(np.array([[1.0, 2.0], [8.0, 4.0]], np.float32), "bc")
    first, second = ls.bars(fm, scale="images"), ls.bars(fm, image=1, scale="images")
    widths = {(cell.image, cell.channel): cell.width for picture in (first, second) for cell in picture.cells}
    assert widths[1, 0] == pytest.approx(4 * widths[0, 1], abs=4)
    assert first.scale.limits == second.scale.limits == (0, 8)
    assert ls.bars(fm).cells[0].width == widths[1, 0], "by itself a picture is filled"


def test_negative_bars_end_at_zero():
    picture = ls.bars([-1.0, -4.0])
    assert {cell.x + cell.width for cell in picture.cells} == {picture.cells[0].x + picture.cells[0].width}
    assert picture.cells[1].width > 3 * picture.cells[0].width


def test_bars_say_what_the_numbers_are_and_change_none():
    names = [f"class {index}" for index in range(4)]
    shares = np.array([0.1, 0.6, 0.25, 0.05])
    wording(ls.bars(dense(shares, names)).alt(), "1", "4")
    logits = ls.bars(dense([4.0, -2.0, 1.0, 0.5], names))
    wording(logits.alt(), "3.5")
    assert [cell.note for cell in logits.cells] == ["class 0: 4", "class 2: 1", "class 3: 0.5", "class 1: −2"]
    # Of some channels alone nobody can tell.
    wording(ls.bars(dense(shares, names).select([1, 2])).lines)


def test_bars_of_special_values():
    picture = ls.bars([1.0, np.nan, np.inf, -np.inf, 5.0], scale=(0, 2))
    assert [cell.channel for cell in picture.cells] == [2, 4, 0, 3, 1], "NaN ranks last"
    codes = {cell.channel: set(picture.codes(cell).ravel().tolist()) for cell in picture.cells}
    assert codes[1] == {NAN}
    assert codes[4] == {ABOVE}
    wording(picture.lines, "1 NaN", "1 +inf", "1 −inf")
    wording(ls.bars(np.zeros(5)).alt(), "0")


def test_values_that_differ_read_differently():
    assert [cell.note for cell in ls.bars([1.00012, 1.00034, 0.2]).cells] == ["1.0003", "1.0001", "0.2"]


def test_labels_are_those_of_the_channels_also_when_some_are_chosen():
    labels = ["a", "b", "c", "d"]
    picture = ls.bars([1.0, 2.0, 3.0, 4.0], labels=labels, channels=[0, 2])
    assert [cell.note for cell in picture.cells] == ["c: 3", "a: 1"]
    with raises(ls.BadOption, "3", "4"):
        ls.bars([1.0, 2.0, 3.0, 4.0], labels=labels[:3])
    with raises(ls.BadOption):
        ls.bars([1.0, 2.0], labels="ab")


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"by": "size"}, ls.BadOption),
        ({"top": 0}, ls.BadOption),
        ({"top": True}, ls.BadOption),
        ({"image": 3}, ls.BadOption),
        ({"scale": "chanel"}, ls.BadScale),
        ({"channels": [9]}, ls.BadChannels),
    ],
)
def test_bars_refuse(options, error):
    with raises(error):
        ls.bars(map_of(0), **options)


def test_the_models_output_becomes_bars_with_its_labels_and_a_strip_on_request(tmp_path):
    scope = ls.open(ls.demo_model())
    (output,) = scope.capture(ls.demo_photo(), "output").values()
    assert output.names == scope.labels
    picture = ls.show(scope, ls.demo_photo(), "output")
    top = scope.predict(ls.demo_photo(), 10)[0]
    assert [cell.channel for cell in picture.cells] == [prediction.index for prediction in top]
    assert [cell.note.partition(":")[0] for cell in picture.cells] == [prediction.label for prediction in top]
    assert len(ls.strip(output).cells) == 1000
    # Names go with their channels, into a file and back, and not into what is made of them.
    assert output.select([281, 7]).names == (scope.labels[281], scope.labels[7])
    assert ls.load(output.save(tmp_path / "o.npz")).names == scope.labels
    assert not ls.mean(output).names
    (few,) = scope.capture(ls.demo_photo(), "output", channels=[281, 7]).values()
    assert few.names == (scope.labels[281], scope.labels[7])
    # Another layer with a thousand channels would be no classes.
    assert not scope.capture(ls.demo_photo(), "_conv_stem")["_conv_stem"].names


def test_the_command_line_draws_bars_of_the_output(tmp_path):
    from PIL import Image

    from layerscope.cli import main

    assert main(["show", "demo", str(ls.demo_photo()), "-l", "output", "-o", str(tmp_path / "o.png")]) == 0
    with Image.open(tmp_path / "o.png") as image:
        wording(image.info["Description"], "10", "1,000")


def test_ranks_are_as_wide_as_each_other_so_that_names_start_at_one_place():
    few, many = (
        [text.text for text in ls.bars(noise(200), top=top).texts if " channel " in text.text] for top in (9, 12)
    )
    assert [text.partition(" ")[0] for text in few] == [f"{rank}" for rank in range(1, 10)]
    padded = [text.partition(" ")[0] for text in many]
    assert padded == [f"\N{FIGURE SPACE}{rank}" for rank in range(1, 10)] + ["10", "11", "12"]
    assert len({small(1).width(rank) for rank in padded}) == 1


@pytest.mark.parametrize("of_the_model", [True, False])
def test_the_numbers_of_named_channels_stand_below_what_they_are(of_the_model):
    names = [f"name {index % 2}" for index in range(40)]
    fm = dense(np.arange(40) / 64, names if of_the_model else ())
    picture = ls.bars(fm, top=3, labels=None if of_the_model else names)
    lines = {text.text: text for text in picture.texts}
    column = [lines[text] for text in ("class" if of_the_model else "channel", "39", "38", "37")]
    assert len({text.x + small(1).width(text.text) for text in column}) == 1
    assert [text.y for text in column] == sorted(text.y for text in column)
    assert all(f"{rank}  name {rank % 2}" in lines for rank in (1, 2, 3))


def test_a_bar_has_the_colour_of_its_sign_unless_others_are_asked_for():
    def colors(values, **options):
        picture = ls.bars(values, by="index", **options)
        boxes = [(cell.y + cell.height // 2, cell.x + cell.width // 2) for cell in picture.cells]
        return [tuple(picture.rgb()[box].tolist()) for box in boxes]

    assert len(set(colors([1.0, 2.0, 9.0]))) == 1
    first, second, third, fourth = colors([1.0, -1.0, 5.0, -5.0])
    assert first == third != second == fourth
    assert len(set(colors([1.0, 2.0, 9.0], colors="magma"))) == 3
    assert len(set(colors([1.0, 2.0, 9.0], scale=ls.Scale((0, 9))))) == 1


def test_an_array_of_one_row_is_told_how_it_becomes_channels():
    with raises(ls.BadLayout, "layout='bc'", "1 × 12"):
        ls.bars(noise(1, 12))
    assert len(ls.bars(noise(1, 12), layout="bc").cells) == 10


def test_the_points_of_the_values_stand_below_each_other():
    picture = ls.bars(np.array([9.25, 3.1592, 3.1571, 3.0, -12.5]))
    values = ("9.250", "3.159", "3.157", "3.000", "−12.500")
    printed = [text for text in picture.texts if text.text in values]
    assert len(printed) == 5 and len({text.x + small(1).width(text.text) for text in printed}) == 1
    assert "2" in [text.text for text in ls.bars(np.array([1e-6, 2.0])).texts], "too many decimals"
