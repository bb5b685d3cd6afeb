"""What layerscope asks of a framework (`Backend`), what a backend gives, and the table of the backends there are.

A backend is the only code that knows a framework. It turns (model, batch, layer paths) into raw arrays whose axes the
layers name; `layerscope.testing.BackendTests` is the suite that holds it to this.
"""

from __future__ import annotations

from .protocol import Backend, NotOffered, not_offered
from .registry import GROUP, SPECS, Spec, adapt, for_file, for_model, load_file, named, specs, suffixes
from .values import Captured, Change, Evidence, Facts, Head, Input, Kernel, Pick, SteadyLayers, Target, trained, turned

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
    "NotOffered",
    "Pick",
    "Spec",
    "SteadyLayers",
    "Target",
    "adapt",
    "for_file",
    "for_model",
    "load_file",
    "named",
    "not_offered",
    "specs",
    "suffixes",
    "trained",
    "turned",
]
