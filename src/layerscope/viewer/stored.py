"""A store in place of a model: its layers, the photos that it holds and their maps, as a session asks a `Scope` for them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import numpy as np

from ..backends.protocol import Backend, Facts
from ..combinations.registry import RULES
from ..core.feature_map import FeatureMap
from ..core.layer import Layer
from ..core.layer_table import LayerTable
from ..errors import BadOption, GradientsUnavailable, ImageNotReadable
from ..inputs.images import Source
from ..inputs.photo import Photo
from ..inputs.recipe import Recipe
from ..safe_text import counted
from ..scope.capture import Maps
from ..scope.open import given_options
from ..scope.prediction import Prediction
from ..scope.scope import Scope
from ..store.reading import path_of
from ..store.store import Store, open_store
from ..surface import by_surface, option
from .opening import Opening, text_of
from .session import Question, Reply, Session

MOST = 500  # images that a page lists
FILE = "store.json"


def store_of(given: Any) -> Store | None:
    """The store that is given in place of a model, itself or its folder; `None` for anything else.

    >>> store_of("keras:VGG16") is None
    True
    """
    if isinstance(given, Store):
        return given
    is_folder = isinstance(given, str | os.PathLike) and os.path.isfile(os.path.join(given, FILE))
    return open_store(os.fspath(given)) if is_folder else None


def refuse_beside(images: Any, opening: Mapping[str, Any], more: Sequence[str] = ()) -> None:
    """Raises `BadOption` where images are given with a store, or what opens a model: options of `open`, and `more` by name."""
    if images is not None and not (isinstance(images, Sequence) and not len(images)):
        raise BadOption("a store has its own images: leave them out")
    if late := [*map(option, given_options(opening)), *more]:
        alone = len(late) == 1
        words = f"{', '.join(late)} {'is' if alone else 'are'} for opening a model, and a store needs none"
        raise BadOption(words, f"leave {'it' if alone else 'them'} out")


@dataclass(frozen=True, eq=False)
class StoredPhoto(Photo):
    """What the model saw of an image, as the store holds it, and its row in there."""

    row: int = 0


@dataclass(frozen=True, eq=False)
class StoredImage(Source):
    """An image of a store. `item` is the store; it's read at its `row`."""

    row: int = 0

    def read(self, **_: Any) -> Photo:
        pixels = self.item.gallery.photo(self.row)
        if pixels is None:
            raise ImageNotReadable(f"{self.id}: the store has no photo of it")
        return StoredPhoto(self.id, pixels, row=self.row)


class StoredBackend(Backend):
    """What a store can do of what a model can: name its layers."""

    name = "store"
    random = False

    def owns(self, model: Any) -> bool:
        return isinstance(model, Store)

    def layers(self, model: Any, batch: Any) -> list[Layer]:
        return [replace(kept.layer, path=path_of(kept)) for kept in model.plan.layers]

    def capture(self, model: Any, batch: Any, paths: Any, target: Any = None) -> NoReturn:
        raise GradientsUnavailable("a store has no model that could be run")


class StoredScope(Scope):
    """A scope whose `model` is a store, and whose images are `StoredPhoto`s."""

    @classmethod
    def of(cls, store: Store) -> StoredScope:
        plan = store.plan
        facts = Facts(plan.model, framework=plan.framework)
        return cls(store, StoredBackend(), Recipe("store"), plan.labels or None, facts=facts, name=plan.model)

    def layers(self, images: Any = None) -> LayerTable:
        return LayerTable(self.backend.layers(self.model, None))

    def capture(self, images: Any, layers: Any = "last", *, target: Any = None, **_: Any) -> Maps:
        if target is not None:
            raise GradientsUnavailable("a store holds no gradients")
        chosen = self.layers().choose(layers)
        return Maps({layer.path: self._map(images, layer.path) for layer in chosen})

    def _map(self, photo: StoredPhoto, path: str) -> FeatureMap:
        fm: FeatureMap = self.model.feature_map(path, photo.row, photos=True)
        return fm

    def predict(self, *_: Any, **__: Any) -> list[list[Prediction]]:
        raise BadOption("a store has no model that could be run")


class StoreOpening(Opening):
    """How a store is opened."""

    def python(self, *, bare: bool = False) -> str:
        return f"import layerscope as ls\n\nstore = ls.open_store({text_of(str(self.model.storage), bare=bare)})"


class StoredSession(Session):
    """Answers as `Session` does, from a store that holds maps; what needs the model isn't offered.

    >>> from layerscope.store.example import example_store
    >>> session = StoredSession(example_store())
    >>> session.answer("manifest").result["caps"]["upload"]
    False
    """

    def __init__(self, store: Store, layers: Any = None, **more: Any) -> None:
        check_maps(store)
        rows = store.gallery.rows
        images = [StoredImage(store.ids[row], store, row=row) for row in rows[:MOST].tolist()]
        super().__init__(StoredScope.of(store), images, layers, opening=StoreOpening(store), **more)
        self._store = store

    def _manifest(self, question: Question) -> Reply:
        told, plan = super()._manifest(question).result, self._store.plan
        shown = len(told["inputs"])
        notes = [note for note in told["notes"] if not note.startswith("skipped")]
        notes.append("the photos are what the model saw of the images, in the size in which the store keeps them")
        if shown < plan.images:
            notes.append(f"{shown:,} of {counted(plan.images, 'image')}: those of which the store has photos")
        free = [rule for rule in told["combinations"] if rule["needs"] == "none"]
        labels = [label for group in told["absent"] for label in group["labels"]]
        labels += [rule["label"] for rule in told["combinations"] if rule not in free]
        of_attention = [layer["path"] for layer in told["layers"] if layer["kind_of"] == "attention"]
        about = {
            "model": {**told["model"], "text": plan.preprocess, "classes": 0, "store": True},
            "combinations": [{**rule, "call": _call(rule["name"], of_attention)} for rule in free],
            "absent": [{"reason": "Need a model: a store has none", "labels": labels}],
            "notes": notes,
            "caps": {**told["caps"], "upload": False},
        }
        return Reply({**told, **about})

    def _probe(self, question: Question) -> Reply:
        told = super()._probe(question).result
        if self._store.plan.dtype == "float16" and told["value"] is not None:
            # The digits that a half has: more would be read as those of the model.
            told = {**told, "text": f"{float(str(np.float16(told['value']))):g}".replace("-", "−")}
        return Reply(told)

    def _add(self, question: Question) -> Reply:
        raise BadOption("images can't be added: a store has no model that could be run on them")


def _call(name: str, of_attention: Sequence[str]) -> str:
    """Python for a combination of `fm`, with its argument in place of the braces.

    >>> _call("max", ()), _call("attention", ())
    ('ls.maximum(fm{})', 'ls.mean(ls.attention(fm{}))')
    """
    rule = next(rule for rule in RULES if rule.name == name)
    if rule.joint:
        return f"ls.{rule.function.__name__}({{path: store.feature_map(path, fm.ids[0]) for path in {of_attention!r}}})"
    call = f"ls.{rule.function.__name__}(fm{{}})"
    return f"ls.mean({call})" if name == "attention" else call


def session_of_store(given: Any, images: Any, layers: Any, **opening: Any) -> StoredSession | None:
    """The session of a store that is given in place of a model; `None` for anything else."""
    store = store_of(given)
    if store is None:
        return None
    refuse_beside(images, opening)
    return StoredSession(store, layers)


def check_maps(store: Store) -> None:
    """Raises `BadOption` where a store has no maps of whole images."""
    if store.plan.keep == "maps":
        return
    kept, wanted = option("keep", store.plan.keep), option("keep", "maps")
    instead = by_surface(
        "store.top draws the images of a channel, and ls.report(store) those of many",
        "`layerscope top` draws the images of a channel, and `layerscope report --store` those of many",
    )
    raise BadOption(f"the store has no maps to show: it was filled with {kept}", f"scan with {wanted}; {instead}")
