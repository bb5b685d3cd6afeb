"""Combinations for a page: which there are for a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..combinations.registry import RULES, Rule
from ..core.layer import Layer
from ..scope.scope import Scope

LABELS = {
    "mean": "Mean",
    "total": "Sum",
    "max": "Maximum",
    "norm": "Length of the channel vector",
    "deviation": "Standard deviation",
    "pca": "Principal components as colours",
    "nmf": "Non-negative factors",
    "clusters": "Clusters",
    "similarity": "Similarity to a unit",
    "cam": "Class activation map",
    "grad-cam": "Grad-CAM",
    "grad-cam++": "Grad-CAM++",
    "xgrad-cam": "XGrad-CAM",
    "hires-cam": "HiRes-CAM",
    "layer-cam": "Layer-CAM",
    "eigen-cam": "Eigen-CAM",
    "score-cam": "Score-CAM",
    "ablation-cam": "Ablation-CAM",
    "attention": "Attention from a token",
    "rollout": "Attention rollout",
}
# What a page can make itself from weights and a bias.
LINEAR = {
    "mean",
    "total",
    "pca",
    "cam",
    "grad-cam",
    "grad-cam++",
    "xgrad-cam",
    "eigen-cam",
    "score-cam",
    "ablation-cam",
}
EVERYWHERE = {"mean", "total", "max", "norm", "deviation"}
ARGUMENTS = {"nmf": "count", "clusters": "count", "similarity": "unit", "attention": "token"}
NEEDED = {"cam": "head", "ablation-cam": "scores"}  # the verb of the backend without which there is none


def offered(scope: Scope, layers: Sequence[Layer]) -> list[dict[str, Any]]:
    """The combinations that make sense for a model and these layers, as the manifest has them.

    That of weights isn't among them: the page has the weights.
    """
    attention = any(layer.attention and layer.showable for layer in layers)
    return [_about(rule) for rule in RULES if rule.name in LABELS and _fits(rule, scope, attention)]


def _fits(rule: Rule, scope: Scope, attention: bool) -> bool:
    if rule.name in ("attention", "rollout"):
        return attention
    verb = NEEDED.get(rule.name)
    return (not rule.target or bool(scope.backend.gradients)) and (verb is None or scope._reader.offers(verb))


def _about(rule: Rule) -> dict[str, Any]:
    of_attention = rule.name in ("attention", "rollout")
    return {
        "name": rule.name,
        "label": LABELS[rule.name],
        "needs": "target" if rule.target or rule.model else "none",
        "linear": rule.name in LINEAR,
        "layers": "attention" if of_attention else "all" if rule.name in EVERYWHERE else "spatial",
        "argument": ARGUMENTS.get(rule.name, ""),
    }
