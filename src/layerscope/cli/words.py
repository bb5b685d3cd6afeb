"""Messages in the words of the command line: its options, where the library names keywords of Python."""

from __future__ import annotations

import re

# Whole phrases first, as messages write them.
PHRASES = {
    "pass --trust (trust=True)": "pass --trust",
    "trust=True": "--trust",
    "preprocess=None": "--preprocess none",
    "weights= (--weights)": "--weights",
    "leave weights= out (--weights)": "leave --weights out",
    ", and register it": "",
    "`layers()`": "`layerscope layers MODEL`",
    "layers(batch)": "`layerscope layers MODEL BATCH.npy --preprocess none`",
    "stream(), which keeps one batch at a time": "fewer images at a time",
    "`channels=`": "--channels",
}
# Keywords that are options of the same name.
OPTIONS = (
    "batch channels clip colors columns combine dpi labels per_page preprocess range scale size sort target text theme"
    " weights"
)
_PHRASE = re.compile("|".join(re.escape(phrase) for phrase in sorted(PHRASES, key=len, reverse=True)))
_PIXEL_LIMIT = re.compile(r"limit=\d+ or (?=the environment variable)")
_KEYWORD = re.compile(rf"(?<![\w.(\[-])({OPTIONS.replace(' ', '|')})=(?=[\s,.;:)]|$)")
_VALUE = re.compile(rf"(?<![\w.(\[-])({OPTIONS.replace(' ', '|')})=(?=[\w'\"-])")


def in_options(message: str) -> str:
    """A message of the library as the command line says it.

    >>> in_options("size not fixed by the model: size= changes it, or give ready batches with preprocess=None")
    'size not fixed by the model: --size changes it, or give ready batches with --preprocess none'
    >>> in_options("batch=0: use a whole number from 1")
    '--batch 0: use a whole number from 1'
    """
    message = _PIXEL_LIMIT.sub("", message)
    message = _PHRASE.sub(lambda match: PHRASES[match[0]], message)
    message = _KEYWORD.sub(lambda match: _flag(match[1]), message)
    return _VALUE.sub(lambda match: f"{_flag(match[1])} ", message)


def _flag(keyword: str) -> str:
    return f"--{keyword.replace('_', '-')}"
