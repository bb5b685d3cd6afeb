"""Combinations by name, with what each needs of the capture: what `show` and the command line choose from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..core.conversion import is_array
from ..core.feature_map import FeatureMap
from ..core.layer import ATTENTION_MAP
from ..core.note import Note
from ..errors import BadOption, near
from ..surface import option
from . import attention, class_cam, clusters, grad_cam, nmf, pca, reduce, score_cam, similarity

ATTENTION = f"kind:{ATTENTION_MAP}"


@dataclass(frozen=True)
class Rule:
    """One combination by name.

    `target`: the capture must have a target. `model`: the map must have a link to its model, and takes the target
    itself. `together`: one basis or range is made over all images, so they are wanted at once. `argument` reads what
    may stand behind a colon (`weights:w.npy`) into the function's second argument; `takes` says what that is, as in a
    list of what is allowed, in brackets where it may be left out. `layers` are those that it is for where none is named.
    `joint`: one map is made of those of all layers.
    """

    name: str
    function: Callable[..., FeatureMap]
    target: bool = False
    model: bool = False
    together: bool = False
    argument: Callable[[str], Any] | None = None
    takes: str = ""
    layers: str = "last"
    joint: bool = False

    def __str__(self) -> str:
        return f"{self.name}{self.takes}"


def _count(text: str) -> int:
    if int(text) < 1:
        raise ValueError(text)
    return int(text)


def _position(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(","))


def _query(text: str) -> str | int | tuple[int, ...]:
    """A query token: its name, its index, or its row and column on the grid."""
    position = [part for part in text.split(",") if part.isdecimal()]
    return _position(text) if len(position) == 2 else int(text) if text.isdecimal() else text


RULES = (
    Rule("mean", reduce.mean),
    Rule("total", reduce.total),
    Rule("max", reduce.maximum),
    Rule("norm", reduce.norm),
    Rule("deviation", reduce.deviation),
    Rule("weights", reduce.weighted, argument=str, takes=":FILE"),
    Rule("pca", pca.pca, together=True),
    Rule("nmf", nmf.nmf, together=True, argument=_count, takes="[:FACTORS]"),
    Rule("clusters", clusters.clusters, together=True, argument=_count, takes="[:COUNT]"),
    Rule("similarity", similarity.similarity, together=True, argument=_position, takes=":ROW,COLUMN"),
    Rule("cam", class_cam.class_cam, model=True),
    Rule("grad-cam", grad_cam.grad_cam, target=True),
    Rule("grad-cam++", grad_cam.grad_cam_pp, target=True),
    Rule("xgrad-cam", grad_cam.xgrad_cam, target=True),
    Rule("hires-cam", grad_cam.hires_cam, target=True),
    Rule("layer-cam", grad_cam.layer_cam, target=True),
    Rule("eigen-cam", grad_cam.eigen_cam),
    Rule("score-cam", score_cam.score_cam, model=True),
    Rule("ablation-cam", score_cam.ablation_cam, model=True),
    Rule("attention", attention.attention, argument=_query, takes="[:TOKEN]", layers=ATTENTION),
    Rule("rollout", attention.attention_rollout, layers=ATTENTION, joint=True),
)

# What combinations are called elsewhere, without hyphens.
SYNONYMS = {
    **dict.fromkeys(("average", "avg"), "mean"),
    **dict.fromkeys(("sum", "add"), "total"),
    **dict.fromkeys(("std", "stddev", "var", "variance"), "deviation"),
    **dict.fromkeys(("l2", "length", "energy"), "norm"),
    **dict.fromkeys(("weighted", "weightedsum"), "weights:FILE"),
    "kmeans": "clusters",
    "gradcam": "grad-cam",
    "gradcampp": "grad-cam++",
}


def rule_named(text: str) -> Rule:
    """The row for a name such as `"mean"` or `"weights:w.npy"`. Raises `BadOption` with near names."""
    name, colon, argument = text.partition(":")
    for rule in RULES:
        if rule.name == name:
            if (colon and rule.argument is None) or (not argument and rule.takes.startswith(":")):
                break
            return rule
    names = tuple(map(str, RULES))
    meant = SYNONYMS.get(text.lower().replace("_", "").replace("-", ""))
    suggested = f". Did you mean {meant!r}?" if meant else near(text, names)
    raise BadOption(f"{option('combine', text)}{suggested or ':'} {'U' if suggested else 'u'}se {', '.join(names)}")


def usual_layers(rule: str | None) -> str:
    """The layers that a combination is for where none is named.

    >>> usual_layers("mean"), usual_layers("rollout")
    ('last', 'kind:AttentionMap')
    """
    return "last" if rule is None else rule_named(rule).layers


def row_of(rule: Any) -> Rule | None:
    """The row of a rule that is given by its name or as its function; `None` for a function of the user's, or no rule."""
    if isinstance(rule, str):
        return rule_named(rule)
    return next((row for row in RULES if row.function is rule), None)


def combined(fm: Any, rule: Any, target: Any = None) -> FeatureMap:
    """`fm` combined by a rule: a name of `RULES`, a function, weights, or `None` for not at all. Joint ones take several.

    `target` is for rules that run the model themselves; gradient-based ones have that of the capture. A rule of the
    table that uses no class says so where a target is given.
    """
    if rule is None:
        return fm
    row = row_of(rule)
    if row is None:
        if callable(rule):
            result = rule(fm)
            if not isinstance(result, FeatureMap):
                name = getattr(rule, "__name__", "the function")
                raise BadOption(
                    f"combine={name} returned {type(result).__name__}: a combination returns a FeatureMap, as ls.mean "
                    "does"
                )
            return result
        if isinstance(rule, Mapping | Sequence) or is_array(rule):
            return reduce.weighted(fm, rule)
        raise BadOption(
            f"combine={rule!r}: use the name of a combination, a function of a feature map, or weights for the channels"
        )
    if row.model:
        return row.function(fm, target)
    result = row.function(fm, *_argument(row, rule))
    if target is None or row.target:
        return result
    return replace(
        result, notes=(*result.notes, Note("no-target", f"the same for every class: {row.name} uses no target"))
    )


def combined_maps(maps: Mapping[str, FeatureMap], rule: Any, target: Any = None) -> dict[str, FeatureMap]:
    """Each map combined as `combined` does; one map of them all, by the path that it says, where the rule is joint."""
    row = row_of(rule)
    if row is None or not row.joint or not maps:
        return {path: combined(fm, rule, target) for path, fm in maps.items()}
    joint = combined(maps, rule, target)
    return {joint.layer.path: joint}


def _argument(row: Rule, rule: Any) -> tuple[Any, ...]:
    """What stands behind the colon, read; empty where nothing does."""
    argument = rule.partition(":")[2] if isinstance(rule, str) else ""
    if row.argument is None or not argument:
        return ()
    try:
        return (row.argument(argument),)
    except ValueError:
        least = " from 1" if row.argument is _count else ""
        raise BadOption(f"{option('combine', rule)}: {row} takes whole numbers{least}") from None


def target_of_capture(rule: Any, target: Any) -> Any:
    """The target that the capture itself must have: none for rules that run the model themselves, or that use no class."""
    row = row_of(rule)
    return target if row is None or row.target else None
