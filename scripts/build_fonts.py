"""Build the fonts of the pictures: subsets of Inter and of DejaVu Sans, without what pictures don't use.

    pip install fonttools brotli matplotlib
    npm pack inter-ui && tar xzf inter-ui-*.tgz
    python scripts/build_fonts.py package         # writes src/layerscope/assets/fonts/

The same files give the same bytes. What is decided here, and why:

- Inter (Regular, SemiBold) has Latin, Greek, Cyrillic and the signs of mathematics. Its tabular figures take the place of the
  proportional ones, so that columns of numbers stand still.
- DejaVu Sans (as in matplotlib) is there for the other scripts that it has, without what Inter has.
- `layerscope.picture.font` places letters one by one, so there are no ligatures, no kerning, no hints and no marks without a
  width.
- The glyph of what is missing has no width: by that `layerscope.picture.font` tells that a face lacks a character.
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib
from fontTools.subset import Options, Subsetter
from fontTools.ttLib import TTFont

FONTS = Path(__file__).resolve().parent.parent / "src" / "layerscope" / "assets" / "fonts"
INTER = {"Inter-Regular.ttf": "Inter-Regular.woff2", "Inter-SemiBold.ttf": "Inter-SemiBold.woff2"}
DEJAVU = "DejaVuSans.ttf"

# Latin with its extensions, Greek, Cyrillic, Vietnamese; punctuation, currencies, letterlike signs, arrows, mathematics.
RANGES = (
    *((0x20, 0x7E), (0xA0, 0xAC), (0xAE, 0x24F), (0x259, 0x259), (0x2BB, 0x2BC), (0x370, 0x52F), (0x1E00, 0x1EFF)),
    *((0x2010, 0x2027), (0x2030, 0x205E), (0x2070, 0x209F), (0x20A0, 0x20BF), (0x2100, 0x214F), (0x2150, 0x218B)),
    *((0x2190, 0x21FF), (0x2200, 0x22FF), (0x25A0, 0x25FF)),
)
# Bytes of data and of private use, which no name holds.
LEFT_OUT = ((0xE000, 0xF8FF), (0xFB00, 0xFB06), (0xFE00, 0xFE0F), (0x1D400, 0x1FFFF))


def main() -> None:
    source = Path(sys.argv[1])
    FONTS.mkdir(parents=True, exist_ok=True)
    kept: set[int] = set()
    for name, file in INTER.items():
        (path,) = source.rglob(file)
        font = TTFont(path)
        set_tabular_figures(font)
        kept = {point for first, last in RANGES for point in range(first, last + 1)} & has_width(font)
        write(font, kept, name)
    font = TTFont(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / DEJAVU)
    left_out = {point for first, last in LEFT_OUT for point in range(first, last + 1)}
    write(font, has_width(font) - kept - left_out, DEJAVU)


def set_tabular_figures(font: TTFont) -> None:
    """The figures become those of the feature `tnum`."""
    features = [
        record.Feature for record in font["GSUB"].table.FeatureList.FeatureRecord if record.FeatureTag == "tnum"
    ]
    tabular: dict[str, str] = {}
    for index in features[0].LookupListIndex:
        for subtable in font["GSUB"].table.LookupList.Lookup[index].SubTable:
            tabular |= getattr(subtable, "ExtSubTable", subtable).mapping
    for table in font["cmap"].tables:
        for figure in range(ord("0"), ord("9") + 1):
            if figure in table.cmap:
                table.cmap[figure] = tabular.get(table.cmap[figure], table.cmap[figure])


def has_width(font: TTFont) -> set[int]:
    """The characters that a font has, besides marks that lie over their neighbour."""
    return {point for point, glyph in font.getBestCmap().items() if font["hmtx"][glyph][0] > 0}


def write(font: TTFont, points: set[int], name: str) -> None:
    options = Options(hinting=False, layout_features=[], notdef_outline=False, glyph_names=False)
    options.drop_tables += ["GSUB", "GPOS", "GDEF", "kern", "STAT", "DSIG", "FFTM", "meta"]
    options.name_IDs = [0, 1, 2, 3, 4, 5, 6, 13, 14]
    options.recalc_timestamp = False
    subsetter = Subsetter(options)
    subsetter.populate(unicodes=points)
    subsetter.subset(font)
    font["hmtx"][".notdef"] = (0, 0)
    font.flavor = None
    font.save(FONTS / name)
    print(name, len(points), (FONTS / name).stat().st_size)


if __name__ == "__main__":
    main()
