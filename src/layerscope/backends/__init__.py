"""The three verbs of a backend, and the table of the backends there are.

A backend is the only code that knows a framework. It turns (model, batch, layer paths) into raw arrays whose axes the
layers name; `layerscope.testing.BackendTests` is the suite that holds it to this page.
"""

from __future__ import annotations

from .protocol import Backend, Captured, Change, Evidence, Facts, Head, Input, Kernel, Pick, Target, trained, turned
from .registry import GROUP, SPECS, Spec, for_file, for_model, load_file, named, specs, suffixes

__all__ = [
    "GROUP",
    "SPECS",
    "Backend",
    "Captured",
    "Change",
    "Evidence",
    "Facts",
    "Head",
    "Input",
    "Kernel",
    "Pick",
    "Spec",
    "Target",
    "for_file",
    "for_model",
    "load_file",
    "named",
    "specs",
    "suffixes",
    "trained",
    "turned",
]
