"""`report`: layers with all of their values as one HTML file, which opens without a network and sends nothing anywhere."""

from __future__ import annotations

import base64
import os
import warnings
import zlib
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..checks import file_path, keywords
from ..core.progress import work
from ..errors import BadOption, LayerscopeError, LayerscopeWarning, caller_level
from ..plots.show import open_options
from ..safe_text import counted, json_text, sentence
from ..writing import write
from .document import Document
from .session import Session, session_for

if TYPE_CHECKING:
    from ..store.store import Store

MOST = 50_000_000  # bytes of a file
SUFFIXES = (".html", ".htm")
# What is computed for each layer, by methods that take one run of the model at most: weights, which take no room, then maps.
WEIGHTS, MAPS = ("total", "pca", "cam", "grad-cam"), ("max", "norm", "deviation", "layer-cam")
MOST_NAMED = 8
APART = "~"  # in front of a text: the even bytes come first, then the odd ones
REFUSED = "!"  # in front of why there is none
ONLY_PAGE = "Only in layerscope view"
LEVEL, MEMORY, GZIP = 6, 9, 31

Parts = dict[str, str]


@keywords
def report(
    model: Any,
    images: Any = None,
    layers: Any = "stages",
    path: str | os.PathLike[str] = "report.html",
    *,
    channels: Sequence[int] | None = None,
    weights: str | os.PathLike[str] | None = None,
    preprocess: Any = "auto",
    size: int | str | Sequence[int] | None = None,
    labels: str | os.PathLike[str] | Sequence[str] | None = None,
    backend: Any = None,
    device: Any = None,
    trust: bool = False,
) -> Path:
    """The path of an HTML file that holds layers of a model for some images, to look at as in `view`, with no server.

    Values are kept in 16 bits, statistics exactly. Above 50 MB they get 8 bits, then the largest layers are left out; the file
    says so, and so does a warning.

    >>> import layerscope as ls, tempfile, os
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     ls.report("demo", ls.demo_photo(), "_conv_stem", os.path.join(folder, "cat.html")).name
    'cat.html'

    Of a `Store` it tells what the layers make of the whole data set: statistics, top images, histograms; without a script.

    Args:
        model: What `open` takes (a model object, a file, a reference), or a `Scope`. Or a `Store`, or its folder.
        images: What `Scope.capture` takes; none with a store.
        layers: As for `Scope.capture`; by default the last layer of each resolution, of a store all.
        path: Where the file is written: `.html`.
        channels: Of a store, the channels to show of each layer; by default a dozen that tell most.
        weights: As for `open`, like all that follow; where `model` is a `Scope`, it has them.
        preprocess: How the image becomes the model's input.
        size: The model's input size, `(height, width)`, one number or `"224x224"`, where the model doesn't fix it.
        labels: Class names, a file with one per line, or `"imagenet"`.
        backend: The backend that reads the model.
        device: Where the model runs.
        trust: Whether the model's file may run code while it is loaded.

    Raises:
        BadOption: No layer fits into the file, or it can't be written.
        LayerNotFound: A layer that doesn't exist.
        ModelNotReadable: A model that can't be opened; with its children `BackendMissing` and `TrustRequired`.
        ImageNotReadable: The only image, or every image, can't be read.
    """
    from .stored import refuse_beside, store_of

    file, opening = check_file(path), open_options(locals())
    if (store := store_of(model)) is not None:
        refuse_beside(images, opening)
        return write_store_report(store, file, layers, channels)
    if channels is not None:
        raise BadOption("channels= is for the report of a store", "leave it out: a report of a model has all channels")
    if images is None:
        raise BadOption("no image is given for the report", "give one or more, or a store")
    write_report(session_for(model, images, layers, **opening), file)
    return file


def write_report(session: Session, file: Path) -> None:
    """Write the report of a session, and warn of what was done to keep it small."""
    text, notes = document_of(session)
    write(file, text.encode())
    for note in notes:
        warnings.warn(LayerscopeWarning(note), stacklevel=caller_level())


def write_store_report(store: Store, file: Path, layers: Any = None, channels: Any = None) -> Path:
    """Write the report of a store, and warn of what was left out to keep it small."""
    from ..store.report.page import page

    text, notes = page(store, layers, channels, room=MOST)
    write(file, text.encode())
    for note in notes:
        warnings.warn(LayerscopeWarning(note), stacklevel=caller_level())
    return file


def check_file(path: str | os.PathLike[str]) -> Path:
    """The path of a report. Raises `BadOption` for another suffix, before anything is loaded."""
    file = Path(file_path(path, "path"))
    if file.suffix.lower() not in SUFFIXES:
        raise BadOption(
            f"{file.name!r}: a report is an HTML file", f"name it {file.name.partition('.')[0] or 'report'}.html"
        )
    return file


def document_of(session: Session) -> tuple[str, list[str]]:
    """The text of a report, and what was done to keep it small."""
    session.check()
    manifest = session.answer("manifest", {"predictions": "all"}).result
    manifest["model"]["opening"] = session.opening.python(bare=True)
    manifest["model"].pop("command", None)  # this is the report
    for entry in manifest["inputs"]:
        if os.path.isabs(entry.get("source") or ""):
            entry["source"] = os.path.basename(entry["source"])  # where a file lies is nobody else's business
    inputs = [entry["id"] for entry in manifest["inputs"]]
    layers = [layer for layer in manifest["layers"] if layer["kind_of"] != "none"]
    photos = _photos(session, manifest["inputs"])
    page = Document.of(manifest["title"], "report")
    room = MOST - len(page.html().encode()) - len(json_text(manifest)) - _size(photos)
    with work(len(layers) * len(inputs), "maps") as step:
        maps, layers, notes = _maps(session, layers, inputs, room=room, step=step)
    combinations = _combinations(session, {**manifest, "layers": layers}, room=room - _size(maps))
    names = {key.split(":")[3] for key in combinations}
    others = [each["label"] for each in manifest["combinations"] if each["name"] not in {"mean", *names}]
    first = manifest["first"]
    manifest |= {
        "layers": layers,
        "combinations": [each for each in manifest["combinations"] if each["name"] in names],
        "absent": [*manifest["absent"], *([{"reason": ONLY_PAGE, "labels": others}] if others else [])],
        "caps": {"request": False, "upload": False, "exact": False},
        "first": first if first["layer"] in [layer["id"] for layer in layers] else {**first, "layer": layers[0]["id"]},
        "notes": [*manifest["notes"], *notes],
    }
    parts = {**photos, **maps, **combinations}
    return page.html(json_text({"manifest": manifest, "parts": parts}, allow_nan=False), with_policy=True), notes


def _photos(session: Session, inputs: Sequence[Mapping[str, Any]]) -> Parts:
    """The photos of those that have one."""
    ids = [entry["id"] for entry in inputs if entry["width"]]
    return {f"photo:{id}": pack_text(session.answer("photo", {"input": id}).buffers[0]) for id in ids}


def _maps(
    session: Session, layers: Sequence[dict[str, Any]], inputs: Sequence[str], *, room: int, step: Callable[[int], None]
) -> tuple[Parts, list[dict[str, Any]], list[str]]:
    """The maps that there is room for: all with 16 bits, else all with 8, else those of the smallest layers.

    With them the layers in their order, and what was done.
    """
    ascending = sorted(layers, key=lambda layer: layer["bytes"])
    most = f"{MOST // 1_000_000} MB"
    for encoding in ("auto", "u8"):
        parts, ids, rest = Parts(), [], room
        for layer in ascending:
            more = {}
            for id in inputs:
                data = session.answer("map", {"input": id, "layer": layer["id"], "encoding": encoding}).buffers[0]
                more[f"map:{id}:{layer['id']}"] = pack_text(data, halves=encoding == "auto")
                if _size(more) > rest:
                    break
                if encoding == "auto":
                    step(1)
            if _size(more) > rest:
                break
            rest -= _size(more)
            parts |= more
            ids.append(layer["id"])
        if len(ids) == len(layers):
            break
    notes = []
    if encoding == "u8":
        notes.append(
            f"Values are kept in 8 bits, 240 steps of each channel's range: with 16 the file has more than {most}."
        )
    absent = [layer["path"] for layer in layers if layer["id"] not in ids]
    if absent:
        names = ", ".join(absent[:MOST_NAMED]) + (", …" if len(absent) > MOST_NAMED else "")
        notes.append(
            f"{counted(len(absent), 'layer')} of {len(layers)} left out, with which the file has more than {most}: {names}."
        )
    if not ids:
        raise BadOption(
            f"a report has at most {most}, which no layer chosen fits into for {counted(len(inputs), 'image')}",
            "choose other layers or fewer images; layerscope view shows any",
        )
    return parts, [layer for layer in layers if layer["id"] in ids], notes


def _combinations(session: Session, manifest: Mapping[str, Any], *, room: int) -> Parts:
    """The combinations that there is room for, where a layer has them, for the first class of each image."""
    rules = {rule["name"]: rule for rule in manifest["combinations"]}
    parts: Parts = {}
    for names in (WEIGHTS, MAPS):
        for entry, layer, name in product(manifest["inputs"], manifest["layers"], names):
            if name in rules:
                more = _combination(session, entry, layer["id"], rules[name])
                if _size(parts) + _size(more) <= room:
                    parts |= more
    return parts


def _combination(session: Session, entry: Mapping[str, Any], layer: str, rule: Mapping[str, Any]) -> Parts:
    """One of them, under its name and, where it is for a class, under that of the class, which leads to the first."""
    params = {"input": entry["id"], "layer": layer, "name": rule["name"]}
    key = ":".join(["combine", *params.values()])
    top = entry["predictions"][0]["index"] if rule["needs"] == "target" and entry["predictions"] else None
    try:
        reply = session.answer("combine", {**params, "target": top, "encoding": "auto"})
    except LayerscopeError as error:  # this layer has none: no positions, not the one before the head
        text = REFUSED + sentence(str(error))
    else:
        text = min((pack_text(reply.buffers[0], halves=halves) for halves in (False, True)), key=len)
    return {key: text} | ({} if top is None else {f"{key}:{top}": key})


def _size(parts: Parts) -> int:
    return sum(len(key) + len(text) + 6 for key, text in parts.items())


def pack_text(data: bytes, *, halves: bool = False) -> str:
    """The bytes as base64 of gzip. `halves`: most of them are numbers of two bytes, which pack smaller with these apart.

    Repeats are looked for only where that makes it smaller, which it doesn't in noise with many zeros, as behind a ReLU.

    >>> unpack_text(pack_text(b"12345678")), unpack_text(pack_text(b"12345678", halves=True)), pack_text(b"", halves=True)[0]
    (b'12345678', b'12345678', '~')
    """
    apart = halves and len(data) % 2 == 0
    stream = data[::2] + data[1::2] if apart else data
    strategies = (zlib.Z_DEFAULT_STRATEGY, zlib.Z_HUFFMAN_ONLY) if apart else (zlib.Z_DEFAULT_STRATEGY,)
    smallest = min((_deflate(stream, strategy) for strategy in strategies), key=len)
    return (APART if apart else "") + base64.b64encode(smallest).decode()


def unpack_text(text: str) -> bytes:
    """What `pack_text` was given."""
    data = zlib.decompress(base64.b64decode(text.removeprefix(APART)), GZIP)
    if not text.startswith(APART):
        return data
    whole = bytearray(len(data))
    whole[::2], whole[1::2] = data[: len(data) // 2], data[len(data) // 2 :]
    return bytes(whole)


def _deflate(data: bytes, strategy: int) -> bytes:
    packer = zlib.compressobj(LEVEL, zlib.DEFLATED, GZIP, MEMORY, strategy)
    return packer.compress(data) + packer.flush()
