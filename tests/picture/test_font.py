"""What is written on a sheet is written whole, and never over a tile: read back from the pixels, letter by letter."""

import sys
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import layerscope as ls
from helpers.wording import raises
from layerscope.core.note import kind_of
from layerscope.picture.canvas import Frame
from layerscope.picture.codes import GAP, INK, INK_LIGHT, INK_MIDDLE
from layerscope.picture.font import LARGE, SMALL, Font, font, wrap
from layerscope.picture.heading import MARGIN
from layerscope.picture.numbers import number
from layerscope.picture.palette import MARKS
from layerscope.safe_text import printable

STRENGTHS = np.full(256, 9, np.uint8)
STRENGTHS[[GAP, INK_LIGHT, INK_MIDDLE, INK]] = 0, 1, 2, 3


@lru_cache
def alphabet(size, muted):
    """The font's letters by their pixels, in full ink or muted."""
    # The commonest wins where two signs look alike.
    signs = [*filter(str.isprintable, map(chr, range(0x17F, 160, -1))), *map(chr, range(33, 127)), *"×·…− "]
    strengths = np.minimum(font(size).lines(signs, 1), 2 if muted else 3)
    return {box.tobytes(): sign for box, sign in zip(strengths, signs, strict=True)}


def read(codes, x, y, size, length, muted=False):
    """`length` letters of the picture from an offset on; `�` for what isn't a whole letter."""
    letters, known = font(size), alphabet(size, muted)
    boxes = (
        codes[y : y + letters.height, left : left + letters.width]
        for left in range(x, x + length * letters.width, letters.width)
    )
    return "".join(known.get(np.ascontiguousarray(STRENGTHS[box]).tobytes(), "�") for box in boxes)


def same_letters(text, size, muted=False):
    """`text` as it reads where two signs look alike."""
    letters, known = font(size), alphabet(size, muted)
    return "".join(known.get(np.minimum(letters.line(sign), 2 if muted else 3).tobytes(), "�") for sign in text)


def assert_caption_is_whole(picture, text):
    large, small, margin = LARGE * text, SMALL * text, MARGIN * text
    width, y = picture.width - 2 * margin, margin
    for line in wrap(picture.title, width // font(large).width):
        assert read(picture.pixels, margin, y, large, len(line)) == same_letters(line, large)
        y += font(large).height + text
    y += 2 * text
    for line in (part for entry in picture.lines for part in wrap(entry, width // font(small).width)):
        assert read(picture.pixels, margin, y, small, len(line)) == same_letters(line, small)
        y += font(small).height + 2 * text


def assert_no_ink_in_tiles(picture):
    for cell in picture.cells:
        box = picture.pixels[cell.y : cell.y + cell.height, cell.x : cell.x + cell.width]
        assert (STRENGTHS[box] == 9).all(), cell


def assert_numbers_are_whole(picture, text):
    """Above each tile, on one line or on two, stands its number, and after it nothing or a whole range."""
    small = SMALL * text
    letters = font(small)
    for cell in picture.cells:
        written = str(cell.channel)
        first = [read(picture.pixels, cell.x, cell.y - lines * letters.height, small, len(written)) for lines in (1, 2)]
        assert written in first, cell


def test_signs_that_cant_be_printed_are_drawn_as_question_marks_and_in_names_as_escapes():
    letters = font(SMALL)
    for sign in ("\x85", "\n", "\0", "\u200b", "\ud800", "😀"):
        assert np.array_equal(letters.line(sign), letters.line("?")), repr(sign)
    fm = ls.FeatureMap(
        np.ones((1, 4, 4, 1), np.float32), ls.Layer("a\nb", "k\x85", "bhwc", (), 0, 1), ("c\0.png",), (0,)
    )
    title = printable(f"{fm.layer.path} · {fm.layer.kind}")
    assert read(ls.sheet(fm).pixels, MARGIN, MARGIN, LARGE, len(title)) == title


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
    assert_caption_is_whole(picture, text)
    assert_numbers_are_whole(picture, text)


@pytest.mark.parametrize("text", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [7, 30])
def test_ranges_and_figures_are_read_back(text, size):
    """Every number that stands on a tile is the number it should be, in letters that are drawn whole."""
    random = np.random.default_rng(text)
    values = random.standard_normal((1, size, size, 12)).astype(np.float32) * np.logspace(-9, 5, 12).astype(np.float32)
    values = np.maximum(values, 0)
    picture = ls.sheet(values, statistics=True, text=text)
    table, letters, small = ls.statistics(values), font(SMALL * text), SMALL * text
    for cell in picture.cells:
        mean = f"mean {number(table['mean'][cell.channel])}"
        share = f"zeros {table['sparsity'][cell.channel]:.0%}"
        below = cell.y + cell.height
        assert read(picture.pixels, cell.x, below, small, len(mean), muted=True) == mean
        assert read(picture.pixels, cell.x, below + letters.height, small, len(share), muted=True) == share
        ranges = [f"{number(cell.low, digits)}…{number(cell.high, digits)}" for digits in (3, 2)]
        ranges_read = set()
        for words in ranges:
            right = cell.x + cell.width - len(words) * letters.width
            ranges_read |= {
                read(picture.pixels, left, cell.y - letters.height, small, len(words), True) for left in (right, cell.x)
            }
        assert ranges_read & set(ranges) or "no-room" in map(kind_of, picture.notes), cell


@pytest.mark.parametrize("text", [1, 2, 3, 4])
def test_the_bar_and_the_whole_legend_are_read_back(text):
    values = np.linspace(-3, 17, 64, dtype=np.float32).reshape(1, 8, 8, 1)
    picture = ls.sheet(values, scale="layer", text=text)
    bar, small = picture.bar, SMALL * text
    column = bar.x + bar.width + 6 * text
    labels = {
        read(picture.pixels, column, y, small, 2).strip()
        for y in range(bar.y, bar.y + bar.height - font(small).height + 1)
    }
    assert {"−3", "17", "0", "5", "10", "15"} <= labels
    canvas = Frame("t", ["line"], marks=MARKS, text=text).around(10, 10)
    for mark, (name, _) in MARKS.items():
        ys, xs = np.nonzero(canvas.codes == mark)
        x, y = xs.min() - text + font(small).height, ys.min() - 3 * text
        assert read(canvas.codes, x, y, small, len(name)) == same_letters(name, small)
        # A line around it, since pale green on light paper and brown on dark are hardly seen.
        around = canvas.codes[ys.min() - text : ys.max() + text + 1, xs.min() - text : xs.max() + text + 1].copy()
        around[text:-text, text:-text] = INK_MIDDLE
        assert (around == INK_MIDDLE).all()


def test_larger_letters_make_larger_tiles_and_gaps():
    values = np.random.default_rng(0).random((1, 14, 14, 20)).astype(np.float32)
    small_text, three = ls.sheet(values), ls.sheet(values, text=3)
    assert three.cells[0].width == pytest.approx(3 * small_text.cells[0].width, rel=0.05)
    assert three.cells[1].x - three.cells[0].x - three.cells[0].width == 3 * 8
    assert np.array_equal(small_text.codes(small_text.cells[7]), three.codes(three.cells[7]))
    for wrong in (0, 5, 1.5, True, "2"):
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
        assert_caption_is_whole(three, 3)
        assert_no_ink_in_tiles(three)
        assert (
            np.array_equal(small_text.codes(small_text.cells[0])[0], three.codes(three.cells[0])[0]) or name == "bars"
        )
    # Lines may break in other places.
    words = [
        [word for line in picture.texts for word in line.text.split() if word != "·"] for picture in (small_text, three)
    ]
    assert words[0] == words[1]
    for x, y, words, size, ink, _ in three.texts:
        assert size in (3 * SMALL, 3 * LARGE)
        muted = ink == INK_MIDDLE
        codes = three.pixels if three.indexed else three.frame
        assert read(codes, x, y, size, len(words), muted) == same_letters(words, size, muted)
    with raises(ls.BadOption, "1"):
        KINDS[name](5)


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
