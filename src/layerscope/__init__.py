"""layerscope shows what any layer of a trained vision model produces.

```python
import layerscope as ls

ls.show(model, "cat.jpg", "block1_conv2")          # all 64 channels as numbered tiles
fm = ls.open(model).capture("cat.jpg", "block1_conv2")["block1_conv2"]
ls.heatmap(ls.mean(fm))                            # the channels combined, with a colour bar
```
"""

from __future__ import annotations

import importlib
from typing import Any

from ._version import __version__ as __version__

# The table of public names: module -> the names that live there. `__all__`, the lazy look-up and the stub `__init__.pyi`
# (scripts/write_stub.py) are made from it.
PUBLIC = {
    "errors": "BackendChosen BackendMissing BackendSkipped BadChannels BadLayout BadOption BadScale BadWeights Cancelled"
    " CaptureTooLarge DeviceWarning"
    " DrawingFailed GradientsUnavailable ImageNotReadable ImageTooLarge ImagesSkipped InternalError LayerNotCalled"
    " LayerNotFound LayerscopeError LayerscopeWarning LayersSkipped LayoutWarning LibraryMissing ModelNotReadable"
    " PreprocessUnknown PreprocessWarning RandomWeights TrustRequired",
    "core.feature_map": "FeatureMap load",
    "core.layer": "Layer",
    "core.layer_table": "LayerTable",
    "core.placement": "Placement",
    "core.progress": "Progress progress",
    "inputs.recipe": "Recipe",
    "inputs.video": "video",
    "picture.picture": "Picture",
    "picture.scale": "Scale",
    "picture.scale_rules": "shared_scale",
    "picture.shapes": "Bar Cell",
    "picture.tensorboard": "to_tensorboard",
    "scope.capture": "Maps",
    "scope.open": "demo_model demo_photo open",
    "scope.scope": "Scope",
    "combinations.attention": "attention attention_rollout",
    "combinations.class_cam": "class_cam head_weights",
    "combinations.clusters": "ClusterBasis cluster_basis clusters",
    "combinations.difference": "difference",
    "combinations.grad_cam": "eigen_cam grad_cam grad_cam_pp hires_cam layer_cam xgrad_cam",
    "combinations.nmf": "FactorBasis nmf nmf_basis",
    "combinations.pca": "Basis pca pca_basis",
    "combinations.reduce": "deviation maximum mean norm total weighted",
    "combinations.score_cam": "ablation_cam score_cam",
    "combinations.similarity": "similarity",
    "channels.query": "find_channels",
    "channels.statistics": "ChannelRow ChannelStatistics statistics",
    "channels.strongest": "strongest",
    "plots.animate": "animate",
    "plots.bars": "bars",
    "plots.compare": "compare",
    "plots.figure": "figure",
    "plots.heatmap": "heatmap",
    "plots.kernels": "kernels",
    "plots.montage": "montage",
    "plots.overlay": "beside overlay",
    "plots.sheet": "pages sheet",
    "plots.show": "show",
    "plots.strip": "strip",
    "store.check": "Check check_store",
    "store.scan": "scan",
    "store.store": "Store open_store",
    "viewer.page": "Viewer view",
    "viewer.report": "report",
    "viewer.widget": "widget",
}
# Modules that are used by their own name: `ls.callbacks.KerasCallback`, `ls.terminal.draw`.
PUBLIC_MODULES = ("callbacks", "terminal")
OF_SCOPE = ("layers", "capture", "stream", "predict")  # what is asked for here, and is a method of `Scope`

_HOME = {name: module for module, names in PUBLIC.items() for name in names.split()}

__all__ = ["__version__", *sorted(_HOME)]  # every name is a string


def __getattr__(name: str) -> Any:
    """Public names are imported when they are first used, so that `import layerscope` costs next to nothing."""
    if name in PUBLIC_MODULES:
        return importlib.import_module(f".{name}", __name__)
    if name not in _HOME:
        raise AttributeError(f"module 'layerscope' has no attribute {name!r}{_near(name)}", name=name, obj=None)
    value = getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value


def _near(name: str) -> str:
    """What the message for an unknown name ends with; `grad_cam` for `gradcam`. Nothing for the names that Python asks for."""
    from .errors import near

    if name in OF_SCOPE:
        return f"; ls.open(model).{name}(…) does that"
    return "" if name.startswith("_") else near(name, __dir__())


def __dir__() -> list[str]:
    return sorted((*__all__, *PUBLIC_MODULES))
