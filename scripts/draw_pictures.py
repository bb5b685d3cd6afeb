"""Draw the pictures of the README with the project's own code: `make pictures`."""

from __future__ import annotations

from pathlib import Path

import layerscope as ls
from layerscope.cli import demo

OUT = Path(__file__).parents[1] / "docs" / "images"


def main() -> None:
    """Write every picture that the README shows."""
    scope = ls.open("demo")
    maps = scope.capture(ls.demo_photo(), [demo.EARLY, demo.LATE, "_blocks.10"])
    (classes,) = scope.predict(ls.demo_photo())
    OUT.mkdir(parents=True, exist_ok=True)
    ls.sheet(maps[demo.EARLY]).save(OUT / "sheet.png")
    ls.heatmap(ls.mean(maps[demo.EARLY])).save(OUT / "mean.png")
    ls.heatmap(ls.pca(maps["_blocks.10"])).save(OUT / "pca.png")
    ls.overlay(ls.class_cam(maps[demo.LATE], classes[0].index)).save(OUT / "overlay.png")


if __name__ == "__main__":
    main()
