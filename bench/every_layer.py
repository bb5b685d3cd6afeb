"""What capturing every layer of VGG16 in one pass costs beyond the pass itself, and what others take for it."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from typing import Any

import layerscope as ls

from .capture import batch_first, torch_vgg16
from .measure import Row, Target, keep_freed_memory, side_by_side

TITLE = "Capturing every layer"


def rows() -> Iterator[Row]:
    keep_freed_memory()
    for of in (_torch,):
        try:
            yield from of()
        except Exception:
            # One framework missing leaves the others to be measured, with a message.
            print(f"{of.__name__[1:]} could not be measured:")
            traceback.print_exc(limit=-3)


def _torch() -> Iterator[Row]:
    import torch
    import torchlens

    model, image = torch_vgg16(), batch_first()
    scope = ls.open(model, preprocess=None)
    leaves = {name: module for name, module in model.named_modules() if name and not list(module.children())}
    maps = [
        layer.path for layer in scope.layers(image) if layer.path in leaves and layer.channels and layer.channels > 15
    ]

    def bare() -> Any:
        with torch.no_grad():
            return model(image)

    def traced() -> Any:
        with torch.no_grad():
            return torchlens.trace(model, image)

    contestants: dict[str, Callable[[], Any]] = {
        "bare": bare,
        "ours": lambda: scope.capture(image, list(leaves)),
        "some": lambda: scope.capture(image, maps, channels=range(16)),
        "cloned": lambda: _hooked(model, image, leaves, clone=True),
        "kept": lambda: _hooked(model, image, leaves, clone=False),
    }
    times = side_by_side(contestants, seconds=15)
    count = f"torch VGG16, all {len(leaves)} layers"
    yield Row(count, times["ours"], "the bare forward pass, no_grad", times["bare"], Target("within", 1.3))
    yield Row(
        f"{count}, 16 channels each",
        times["some"],
        "the bare forward pass, no_grad",
        times["bare"],
        Target("within", 1.15),
    )
    yield Row(count, times["ours"], "forward hooks that clone (as torchextractor)", times["cloned"])
    yield Row(count, times["ours"], "forward hooks that keep (wrong before an in-place ReLU)", times["kept"])
    # Alone, since a trace leaves much for the garbage collector, which the others would pay for.
    against = side_by_side({"ours": contestants["ours"], "traced": traced}, seconds=8)
    yield Row(count, against["ours"], "torchlens.trace", against["traced"])


def _hooked(model: Any, image: Any, leaves: dict[str, Any], clone: bool) -> dict[str, Any]:
    """What most scripts do by hand."""
    import torch

    kept: dict[str, Any] = {}

    def hook(name: str) -> Callable[..., None]:
        def keep(_: Any, inputs: Any, output: Any) -> None:
            kept[name] = output.detach().clone() if clone else output.detach()

        return keep

    added = [module.register_forward_hook(hook(name)) for name, module in leaves.items()]
    try:
        with torch.no_grad():
            model(image)
    finally:
        for handle in added:
            handle.remove()
    return kept
