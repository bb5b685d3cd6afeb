"""What capturing every layer in one pass costs beyond the pass itself, and what others take for it."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from typing import Any

import layerscope as ls

from .capture import batch_first, torch_vgg16
from .measure import Row, Target, keep_freed_memory, side_by_side
from .peers import beside_torchvision

TITLE = "Capturing every layer"


def rows() -> Iterator[Row]:
    keep_freed_memory()
    for of in (_torch, _star, _many, _onnx):
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


NETWORKS = (("timm", "vit_tiny_patch16_224"), ("timm", "efficientnet_b0"), ("torchvision.models", "mobilenet_v3_small"))
MANY = 1500


def _network(library: str, name: str) -> Any:
    import torch

    torch.set_num_threads(1)
    module = beside_torchvision(library)
    build = module.create_model if library == "timm" else module.get_model
    return build(name, **({"pretrained": False} if library == "timm" else {"weights": None})).eval()


def _star() -> Iterator[Row]:
    """`"*"` takes the containers and the functions between the modules as well."""
    for library, name in NETWORKS:
        yield from _all_of(f"torch {name}", _network(library, name), batch_first(), Target("within", 1.5))


def _many() -> Iterator[Row]:
    """So many small layers that whatever grows with their square shows."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    model = nn.Sequential(*(nn.Linear(64, 64) for _ in range(MANY))).eval()
    yield from _all_of(f"torch, a chain of {MANY:,} Linear", model, torch.randn(1, 64), Target("within", 2))


def _all_of(what: str, model: Any, image: Any, target: Target) -> Iterator[Row]:
    import torch

    scope = ls.open(model, preprocess=None)
    leaves = {name: module for name, module in model.named_modules() if name and not list(module.children())}
    count = len(scope.capture(image, "*"))

    def bare() -> Any:
        with torch.no_grad():
            return model(image)

    contestants: dict[str, Callable[[], Any]] = {
        "bare": bare,
        "ours": lambda: scope.capture(image, "*"),
        "cloned": lambda: _hooked(model, image, leaves, clone=True),
    }
    times = side_by_side(contestants, seconds=4)
    # The copies are no part of what capturing costs beyond the pass: hooks that do nothing but clone have them too.
    yield Row(f"{what}, * ({count:,} maps)", times["ours"], "the bare forward pass, no_grad", times["bare"])
    against = f"forward hooks that clone, on its {len(leaves):,} leaves"
    yield Row(f"{what}, * ({count:,} maps)", times["ours"], against, times["cloned"], target)


def _onnx() -> Iterator[Row]:
    import tempfile

    import onnx
    import onnxruntime
    import torch

    model, image = _network(*NETWORKS[-1]), batch_first()
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/mobilenet.onnx"
        torch.onnx.export(model, (image,), path, dynamo=False)
        array = image.numpy()
        scope = ls.open(path, preprocess=None)
        paths = [layer.path for layer in scope.layers(array) if layer.showable]
        graph = onnx.load(path)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        bare = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        made = {name for node in graph.graph.node for name in node.output}
        kept = [value for value in onnx.shape_inference.infer_shapes(graph).graph.value_info if value.name in made]
        graph.graph.output.extend(kept)
        every = onnxruntime.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])
        feeds = {bare.get_inputs()[0].name: array}
        contestants: dict[str, Callable[[], Any]] = {
            "bare": lambda: bare.run(None, feeds),
            "every": lambda: every.run(None, feeds),
            "ours": lambda: scope.capture(array, "*"),
        }
        times = side_by_side(contestants, seconds=4)
    what = f"ONNX {NETWORKS[-1][1]}, * ({len(paths):,} maps)"
    yield Row(what, times["ours"], "a session with the model's own output", times["bare"])
    yield Row(what, times["ours"], "a session with all outputs", times["every"], Target("within", 1.5))


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
