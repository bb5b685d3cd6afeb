"""Combinations for a page: which there are for a model, and each as weights where it is linear, else as a map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..arrays.ranges import every_percent
from ..channels.statistics import figures
from ..combinations.reduce import mean
from ..combinations.registry import RULES, Rule, combined, rule_named
from ..core.feature_map import FeatureMap
from ..core.layer import Layer
from ..errors import BadOption
from ..plots.groups import group_colors, group_words
from ..plots.rgb import is_rgb, rgb_limits
from ..scope.scope import Scope
from ..surface import option
from .captures import Captures, Subject
from .encoding import encode
from .maps import ranges_of, remarks
from .payload import pack

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
# Those verbs in words.
NEEDS = {"gradients": "gradients", "head": "the classifier's weights", "scores": "a layer that can be changed"}


def rules_for(scope: Scope, layers: Sequence[Layer]) -> list[dict[str, Any]]:
    """The combinations that make sense for a model and these layers, as the manifest has them.

    That of weights isn't among them: the page has the weights.
    """
    attention = any(layer.attention and layer.showable for layer in layers)
    return [_about(rule) for rule in RULES if rule.name in LABELS and _fits(rule, scope, attention)]


def absences(scope: Scope) -> list[dict[str, Any]]:
    """The combinations that the model's framework has not, in groups of one reason."""
    groups: dict[str, list[str]] = {}
    for rule in RULES:
        verb = _verb(rule)
        if verb is not None and not scope._reader.offers(verb):
            reason = getattr(getattr(scope._reader, verb), "reason", "") or f"not offered for {scope._reader.name}"
            groups.setdefault(f"Need {NEEDS[verb]}: {reason}", []).append(LABELS[rule.name])
    return [{"reason": reason, "labels": labels} for reason, labels in groups.items()]


def _fits(rule: Rule, scope: Scope, attention: bool) -> bool:
    if rule.name in ("attention", "rollout"):
        return attention
    verb = _verb(rule)
    return verb is None or scope._reader.offers(verb)


def _verb(rule: Rule) -> str | None:
    """What a rule needs of the backend."""
    return "gradients" if rule.target else NEEDED.get(rule.name)


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


def combination(captures: Captures, subject: Subject, name: Any, target: Any = None) -> tuple[FeatureMap, FeatureMap]:
    """The map of one image combined by a rule's name, and the map that it is made of.

    Raises `BadOption` for a rule that a page may not name: one that reads a file.
    """
    rule = rule_named(name) if isinstance(name, str) else None
    if rule is None or rule.name not in LABELS:
        raise BadOption(f"there is no combination {name!r:.40} here")
    if not (target is None or isinstance(target, str) or (isinstance(target, int) and not isinstance(target, bool))):
        raise BadOption(f"{option('target', target)}: give a class by its number or its label")
    if rule.joint:
        return combined(captures.attention(subject), name), captures.map_of(subject)
    if rule.target:
        one = captures.map_with_gradient(subject, target)
        return combined(one, name), one
    one = captures.map_of(subject)
    if not rule.model:
        result = combined(one, name)
        return (mean(result) if rule.name == "attention" else result), one
    with captures.turn(subject.job):
        return combined(one, name, target), one


def combination_payload(result: FeatureMap, one: FeatureMap, name: str, *, encoding: str = "f32") -> bytes:
    """The bytes of a combination of `one`, as docs/protocol.md describes them."""
    linear = result.linear if result.spatial == one.spatial and not _is_of_attention(name) else None
    rgb = is_rgb(result)
    count = result.shape[-1]
    if linear is not None:
        weights, bias = (part[0] if linear.weights.ndim == 3 else part for part in (linear.weights, linear.bias))
        tensors = {"weights": np.ascontiguousarray(weights.T, np.float32), "bias": bias.astype(np.float32)}
    else:
        planes = np.ascontiguousarray(np.moveaxis(result.values[0], -1, 0))
        tensors = {"values": planes if encoding == "f32" else _shorter(result, planes)}
    if rgb:
        tensors["limits"] = np.stack(rgb_limits(result), -1).astype(np.float32)
    rule = rule_named(name)
    target = str(result.provenance.get("target", "")) if rule.target or rule.model else ""
    return pack(
        {
            "name": name,
            "label": LABELS[rule.name],
            "channels": count,
            "shape": [count, *result.spatial],
            "post": "none" if linear is None else linear.post,
            "linear": linear is not None,
            "rgb": rgb,
            "role": result.role,
            "groups": _groups(result),
            "target": _bare(target) or None,
            "notes": remarks(result),
            "rule": result.rule,
        },
        tensors,
    )


def _shorter(result: FeatureMap, planes: np.ndarray) -> np.ndarray:
    """float16 where that alone keeps the values, else the float32 `planes`."""
    percents, columns = every_percent(planes.reshape(len(planes), -1)), figures(result.values)
    values, exponent, offsets = encode(planes, ranges_of(columns["min"], columns["max"], percents))
    return planes if exponent or offsets is not None else values


def _is_of_attention(name: str) -> bool:
    """Whether a combination isn't one of the layer's channels at their own positions."""
    return rule_named(name).name in ("attention", "rollout")


def _groups(result: FeatureMap) -> list[dict[str, Any]]:
    """What each factor or cluster is called, and its colour."""
    groups = result.provenance.get("groups", ()) if result.role in ("factors", "labels") else ()
    colors = group_colors([group["number"] for group in groups])
    return [
        {"number": group["number"], "text": " · ".join(group_words(group, result.role)), "color": color}
        for group, color in zip(groups, colors.tolist(), strict=True)
    ]


def _bare(target: str) -> str:
    """A label without the quotes that a caption has around it."""
    alone = len(target) > 2 and target[0] == target[-1] == '"' and '"' not in target[1:-1]
    return target[1:-1] if alone else target
