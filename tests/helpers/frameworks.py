"""Tests by the framework that they load: one worker for each with `-n 2`, none in `make check`, little left behind."""

from __future__ import annotations

import ast
import ctypes
import functools
import gc
import itertools
import os
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

ROOT = Path(__file__).parents[2]
KEPT_IN_MEMORY = 3 << 30  # bytes
# The heaviest first: a module that loads several goes with the first of them.
GROUPS = {
    "tensorflow": r"tensorflow|keras|tf_keras|tflite|ai_edge_litert|tensorboard",
    "jax": r"jax|flax|equinox",
    "torch": r"torch|torchvision_ops|torchvision|timm|transformers|torchcam|captum|pytorch_\w+",
    "matplotlib": r"matplotlib",
}


def framework_in(text: str) -> str:
    """The heaviest framework that lines of code import, also by a helper with its name; `""` for none."""
    if re.search(r"importorskip\([a-z]", text):
        return next(iter(GROUPS))  # one of several, by a parameter
    lines = "\n".join(re.findall(r"^.*(?:\bimport\b|importorskip|\bhelpers\.).*$", text, re.MULTILINE))
    return next((name for name, words in GROUPS.items() if re.search(rf"(?<![a-z])(?:{words})(?![a-z])", lines)), "")


# The worker that collects and runs the tests of a framework, where there are two; one that replaces another collects all.
OWNERS = {"tensorflow": "gw0", "jax": "gw1", "torch": "gw1"}


@functools.cache
def group_of(path: Path, top: bool = False) -> str:
    """The framework that a module of tests or doctests loads; at its `top` alone, when it is imported."""
    relative = path.relative_to(ROOT).as_posix()
    if not relative.startswith("tests/"):
        return framework_in(f"import {relative}")
    text = path.read_text("utf-8")
    return framework_in("\n".join(line for line in text.splitlines() if not top or not line.startswith(" ")))


@functools.cache
def loading(path: Path) -> set[str]:
    """The names at the top of a module of tests whose code loads a framework, by itself or by another of them."""
    text = path.read_text("utf-8")
    parts = {name: node for node in ast.parse(text).body for name in names_of(node)}
    loading_names = {name for name, node in parts.items() if framework_in(ast.get_source_segment(text, node) or "")}
    while more := {name for name, node in parts.items() if name not in loading_names and uses(node) & loading_names}:
        loading_names |= more
    return loading_names


def names_of(node: ast.stmt) -> set[str]:
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        return {node.name}
    targets = node.targets if isinstance(node, ast.Assign) else []
    return {name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)}


def uses(node: ast.stmt) -> set[str]:
    """Every name in the code, its decorators and its parameters: fixtures are requested by those."""
    inside = list(ast.walk(node))
    return {part.id for part in inside if isinstance(part, ast.Name)} | {
        part.arg for part in inside if isinstance(part, ast.arg)
    }


@functools.cache
def work_group(nodeid: str) -> str:
    """What pytest-xdist gives to one worker: the tests of a framework, a test with processes of its own, or a module."""
    module = nodeid.partition("::")[0]
    if module.endswith("test_other_frameworks.py"):
        return nodeid
    text = (ROOT / module).read_text("utf-8")
    if re.search(r"def \w+\([^)]*\bwheel\b", text):
        return "wheel"
    return group_of(ROOT / module) or module


class Scheduling(LoadScopeScheduling):  # type: ignore[misc]
    """Keeps the tests of a framework together: it is imported once, and what a module's fixtures build is built once.

    A worker collects the tests of its own frameworks and of none, so what is collected differs from one to the other.
    """

    def _split_scope(self, nodeid: str) -> str:
        return work_group(nodeid)

    def add_node_collection(self, node: Any, collection: Sequence[str]) -> None:
        self.registered_collections[node] = list(collection)

    def schedule(self) -> None:
        if self.collection is None:
            every = dict.fromkeys(itertools.chain(*self.registered_collections.values()))
            self.collection = sorted(every, key=lambda nodeid: work_order(work_group(nodeid)))
            for nodeid in self.collection:
                self.workqueue.setdefault(work_group(nodeid), {})[nodeid] = False
        for node in (*self.nodes, *self.nodes):  # two units of work each, where there are as many
            self._reschedule(node)

    def _assign_work_unit(self, node: Any) -> None:
        own = set(self.registered_collections[node])
        group = next((group for group, tests in self.workqueue.items() if tests.keys() <= own), None)
        if group is None:
            node.shutdown()
            return
        self.workqueue.move_to_end(group, last=False)
        super()._assign_work_unit(node)


def work_order(group: str) -> int:
    """The longest first, so that both workers end together (with `--no-loadscope-reorder`)."""
    order = ["tensorflow", "test_other_frameworks.py", "torch", "jax", "test_fuzz", "wheel", "test_"]
    return next((index for index, part in enumerate(order) if part in group), len(order))


class Plugin:
    """`--fast` leaves out what loads a framework; pytest-xdist keeps the tests of one together."""

    def __init__(self, config: pytest.Config) -> None:
        self.fast = config.getoption("--fast")

    def pytest_ignore_collect(self, collection_path: Path) -> bool | None:
        if collection_path.suffix != ".py" or not collection_path.is_relative_to(ROOT):
            return None
        worker, workers = os.environ.get("PYTEST_XDIST_WORKER"), os.environ.get("PYTEST_XDIST_WORKER_COUNT")
        owner = OWNERS.get(work_group(collection_path.relative_to(ROOT).as_posix()))
        others = workers == "2" and owner is not None and worker in OWNERS.values() and worker != owner
        return True if others or (self.fast and group_of(collection_path, top=True)) else None

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> Scheduling:
        return Scheduling(config, log)

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        items.sort(key=lambda item: work_order(work_group(item.nodeid)))
        if self.fast:
            slow = [item for item in items if self.loads_a_framework(item)]
            items[:] = [item for item in items if item not in slow]
            config.hook.pytest_deselected(items=slow)

    def loads_a_framework(self, item: pytest.Item) -> bool:
        if not item.path.name.startswith("test_"):
            return False
        return item.name.partition("[")[0] in loading(item.path)

    def pytest_collection_finish(self) -> None:
        """What the imports left stays: the garbage collector needn't look at a million objects again after each module."""
        gc.collect()
        gc.freeze()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(self, item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
        result = yield
        if group_of(item.path) and (nextitem is None or nextitem.path != item.path):
            free()
        return result


def free() -> None:
    """Gives back what a module of tests leaves in memory; JAX keeps what it compiled, which saves time, up to a limit."""
    gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        if "jax" in sys.modules and pages * os.sysconf("SC_PAGE_SIZE") > KEPT_IN_MEMORY:
            sys.modules["jax"].clear_caches()
