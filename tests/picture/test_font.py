"""What is written on a sheet is written whole, and never over a tile: read back from the pixels, letter by letter."""

import itertools
import sys
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFont

import layerscope as ls
from helpers.wording import raises
from layerscope.core.note import kind_of
from layerscope.inputs.preprocess import Recipe
from layerscope.picture.canvas import Frame
from layerscope.picture.codes import CONSTANT, GAP, INK, INK_MIDDLE, INKS, STRENGTHS
from layerscope.picture.font import LARGE, MEDIUM, SMALL, Font, font, font_file, wrap
from layerscope.picture.numbers import number, rounded
from layerscope.picture.palette import MARKS
from layerscope.safe_text import escape, printable
from layerscope.testing import TinyBackend, tiny_model


def assert_is_written(codes, line):
    """A line of text stands in the picture in whole letters, at the place that its record names."""
    letters = font(line.size, line.bold).line(line.text, line.ink)
    box = codes[line.y : line.y + letters.shape[0], line.x : line.x + letters.shape[1]]
    assert np.array_equal(np.where(box == CONSTANT, GAP, box), letters), line


def assert_caption_is_whole(picture):
    """Title, subject and notes stand there with all their words, from the left margin on, one line below the other."""
    codes = picture.pixels if picture.indexed else picture.frame
    lines = [*picture.drawing.heading.texts(), *picture.drawing.foot.texts()]
    for line in lines:
        assert_is_written(codes, line)
    rows = sorted({(line.y, line.y + font(line.size, line.bold).height) for line in lines})
    assert all(above[1] <= below[0] for above, below in itertools.pairwise(rows))
    written = "".join(line.text for line in lines).replace(" ", "").replace("·", "")
    key = picture.drawing.foot.key
    # The key of colours stands for the note on ranges of their own.
    notes = [line for line in picture.lines if not (key and kind_of(line) == "scale")]
    notes += [key.before, key.after] if key else []
    expected = "".join((picture.title, *notes)).replace(" ", "").replace("·", "")
    assert sorted(written) == sorted(expected + "".join(legend_of(picture)))


def legend_of(picture):
    return [MARKS[mark][0].replace(" ", "") for row in picture.drawing.foot.marks for _, mark in row]


def assert_no_ink_in_tiles(picture):
    for cell in picture.cells:
        box = picture.pixels[cell.y : cell.y + cell.height, cell.x : cell.x + cell.width]
        if not (cell.low == cell.high and (box == CONSTANT).any()):  # these have a word on them
            assert not np.isin(box, INKS).any(), cell


def assert_numbers_are_whole(picture):
    """Above each tile, on one line or on two, stands its number in whole letters, and what stands beside it touches it not."""
    of_tiles = [line for line in picture.texts if line.tile >= 0]
    boxes = [(line.x, line.y, line.x + font(line.size, line.bold).width(line.text), line.tile) for line in of_tiles]
    for line in of_tiles:
        assert_is_written(picture.pixels, line)
    numbers = {line.tile: line.text for line in of_tiles if line.bold}
    assert numbers == {tile: str(cell.channel) for tile, cell in enumerate(picture.cells)}
    for (_, y, right, tile), (left, below, _, other) in itertools.pairwise(
        sorted(boxes, key=lambda box: (box[1], box[0]))
    ):
        assert y != below or right < left, (tile, other)


def test_what_no_face_has_is_written_as_an_escape():
    letters = font(SMALL)
    for sign in ("\x85", "\n", "\0", "\u200b", "\ud800", "😀", "漢", "\u0301"):
        assert np.array_equal(letters.line(sign), letters.line(escape(sign))), repr(sign)
        assert (letters.shown(f"a{sign}"), letters.is_plain(f"a{sign}")) == (f"a{escape(sign)}", False)
    for sign in "Wäß×·…−±≤≥∞°µ→αжễ":
        assert letters.shown(sign) == sign and letters.is_plain(sign)
    for sign in "אبა⣿":  # of the face behind
        assert letters.shown(sign) == sign and not letters.is_plain(sign)
    fm = ls.FeatureMap(
        np.ones((1, 4, 4, 1), np.float32), ls.Layer("a\nb", "k\x85", "bhwc", (), 0, 1), ("c\0.png",), (0,)
    )
    picture = ls.sheet(fm)
    assert next(picture.drawing.heading.texts()).text == printable(f"{fm.layer.path} · 1 channel of 4 × 4")
    assert_caption_is_whole(picture)


@pytest.mark.parametrize("bold", [False, True])
@pytest.mark.parametrize("size", [SMALL, MEDIUM, LARGE, 37])
def test_letters_are_those_of_the_file_and_figures_are_as_wide_as_each_other(size, bold):
    letters = font(size, bold)
    face = ImageFont.truetype(str(font_file("bold" if bold else "regular")), size, layout_engine=ImageFont.Layout.BASIC)
    for ink, known in ((INK, INKS), (INK_MIDDLE, INKS[:5])):
        shares = dict(
            zip((GAP, *known), (0, *(strength / STRENGTHS[len(known) - 1] for strength in STRENGTHS)), strict=False)
        )
        for sign in "agjMß8%…−Ж":
            image = Image.new("L", (3 * size, letters.height))
            ImageDraw.Draw(image).text((size, letters.ascent), sign, fill=255, font=face, anchor="ls")
            ours = np.vectorize(shares.get, otypes=[float])(letters.line(sign, ink))
            theirs = np.asarray(image) / 255
            offset = next(
                shift
                for shift in range(size // 2, 3 * size)
                if np.abs(theirs[:, shift : shift + ours.shape[1]] - ours).max() < 0.16
            )
            left_over = np.delete(theirs, np.s_[offset : offset + ours.shape[1]], 1)
            assert left_over.max(initial=0) < 0.1, "nothing is cut off"
    assert {letters.width(figure) for figure in "0123456789"} == {letters.width("0")}
    assert letters.width("iii") < letters.width("000") < letters.width("MMM"), "proportional"


def test_lines_are_cut_and_filled_to_pixels():
    letters = font(SMALL)
    lines = letters.lines(["abc", "", "a"], letters.width("ab"))
    assert np.array_equal(lines[0], letters.line("abc")[:, : letters.width("ab")])
    assert (lines[1] == GAP).all()
    assert letters.lines([]).shape == (0, letters.height, 0)


@given(st.text(max_size=60), st.integers(30, 300), st.integers(1, 3))
def test_text_is_broken_and_cut_to_the_pixels_there_are(text, pixels, lines):
    letters = font(SMALL)
    wrapped = letters.wrap(text, pixels)
    assert "".join(wrapped).replace(" ", "").replace("·", "") == text.replace(" ", "").replace("·", "")
    widest_sign = letters.widest([*text, ""])
    assert letters.widest(wrapped) <= max(pixels, widest_sign)
    cut = letters.cut_text(text, pixels, lines)
    assert len(cut) <= lines and letters.widest(cut) <= max(pixels, widest_sign)
    assert cut == wrapped if len(wrapped) <= lines else "…" in "".join(cut)


WORDS = st.text(st.characters(min_codepoint=33, max_codepoint=0x17F, exclude_characters="·\xad"), max_size=40)


@settings(deadline=None, max_examples=60)
@given(
    st.tuples(st.integers(2, 20), st.integers(1, 20)),
    st.sampled_from([(1, 1), (9, 1), (24, 1), (270, 1), (1, 2), (11, 2), (5, 3), (3, 4)]),
    st.sampled_from(["channel", "layer", (-1e-7, 12345.0)]),
    st.booleans(),
    st.lists(WORDS, min_size=1, max_size=6).map(" ".join),
    WORDS,
    st.sampled_from([0, 1e-30, 1, 1e9]),
    st.integers(0, 99),
)
def test_text_is_whole_and_lies_on_no_tile(size, many, scale, statistics, path, model, factor, seed):
    random = np.random.default_rng(seed)
    channels, text = many
    values = random.standard_normal((1, *size, channels)).astype(np.float32) * np.float32(factor)
    for bad in (0, np.nan, np.inf, 2.5):
        values[..., random.random(channels) < 0.1] = bad
    numbers = tuple((random.integers(1, 4) * np.arange(channels)).tolist())
    layer = ls.Layer(path, "Conv2D", "bhwc", (1, *size, channels), 0, 1)
    fm = ls.FeatureMap(values, layer, ("ü.jpg",), numbers, provenance={"model": model})
    picture = ls.sheet(fm, scale=scale, text=text, statistics=statistics)
    assert_no_ink_in_tiles(picture)
    assert_caption_is_whole(picture)
    assert_numbers_are_whole(picture)


@pytest.mark.parametrize("text", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [7, 30])
def test_ranges_and_figures_are_read_back(text, size):
    """Every number that stands on a tile is the number it should be, in letters that are drawn whole."""
    random = np.random.default_rng(text)
    values = random.standard_normal((1, size, size, 12)).astype(np.float32) * np.logspace(-9, 5, 12).astype(np.float32)
    values = np.maximum(values, 0)
    picture = ls.sheet(values, statistics=True, text=text)
    table = ls.statistics(values)
    written = defaultdict(list)
    for line in picture.texts:
        assert_is_written(picture.pixels, line)
        written[line.tile].append(line.text)
    for tile, cell in enumerate(picture.cells):
        assert f"mean {number(table['mean'][cell.channel])}" in written[tile]
        assert f"zeros {table['sparsity'][cell.channel]:.0%}" in written[tile]
        ranges = {f"{rounded(cell.low, digits)}…{rounded(cell.high, digits)}" for digits in (3, 2)}
        assert ranges & set(written[tile]) or "no-room" in map(kind_of, picture.notes), cell


@pytest.mark.parametrize("text", [1, 2, 3, 4])
def test_the_bar_and_the_whole_legend_are_read_back(text):
    values = np.linspace(-3, 17, 64, dtype=np.float32).reshape(1, 8, 8, 1)
    picture = ls.sheet(values, scale="layer", text=text)
    bar, cell = picture.bar, picture.cells[0]
    assert (bar.y, bar.height) == (cell.y, cell.height), "as tall as its map, and beside it"
    labels = picture.drawing.bar.labels
    for line in labels:
        assert_is_written(picture.pixels, line)
    assert {"−3", "17", "0", "5", "10", "15"} == {line.text for line in labels}
    tops = sorted(line.y for line in labels)
    assert min(np.diff(tops)) >= font(SMALL * text).height, "no label touches another"
    assert {"value"} == {line.text for line in picture.drawing.bar.beyond}
    canvas = Frame("t", "line", marks=MARKS, text=text).around(10, 10)
    names = {line.text: line for line in canvas.foot.texts()}
    for mark, (name, _) in MARKS.items():
        assert_is_written(canvas.codes, names[name])
        ys, xs = np.nonzero(canvas.codes == mark)
        assert (
            names[name].x > xs.max() and names[name].y < ys.min() < ys.max() < names[name].y + font(SMALL * text).height
        )
        # A line around it, since pale green on light paper and violet on dark are hardly seen.
        around = canvas.codes[ys.min() - text : ys.max() + text + 1, xs.min() - text : xs.max() + text + 1].copy()
        around[text:-text, text:-text] = INK_MIDDLE
        assert (around == INK_MIDDLE).all()


def test_larger_letters_make_larger_tiles_and_gaps():
    values = np.random.default_rng(0).random((1, 14, 14, 20)).astype(np.float32)
    small_text, three = ls.sheet(values), ls.sheet(values, text=3)
    assert three.cells[0].width == pytest.approx(3 * small_text.cells[0].width, rel=0.05)
    assert three.cells[1].x - three.cells[0].x - three.cells[0].width == 3 * 8
    assert np.array_equal(small_text.codes(small_text.cells[7]), three.codes(three.cells[7]))
    half = ls.sheet(values, sort="energy", text=1.5)
    assert {line.size for line in half.texts} == {18, 21, 30}
    for wrong in (0, 5, True, "2"):
        with raises(ls.BadOption, "1"):
            ls.sheet(values, text=wrong)


KINDS = {
    "heat map": lambda text: ls.heatmap(np.arange(12.0).reshape(3, 4), text=text),
    "colours": lambda text: ls.heatmap(ls.pca(np.random.default_rng(2).random((5, 5, 4))), text=text),
    "sequence": lambda text: ls.strip(np.arange(60.0).reshape(1, 20, 3), layout="bnc", axis="seconds", text=text),
    "dense": lambda text: ls.strip(np.arange(40.0)[None], layout="bc", text=text),
    "dense sheet": lambda text: ls.sheet(np.arange(40.0)[None], layout="bc", text=text),
    "bars": lambda text: ls.bars(np.array([0.1, -2, 12]), labels=["cat", "dog", "fox"], text=text),
    "slices": lambda text: ls.montage(np.arange(240.0).reshape(1, 5, 6, 8, 1), text=text),
}


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_picture_has_larger_letters(name):
    small_text, three = KINDS[name](1), KINDS[name](3)
    assert (small_text.text, three.text) == (1, 3)
    assert three.cells[0].width >= 2.9 * small_text.cells[0].width
    if three.indexed:
        assert_caption_is_whole(three)
        assert_no_ink_in_tiles(three)
        assert (
            np.array_equal(small_text.codes(small_text.cells[0])[0], three.codes(three.cells[0])[0]) or name == "bars"
        )
    # Lines may break in other places.
    words = [
        [word for line in picture.texts for word in line.text.split() if word != "·"] for picture in (small_text, three)
    ]
    assert words[0] == words[1]
    for line in three.texts:
        assert line.size in (3 * SMALL, 3 * MEDIUM, 3 * LARGE)
        assert_is_written(three.pixels if three.indexed else three.frame, line)
    with raises(ls.BadOption, "1"):
        KINDS[name](5)


def smallest_letters(picture):
    """In pixels of a screen that shows the picture 900 pixels wide, or smaller where it is."""
    return min(line.size for line in picture.texts) * min(1, 900 / picture.width)


@pytest.mark.parametrize(
    "draw",
    [
        lambda zoom: ls.sheet(np.random.default_rng(0).random((1, 16, 16, 12)), zoom=zoom, columns=4),
        lambda zoom: ls.sheet(
            np.random.default_rng(0).random((1, 16, 16, 12)), zoom=zoom, scale="layer", statistics=True
        ),
        lambda zoom: ls.heatmap(np.random.default_rng(0).random((16, 40)), zoom=zoom),
        lambda zoom: ls.montage(np.random.default_rng(0).random((1, 6, 16, 16, 1)), zoom=zoom),
        lambda zoom: ls.strip(np.random.default_rng(0).random((1, 100 * zoom, 3)), layout="bnc"),
        lambda zoom: ls.heatmap(ls.clusters(np.random.default_rng(0).random((1, 16, 16, 5)), 3), zoom=zoom),
    ],
)
def test_letters_can_be_read_at_the_width_of_a_page(draw):
    assert draw(2).text == 1, "as on a screen where the picture is small"
    for zoom in (17, 40):
        assert smallest_letters(draw(zoom)) >= 10
    wide = draw(40)
    assert wide.text > 1.2 or wide.width < 900
    assert wide.width < 500 + 1.2 * max(cell.x + cell.width for cell in wide.cells)


def test_a_caption_over_a_large_photo_can_be_read():
    scope = ls.open(tiny_model(), backend=TinyBackend(), preprocess=Recipe("unit", divide=255.0, size=(32, 32)))
    photo = np.zeros((1500, 3000, 3), np.uint8)
    fm = ls.mean(scope.capture(photo, "act:0")["act:0"])
    for draw in (ls.overlay, ls.beside):
        assert smallest_letters(draw(fm)) >= 10


def test_larger_letters_leave_a_photo_as_it_is():
    scope = ls.open(ls.demo_model())
    (fm,) = scope.capture(ls.demo_photo(), "_blocks.4._swish:1").values()
    for draw in (ls.overlay, ls.beside):
        small_text, three = draw(ls.mean(fm)), draw(ls.mean(fm), text=3)
        assert small_text.cells[0][2:4] == three.cells[0][2:4]
        boxes = [
            np.s_[cell.y : cell.y + cell.height, cell.x : cell.x + cell.width]
            for cell in (small_text.cells[-1], three.cells[-1])
        ]
        assert np.array_equal(small_text.rgb()[boxes[0]], three.rgb()[boxes[1]])
    assert ls.show(scope, ls.demo_photo(), "_blocks.4._swish:1", combine="mean", text=2).text == 2
    assert ls.show(scope, ls.demo_photo(), "output", text=2).text == 2
    assert ls.show(scope, ls.demo_photo(), "_blocks.4._swish:1", combine="mean", overlay=True, text=2).text == 2
    with raises(ls.BadOption, "1"):
        ls.overlay(ls.mean(fm), text=9)


def test_threads_that_draw_new_letters_at_once_get_the_letters_of_one():
    texts = [chr(first) * 4 + "abc" for first in range(0x400, 0x440)]
    expected = [Font(13).line(text) for text in texts]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(5):
            shared = Font(13)
            with ThreadPoolExecutor(8) as pool:
                lines = list(pool.map(shared.line, texts))
            assert all(np.array_equal(line, other) for line, other in zip(lines, expected, strict=True))
    finally:
        sys.setswitchinterval(interval)


def test_sizes_and_differences_stay_on_one_line():
    assert wrap("maps of 14 × 14 and 7 × 7", 11) == ["maps of", "14 × 14 and", "7 × 7"]
    assert wrap("norm of a − b and 5 (2.71)", 13) == ["norm of a − b", "and 5 (2.71)"]
    assert wrap("14 × 14", 4) == ["14 ×", "14"], "where there is no room for all of it"
