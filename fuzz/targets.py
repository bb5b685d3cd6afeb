"""One function for each parser of layerscope's own: it takes any bytes, and states what holds for all of them.

Whatever is wrong is an exception that is no `LayerscopeError`; those are what a parser may raise.
"""

from __future__ import annotations

import argparse
import functools
import io
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
from PIL import Image

import layerscope as ls
from layerscope.backends.keras import allowed
from layerscope.backends.tflite import axes as tflite_axes
from layerscope.backends.tflite import facts as tflite_facts
from layerscope.backends.tflite import graph as tflite_graph
from layerscope.backends.tflite import model as tflite_model
from layerscope.backends.tflite import run as tflite_run
from layerscope.channels import query
from layerscope.cli import arguments
from layerscope.core import selection
from layerscope.inputs import preprocess
from layerscope.picture import png
from layerscope.safe_text import UNSAFE, printable
from layerscope.terminal import probe

from . import seeds, seeds_tflite
from .formats import zipped

MOST_BYTES = 4096


@dataclass(frozen=True)
class Target:
    """A parser, and inputs that it reads."""

    run: Callable[[bytes], None]
    seeds: Callable[[], Sequence[bytes]]

    @property
    def name(self) -> str:
        return self.run.__name__


def text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def parsed(data: bytes) -> Any:
    """JSON; `None` for what is none."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def words(*texts: str) -> Callable[[], Sequence[bytes]]:
    return lambda: [text.encode() for text in texts]


# ---- TFLite ----------------------------------------------------------------------------------------------------------
def flatbuffer(data: bytes) -> None:
    """A file is read or refused; what is read can be cut, and the cut is a file with the outputs asked for."""
    model = tflite_model.TfliteModel(data)
    tflite_facts._read(model.graph)
    tflite_axes.Axes(model.graph, model.graph.file_shapes)
    graph = model.graph
    for index in range(len(graph.tensors)):
        graph.numbers(index)
    assert set(graph.data) >= set(graph.inputs)
    for output in model.outputs[:3]:
        content, kept = tflite_run.cut(graph, [output.tensor])
        again = tflite_graph.Graph(content)
        assert again.outputs == (output.tensor,) and len(again.operators) == len(kept)


def label_zip(data: bytes) -> None:
    """Labels come out of the archive behind a TFLite file, or none do."""
    graph = tflite_graph.Graph(network() + data)
    labels = tflite_facts._unzip(graph, "labels.txt")
    assert labels is None or (labels and all(isinstance(label, str) for label in labels))


# ---- what users write ------------------------------------------------------------------------------------------------
LAYERS = (
    ls.Layer("", "Model", "bc", (1, 10), calls=1, step=5),
    ls.Layer("block1/conv", "Conv2D", "bchw", (1, 4, 8, 8), calls=1, step=0),
    ls.Layer("block1/relu", "ReLU", "bchw", (1, 4, 8, 8), calls=1, step=1, aliases=("act", "[x]")),
    ls.Layer("block2.conv", "nn.Conv2d", "bchw", (1, 4, 4, 4), calls=1, step=2),
    ls.Layer("drop", "Dropout", note="not called"),
    ls.Layer("head:0", "Dense", "bc", (1, 10), calls=1, step=4),
)


def layers(data: bytes) -> None:
    """A choice of layers gives layers of the table, in order and each once, and so does each of their paths."""
    chosen = selection.choose(LAYERS, text(data))
    assert chosen and all(layer in LAYERS for layer in chosen) and len({layer.path for layer in chosen}) == len(chosen)
    if all(layer.path for layer in chosen):
        assert selection.choose(LAYERS, [layer.path for layer in chosen]) == chosen


MAP = ls.FeatureMap.of_array(np.array([[[[0.0, 1.0, -2.0, np.nan, 3.0, np.inf]]]], np.float32))
TABLE = ls.statistics(MAP)


def channels(data: bytes) -> None:
    """A condition gives channels that are there, each once; a list of numbers gives the same without the values."""
    parsed = query.parse(text(data))
    closed = parsed.closed()
    chosen = parsed.select(TABLE)
    assert set(chosen) <= set(MAP.channels) and len(set(chosen)) == len(chosen)
    if not parsed.tests:
        assert chosen == list(query.numbers(text(data), len(MAP.channels), "layer"))
    assert closed is None or closed == chosen


CHECKS: tuple[Callable[[str], Any], ...] = (
    arguments.positive, arguments.size, arguments.scale, arguments.clip, arguments.sort, arguments.channels,
)  # fmt: skip


def options(data: bytes) -> None:
    """The value of an option is refused in argparse's way, or is one."""
    for check in CHECKS:
        try:
            value = check(text(data))
        except argparse.ArgumentTypeError:
            continue
        if check in (arguments.scale, arguments.clip) and isinstance(value, tuple):
            assert value[0] < value[1]
        if check in (arguments.size, arguments.positive):
            assert np.min(value) >= 1


def recipe(data: bytes) -> None:
    """A mapping of fields, as files of models hold them, becomes a recipe that describes itself, or is refused."""
    fields = parsed(data)
    if not isinstance(fields, dict):
        return
    facts = ls.open(seeds_model(), backend=seeds_backend(), preprocess=None).facts
    chosen, _ = preprocess.choose(fields, facts, None)
    assert not UNSAFE.search(printable(chosen.describe()))


def seeds_model() -> Any:
    from layerscope.testing import tiny_model

    return tiny_model()


def seeds_backend() -> Any:
    from layerscope.testing import TinyBackend

    return TinyBackend()


# ---- text, terminals, pictures ---------------------------------------------------------------------------------------
def safe_text(data: bytes) -> None:
    """What is printed steers nothing, can be encoded, and is itself when it is made printable again."""
    safe = printable(text(data))
    safe.encode("utf-8")
    assert not UNSAFE.search(safe) and printable(safe) == safe
    assert safe == text(data) or UNSAFE.search(text(data))


def terminal(data: bytes) -> None:
    """Whatever a terminal answers is read up to its attributes, and no further than it goes."""
    reading, writing = os.pipe()
    try:
        os.write(writing, data)
        os.close(writing)
        answer = probe._read_answer(reading, 1.0)
    finally:
        os.close(reading)
    assert data.startswith(answer)
    match = probe.ATTRIBUTES.search(answer)
    assert match is not None or answer == data
    assert probe.KITTY.search(answer) is None or b"OK" in answer


def picture(data: bytes) -> None:
    """Pillow reads back the pixels and the text of a PNG."""
    if len(data) < 2:
        return
    height, kind, body = data[0] % 9 + 1, data[1] % 2, data[2:]
    pixels = np.resize(np.frombuffer(body or b"\0", np.uint8), (height, 7, 3) if kind else (height, 7))
    palette = None if kind else np.resize(np.frombuffer(body or b"\0", np.uint8), (256, 3))
    stored = {"layerscope": text(body)}
    with Image.open(io.BytesIO(png.encode(pixels, palette, stored, dpi=1 + data[0]))) as image:
        assert np.array_equal(np.asarray(image), pixels)
        assert image.text["layerscope"] == text(body).encode("utf-8", "backslashreplace").decode()


def feature_map(data: bytes) -> None:
    """The description in a file of maps is read or refused; what is read can be written and read again."""
    about = io.BytesIO()
    np.savez(
        about, values=np.ones((1, 2, 2, 3), np.float32), about=np.array(text(data).encode("utf-8", "replace").decode())
    )
    about.seek(0)
    loaded = ls.load(about)
    repr(loaded)


class Layer:
    """The base of a library that has one layer, `Dense`, and one function, `relu`."""


Dense = type("Dense", (Layer,), {"__module__": "keras.src.layers.core.dense"})
LIBRARY = SimpleNamespace(
    __name__="keras",
    activations=SimpleNamespace(relu=lambda x: x),
    saving=SimpleNamespace(get_registered_object=lambda name: None, get_custom_objects=dict),
)


def keras_config(data: bytes) -> None:
    """Whatever a configuration holds, it's told whether all of it may be built; code and unknown classes may not."""
    config = parsed(data)
    if not isinstance(config, dict):
        return
    refusal = allowed.refusal(config, allowed.Names(LIBRARY, (Layer,)))
    if refusal is None:
        classes = {part["class_name"] for part in allowed._parts(config) if "class_name" in part}
        assert classes <= {"Dense", "Layer", "function", "TypeSpec", "__typespec__", *allowed.VALUES}


def configs() -> Sequence[bytes]:
    layer = {"module": "keras.layers", "class_name": "Dense", "config": {"units": 2, "activation": "relu"}}
    whole = {"module": "keras.layers", "class_name": "Dense", "config": {"layers": [layer]}, "registered_name": None}
    return [json.dumps(whole).encode(), json.dumps({"class_name": "Lambda", "config": {}}).encode()]


@functools.cache
def network() -> bytes:
    return seeds_tflite.tflite_models()["network.tflite"]


def tflite_seeds() -> Sequence[bytes]:
    return list(seeds_tflite.tflite_models().values())


def label_seeds() -> Sequence[bytes]:
    return [zipped([("labels.txt", b"cat\ndog\n", method)]) for method in (0, 8)]


def map_seeds() -> Sequence[bytes]:
    with np.load(io.BytesIO(seeds.maps()["map.npz"])) as archive:
        return [str(archive["about"]).encode()]


NAMES = words(
    "last",
    "stages",
    "output",
    "conv",
    "block1/*",
    "kind:Conv2D",
    "-1",
    "#2",
    "act",
    "[x]",
    "head:0",
    "conv,act",
    "**/[",
)
CONDITIONS = words(
    "0:4,5", ":", "mean > 0.1 and not dead", "0:6 and max <= 50%", "nan == 0", "inf != -infinity", "channel<3e0"
)
VALUES = words("1", "224x224", "8×6", "-1:1", "layer", "1:99", "similarity:3", "0:16,40", "nan:nan", "²")
RECIPES = words(
    '{"mean": [0.5], "std": [0.5], "divide": 255, "size": [8, 8]}', '{"name": "x", "resize": "shorter", "short": 9}'
)
ANSWERS = words("\x1b_Gi=31;OK\x1b\\\x1b[?62;4c", "\x1b[?1;2c", "\x1b[?" + "1;" * 200)
TARGETS = (
    Target(flatbuffer, tflite_seeds),
    Target(label_zip, label_seeds),
    Target(layers, NAMES),
    Target(channels, CONDITIONS),
    Target(options, VALUES),
    Target(recipe, RECIPES),
    Target(safe_text, words("conv1", "\x1b[2J\u202e", "é")),
    Target(terminal, ANSWERS),
    Target(picture, words("\3\1abcdef", "\5\0xyz\u202e")),
    Target(feature_map, map_seeds),
    Target(keras_config, configs),
)


def named(name: str) -> Target:
    return next(target for target in TARGETS if target.name == name)
