"""The key of colours that are components: which has which colour, and its share of the variance."""

import numpy as np
import pytest

import layerscope as ls
from helpers.arrays import noise
from layerscope.core.note import kind_of
from layerscope.picture.codes import OWN

COLORS = {"PC1": (255, 0, 0), "PC2": (0, 255, 0), "PC3": (0, 0, 255)}
KEYS = [f"{name} · " for name in COLORS]


@pytest.mark.parametrize("options", [{}, {"zoom": 1}, {"text": 3}, {"caption": False}], ids=str)
@pytest.mark.parametrize("theme", ["light", "dark", "transparent"])
def test_each_component_has_its_colour_and_share_beside_the_map(options, theme):
    values = noise(1, 6, 9, 8)
    picture = ls.heatmap(ls.pca(values), **options).themed(theme)
    (cell,), pixels = picture.cells, picture.rgb()
    shares = ls.pca_basis(values).variance
    lines = {line.text.partition(" · ")[0]: line for line in picture.texts if line.text[:6] in KEYS}
    assert list(lines) == list(COLORS)
    for (name, line), share in zip(lines.items(), shares, strict=True):
        assert line.text == f"{name} · {share:.0%}"
        (box,) = (box for box in picture.drawing.patches() if box.color == COLORS[name])
        assert cell.x + cell.width < box.x and box.x + box.width < line.x
        assert box.y < line.y + line.size / 2 < box.y + box.height
        assert (pixels[box.y : box.y + box.height, box.x : box.x + box.width] == COLORS[name]).all()
        assert (picture.frame[box.y : box.y + box.height, box.x : box.x + box.width] == OWN).all()
    assert picture.svg().count('fill="#ff0000"') == 1


def test_without_a_bar_there_is_no_key():
    picture = ls.heatmap(ls.pca(noise(1, 6, 9, 8)), bar=False, caption=False)
    assert not picture.texts
    assert picture.pixels.shape[:2] == (picture.cells[0].height, picture.cells[0].width)


@pytest.mark.parametrize("bar", [True, False])
def test_the_shares_stand_in_the_key_or_in_a_note(bar):
    picture = ls.heatmap(ls.pca(noise(1, 6, 9, 8)), bar=bar)
    written = " ".join(line.text for line in picture.texts)
    assert written.count("PC1") == 1
    assert ("share of variance" in written) == bar
    assert any(kind_of(line) == "variance" for line in picture.lines), "the file has them in words"


def test_a_given_basis_has_its_own_shares():
    basis = ls.pca_basis(noise(1, 6, 9, 8))
    picture = ls.heatmap(ls.pca(noise(1, 6, 9, 8, seed=1), basis=basis))
    assert f"PC1 · {basis.variance[0]:.0%}" in [line.text for line in picture.texts]
    np.testing.assert_allclose(picture.provenance["variance"], basis.variance)
