"""The arguments of the command line, parsed. Nothing heavy is imported, so that `--help` is quick."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from ..safe_text import printable


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, and quote arguments, which may be names of files, safe to print."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """As argparse does; an unknown option is an error of the command that it is given to, which knows near ones."""
        namespace, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return namespace, unknown

    def error(self, message: str) -> NoReturn:
        if (unknown := re.match("unrecognized arguments: --([^ =]+)", message)) is not None:
            message += _hint(unknown[1], [*self.options()])
        elif (unknown := re.match(r"argument COMMAND: invalid choice: '?([\w-]+)", message)) is not None:
            message = f"no command {unknown[1]!r}{COMMANDS.get(unknown[1]) or _near(unknown[1], self.commands())}"
        elif (
            unknown := re.match(r"argument --[\w-]+: invalid choice: '?(.*?)'? \(choose from (.*)\)$", message)
        ) is not None:
            message += _near(unknown[1], re.findall(r"[\w-]+", unknown[2]))
        message = re.sub(r"^argument (--\S+): (?=\1 )", "", message)  # where a check names its option itself
        end = "" if message.endswith("?") else ";"
        self.exit(2, f"layerscope: error: {printable(message)}{end} `{self.prog} --help` lists what there is\n")

    def commands(self) -> Iterator[str]:
        """The commands of this parser."""
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                yield from action.choices

    def options(self) -> Iterator[str]:
        """The long options of this parser and of its commands."""
        for action in self._actions:
            yield from (option for option in action.option_strings if option.startswith("--"))
            if isinstance(action, argparse._SubParsersAction):
                for command in action.choices.values():
                    yield from command.options()

    def _print_message(self, message: str, file: Any = None) -> None:
        """The help of argparse itself doesn't tell that it couldn't be written."""
        if file is sys.stdout:
            file.write(message)
        else:
            super()._print_message(message, file)


# What isn't a command here: what does it.
_DRAWN = "; `layerscope show MODEL IMAGE` draws it"
COMMANDS = {
    **dict.fromkeys(
        ("compare", "diff"), "; `layerscope show MODEL IMAGE IMAGE` draws each, ls.compare in Python side by side"
    ),
    **dict.fromkeys(("predict", "classify", "run"), "; `layerscope show MODEL IMAGE -l output` draws the classes"),
    **dict.fromkeys(("sheet", "heatmap", "draw", "plot"), _DRAWN),
    **dict.fromkeys(("overlay", "figure"), f"{_DRAWN} with --overlay or --figure"),
    **dict.fromkeys(("list", "summary", "info"), "; `layerscope layers MODEL` lists the layers"),
}


def _hint(name: str, options: Sequence[str]) -> str:
    """What an unknown option `--name` is called here, or else the near ones."""
    from ..checks import ENDS, SYNONYMS

    if name in ("csv", "npz", "npy"):
        return f": numbers are written by -o OUT.{name}"
    if name == "layers":
        return ". Did you mean '--layer'?"
    if name == "figsize" and "--width-mm" in options:
        return ": --zoom chooses the size in pixels where there is one, --width-mm and --dpi that on paper"
    if name in ENDS and "--scale" in options:
        return ": --scale LOW:HIGH gives the values at both ends of the colours"
    synonym = f"--{SYNONYMS.get(name.lower().replace('-', '_'), '')}"
    return f". Did you mean {synonym!r}?" if synonym in options else _near(f"--{name}", options)


def _near(name: str, known: Iterable[str]) -> str:
    from ..errors import near

    return near(name, known)


class Late:
    """Text that is made when it is printed: what it lists is imported then, so that `--help` of all commands is quick."""

    def __init__(self, make: Callable[[], str]) -> None:
        self.make = make

    def __str__(self) -> str:
        return self.make()


def orders() -> str:
    """The orders of tiles, in words."""
    from ..channels.sort import SORTS

    return f"{', '.join(SORTS)} (neighbours alike), or similarity:17 (to one channel)"


def scales() -> str:
    """The rules of scales, in words."""
    from ..picture.scale import RULES

    return ", ".join(RULES)


def combinations(target: bool = False) -> str:
    """The combinations by name, each with what it takes; or only those that are for a class."""
    from ..combinations.registry import RULES

    return ", ".join(str(rule) for rule in RULES if not target or rule.target or rule.model)


def signed(arguments: Sequence[str]) -> list[str]:
    """`--scale -1:1` as `--scale=-1:1`, `--range` too: argparse takes what begins with a minus for another option."""
    joined: list[str] = []
    for argument in arguments:
        if joined and joined[-1] in ("--scale", "--range") and re.match(r"-[\d.]", argument):
            joined[-1] = f"{joined[-1]}={argument}"
        else:
            joined.append(argument)
    return joined


def name(text: str) -> str:
    """The name of something, which can't be empty: `""` as a path would mean the current folder."""
    if not text:
        raise argparse.ArgumentTypeError("an empty name: is a variable of the shell not set?")
    return text


def path(text: str) -> Path:
    """A path; `~` is the home folder also in `-o=~/x.png`, where the shell leaves it as it is."""
    return Path(os.path.expanduser(name(text)))


def positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)


def port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port, a whole number up to 65535")
    return int(text)


def figure(text: str) -> float:
    """A number; a whole one as such."""
    try:
        number = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    return int(number) if number.is_integer() else number


def contours(text: str) -> Any:
    """How many, or levels: `4`, or `0.5,1.5`."""
    levels = [figure(part) for part in text.split(",") if part.strip()]
    return levels if "," in text or not text.isdecimal() else levels[0]


def rate(text: str) -> float:
    low, _ = _ends(f"{text}:0")
    if not 0 < low <= 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of frames per second, such as 1 or 0.5")
    return low


def share(text: str) -> float:
    """A number above 0, such as the part of a GPU."""
    low, _ = _ends(f"{text}:0")
    if not 0 < low <= 1024:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0, such as 0.5")
    return low


def size(text: str) -> Any:
    from ..checks import sides

    return _checked(sides, text)


def labels(text: str) -> Path:
    """A file, or that of the packed names."""
    from ..scope.open import labels_file

    return labels_file(os.path.expanduser(name(text)))


def scale(text: str) -> Any:
    from ..picture.scale import RULES

    if text in RULES:
        return text
    low, high = _ends(text)
    if not low < high:
        raise argparse.ArgumentTypeError(f"{text!r}: use {scales()} or LOW:HIGH, such as -1:1")
    return low, high


def levels(text: str) -> tuple[float, float]:
    low, high = _ends(text)
    if not low < high:
        raise argparse.ArgumentTypeError(f"{text!r}: give black and white as LOW:HIGH, such as 0:4095")
    return low, high


def clip(text: str) -> tuple[float, float]:
    low, high = _ends(text)
    if not 0 <= low < high <= 100:
        raise argparse.ArgumentTypeError(f"{text!r}: give two percentiles from 0 to 100 as LOW:HIGH, such as 1:99")
    return low, high


def _ends(text: str) -> tuple[float, float]:
    """`LOW:HIGH` as two numbers; (0, 0) for anything else."""
    low, _, high = text.partition(":")
    try:
        return float(low), float(high)
    except ValueError:
        return 0.0, 0.0


def sort(text: str) -> str:
    from ..channels.sort import check_sort

    return str(_checked(check_sort, text))


def channels(text: str) -> list[int] | str:
    """`0:4,40` as `[0, 1, 2, 3, 40]`; what needs the layer, a condition or an open run, stays as it is."""
    from ..channels.query import parse

    closed: list[int] | None = _checked(lambda text: parse(text).closed(), text)
    return text if closed is None else closed


def _checked(check: Callable[[str], Any], text: str) -> Any:
    """What a check of the library gives; its error in the way of argparse, which names the option."""
    from ..errors import BadOption

    try:
        return check(text)
    except BadOption as error:
        raise argparse.ArgumentTypeError(str(error)) from error
