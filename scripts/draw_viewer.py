"""Take the pictures of the viewer in README.md and docs/viewer.md in a browser: `make pictures`. Needs what its tests need."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

import layerscope as ls
from layerscope.cli import demo

ROOT = Path(__file__).parents[1]
OUT = ROOT / "docs" / "images"
LAYERS = [demo.EARLY, "_blocks.2._project_conv", demo.MIDDLE, "_blocks.10", demo.LATE]
WIDE, NARROW = (1360, 800), (760, 1180)
FIRST = {"layer": demo.EARLY, "active": 5, "unit": [46, 40], "overlay": True}
WEIGHTS = {"mode": "weights", "selected": [2, 9, 17], "weights": {2: 1, 9: 0.6, 17: -0.8}}
PICTURES: dict[str, dict[str, Any]] = {
    "viewer": {"name": "page", "view": {**FIRST, "mode": "pca", "overlay": False}, "size": WIDE},
    "viewer-dark": {"name": "page", "view": {**FIRST, **WEIGHTS, "layer": LAYERS[1]}, "size": WIDE, "dark": True},
    "viewer-narrow": {"name": "page", "view": FIRST, "size": NARROW},
    "viewer-report": {
        "name": "report",
        "view": {"layer": demo.MIDDLE, "mode": "pca", "beside": {"layer": demo.LATE}, "unit": [12, 12]},
        "size": WIDE,
    },
}


def main() -> None:
    """Write every picture as WebP, into docs/images or the folder that is named."""
    sys.path.insert(0, str(ROOT / "tests"))
    from helpers import browser

    out = Path(sys.argv[1]) if len(sys.argv) > 1 else OUT
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, ls.view("demo", ls.demo_photo(), LAYERS, browser=False) as page:
        report = ls.report("demo", ls.demo_photo(), LAYERS, Path(folder, "report.html"))
        pictures = [
            {"dark": False, "scale": 1.5, "path": f"{folder}/{name}.png", **given} for name, given in PICTURES.items()
        ]
        for host, address in {"page": page.url, "report": report.as_uri()}.items():
            setting = {
                "chromium": browser.chromium(),
                "host": host,
                "urls": {host: {"url": address}},
                "pictures": [each for each in pictures if each["name"] == host],
            }
            file = Path(folder, f"{host}.json")
            file.write_text(json.dumps(setting))
            subprocess.run([str(browser.node()), str(browser.FRONTEND / "pictures.mjs"), str(file)], check=True)
        for name in PICTURES:
            with Image.open(f"{folder}/{name}.png") as taken:
                path = out / f"{name}.webp"
                taken.convert("RGB").save(path, quality=82, method=6)
            print(path.name, f"{path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
