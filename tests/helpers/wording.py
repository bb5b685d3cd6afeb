"""The wording of layerscope as one reviewed snapshot: a golden file below `tests/wording/` for each module of tests.

A test asserts the class of an error, numbers and names (`raises(ls.BadChannels, "7")`), never English; the message is
recorded under its id and compared with the golden file at its end. `make wording` renews the files (`make wording
ONLY=tests/core` those of some tests): read the difference as a writer, and commit it.

Words are compared where the versions are those of `constraints.txt` and of `PYTHON`, since Python and the frameworks word
parts of some messages; with other versions only the classes are, in their order. Paths and addresses are cut. A message that
depends on drawn examples (hypothesis) is none for the snapshot: use pytest's own `raises` there. Nor is anything compared
where Keras runs on another backend than TensorFlow, as in the tests that start the same tests again in a process of their own.
"""

from __future__ import annotations

import ast
import contextlib
import difflib
import functools
import importlib.metadata
import os
import re
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

PYTHON = (3, 11)
TESTS = Path(__file__).parents[1]
FILES = TESTS / "wording"
HEADER = "# What the tests of {} read. Renewed by `make wording`, reviewed by a person.\n"

_reading: list[Reading] = []  # of the test that runs


@contextlib.contextmanager
def raises(error: type[Exception] | tuple[type[Exception], ...], *data: Any) -> Iterator[Any]:
    """As `pytest.raises`; the message is recorded, and holds each of `data`: numbers, names, arguments."""
    __tracebackhide__ = True
    with pytest.raises(error) as caught:
        yield caught
    _record(type(caught.value).__name__, str(caught.value), data)


@contextlib.contextmanager
def warns(warning: type[Warning], *data: Any) -> Iterator[Any]:
    """As `pytest.warns`; the messages of that class are recorded, and hold each of `data` among them."""
    __tracebackhide__ = True
    with pytest.warns(warning) as caught:
        yield caught
    messages = [entry.message for entry in caught if isinstance(entry.message, warning)]
    for message in messages:
        _record(type(message).__name__, str(message), ())
    _check("\n".join(map(str, messages)), data)


def wording(text: str | Iterable[Any], *data: Any) -> None:
    """Records a caption, a note or several, a repr, what was printed; it holds each of `data`."""
    __tracebackhide__ = True
    lines = [text] if isinstance(text, str) else [str(line) for line in text]
    _record("text", "\n".join(lines), data)


def _record(kind: str, message: str, data: tuple[Any, ...]) -> None:
    __tracebackhide__ = True
    _check(message, data)
    assert _reading, "messages are recorded while a test runs"
    _reading[-1].add(kind, message)


def _check(message: str, data: tuple[Any, ...]) -> None:
    __tracebackhide__ = True
    for datum in map(str, data):
        before = r"(?<!\w)" if re.match(r"\w", datum) else ""
        after = r"(?!\w)" if re.search(r"\w$", datum) else ""
        assert re.search(before + re.escape(datum) + after, message), f"{datum!r} is not in: {message}"


# Keras numbers the layers of a process, so the number depends on the tests that ran before.
KERAS_NUMBERED = re.compile(
    r"\b(keras_tensor|sequential|functional|rescaling|activation|dense|batch_normalization|conv2d|re_lu|flatten|input_layer|add"
    r"|multiply|subtract|true_divide|tf\.math\.[a-z]+|global_average_pooling2d)_\d+\b"
)


class Reading:
    """The messages of one test, each once, in the order of their first appearance; the parts of a caption have lines."""

    def __init__(self, item: pytest.Item) -> None:
        self.item = item
        self.entries: dict[str, str] = {}  # as they stand in the file → kind

    def add(self, kind: str, message: str) -> None:
        first, *rest = self.plain(message).rstrip("\n").replace(" · ", " ·\n").split("\n")
        lines = [f"    {kind}: {first}", *(f"        {line}" for line in rest)]
        self.entries["\n".join(line.rstrip() for line in lines)] = kind

    def plain(self, message: str) -> str:
        """Without what differs on another machine or in another run."""
        base = str(self.item.config._tmp_path_factory.getbasetemp())  # type: ignore[attr-defined]
        own = getattr(self.item, "funcargs", {}).get("tmp_path")
        if own is not None:
            message = message.replace(str(own), "<tmp>")
        message = re.sub(re.escape(base) + r"/[^/\s'\"]+", "<tmp>", message)
        message = re.sub(re.escape(tempfile.gettempdir()) + r"/tmp\w{8}", "<tmp>", message)
        for path in sorted({str(TESTS.parent), sys.prefix, str(Path(sys.prefix).resolve()), str(Path.home())}, key=len)[
            ::-1
        ]:
            message = message.replace(f"{path}/", "<path>/")
        message = re.sub(r"\b0x[0-9a-fA-F]{6,}", "0x…", message)
        message = KERAS_NUMBERED.sub(r"\1", message)
        return re.sub(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", lambda match: f"<{ord(match[0]):02x}>", message)


@functools.cache
def pinned() -> bool:
    """Whether Python and every library that is here have the versions of `constraints.txt`."""
    if sys.version_info[:2] != PYTHON:
        return False
    for name, version in re.findall(
        r"^([\w.-]+)==([\w.+]+)", (TESTS.parent / "constraints.txt").read_text("utf-8"), re.M
    ):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            if importlib.metadata.version(name).partition("+")[0] != version:
                return False
    return True


@functools.cache
def golden(path: Path) -> dict[str, str]:
    """The entries of a golden file by the test's id."""
    parts = re.split(r"^(?!#)(\S.*)\n", path.read_text("utf-8"), flags=re.MULTILINE) if path.exists() else [""]
    twice = [name for name, count in Counter(parts[1::2]).items() if count > 1]
    assert not twice, f"{path} names a test twice: {twice}"
    return {name: body.strip("\n") for name, body in zip(parts[1::2], parts[2::2], strict=True)}


def name_of(item: pytest.Item) -> str:
    """The id of a test in its module, without the group that pytest-xdist appends to it."""
    chain = [node.name for node in item.listchain()]
    return "::".join(chain[chain.index(item.path.name) + 1 :])


def file_of(module: Path) -> Path:
    return FILES / module.relative_to(TESTS).with_suffix(".txt")


class Plugin:
    """Compares what each test reads, or collects it and renews the files at the end; workers of xdist send it home."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.renewing = config.getoption("--renew-wording")
        self.read: dict[str, dict[str, str]] = defaultdict(dict)  # module → test → entries
        self.collected: dict[str, list[str]] = defaultdict(list)

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            if isinstance(item, pytest.Function):
                self.collected[str(item.path)].append(name_of(item))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        _reading.append(Reading(item))
        if not self.renewing and item.path.is_relative_to(TESTS):
            golden(file_of(item.path)), pinned()  # before the test changes how files are read
        try:
            return (yield)
        finally:
            _reading.pop()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Iterator[None]:
        outcome = yield
        if isinstance(item, pytest.Function) and item.path.is_relative_to(TESTS):
            entries = _reading[-1].entries
            if os.environ.get("KERAS_BACKEND", "tensorflow") != "tensorflow":
                return outcome
            if self.renewing:
                self.read[str(item.path)][name_of(item)] = "\n".join(entries)
            else:
                compare(item, entries)
        return outcome

    def pytest_sessionfinish(self) -> None:
        if not self.renewing:
            return
        if hasattr(self.config, "workeroutput"):
            self.config.workeroutput["wording"] = (dict(self.read), dict(self.collected))
            return
        renew(self.read, self.collected, whole=not any("[" in argument for argument in self.config.args))

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        read, collected = getattr(node, "workeroutput", {}).get("wording", ({}, {}))
        for module, entries in read.items():
            self.read[module].update(entries)
        self.collected.update(collected)


def compare(item: pytest.Item, entries: dict[str, str]) -> None:
    """Fails the test where the messages differ from the golden file."""
    __tracebackhide__ = True
    path, name = file_of(item.path), name_of(item)
    expected = golden(path).get(name, "")
    text = "\n".join(entries).rstrip("\n")  # as the golden file gives it back
    if not pinned():
        expected = "\n".join(re.findall(r"^ {4}(\w+):", expected, re.MULTILINE))
        text = "\n".join(entries.values())
    if text == expected:
        return
    difference = difflib.unified_diff(
        expected.split("\n"), text.split("\n"), str(path.relative_to(TESTS.parent)), name, n=1, lineterm=""
    )
    command = f"make wording ONLY={item.path.relative_to(TESTS.parent)}"
    pytest.fail("\n".join(["the wording has changed:", *difference, f"If it is meant: {command}"]), pytrace=False)


def renew(read: dict[str, dict[str, str]], collected: dict[str, list[str]], *, whole: bool) -> None:
    """Writes the entries of the tests that passed, and drops those of tests that there are no more."""
    for module, names in collected.items():
        if Path(module).is_relative_to(TESTS):
            entries = {name: body for name, body in golden(file_of(Path(module))).items() if stands(name, Path(module))}
            functions = {name.partition("[")[0] for name in names}
            if whole:
                entries = {
                    name: body
                    for name, body in entries.items()
                    if name in names or name.partition("[")[0] not in functions
                }
            write(Path(module), {**entries, **read.get(module, {})})
    for path in FILES.rglob("*.txt"):
        if not (TESTS / path.relative_to(FILES)).with_suffix(".py").exists():
            path.unlink()


def stands(name: str, module: Path) -> bool:
    """Whether the module still defines the function of a test."""
    function = name.partition("[")[0].rpartition("::")[2]
    nodes = ast.walk(ast.parse(module.read_text("utf-8")))
    return any(isinstance(node, (ast.FunctionDef, ast.ImportFrom)) and _defines(node, function) for node in nodes)


def _defines(node: ast.FunctionDef | ast.ImportFrom, name: str) -> bool:
    return (
        name == node.name
        if isinstance(node, ast.FunctionDef)
        else any(alias.name in (name, "*") for alias in node.names)
    )


def _natural(entry: tuple[str, str]) -> list[str]:
    """`test_x[2]` comes before `test_x[10]`."""
    return [part.zfill(9) if part.isdigit() else part for part in re.split(r"(\d+)", entry[0])]


def write(module: Path, entries: dict[str, str]) -> None:
    path = file_of(module)
    entries = {name: body for name, body in sorted(entries.items(), key=_natural) if body}
    if not entries:
        path.unlink(missing_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    header = HEADER.format(module.relative_to(TESTS.parent).as_posix())
    path.write_text(header + "".join(f"\n{name}\n{body}\n" for name, body in entries.items()), "utf-8")
