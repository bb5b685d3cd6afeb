"""Draw ten photos with their Grad-CAM, in the usual jet overlay and in ours, side by side: sheets for docs/overlays.md.

Needs what the tests need, besides scikit-image and scikit-learn, whose photos these are.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cmap
import numpy as np
import skimage.data
import sklearn.datasets
from draw_guide import network
from PIL import Image

import layerscope as ls
from layerscope.picture.font import MEDIUM, font

OUT = Path(__file__).parents[1] / "docs" / "images" / "overlays"
PHOTOS = (
    *("chelsea.png", "astronaut.png", "coffee.png", "rocket.jpg", "hubble_deep_field.jpg"),
    *("retina.jpg", "ihc.png", "motorcycle_left.png", "china.jpg", "flower.jpg"),
)
COLUMNS = ("photo", "usual: jet at half opacity", "Grad-CAM", "HiRes-CAM of an earlier layer")
ROWS, WIDTH, GAP = 5, 260, 8


def main() -> None:
    """Write a sheet for every five photos."""
    OUT.mkdir(parents=True, exist_ok=True)
    scope = network()
    rows = [list(_row(scope, _photo(name))) for name in PHOTOS]
    for start in range(0, len(rows), ROWS):
        path = OUT / f"jet-{start // ROWS + 1}.webp"
        _sheet(rows[start : start + ROWS]).save(path, quality=72, method=6)
        print(path.name, f"{path.stat().st_size:,} bytes")


def _photo(name: str) -> np.ndarray:
    folders = (Path(package.__file__).parent for package in (skimage.data, sklearn.datasets))
    path = next(path for folder in folders for path in folder.rglob(name))
    return np.asarray(Image.open(path).convert("RGB"))


def _row(scope: ls.Scope, photo: np.ndarray) -> Iterator[np.ndarray]:
    ((best, *_),) = scope.predict(photo)
    maps = scope.capture(photo, ["last", "_blocks.10"], target=best.index)
    evidence = ls.grad_cam(maps["_swish:1"])
    yield photo
    yield _jet(evidence)
    for fm in (evidence, ls.hires_cam(maps["_blocks.10"])):
        picture = ls.overlay(fm, zoom=1)
        x, y, width, height, *_ = picture.cells[0]
        yield picture.rgb()[y : y + height, x : x + width]


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


def _sheet(rows: list[list[np.ndarray]]) -> Image.Image:
    heights = [round(WIDTH * len(row[0]) / row[0].shape[1]) for row in rows]
    letters = font(MEDIUM)
    size = len(COLUMNS) * (WIDTH + GAP) - GAP, letters.height + GAP + sum(heights) + GAP * (len(rows) - 1)
    palette = ls.Scale((0, 1)).palette()
    sheet = Image.new("RGB", size, "white")
    for column, name in enumerate(COLUMNS):
        sheet.paste(Image.fromarray(palette[letters.line(name)]), (column * (WIDTH + GAP), 0))
    y = letters.height + GAP
    for row, height in zip(rows, heights, strict=True):
        for column, pixels in enumerate(row):
            small = Image.fromarray(pixels).resize((WIDTH, height), Image.Resampling.LANCZOS)
            sheet.paste(small, (column * (WIDTH + GAP), y))
        y += height + GAP
    return sheet


if __name__ == "__main__":
    main()
