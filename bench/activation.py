"""Class activation maps: against a forward pass with the same gradient, and against the libraries that have them."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from typing import Any

import numpy as np

import layerscope as ls

from .arrays import name, photo_map
from .capture import batch_first, torch_vgg16
from .measure import Measured, Row, Target, child, keep_freed_memory, side_by_side
from .peers import beside_torchvision

TITLE = "Class activation maps"
CLASS = 281
LAYER = "features.block5_conv3"
PEAK = """
import json, bench
import numpy as np
from bench.arrays import photo_map
from bench.measure import peak_beyond
import layerscope as ls
values = photo_map(64)
ls.eigen_cam(np.random.default_rng(0).normal(size=(1, 4, 4, 8)).astype("f4"))
print(json.dumps(peak_beyond(lambda: ls.eigen_cam(values))))
"""


def rows() -> Iterator[Row]:
    keep_freed_memory()
    yield from _eigen()
    for of in (_gradients, _scores):
        try:
            yield from of()
        except Exception:
            # One library missing leaves the others to be measured, with a message.
            print(f"{of.__name__[1:]} could not be measured:")
            traceback.print_exc(limit=-3)


def _gradients() -> Iterator[Row]:
    import torch

    model, image = torch_vgg16(), batch_first()
    scope = ls.open(model, preprocess=None)
    layers: dict[str, Any] = dict(model.named_modules())
    position = list(model.features._modules).index(LAYER.rpartition(".")[2]) + 1

    def bare() -> Any:
        """The least that any way must do: the gradient of the score with respect to the layer alone."""
        with torch.no_grad():
            values = model.features[:position](image)
        values.requires_grad_()
        score = model.head(model.features[position:](values.clone()))[0, CLASS]
        (gradient,) = torch.autograd.grad(score, values)
        return (gradient.mean((2, 3), keepdim=True) * values).sum(1)

    contestants = {"ours": lambda: ls.grad_cam(scope.capture(image, LAYER, target=CLASS)[LAYER]), "bare": bare}
    peers = _peers(model, image, layers[LAYER])
    times = side_by_side({**contestants, **peers}, seconds=15)
    what = f"Grad-CAM of torch VGG16 {LAYER.rpartition('.')[2]}"
    yield Row(
        what, times["ours"], "forward and the layer's gradient in plain torch", times["bare"], Target("within", 1.1)
    )
    for peer in peers:
        yield Row(what, times["ours"], peer, times[peer])
    fm = scope.capture(image, LAYER, target=CLASS)[LAYER]
    for method in (ls.grad_cam, ls.grad_cam_pp, ls.xgrad_cam, ls.hires_cam, ls.layer_cam):
        ours = side_by_side({"ours": lambda method=method: method(fm), "read": lambda: fm.values.sum()}, seconds=0.5)
        yield Row(f"{method.__name__} alone, {name(512)}", ours["ours"], "one read, array.sum()", ours["read"])


def _peers(model: Any, image: Any, layer: Any) -> dict[str, Any]:
    """The libraries' own Grad-CAM, each with what it needs of set-up inside, as a script would run it for an image."""
    from captum.attr import LayerGradCam
    from torchcam.methods import GradCAM

    def torch_cam() -> Any:
        with GradCAM(model, target_layer=layer, input_shape=(3, 224, 224)) as extractor:
            return extractor(CLASS, model(image.clone().requires_grad_()), normalized=False)

    return {"torch-cam": torch_cam, "Captum": lambda: LayerGradCam(model, layer).attribute(image, target=CLASS)}


def _eigen() -> Iterator[Row]:
    values = photo_map(64)
    flat = values.reshape(-1, 64)
    times = side_by_side(
        {
            "ours": lambda: ls.eigen_cam(values),
            "svd": lambda: flat @ np.linalg.svd(flat, full_matrices=False)[2][0],
            "read": lambda: values.sum(),
        },
        seconds=2,
    )
    yield Row(f"Eigen-CAM of {name(64)}", times["ours"], "np.linalg.svd, thin", times["svd"])
    yield Row(f"Eigen-CAM of {name(64)}", times["ours"], "one read, array.sum()", times["read"])
    yield Row(
        f"Eigen-CAM of {name(64)}: peak beyond the array",
        Measured(tuple(child(PEAK) for _ in range(3)), "MB"),
        "",
        None,
        Target("below", 1000),
    )
    small = photo_map(2048)
    centred = small.reshape(-1, 2048) - small.reshape(-1, 2048).mean(0)
    contestants = {
        "ours": lambda: ls.eigen_cam(small, center=True),
        "np.linalg.svd, thin": lambda: centred @ np.linalg.svd(centred, full_matrices=False)[2][0],
    }
    peer = beside_torchvision("pytorch_grad_cam.utils.svd_on_activations")
    if peer is not None:
        planes = np.ascontiguousarray(small.transpose(0, 3, 1, 2))
        contestants["pytorch-grad-cam's get_2d_projection"] = lambda: peer.get_2d_projection(planes)
    times = side_by_side(contestants, slow=dict.fromkeys([*contestants][2:], 3), seconds=1)
    for other in [*contestants][1:]:
        yield Row(f"Eigen-CAM of {name(2048)}, centred", times["ours"], other, times[other])
    print("pytorch-grad-cam's Eigen-CAM of 64 × 224 × 224 is left out: its full decomposition asks for 10 GB.")


def _scores() -> Iterator[Row]:
    import torch
    from torch import nn
    from torchcam.methods import ScoreCAM

    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3, 2, 1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, 2, 1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, 10),
    ).eval()
    image = torch.randn(1, 3, 112, 112)
    scope = ls.open(model, preprocess=None)
    fm = scope.capture(image, "3", target=2)["3"]

    def theirs() -> Any:
        with ScoreCAM(model, target_layer="3", batch_size=16, input_shape=(3, 112, 112)) as extractor:
            return extractor(2, model(image), normalized=False)

    def bare() -> Any:
        with torch.no_grad():
            return [model(image.expand(16, -1, -1, -1).contiguous()) for _ in range(2)]

    times = side_by_side({"ours": lambda: ls.score_cam(fm), "theirs": theirs, "bare": bare}, seconds=4)
    what = "Score-CAM, 32 channels of a small torch network"
    yield Row(what, times["ours"], "torch-cam", times["theirs"])
    yield Row(what, times["ours"], "32 forward passes alone, 16 at a time", times["bare"])
    times = side_by_side({"ours": lambda: ls.ablation_cam(fm), "bare": bare}, seconds=3)
    yield Row("Ablation-CAM, the same", times["ours"], "32 forward passes alone, 16 at a time", times["bare"])
