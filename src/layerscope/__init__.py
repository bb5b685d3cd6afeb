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
from typing import TYPE_CHECKING, Any

from ._version import __version__

if TYPE_CHECKING:
    from .animation import animate
    from .attending import attention, attention_rollout
    from .cam import eigen_cam, grad_cam, grad_cam_pp, hires_cam, layer_cam, xgrad_cam
    from .changes import difference
    from .channelstats import ChannelRow, ChannelStatistics, statistics
    from .combine import deviation, maximum, mean, norm, total, weighted
    from .comparing import compare
    from .components import Basis, pca, pca_basis
    from .convolutions import kernels
    from .drawing import show
    from .errors import (
        BackendMissing,
        BackendSkipped,
        BadChannels,
        BadLayout,
        BadOption,
        BadScale,
        BadWeights,
        CaptureTooLarge,
        DrawingFailed,
        GradientsUnavailable,
        ImageNotReadable,
        ImagesSkipped,
        ImageTooLarge,
        LayerNotCalled,
        LayerNotFound,
        LayerscopeError,
        LayerscopeWarning,
        LayoutWarning,
        LibraryMissing,
        ModelNotReadable,
        PreprocessUnknown,
        PreprocessWarning,
        RandomWeights,
        TrustRequired,
    )
    from .factors import FactorBasis, nmf, nmf_basis
    from .featuremap import FeatureMap, load
    from .grouping import ClusterBasis, cluster_basis, clusters
    from .heads import class_cam, head_weights
    from .heatmaps import heatmap
    from .layer import Layer
    from .layertable import LayerTable
    from .likeness import similarity
    from .maps import Maps
    from .opening import demo_model, demo_photo, open
    from .ordering import find_channels
    from .overlays import beside, overlay
    from .picture import Bar, Cell, Picture
    from .placement import Placement
    from .ranking import bars
    from .recipe import Recipe
    from .ruling import shared_scale
    from .scale import Scale
    from .scope import Scope
    from .scoring import ablation_cam, score_cam
    from .sheets import pages, sheet
    from .slicing import montage
    from .strips import strip
    from .tensorboard import to_tensorboard

_HOMES = {
    "animation": "animate",
    "attending": "attention attention_rollout",
    "cam": "eigen_cam grad_cam grad_cam_pp hires_cam layer_cam xgrad_cam",
    "changes": "difference",
    "channelstats": "ChannelRow ChannelStatistics statistics",
    "combine": "deviation maximum mean norm total weighted",
    "comparing": "compare",
    "components": "Basis pca pca_basis",
    "convolutions": "kernels",
    "errors": "BackendMissing BackendSkipped BadChannels BadLayout BadOption BadScale BadWeights CaptureTooLarge"
    " DrawingFailed GradientsUnavailable ImageNotReadable ImageTooLarge ImagesSkipped LayerNotCalled LayerNotFound"
    " LayerscopeError LayerscopeWarning LayoutWarning LibraryMissing ModelNotReadable PreprocessUnknown PreprocessWarning"
    " RandomWeights TrustRequired",
    "factors": "FactorBasis nmf nmf_basis",
    "featuremap": "FeatureMap load",
    "grouping": "ClusterBasis cluster_basis clusters",
    "heads": "class_cam head_weights",
    "heatmaps": "heatmap",
    "layer": "Layer",
    "layertable": "LayerTable",
    "likeness": "similarity",
    "opening": "demo_model demo_photo open",
    "overlays": "beside overlay",
    "ordering": "find_channels",
    "picture": "Bar Cell Picture",
    "placement": "Placement",
    "ranking": "bars",
    "recipe": "Recipe",
    "ruling": "shared_scale",
    "scale": "Scale",
    "maps": "Maps",
    "scope": "Scope",
    "scoring": "ablation_cam score_cam",
    "sheets": "pages sheet",
    "slicing": "montage",
    "drawing": "show",
    "strips": "strip",
    "tensorboard": "to_tensorboard",
}
# Modules that are used by their own name: `ls.callbacks.KerasCallback`, `ls.terminal.draw`.
_MODULES = ("callbacks", "terminal")
_WHERE = {name: module for module, names in _HOMES.items() for name in names.split()}

__all__ = [
    "BackendMissing",
    "BackendSkipped",
    "BadChannels",
    "BadLayout",
    "BadOption",
    "BadScale",
    "BadWeights",
    "Bar",
    "Basis",
    "CaptureTooLarge",
    "Cell",
    "ChannelRow",
    "ChannelStatistics",
    "ClusterBasis",
    "DrawingFailed",
    "FactorBasis",
    "FeatureMap",
    "GradientsUnavailable",
    "ImageNotReadable",
    "ImageTooLarge",
    "ImagesSkipped",
    "Layer",
    "LayerNotCalled",
    "LayerNotFound",
    "LayerTable",
    "LayerscopeError",
    "LayerscopeWarning",
    "LayoutWarning",
    "LibraryMissing",
    "Maps",
    "ModelNotReadable",
    "Picture",
    "Placement",
    "PreprocessUnknown",
    "PreprocessWarning",
    "RandomWeights",
    "Recipe",
    "Scale",
    "Scope",
    "TrustRequired",
    "__version__",
    "ablation_cam",
    "animate",
    "attention",
    "attention_rollout",
    "bars",
    "beside",
    "class_cam",
    "cluster_basis",
    "clusters",
    "compare",
    "demo_model",
    "demo_photo",
    "deviation",
    "difference",
    "eigen_cam",
    "find_channels",
    "grad_cam",
    "grad_cam_pp",
    "head_weights",
    "heatmap",
    "hires_cam",
    "kernels",
    "layer_cam",
    "load",
    "maximum",
    "mean",
    "montage",
    "nmf",
    "nmf_basis",
    "norm",
    "open",
    "overlay",
    "pages",
    "pca",
    "pca_basis",
    "score_cam",
    "shared_scale",
    "sheet",
    "show",
    "similarity",
    "statistics",
    "strip",
    "to_tensorboard",
    "total",
    "weighted",
    "xgrad_cam",
]


def __getattr__(name: str) -> Any:
    """Public names are imported when they are first used, so that `import layerscope` costs next to nothing."""
    if name in _MODULES:
        return importlib.import_module(f".{name}", __name__)
    if name not in _WHERE:
        raise AttributeError(f"module 'layerscope' has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_WHERE[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
