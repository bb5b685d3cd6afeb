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
    from .channels.query import find_channels
    from .channels.statistics import ChannelRow, ChannelStatistics, statistics
    from .combinations.attention import attention, attention_rollout
    from .combinations.class_cam import class_cam, head_weights
    from .combinations.clusters import ClusterBasis, cluster_basis, clusters
    from .combinations.difference import difference
    from .combinations.grad_cam import eigen_cam, grad_cam, grad_cam_pp, hires_cam, layer_cam, xgrad_cam
    from .combinations.nmf import FactorBasis, nmf, nmf_basis
    from .combinations.pca import Basis, pca, pca_basis
    from .combinations.reduce import deviation, maximum, mean, norm, total, weighted
    from .combinations.score_cam import ablation_cam, score_cam
    from .combinations.similarity import similarity
    from .core.feature_map import FeatureMap, load
    from .core.layer import Layer
    from .core.layer_table import LayerTable
    from .core.placement import Placement
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
    from .inputs.recipe import Recipe
    from .picture.picture import Picture
    from .picture.scale import Scale
    from .picture.scale_rules import shared_scale
    from .picture.shapes import Bar, Cell
    from .picture.tensorboard import to_tensorboard
    from .plots.animate import animate
    from .plots.bars import bars
    from .plots.compare import compare
    from .plots.heatmap import heatmap
    from .plots.kernels import kernels
    from .plots.montage import montage
    from .plots.overlay import beside, overlay
    from .plots.sheet import pages, sheet
    from .plots.show import show
    from .plots.strip import strip
    from .scope.capture import Maps
    from .scope.open import demo_model, demo_photo, open
    from .scope.scope import Scope

_HOMES = {
    "channels.query": "find_channels",
    "channels.statistics": "ChannelRow ChannelStatistics statistics",
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
    "core.feature_map": "FeatureMap load",
    "core.layer": "Layer",
    "core.layer_table": "LayerTable",
    "core.placement": "Placement",
    "errors": "BackendMissing BackendSkipped BadChannels BadLayout BadOption BadScale BadWeights CaptureTooLarge "
    "DrawingFailed GradientsUnavailable ImageNotReadable ImageTooLarge ImagesSkipped LayerNotCalled "
    "LayerNotFound LayerscopeError LayerscopeWarning LayoutWarning LibraryMissing ModelNotReadable "
    "PreprocessUnknown PreprocessWarning RandomWeights TrustRequired",
    "inputs.recipe": "Recipe",
    "picture.picture": "Bar Cell Picture",
    "picture.scale": "Scale",
    "picture.scale_rules": "shared_scale",
    "picture.tensorboard": "to_tensorboard",
    "plots.animate": "animate",
    "plots.bars": "bars",
    "plots.compare": "compare",
    "plots.heatmap": "heatmap",
    "plots.kernels": "kernels",
    "plots.montage": "montage",
    "plots.overlay": "beside overlay",
    "plots.sheet": "pages sheet",
    "plots.show": "show",
    "plots.strip": "strip",
    "scope.capture": "Maps",
    "scope.open": "demo_model demo_photo open",
    "scope.scope": "Scope",
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
