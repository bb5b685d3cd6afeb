"""With LAYERSCOPE_MAX_MEMORY, a process grows by little more than it says, and what would take more is refused."""

from pathlib import Path

import pytest

from helpers import peak

LIMIT = 120_000_000

SCRIPT = """
import numpy as np
from PIL import Image

import layerscope as ls
from layerscope.plots.batch_job import Job
from layerscope.testing import TinyBackend, tiny_model

scope = ls.open(tiny_model(), backend=TinyBackend(), preprocess="unit", size=160)
photo = np.arange(160 * 160 * 3, dtype=np.uint8).reshape(160, 160, 3)
for number in range(4):
    Image.new("RGB", (2000, 1500), (number, 9, 200)).save(f"{number}.png", compress_level=1)
Image.new("RGB", (20_000, 1)).save("thin.png")
PHOTOS = [f"{number}.png" for number in range(4)] * 3

def refused(images):
    try:
        scope.capture(images, "conv1", batch=4)
    except ls.CaptureTooLarge:
        return
    raise AssertionError(f"{len(images)} images were captured")

channels = np.random.default_rng(0).random((1, 160, 160, 300), np.float32)  # 31 MB; an SVD of it takes 180

def stream():
    for maps in scope.stream(PHOTOS, "conv1", batch=12):
        pass

WORKS = {
    "capture": lambda: scope.capture([photo] * 130, "conv1", batch=4),
    "larger capture": lambda: refused([photo] * 160),
    "photos": lambda: scope.capture(PHOTOS[:11], "conv1", batch=4),
    "more photos": lambda: refused(PHOTOS + PHOTOS[:2]),
    "stream": stream,
    "folder": lambda: list(Job(scope, ["conv1"], PHOTOS[:4], combine="mean", overlay=True).run()),
    "eigen": lambda: ls.eigen_cam(channels),
    "thin": lambda: ls.open(tiny_model(), backend=TinyBackend(), preprocess="imagenet", size=160).capture("thin.png"),
}
"""


@pytest.mark.slow
def test_a_process_grows_by_the_limit_at_most(tmp_path: Path) -> None:
    grown = peak.growths(SCRIPT, tmp_path, LIMIT)
    shares = {name: size / LIMIT for name, size in grown.items()}
    assert max(shares.values()) < 1.2, shares
    # and what is measured is the work
    assert min(shares["capture"], shares["photos"]) > 0.6, shares
    assert shares["thin"] < 0.2, shares
    assert shares["eigen"] < 0.3, shares
