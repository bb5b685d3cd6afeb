"""`Opening`: how the model of a page was opened, as Python and as a command that open it again."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from inspect import signature
from pathlib import Path
from typing import Any

from ..scope.open import PACKED_LABELS, labels_file
from ..scope.open import open as open_scope
from ..scope.scope import Scope
from ..surface import command_line, option

LONGEST = 300  # characters of an option that is written out


@dataclass(frozen=True)
class Opening:
    """What `ls.open` was given: the model, or the scope itself, its options, and the modules that were imported before.

    >>> print(Opening("net.onnx", {"size": (224, 224), "trust": False}).python())
    import layerscope as ls
    <BLANKLINE>
    scope = ls.open("net.onnx", size=(224, 224))
    >>> Opening("net.onnx", {"size": (224, 224), "labels": "my names.txt"}).command()
    "layerscope report --size 224x224 --labels 'my names.txt' net.onnx"
    """

    model: Any
    options: Mapping[str, Any] = field(default_factory=dict)
    modules: Sequence[str] = ()

    def python(self, *, bare: bool = False) -> str:
        """Lines of Python after which `scope` is the one that is shown. `bare`: of files elsewhere their names alone.

        What has no text is named, and a comment says so.
        """
        lines = ["import layerscope as ls", *(f"import {module}" for module in self.modules), ""]
        if isinstance(self.model, Scope):
            return "\n".join([*lines, "# scope: the ls.open(…) shown here"])
        words, objects = [], []
        for name, value in {"model": self.model, **self._given()}.items():
            text = text_of(value, bare=bare)
            if text is None or len(text) > LONGEST:
                objects.append(name)
                text = name
            words.append(text if name == "model" else f"{name}={text}")
        comment = f"  # {', '.join(objects)}: as given here" if objects else ""
        return "\n".join([*lines, f"scope = ls.open({', '.join(words)}){comment}"])

    def command(self) -> str | None:
        """The command of a report without its images; `None` where the command line can't open the model so."""
        given = self._given()
        words = ["layerscope report"]
        words += [f"--import {shlex.quote(module)}" for module in self.modules]
        recipe = given.get("preprocess")
        if isinstance(recipe, dict) and recipe.keys() == {"name", "range"}:
            given["preprocess"] = recipe["name"]
            words.append("--range {:g}:{:g}".format(*recipe["range"]))
        plain = (str, bool, int, type(None))
        said = all(isinstance(value, plain) or name == "size" for name, value in given.items())
        if not isinstance(self.model, str | os.PathLike) or "backend" in given or not said:
            return None
        with command_line():
            words += [option(name, value) for name, value in given.items()]
        return " ".join([*words, shlex.quote(os.fspath(self.model))])

    def _given(self) -> dict[str, Any]:
        """The options that aren't as they are without."""
        packed = {labels_file(name): name for name in PACKED_LABELS}
        usual = {name: each.default for name, each in signature(open_scope).parameters.items()}
        return {
            name: packed.get(Path(value), os.fspath(value)) if isinstance(value, os.PathLike) else value
            for name, value in self.options.items()
            if type(value) is not type(usual[name]) or value != usual[name]
        }


def text_of(value: Any, *, bare: bool = False) -> str | None:
    """A value as Python's source has it; `None` for one that source can't hold.

    >>> text_of({"name": "auto", "range": (0, 4095)}), text_of('a"b\\n'), text_of(object())
    ('{"name": "auto", "range": (0, 4095)}', '"a\\\\"b\\\\U0000000a"', None)
    """
    if isinstance(value, str | os.PathLike):
        text = os.fspath(value)
        text = os.path.basename(text) if bare and os.path.isabs(text) else text
        return '"' + "".join(map(_sign, text)) + '"'
    if value is None or type(value) in (bool, int, float):
        return repr(value)
    if type(value) not in (list, tuple, dict):
        return None
    keys = [f"{text_of(key, bare=bare)}: " for key in value] if type(value) is dict else [""] * len(value)
    parts = [text_of(each, bare=bare) for each in (value.values() if type(value) is dict else value)]
    if None in parts or "None: " in keys:
        return None
    inner = ", ".join(f"{key}{part}" for key, part in zip(keys, parts, strict=True))
    if type(value) is tuple:
        return f"({inner}{',' * (len(parts) == 1)})"
    return f"{{{inner}}}" if type(value) is dict else f"[{inner}]"


def _sign(sign: str) -> str:
    """A character inside quotes, with nothing in it that could end them."""
    if sign in '\\"':
        return f"\\{sign}"
    return sign if sign.isprintable() else f"\\U{ord(sign):08x}"
