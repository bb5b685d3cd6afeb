"""The table of what is fuzzed: for each family its seeds, its mutators, and the door that a file goes through."""

from __future__ import annotations

import functools
import importlib.util
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

import layerscope as ls
from layerscope.safe_text import UNSAFE

from . import formats, seeds, seeds_tflite
from .mutate import Mutator, of_bytes, of_json, of_text

PHOTO = np.random.default_rng(0).integers(0, 255, (12, 10, 3), np.uint8)


class RawText(AssertionError):
    """A character that steers a terminal was printed."""


@dataclass(frozen=True)
class Family:
    """One kind of file.

    `needs` are the modules that a process imports before the cases run, `mutators` go by the suffix of the file, `use` opens
    a file and works with what it holds, `weight` is the family's share of the time.
    """

    name: str
    needs: tuple[str, ...]
    seeds: Callable[[], seeds.Seeds]
    mutators: dict[str, tuple[Mutator, ...]]
    use: Callable[[Path], None]
    weight: int = 1

    @property
    def missing(self) -> str:
        """The module that isn't installed here, `""` where all are."""
        return next((name for name in self.needs if importlib.util.find_spec(name.partition(".")[0]) is None), "")

    def case(self, seed: int, number: int, files: seeds.Seeds) -> tuple[str, bytes]:
        """(name, content) of a case: the same for the same seed and number, each file as it is first."""
        names = sorted(files)
        if number < len(names):
            return names[number], files[names[number]]
        random = Random(f"{seed}:{self.name}:{number}")
        name = random.choice(names)
        content = files[name]
        for _ in range(random.choice((1, 1, 1, 2))):
            try:
                content = random.choice(self.mutators.get(Path(name).suffix, (of_bytes,)))(random, content)
            except Exception:  # an earlier change has taken away what this one looks for
                content = of_bytes(random, content)
        return name, content


# ---- doors -----------------------------------------------------------------------------------------------------------
def use_model(path: Path) -> None:
    """Everything that `layers` and `show` do with a model: open it, list its layers, capture and draw one."""
    scope = ls.open(path)
    table = scope.layers()
    check_text(table.plain())
    one = scope.capture(PHOTO, "last")
    check_text(repr(one))
    ls.sheet(next(iter(one.values())), channels=slice(0, 4)).png()


def check_text(text: str) -> None:
    if found := UNSAFE.search(text.replace("\n", "")):
        raise RawText(f"{found[0]!r} in {text[max(0, found.start() - 20) : found.end() + 20]!r}")


def use_image(path: Path) -> None:
    """A model of any size, so that a photo is read as large as its limits allow."""
    from layerscope.backends.protocol import Facts, Input
    from layerscope.testing import TinyBackend, tiny_model

    model = tiny_model()
    model.facts = Facts("tiny", (Input("image", "bchw", (None, 3, None, None)),))
    ls.open(model, backend=TinyBackend(), preprocess="imagenet", size=64).capture(path, "conv1")


def tiny(**options: Any) -> ls.Scope:
    from layerscope.testing import TinyBackend, tiny_model

    return ls.open(tiny_model(), backend=TinyBackend(), preprocess="unit", **options)


def use_map(path: Path) -> None:
    fm = ls.FeatureMap.of_array(np.ones((1, 6, 5, 4), np.float32))
    if path.name.endswith(("map.npz", "mean.npz")):
        loaded = ls.load(path)
        check_text(repr(loaded))
        ls.sheet(loaded, channels=slice(0, 4)).png()
    elif path.name.endswith("pca.npz"):
        ls.pca(fm, basis=path)
    else:
        ls.clusters(fm, basis=path)


def use_labels(path: Path) -> None:
    scope = tiny(labels=path)
    check_text(repr(scope))
    scope.label(0)


def use_table(path: Path) -> None:
    ls.heatmap(ls.weighted(ls.FeatureMap.of_array(np.ones((1, 6, 5, 4), np.float32)), path)).png()


def use_weights(path: Path) -> None:
    from layerscope.backends.torch.load import load_weights

    load_weights(seeds.torch_network(), path)


def use_command(path: Path) -> None:
    """A command line, in a folder with a model, a photo and labels."""
    from layerscope import cli

    line = json.loads(path.read_bytes())
    for name, content in command_files().items():
        path.with_name(name).write_bytes(content)
    try:
        code = cli.main(line)
    except SystemExit as ended:
        code = ended.code
    finally:
        for other in path.parent.iterdir():
            if other.name != path.name:
                shutil.rmtree(other) if other.is_dir() else other.unlink()
    assert code in (0, 1, 2, 3), code


@functools.cache
def command_files() -> seeds.Seeds:
    return {"model.onnx": seeds.onnx_models()["network.onnx"], "photo.png": seeds.images()["rgb.png"], **seeds.labels()}


ONNX, TFLITE, TORCH = ("onnx", "onnxruntime"), ("ai_edge_litert.interpreter", "flatbuffers"), ("torch", "safetensors")
KERAS = ("keras", "tensorflow", "h5py")
FAMILIES = (
    Family(
        "images", ("PIL",), seeds.images,
        {".png": (of_bytes, formats.of_png), ".jpg": (of_bytes, formats.of_jpeg)}, use_image, 2,
    ),
    Family(
        "maps", ("numpy", "sklearn.cluster"), seeds.maps,
        {".npz": (of_bytes, formats.of_zip, formats.of_zip)}, use_map, 2,
    ),
    Family("labels", ("numpy",), seeds.labels, {".txt": (of_bytes, of_text), ".json": (of_bytes, of_json)}, use_labels),
    Family("tables", ("numpy",), seeds.weight_tables, {".csv": (of_bytes, of_text), ".npy": (formats.of_npy,)}, use_table),
    Family("onnx", ONNX, seeds.onnx_models, {".onnx": (of_bytes, formats.of_onnx, formats.of_onnx)}, use_model, 4),
    Family("commands", ONNX, seeds.commands, {".json": (formats.of_command,)}, use_command, 2),
    Family(
        "tflite", TFLITE, seeds_tflite.tflite_models,
        {".tflite": (of_bytes, formats.of_tflite, formats.of_tflite, formats.of_label_zip)}, use_model, 4,
    ),
    Family(
        "keras", KERAS, seeds.keras_models,
        {".keras": (of_bytes, formats.of_zip, formats.of_zip), ".h5": (of_bytes, formats.of_hdf5, formats.of_hdf5)},
        use_model, 6,
    ),
    Family(
        "torch", TORCH, seeds.torch_models,
        {".pt2": (of_bytes, formats.of_zip, formats.of_zip), ".pt": (of_bytes, formats.of_zip)}, use_model, 4,
    ),
    Family(
        "state", TORCH, seeds.torch_weights,
        {".pth": (of_bytes, formats.of_zip), ".safetensors": (of_bytes, formats.of_safetensors)}, use_weights, 2,
    ),
)  # fmt: skip


def named(name: str) -> Family:
    return next(family for family in FAMILIES if family.name == name)
