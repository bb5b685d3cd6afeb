"""A small PyTorch network for tests in a browser: its class maps, regions and pooled pictures are worked out without it."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import layerscope as ls

from .browser import layer_facts, packed

SIDE, POOL = 512, 32
LABELS = ["ape", "bee", "cat", "dog", "eel"]
LAYERS = ["wide", "last", "act"]


def network() -> Any:
    """Two convolutions, of which the first gives a large layer, and a mean before a dense layer."""
    import torch
    from torch import nn

    torch.manual_seed(3)
    parts = {
        "wide": nn.Conv2d(3, 64, 3, padding=1),
        "pool": nn.AvgPool2d(POOL),
        "last": nn.Conv2d(64, 8, 3, padding=1),
        "act": nn.ReLU(),
        "gap": nn.AdaptiveAvgPool2d(1),
        "flat": nn.Flatten(),
        "head": nn.Linear(8, len(LABELS)),
    }
    return nn.Sequential(OrderedDict(parts)).eval()


def class_photos(folder: Path) -> list[Path]:
    """The embedded photo as a square of the network's size, and noise."""
    paths = [folder / "square.png", folder / "noise.png"]
    with Image.open(ls.demo_photo()) as photo:
        square = photo.convert("RGB").crop((75, 0, 375, 300))
    square.resize((SIDE, SIDE), Image.Resampling.LANCZOS).save(paths[0])
    Image.fromarray(np.random.default_rng(1).integers(0, 255, (SIDE, SIDE, 3), np.uint8)).save(paths[1])
    return paths


def outputs(model: Any, photo: Path, last: str) -> NDArray[np.float32]:
    """What a layer gives for a photo of the network's size, `[channel, y, x]`, by PyTorch alone."""
    import torch

    with Image.open(photo) as image:
        pixels = np.asarray(image, np.float32)
    x = torch.from_numpy(pixels.transpose(2, 0, 1)[None] / 255)
    with torch.no_grad():
        for name, part in model.named_children():
            x = part(x)
            if name == last:
                break
    return np.asarray(x[0])


def class_facts(model: Any, scope: ls.Scope, photos: list[Path]) -> dict[str, Any]:
    """What numpy says: the mean before the dense layer makes all gradients of a class its weights over the number of units."""
    act = outputs(model, photos[0], "act")
    weights, bias = (np.asarray(each.detach()) for each in (model.head.weight, model.head.bias))
    scores = weights @ act.mean((1, 2)) + bias
    cam = np.tensordot(weights, act, 1)
    maps = {"cam": (cam, ls.class_cam), "grad-cam": (cam / act[0].size, ls.grad_cam)}
    aimed = [scope.capture(photos[0], "act", target=each)["act"] for each in range(len(LABELS))]
    return {
        "layers": {"act": layer_facts(scope.capture(photos[0], "act")["act"], [])},
        "labels": LABELS,
        "top": np.argsort(-scores).tolist(),
        "maps": {
            rule: [map_facts(each, draw(fm)) for each, fm in zip(found, aimed, strict=True)]
            for rule, (found, draw) in maps.items()
        },
        "overlays": overlay_facts(aimed[int(scores.argmax())]),
        "regions": {"act": [hand_made_regions()] * 2},
        "wide": wide_facts(scope.capture(photos[1], "wide")["wide"], outputs(model, photos[1], "wide")),
    }


def map_facts(values: NDArray[np.float32], drawn: ls.FeatureMap) -> dict[str, Any]:
    """A map with the colours of the picture of it."""
    picture = ls.heatmap(drawn)
    scale = picture.scale
    assert scale is not None
    return {
        "shape": values.shape,
        "values": packed(values.astype(np.float32)),
        "codes": packed(scale.codes(drawn.values[0, ..., 0]).astype(np.uint8)),
        "palette": scale.palette("light").tolist(),
    }


def hand_made_regions() -> list[list[int]]:
    """A unit sees three cells of the pool, and a pixel more on either side."""
    starts = [POOL * (unit - 1) - 1 for unit in range(SIDE // POOL)]
    return [[max(0, start), min(SIDE, start + 3 * POOL + 2)] for start in starts]


def overlay_facts(fm: ls.FeatureMap) -> dict[str, Any]:
    """Maps on the photo as `overlay` draws them, by name: the view that shows the same, and each pixel."""
    weights = {0: 1.0, 1: -1.0}
    drawn = {
        "mean": ({"mode": "mean", "opacity": 0.7}, ls.mean(fm)),
        "weighted sum": (
            {"mode": "weights", "selected": [*weights], "weights": weights, "opacity": 0.85},
            ls.weighted(fm, weights),
        ),
        "Grad-CAM": ({"mode": "grad-cam", "opacity": 1.0}, ls.grad_cam(fm)),
        "principal components": ({"mode": "pca", "opacity": 0.6}, ls.pca(fm)),
    }
    facts = {}
    for name, (view, combined) in drawn.items():
        picture = ls.overlay(combined, alpha=view["opacity"], interpolation="nearest")
        cell = picture.cells[0]
        colors = np.asarray(picture.to_pil().convert("RGB"))
        colors = colors[cell.y : cell.y + cell.height, cell.x : cell.x + cell.width]
        facts[name] = {"view": view, "rgb": packed(colors), "size": colors.shape[:2]}
    return facts


def wide_facts(fm: Any, values: NDArray[np.float32]) -> dict[str, Any]:
    """The codes of a large layer's means over squares, by the scale of its sheet."""
    scale = ls.sheet(fm).scale
    assert scale is not None
    pooled = {}
    for factor in (4, 8, 16):
        few = SIDE // factor
        means = values.reshape(len(values), few, factor, few, factor).mean((2, 4), dtype=np.float64)
        codes = [scale.codes(plane.astype(np.float32), 0, channel) for channel, plane in enumerate(means)]
        pooled[factor] = packed(np.stack(codes).astype(np.uint8))
    return {"pooled": pooled, "palette": scale.palette("light").tolist(), "side": SIDE}
