"""What makes the results of a scan, as the store holds it: model, preprocessing, layers, what is kept."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from .._version import __version__
from ..core.layer import Layer, kind_in_words
from ..core.npz import layer_fields, layer_of
from ..errors import BadOption
from ..files import parsing
from ..surface import option
from .storage import Storage

NAME, PROVENANCE = "store.json", "provenance.json"
FORMAT = 2
KEEPS = ("pooled", "maps", "stats")
DTYPES = ("float16", "float32", "uint8")
WORDS = {
    "model": "model",
    "digest": "weights",
    "framework": "framework",
    "recipe": "preprocessing",
    "input": "model input",
    "keep": "kept",
    "dtype": "type of the maps",
    "top": "top images",
    "unit": "images in a unit",
    "batch": "batch",
    "versions": "versions",
}


@dataclass(frozen=True)
class Kept:
    """One layer of a store: `name` in its files, the channels that are kept by their true numbers, the sizes of its maps."""

    name: str
    layer: Layer
    channels: tuple[int, ...]
    spatial: tuple[int, ...]
    dtype: str = "float32"
    labels: tuple[str, ...] = ()

    @property
    def positions(self) -> int:
        """How many units one channel has."""
        count = 1
        for size in self.spatial:
            count *= size
        return count

    @property
    def on_photo(self) -> bool:
        """Whether its maps lie on the photo: rows and columns of places, not of tokens that attend to one another."""
        return len(self.spatial) == 2 and not self.layer.attention

    @property
    def title(self) -> str:
        """The layer in words: path, kind and sizes."""
        sizes = f" of {' × '.join(map(str, self.spatial))}" if self.spatial else ""
        return f"{self.layer.path or 'output'} ({kind_in_words(self.layer)}): {len(self.channels)} channels{sizes}"


@dataclass(frozen=True)
class Plan:
    """Everything that the results of a scan follow from, and how many images there are.

    `recipe` and `input` say how a photo becomes model input, `preprocess` says it to people. `versions` are those of what
    computes; `labels` the model's classes.
    """

    model: str
    digest: str
    framework: str
    recipe: Mapping[str, Any]
    input: Mapping[str, Any]
    preprocess: str
    layers: tuple[Kept, ...]
    keep: str = "pooled"
    dtype: str = "float16"
    top: int = 16
    unit: int = 128
    batch: int = 32
    versions: Mapping[str, str] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    images: int = 0
    format: int = FORMAT

    @property
    def units(self) -> int:
        return -(-self.images // self.unit)

    @property
    def quantised(self) -> bool:
        """Whether maps are kept in bytes."""
        return self.keep == "maps" and self.dtype == "uint8"

    @property
    def makers(self) -> str:
        """The hash of all that makes the results, which each receipt holds."""
        about = {name: value for name, value in self.fields().items() if name not in ("images", "labels")}
        return hashlib.blake2b(_json(about), digest_size=16).hexdigest()

    def fields(self) -> dict[str, Any]:
        """As JSON holds it."""
        plain = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        layers = [{**vars_of(kept), "layer": layer_fields(kept.layer)} for kept in self.layers]
        return {**plain, "layers": layers}

    def write(self, storage: Storage) -> None:
        storage.put(NAME, _json(self.fields(), indent=1) + b"\n")

    @classmethod
    def read(cls, storage: Storage) -> Plan | None:
        """That of a store; `None` where there is none yet. Raises `BadOption` for a file that holds something else."""
        try:
            text = storage.get(NAME)
        except FileNotFoundError:
            return None
        with parsing(NAME, "the plan of a scan"):
            about = json.loads(text)
            if about["format"] != FORMAT or about.keys() != {entry.name for entry in fields(cls)}:
                raise _of_another_version(storage, about["format"])
            layers = tuple(Kept(**{**_tuples(kept), "layer": layer_of(kept["layer"])}) for kept in about.pop("layers"))
            return cls(**{**about, "labels": tuple(about["labels"])}, layers=layers)


def _of_another_version(storage: Storage, format: int) -> BadOption:
    """What is wrong with a store whose plan another version of layerscope has written."""
    try:
        version = json.loads(storage.get(PROVENANCE))["runs"][-1]["versions"]["layerscope"]
    except (FileNotFoundError, ValueError, LookupError, TypeError):  # its first run hasn't come to its end
        version = ""
    by = f"layerscope {version}" if version else "another version of layerscope"
    newer = isinstance(format, int) and format > FORMAT
    instead = "upgrade layerscope" if newer else "read it with that version"
    return BadOption(
        f"{storage} is a store of format {format}, which {by} has written; layerscope {__version__} reads format {FORMAT}",
        f"{instead}, or scan into another {option('store')}",
    )


def vars_of(kept: Kept) -> dict[str, Any]:
    return {entry.name: getattr(kept, entry.name) for entry in fields(kept)}


def _tuples(kept: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in kept.items()}


def _json(value: Any, indent: int | None = None) -> bytes:
    return json.dumps(value, sort_keys=True, indent=indent).encode()


def differences(then: Plan, now: Plan) -> list[str]:
    """What makes the results of two scans differ, in words; none where the second can go on with the first."""
    return list(_plain_differences(then, now)) or list(_layer_differences(then, now))


def _plain_differences(then: Plan, now: Plan) -> Iterator[str]:
    for name, word in WORDS.items():
        before, after = getattr(then, name), getattr(now, name)
        if _json(before) == _json(after):
            continue
        if isinstance(before, Mapping):
            names = [key for key in {**before, **after} if _json(before.get(key)) != _json(after.get(key))]
            before, after = ({key: value.get(key) for key in names} for value in (before, after))
            yield f"{word}: {_listed(before)} there, {_listed(after)} now"
        else:
            yield f"{word}: {_short(before)} there, {_short(after)} now"


def _layer_differences(then: Plan, now: Plan) -> Iterator[str]:
    before, after = ({kept.layer.path: kept for kept in plan.layers} for plan in (then, now))
    if list(before) != list(after):
        yield f"layers: {', '.join(before)} there, {', '.join(after)} now"
        return
    for path, kept in before.items():
        if kept.channels != after[path].channels:
            yield f"channels of {path}: {len(kept.channels)} there, {len(after[path].channels)} now"
        elif kept != after[path]:
            yield f"the layer {path}: {kept.title} there, {after[path].title} now"


def _short(value: Any) -> str:
    """A value in words, of a long digest its beginning."""
    text = str(value)
    return f"{text[:20]}…" if len(text) > 40 and " " not in text else text


def _listed(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


def file_names(paths: Sequence[str]) -> list[str]:
    """A name for each layer's files, of letters, digits and `._-`, none twice, also where upper and lower case are one.

    >>> file_names(["block1/conv2", "block1_conv2", ""])
    ['block1_conv2', 'block1_conv2-2', 'output']
    """
    names: list[str] = []
    taken: set[str] = set()
    for path in paths:
        plain = re.sub(r"[^A-Za-z0-9._-]+", "_", path).strip(".")[:120] or "output"
        name, number = plain, 2
        while name.lower() in taken:
            name, number = f"{plain}-{number}", number + 1
        taken.add(name.lower())
        names.append(name)
    return names


def recipe_fields(recipe: Any) -> dict[str, Any]:
    """A recipe as JSON holds it; of a function its name."""
    from ..inputs.recipe import callable_name

    about = asdict(recipe)
    function = about.pop("function")
    return json.loads(json.dumps({**about, "function": function and callable_name(function)}))
