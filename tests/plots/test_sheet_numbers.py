"""How tiles are numbered: at each of them, or by row and column, in letters that can be read at the width of a page."""

import numpy as np
import pytest

import layerscope as ls
from helpers.arrays import noise
from helpers.wording import warns, wording
from layerscope.picture.font import font

PAGE, LEGIBLE = 900, 10


def least_letters(picture):
    """The size in pixels of the smallest letters where the picture is shown at most 900 pixels wide."""
    bar = picture.drawing.bar.labels if picture.drawing.bar else ()
    return min(line.size for line in (*picture.texts, *bar)) * min(1, PAGE / picture.width)


@pytest.mark.parametrize("options", [{}, {"sort": "mean"}, {"scale": "layer"}, {"statistics": True}], ids=str)
@pytest.mark.parametrize("size", [(7, 7), (28, 17), (4, 7), (56, 56)], ids=str)
@pytest.mark.parametrize("channels", [3, 96, 512, 1280, 2048])
def test_no_letter_is_too_small_at_the_width_of_a_page(channels, size, options):
    assert least_letters(ls.sheet(noise(1, *size, channels), layout="bhwc", **options)) >= LEGIBLE


@pytest.mark.parametrize(
    ("channels", "size"), [(2048, (7, 7)), (1280, (14, 8)), (200, (100, 3)), (1031, (7, 7))], ids=str
)
def test_row_and_column_give_the_number_of_a_tile(channels, size):
    picture = ls.sheet(noise(1, *size, channels), layout="bhwc")
    first, *_ = cells = picture.cells
    assert [cell.channel for cell in cells] == list(range(channels))
    columns = [line for line in picture.texts if line.text[:1] == "+" and line.text[1:].isdigit()]
    rows = [line for line in picture.texts if line.text.isdigit() and line.x < first.x]
    assert columns[0].text == "+0" and rows[0].text == "0"
    for line in columns:
        middle = line.x + font(line.size).width(line.text) / 2
        nearest = min(cells, key=lambda cell: (abs(cell.x + cell.width / 2 - middle), cell.y))
        assert nearest.channel == int(line.text) and line.y + font(line.size).height <= nearest.y
    for line in rows:
        middle = line.y + font(line.size).height / 2
        nearest = min(cells, key=lambda cell: (abs(cell.y + cell.height / 2 - middle), cell.x))
        assert nearest.channel == int(line.text)
        assert line.x + font(line.size).width(line.text) < first.x
    wording(picture.alt())


def test_chosen_channels_in_a_row_are_numbered_from_their_first():
    picture = ls.sheet(noise(1, 7, 7, 2048), channels=slice(700, 2000))
    rows = [line.text for line in picture.texts if line.text.isdigit() and line.x < picture.cells[0].x]
    assert rows[0] == "700" and picture.pages == 1


@pytest.mark.parametrize("options", [{"sort": "max"}, {"channels": range(0, 2048, 2)}, {"statistics": True}], ids=str)
def test_tiles_in_another_order_are_numbered_on_several_pages(options):
    pages = list(ls.pages(noise(1, 7, 7, 2048), **options))
    assert len(pages) > 1
    for page in pages:
        numbers = [line.text for line in page.texts if line.tile >= 0 and line.bold]
        assert numbers == [str(cell.channel) for cell in page.cells]


@pytest.mark.filterwarnings("ignore:columns=64 makes letters:layerscope.LayerscopeWarning")
@pytest.mark.parametrize("options", [{"text": 1}, {"sort": "max", "columns": 64}, {"sort": "max", "per_page": 2048}])
def test_what_is_asked_for_comes_before_letters_that_can_be_read(options):
    picture = ls.sheet(noise(1, 7, 7, 2048), **options)
    assert picture.pages == 1
    assert sum(line.tile >= 0 and line.bold for line in picture.texts) == 2048


@pytest.mark.parametrize("options", [{"columns": 20, "statistics": True}, {"columns": 40, "sort": "mean"}], ids=str)
def test_columns_too_many_for_letters_that_can_be_read_are_warned_of(options):
    with warns(ls.LayerscopeWarning, f"columns={options['columns']}"):
        picture = ls.sheet(noise(1, 7, 7, 300), **options)
    assert min(line.size for line in picture.texts if line.tile >= 0) * 900 / picture.width < 10


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("columns", [20, 40, 64])
def test_columns_of_a_sheet_in_order_are_numbered_where_tiles_can_not_be(columns):
    picture = ls.sheet(noise(1, 7, 7, 2048), columns=columns)
    assert min(line.size for line in picture.texts) * 900 / max(900, picture.width) >= 9.5
    assert any(line.tile >= 0 for line in picture.texts) == (columns == 20)


def test_no_ink_lies_on_tiles_without_numbers():
    values = noise(1, 7, 7, 2048)
    picture = ls.sheet(values, theme="dark")
    for cell in picture.cells[::97]:
        np.testing.assert_allclose(
            picture.decode(cell), values[0, ..., cell.channel], atol=(cell.high - cell.low) / 400
        )


def test_every_tile_has_a_range_where_the_others_have_one():
    values = noise(1, 28, 28, 240)
    values[..., 20] = values[..., 20] * 0.1 + 1.734
    values[..., 31] = values[..., 31] * 3 - 13.3
    values[..., 40] *= 1e-5
    picture = ls.sheet(values)
    ranges = {text.tile: text.text for text in picture.texts if text.tile >= 0 and set("…±") & set(text.text)}
    assert set(ranges) >= set(range(240))


def test_words_stand_beside_their_own_number():
    values = noise(1, 40, 40, 8)
    values[..., 2], values[..., 5] = 0, 0.0123
    picture = ls.sheet(values, scale="layer")
    number, word = sorted((text for text in picture.texts if text.tile == 2), key=lambda text: text.x)
    assert (number.text, word.text) == ("2", "dead") and word.x - number.x < 30
    assert [text.text for text in picture.texts if text.tile == 5][1] == "all 0.0123"
    assert all(text.x < picture.cells[text.tile].x + 40 for text in picture.texts if text.tile >= 0)
