"""What a message calls an option, in Python and on the command line."""

from __future__ import annotations

import argparse

import pytest

from layerscope import checks, surface
from layerscope.cli import parser
from layerscope.errors import BadOption, unknown_layer

# Those of the command line that are no keyword of the same name.
OWN = {"help", "version", "debug", "json", "terminal", "import", "range", "layer", "no_browser", "samples"}


def options_of(parser):
    """The long options of a parser and of its commands, as keywords are written."""
    names = set()
    for action in parser._actions:
        long = [text[2:].replace("-", "_") for text in action.option_strings if text.startswith("--")]
        names |= {*long[:1]} if isinstance(action, argparse.BooleanOptionalAction) else {*long}
        if isinstance(action, argparse._SubParsersAction):
            names = names.union(*(options_of(command) for command in action.choices.values()))
    return names


def test_the_options_are_those_of_the_command_line():
    assert set(surface.OPTIONS) == options_of(parser()) - OWN
    assert len(surface.OPTIONS) == len(set(surface.OPTIONS))


@pytest.mark.parametrize(
    ("name", "value", "python", "shell"),
    [
        ("target", "tiger cat", "target='tiger cat'", "--target 'tiger cat'"),
        ("channels", (0, 99), "channels=(0, 99)", "--channels 0,99"),
        ("size", (224, 192), "size=(224, 192)", "--size 224x192"),
        ("scale", (-1.0, 0.5), "scale=(-1.0, 0.5)", "--scale -1:0.5"),
        ("zoom", 3, "zoom=3", "--zoom 3"),
        ("layout", "bchw", "layout='bchw'", "layout='bchw'"),
    ],
)
def test_a_value_is_written_as_it_is_given(name, value, python, shell):
    assert surface.option(name, value) == python
    with surface.command_line():
        assert surface.option(name, value) == shell


def test_checks_and_errors_speak_to_their_reader():
    with surface.command_line():
        with pytest.raises(BadOption) as error:
            checks.whole("per_page", 0)
        assert str(error.value).startswith("--per-page 0:")
        assert "`layerscope layers MODEL`" in str(unknown_layer("x", ()))
    with pytest.raises(BadOption) as error:
        checks.whole("per_page", 0)
    assert str(error.value).startswith("per_page=0:")
