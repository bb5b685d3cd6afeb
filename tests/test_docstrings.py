"""Whatever `ls.__all__` reaches has a line that says what it is, a runnable example, and a description of every parameter."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

import pytest

import layerscope as ls
from layerscope.errors import LayerscopeError, LayerscopeWarning


def public() -> Iterator[tuple[str, Any]]:
    """Every function and class of `ls.__all__`, and the public methods of those classes, by name."""
    for name in ls.__all__:
        value = getattr(ls, name)
        if inspect.isclass(value) and issubclass(value, LayerscopeError | LayerscopeWarning):
            continue
        if inspect.isclass(value):
            yield name, value
            own = [kind for kind in value.__mro__ if kind.__module__.startswith("layerscope.")]
            for attribute, member in {
                key: member for kind in reversed(own) for key, member in vars(kind).items()
            }.items():
                member = getattr(member, "__func__", member)
                if not attribute.startswith("_") and inspect.isfunction(member):
                    yield f"{name}.{attribute}", member
        elif inspect.isfunction(value):
            yield name, value


PUBLIC = dict(public())


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_docstring_has_a_first_line_an_example_and_every_parameter(name: str) -> None:
    value = PUBLIC[name]
    text = inspect.getdoc(value) or ""
    first = text.partition("\n")[0]
    assert first.endswith((".", ":")) and len(first) <= 128, f"{name}: one line that says what comes back: {first!r}"
    assert ">>>" in text, f"{name} has no runnable example"
    if inspect.isfunction(value):
        parameters = [name for name in inspect.signature(value).parameters if name not in ("self", "cls")]
        assert not set(parameters) & {"args", "kwargs", "options"}, f"{name} hides parameters"
        described = set(re.findall(r"^\s+\*{0,2}(\w+)(?:, \w+)*:", text, re.MULTILINE)) | set(
            re.findall(r"`(\w+)", text)
        )
        missing = [name for name in parameters if name not in described]
        assert not missing, f"{name}: no word on {', '.join(missing)}"


@pytest.mark.parametrize(
    "name", [name for name in ls.__all__ if name not in {part.partition(".")[0] for part in PUBLIC}]
)
def test_an_error_says_when_it_is_raised(name: str) -> None:
    if name != "__version__":
        assert inspect.getdoc(getattr(ls, name))
