"""`report`: layers with all of their values as one HTML file, which opens without a network and sends nothing anywhere."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..checks import file_path, keywords
from ..core.progress import work
from ..errors import BadOption, LayerscopeError, LayerscopeWarning, caller_level
from ..plots.show import open_options
from ..safe_text import counted, json_text
from ..writing import write
from .document import Document
from .packing import packed
from .session import Session, session_for

MOST = 50_000_000  # bytes of a file
SUFFIXES = (".html", ".htm")
# What is computed for each layer: weights alone, which take no room, of methods that take one run of the model at most.
HELD = ("total", "pca", "cam", "grad-cam")
MOST_NAMED = 8

Parts = dict[str, str]


@keywords
def report(
    model: Any,
    images: Any,
    layers: Any = "stages",
    path: str | os.PathLike[str] = "report.html",
    *,
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

    Args:
        model: What `open` takes (a model object, a file, a reference), or a `Scope`.
        images: What `Scope.capture` takes.
        layers: As for `Scope.capture`; by default the last layer of each resolution.
        path: Where the file is written: `.html`.
        weights: As for `open`, like all that follow; not used where `model` is a `Scope`.
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
    file = check_file(path)
    write_report(session_for(model, images, layers, **open_options(locals())), file)
    return file


def write_report(session: Session, file: Path) -> None:
    """Write the report of a session, and warn of what was done to keep it small."""
    text, notes = written(session)
    write(file, text.encode())
    for note in notes:
        warnings.warn(LayerscopeWarning(note), stacklevel=caller_level())


def check_file(path: str | os.PathLike[str]) -> Path:
    """The path of a report. Raises `BadOption` for another suffix, before anything is loaded."""
    file = Path(file_path(path, "path"))
    if file.suffix.lower() not in SUFFIXES:
        raise BadOption(
            f"{file.name!r}: a report is an HTML file", f"name it {file.name.partition('.')[0] or 'report'}.html"
        )
    return file


def written(session: Session) -> tuple[str, list[str]]:
    """The text of a report, and what was done to keep it small."""
    manifest = session.answer("manifest", {"predictions": "all"}).result
    for named in (manifest["model"], *manifest["inputs"]):
        if os.path.isabs(named.get("source") or ""):
            named["source"] = os.path.basename(named["source"])  # where a file lies is nobody else's business
    inputs = [entry["id"] for entry in manifest["inputs"]]
    shown = [layer for layer in manifest["layers"] if layer["kind_of"] != "none"]
    photos = _photos(session, manifest["inputs"])
    page = Document.built(manifest["title"], "report")
    room = MOST - len(page.html().encode()) - len(json_text(manifest)) - _size(photos)
    with work(len(shown) * len(inputs), "maps") as step:
        maps, kept, notes = _fitted(session, shown, inputs, room=room, step=step)
    combined = _combined(session, manifest, kept, room=room - _size(maps))
    held = {name for key in combined for name in [key.split(":")[3]]}
    first = manifest["first"]
    manifest |= {
        "layers": kept,
        "combinations": [each for each in manifest["combinations"] if each["name"] in held],
        "caps": {"request": False, "upload": False, "exact": False},
        "first": first if first["layer"] in [layer["id"] for layer in kept] else {**first, "layer": kept[0]["id"]},
        "notes": [*manifest["notes"], *notes],
    }
    parts = {**photos, **maps, **combined}
    return page.html(json_text({"manifest": manifest, "parts": parts}, allow_nan=False), policed=True), notes


def _photos(session: Session, inputs: Sequence[Mapping[str, Any]]) -> Parts:
    """The photos of those that have one."""
    ids = [entry["id"] for entry in inputs if entry["width"]]
    return {f"photo:{id}": packed(session.answer("photo", {"input": id}).buffers[0]) for id in ids}


def _fitted(
    session: Session, layers: Sequence[dict[str, Any]], inputs: Sequence[str], *, room: int, step: Callable[[int], None]
) -> tuple[Parts, list[dict[str, Any]], list[str]]:
    """The maps that there is room for: all with 16 bits, else all with 8, else those of the smallest layers.

    With them the layers in their order, and what was done.
    """
    ascending = sorted(layers, key=lambda layer: layer["bytes"])
    most = f"{MOST // 1_000_000} MB"
    for encoding in ("auto", "u8"):
        parts, kept, left = Parts(), [], room
        for layer in ascending:
            more = {}
            for id in inputs:
                data = session.answer("map", {"input": id, "layer": layer["id"], "encoding": encoding}).buffers[0]
                more[f"map:{id}:{layer['id']}"] = packed(data, halves=encoding == "auto")
                if _size(more) > left:
                    break
                if encoding == "auto":
                    step(1)
            if _size(more) > left:
                break
            left -= _size(more)
            parts |= more
            kept.append(layer["id"])
        if len(kept) == len(layers):
            break
    notes = []
    if encoding == "u8":
        notes.append(
            f"Values are kept in 8 bits, 240 steps of each channel's range: with 16 the file has more than {most}."
        )
    lost = [layer["path"] for layer in layers if layer["id"] not in kept]
    if lost:
        names = ", ".join(lost[:MOST_NAMED]) + (", …" if len(lost) > MOST_NAMED else "")
        notes.append(
            f"{counted(len(lost), 'layer')} of {len(layers)} left out, with which the file has more than {most}: {names}."
        )
    if not kept:
        raise BadOption(
            f"a report has at most {most}, which no layer chosen fits into for {counted(len(inputs), 'image')}",
            "choose other layers or fewer images; layerscope view shows any",
        )
    return parts, [layer for layer in layers if layer["id"] in kept], notes


def _combined(
    session: Session, manifest: Mapping[str, Any], layers: Sequence[Mapping[str, Any]], *, room: int
) -> Parts:
    """The combinations that the page makes of weights, where a layer has them, for the first class of each image."""
    rules = [rule for rule in manifest["combinations"] if rule["name"] in HELD]
    parts: Parts = {}
    for entry in manifest["inputs"]:
        top = (entry["predictions"] or [{}])[0].get("index")
        for layer in layers:
            for rule in rules:
                asked = {"input": entry["id"], "layer": layer["id"], "name": rule["name"]}
                key = ":".join(["combine", *asked.values()])
                try:
                    data = session.answer(
                        "combine", asked | ({"target": top} if rule["needs"] == "target" else {})
                    ).buffers[0]
                except LayerscopeError:
                    continue  # this layer has none: no positions, no gradients, not the one before the head
                text = packed(data)
                new = {key: text} if rule["needs"] != "target" else {key: text, f"{key}:{top}": text}
                if _size(parts) + _size(new) <= room:
                    parts |= new
    return parts


def _size(parts: Parts) -> int:
    return sum(len(key) + len(text) + 6 for key, text in parts.items())
