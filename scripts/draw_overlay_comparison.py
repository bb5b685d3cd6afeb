"""Draw ten photos with their Grad-CAM, in the usual jet overlay and in ours, side by side: sheets for docs/overlays.md.

Needs what the tests need, besides scikit-image and scikit-learn, whose photos these are.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cmap
import numpy as np
import skimage.data
import sklearn.datasets
from draw_guide import network
from PIL import Image

import layerscope as ls
from layerscope.picture.codes import INK, INK_MIDDLE
from layerscope.picture.font import LARGE, MEDIUM, SMALL, Font, font
from layerscope.plots.overlay import OverlayOptions, Sketch

OUT = Path(__file__).parents[1] / "docs" / "images" / "overlays"
PHOTOS = (
    *("chelsea.png", "astronaut.png", "coffee.png", "rocket.jpg", "hubble_deep_field.jpg"),
    *("retina.jpg", "ihc.png", "motorcycle_left.png", "china.jpg", "flower.jpg"),
)
LAST, EARLIER = "_swish:1", "_blocks.10"
COLUMNS = (
    ("photo", "and the class with the highest score"),
    ("Grad-CAM as usual", "jet at half opacity, stretched over the crop"),
    ("Grad-CAM", "at the centre of each receptive field"),
    ("HiRes-CAM of an earlier layer", f"{EARLIER}, placed in the same way"),
)
TITLE = f"Evidence for the class with the highest score · EfficientNet-Lite0 · Grad-CAM of its last layer, {LAST}"
NOTES = (
    "Jet: blue is the least value of each map, red the largest. In the two columns on the right orange speaks for the class,",
    "blue against it, the stronger the more opaque, up to each map's largest magnitude. The frame marks what the model saw.",
)
ROWS, WIDTH, GAP, MARGIN = 5, 260, 8, 24
PALETTE = ls.Scale((0, 1)).palette()


@dataclass(frozen=True)
class Row:
    """The pictures of a photo, all of one size, and the class that they speak of."""

    pictures: list[np.ndarray]
    words: str

    @property
    def height(self) -> int:
        return len(self.pictures[0])


def main() -> None:
    """Write a sheet for every five photos."""
    OUT.mkdir(parents=True, exist_ok=True)
    scope = network()
    rows = [_row(scope, _photo(name)) for name in PHOTOS]
    for start in range(0, len(rows), ROWS):
        path = OUT / f"jet-{start // ROWS + 1}.webp"
        _sheet(rows[start : start + ROWS]).save(path, quality=80, method=6)
        print(path.name, f"{path.stat().st_size:,} bytes")


def _photo(name: str) -> np.ndarray:
    folders = (Path(package.__file__).parent for package in (skimage.data, sklearn.datasets))
    path = next(path for folder in folders for path in folder.rglob(name))
    return np.asarray(Image.open(path).convert("RGB"))


def _row(scope: ls.Scope, photo: np.ndarray) -> Row:
    ((best, *_),) = scope.predict(photo)
    maps = scope.capture(photo, ["last", EARLIER], target=best.index)
    evidence = ls.grad_cam(maps[LAST])
    size = round(WIDTH * len(photo) / photo.shape[1]), WIDTH
    shown = [_resized(photo, size), _resized(_jet(evidence), size)]
    for fm in (evidence, ls.hires_cam(maps[EARLIER])):
        box = np.empty((*size, 3), np.uint8)
        Sketch.of(fm, OverlayOptions(zoom=1)).resized(*size).draw(box)
        shown.append(box)
    return Row(shown, f'"{best.label}"')


def _resized(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return np.asarray(Image.fromarray(pixels).resize(size[::-1], Image.Resampling.LANCZOS))


def _jet(fm: ls.FeatureMap) -> np.ndarray:
    """What tutorials of Grad-CAM draw: the map from its minimum to its maximum, enlarged, in jet, half and half."""
    assert fm.photos is not None and fm.placement is not None
    photo, values = fm.photos[0], fm.values[0, ..., 0]
    top, left, height, width = map(round, fm.placement[0].box)
    share = (values - values.min()) / (values.max() - values.min())
    share = np.asarray(Image.fromarray(share).resize((width, height), Image.Resampling.BILINEAR))
    colors = cmap.Colormap("jet")(share)[..., :3] * 255
    mixed = photo.astype(np.float32)
    part = mixed[top : top + height, left : left + width]
    part += (colors[: len(part), : part.shape[1]] - part) / 2
    return mixed.astype(np.uint8)


def _sheet(rows: list[Row]) -> Image.Image:
    """Title, headings, a row for each photo with its class above it, and how to read the colours."""
    title, medium, small = font(LARGE - 2, bold=True), font(MEDIUM, bold=True), font(SMALL)
    width = len(COLUMNS) * (WIDTH + GAP) - GAP + 2 * MARGIN
    heads = MARGIN + title.height + 2 * GAP
    top = heads + medium.height + small.height + GAP
    foot = top + sum(small.height + row.height + GAP for row in rows)
    sheet = Image.new("RGB", (width, foot + GAP + len(NOTES) * (small.height + 3) + MARGIN), "white")

    def write(x: int, y: int, text: str, letters: Font, ink: int = INK) -> None:
        sheet.paste(Image.fromarray(PALETTE[letters.line(text, ink)]), (x, y))

    write(MARGIN, MARGIN, TITLE, title)
    for column, (name, detail) in enumerate(COLUMNS):
        write(_left(column), heads, name, medium)
        write(_left(column), heads + medium.height, detail, small, INK_MIDDLE)
    y = top
    for row in rows:
        write(MARGIN, y, row.words, small)
        for column, pixels in enumerate(row.pictures):
            sheet.paste(Image.fromarray(pixels), (_left(column), y + small.height))
        y += small.height + row.height + GAP
    for line, text in enumerate(NOTES):
        write(MARGIN, foot + GAP + line * (small.height + 3), text, small, INK_MIDDLE)
    return sheet


def _left(column: int) -> int:
    return MARGIN + column * (WIDTH + GAP)


if __name__ == "__main__":
    main()
