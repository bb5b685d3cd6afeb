"""A model that a function of the user's builds, named `package.module:factory`."""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..backends.protocol import Backend
from ..backends.registry import for_model, specs
from ..errors import LayerscopeError, ModelNotReadable, near, one_line

DOTTED = r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*"
REFERENCE = re.compile(f"{DOTTED}:{DOTTED}")


def built(reference: str, reader: Backend | None) -> tuple[Any, Backend]:
    """(model, backend): what the factory of `package.module:factory` returns, or what lies there, for `reader` or whose it is.

    Raises:
        ModelNotReadable: There is no such module or name, the code fails, or that is no model.
    """
    module, _, name = reference.partition(":")
    with users_code(f"{reference} could not be built"):
        target = _imported(module, reference)
        for part in name.split("."):
            if not hasattr(target, part):
                known = [each for each in dir(target) if not each.startswith("_")]
                raise ModelNotReadable(f"{reference}: there is no {part!r} in {module}{near(part, known)}")
            target = getattr(target, part)
        calls = callable(target) and not _is_model(target)
        target = target() if calls else target
    try:
        return target, reader or for_model(target)
    except ModelNotReadable as error:
        what = "returns no model" if calls else "is neither a model nor a function that builds one"
        raise ModelNotReadable(f"{reference} {what}: {error}") from error


def _imported(module: str, reference: str) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise  # it is a module that this one imports
        known = [path.stem for path in Path().iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()]
        raise ModelNotReadable(
            f"{reference}: there is no module {error.name!r} here and none is installed{near(module, known)}"
        ) from error


def reference_meant(words: str) -> str:
    """The reference that is meant by the name of a file in place of a module, or by a point in place of the colon; else `""`.

    >>> reference_meant("nets/small.py:build"), reference_meant("cat.jpg")
    ('nets.small:build', '')
    """
    file, _, name = words.rpartition(":")
    if file.endswith(".py"):
        path = Path(file).with_suffix("")
        dotted = ".".join(path.parts)
        return f"{dotted if re.fullmatch(DOTTED, dotted) else path.name}:{name}"
    if words.endswith(".py") and os.path.isfile(words):
        return f"{Path(words).stem}:FUNCTION"
    module, _, name = words.rpartition(".")
    if re.fullmatch(DOTTED, module) and os.path.isfile(Path(*module.split(".")).with_suffix(".py")):
        return f"{module}:{name}"
    return ""


def import_module(name: str) -> None:
    """Import a module of the user's, such as one that registers the classes in a Keras file. Raises `ModelNotReadable`."""
    with users_code(f"{name} could not be imported"):
        importlib.import_module(name)


@contextmanager
def users_code(problem: str) -> Iterator[None]:
    """Around code of the user's, whose packages are looked for in the current folder too. Raises `ModelNotReadable`."""
    folder = os.getcwd()
    added = folder not in sys.path
    if added:
        sys.path.insert(0, folder)
    try:
        yield
    except LayerscopeError:
        raise
    except Exception as error:
        # Any error is theirs to see, in one line here and whole with --debug.
        raise ModelNotReadable(f"{problem}: {type(error).__name__}: {one_line(error)}") from error
    finally:
        if added:
            sys.path.remove(folder)


def _is_model(target: Any) -> bool:
    if isinstance(target, type):
        return False
    return any(spec.imported and spec.backend().owns(target) for spec in specs())
