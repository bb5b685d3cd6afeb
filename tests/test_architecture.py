"""Imports flow one way, and importing layerscope costs next to nothing."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import layerscope as ls

SOURCE = Path(ls.__file__).parent
# Each row may import its own row's and lower rows' modules; the order within a row is checked by the search for cycles.
ROWS = {
    "_version": 0, "errors": 0, "axes": 0, "placement": 0, "memory": 0, "receptive": 0, "places": 0, "layer": 0,
    "choosing": 0, "listing": 0, "layertable": 0,
    "encoding": 1, "readings": 1, "percentiles": 1, "mapfile": 1, "scale": 1, "png": 1, "text": 1, "featuremap": 1,
    "moments": 1, "cells": 1,
    "picture": 2, "words": 2, "canvas": 2, "ruling": 2, "strips": 2, "sheets": 2, "heatmaps": 2, "overlays": 2,
    "contours": 2, "crosstable": 2, "contactsheet": 2, "reducing": 2, "weights": 2, "combine": 2, "components": 2,
    "attending": 2, "backends": 2, "cam": 2, "averaging": 2, "scoring": 2, "bases": 2, "learning": 2, "factors": 2,
    "grouping": 2, "likeness": 2, "changes": 2, "grouped": 2, "marking": 2, "channelstats": 2, "ordering": 2,
    "cautions": 2, "tiles": 2, "mosaic": 2, "slicing": 2, "sequences": 2, "ranking": 2, "animation": 2,
    "filters": 2, "exits": 2,
    "backends.*": 3, "tiny": 3, "testing": 3,
    "transforms": 4, "evidence": 4, "recipe": 4, "resizing": 4, "planes": 4, "photo": 4, "images": 4,
    "preprocess": 4, "feeding": 4, "rerun": 4, "maps": 4, "scope": 4,
    "opening": 5, "suiting": 5, "comparing": 5, "convolutions": 5, "drawing": 5, "saving": 5, "rules": 5,
    "heads": 5, "tensorboard": 5,
    "demo": 6, "callbacks": 6, "terminal": 6, "arguments": 6,
    "cli": 7,
}  # fmt: skip
FRAMEWORKS = (
    "torch",
    "keras",
    "tf_keras",
    "tensorflow",
    "jax",
    "flax",
    "equinox",
    "onnx",
    "onnxruntime",
    "tflite",
    "ai_edge_litert",
)
# Ways out to a library: the module gives that library's own object, and imports it in the function that is called for one.
WAYS_OUT = {("featuremap", "torch"), ("callbacks", "keras"), ("callbacks", "tf_keras")}
# What a backend may take from the package, besides its own files.
BACKEND_MAY = {
    "backends", "backends.affine", "backends.outputs", "backends.regrouping", "layer", "axes", "errors", "receptive", "places",
}  # fmt: skip

BROUGHT_ALONG = {"jax": {"flax", "equinox"}, "onnx": {"onnxruntime"}, "tf_keras": {"tensorflow"}}
# Shared by the two Keras backends, so neither library is imported there.
KNOWS_BOTH_KERAS = {f"backends.keras_{name}" for name in (
    "attention", "axes", "engine", "evidence", "facts", "field", "files", "gradients", "head", "kernel", "names", "outputs",
    "run", "scores", "table", "watch",
)}  # fmt: skip

# Shared by the two backends of graph files.
GRAPHS = {f"backends.graph_{name}" for name in ("axes", "codes", "field", "names", "runs", "walk")}

# Shared as well, and imported only where TensorFlow runs.
ON_TENSORFLOW = "backends.tensorflow_random"


def modules():
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        if parts == ("__init__",):
            continue
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def imports(name, path):
    """(module of the package, whether it is imported at the top) and the names of other packages."""
    tree = ast.parse(path.read_text("utf-8"))
    top = {id(node) for node in tree.body}
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    known = {module for module, _ in modules()}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1]
            target = ".".join([*base, *(node.module or "").split(".")]).strip(".")
            for alias in node.names:
                inner = f"{target}.{alias.name}".strip(".")
                yield ("own", inner if inner in known else target, id(node) in top)
        elif isinstance(node, ast.ImportFrom):
            yield ("other", node.module, id(node) in top)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                yield ("other", alias.name, id(node) in top)


def row(name):
    package = name.partition(".")[0]
    return ROWS[f"{package}.*" if f"{package}.*" in ROWS and name != package else package]


def edges():
    return {(name, target) for name, path in modules() for kind, target, _ in imports(name, path) if kind == "own"}


def test_every_module_has_its_row():
    found = {name.partition(".")[0] for name, _ in modules()}
    assert found == {name for name in ROWS if not name.endswith(".*")}


def test_no_import_goes_up():
    known = {name for name, _ in modules()}
    wrong = [(name, target) for name, target in edges() if target in known and row(target) > row(name)]
    assert not wrong


def test_there_is_no_cycle():
    graph = {}
    for name, target in edges():
        if name != target:
            graph.setdefault(name, set()).add(target)
    done = set()

    def visit(name, way):
        assert name not in way, " → ".join([*way, name])
        if name not in done:
            for target in graph.get(name, ()):
                visit(target, [*way, name])
            done.add(name)

    for name in graph:
        visit(name, [])


@pytest.mark.parametrize("framework", ["torch", "keras", "tf_keras", "jax", "onnx", "tflite"])
def test_a_backend_knows_only_its_own_framework_and_the_core_it_needs(framework):
    others = set(FRAMEWORKS) - {framework, *BROUGHT_ALONG.get(framework, ())}
    for name, path in modules():
        if not name.startswith(f"backends.{framework}"):
            continue
        for kind, target, _ in imports(name, path):
            if kind == "own":
                shared = framework == "tf_keras" and target in KNOWS_BOTH_KERAS
                shared = shared or ("keras" in framework and target == ON_TENSORFLOW)
                shared = shared or (framework in ("onnx", "tflite") and target in GRAPHS)
                assert target in BACKEND_MAY or target.startswith(f"backends.{framework}") or shared, (name, target)
            else:
                assert target.split(".")[0] not in others, (name, target)


@pytest.mark.parametrize("several", [KNOWS_BOTH_KERAS, GRAPHS], ids=["keras", "graphs"])
def test_what_backends_share_imports_no_framework(several):
    found = {name: path for name, path in modules() if name in several}
    assert set(found) == several
    for name, path in found.items():
        for kind, target, _ in imports(name, path):
            assert kind == "own" or target.split(".")[0] not in FRAMEWORKS, (name, target)
            assert kind == "other" or target in several | BACKEND_MAY, (name, target)


def test_the_core_knows_no_framework():
    for name, path in modules():
        if not name.startswith("backends."):
            for kind, target, top in imports(name, path):
                own_model = name == "demo" and target.split(".")[0] == "onnx"
                asked_for = (name, target.split(".")[0]) in WAYS_OUT and not top
                allowed = own_model or asked_for
                assert kind == "own" or allowed or target.split(".")[0] not in FRAMEWORKS, (name, target)


def test_importing_layerscope_loads_no_framework_and_hardly_anything():
    script = "import sys, layerscope; print(*sorted({m.split('.')[0] for m in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert not set(loaded) & {*FRAMEWORKS, "matplotlib", "rich", "numpy", "PIL", "cmap", "isal", "scipy", "pandas"}


def test_drawing_needs_numpy_pillow_and_cmap_alone():
    script = (
        "import sys, numpy as np, layerscope as ls\n"
        "before = {m.split('.')[0] for m in sys.modules}\n"
        "for name in ls.__all__: getattr(ls, name)\n"
        "ls.sheet(np.zeros((1, 4, 4, 2))).png(); ls.heatmap(ls.mean(np.ones((4, 4, 3)))).png()\n"
        "print(*sorted({m.split('.')[0] for m in sys.modules} - before - set(sys.stdlib_module_names)))"
    )
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    allowed = {"layerscope", "PIL", "cmap", "isal", "numpy", "_cython_3_0_11"}
    assert {each for each in loaded if not each.startswith(("_", "cython"))} <= allowed, loaded


def test_every_public_name_resolves_and_has_a_docstring():
    for name in ls.__all__:
        value = getattr(ls, name)
        if name != "__version__":
            assert (value.__doc__ or "").strip(), name
    assert set(dir(ls)) == set(ls.__all__)
    with pytest.raises(AttributeError, match="no attribute 'sheets_of'"):
        _ = ls.sheets_of


def test_no_module_hides_a_public_name():
    """A submodule that is imported becomes an attribute of the package, and would shadow a function of its name."""
    assert not {name for name, _ in modules()} & set(ls.__all__)


def test_files_stay_small():
    long = {name: count for name, path in modules() if (count := len(path.read_text("utf-8").splitlines())) > 450}
    assert not long, "split what doesn't fit in the head"
