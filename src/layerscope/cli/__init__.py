"""The command line. Everything heavy is imported inside the commands, so that `--help` is quick."""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from .._version import __version__
from ..safe_text import printable
from ..surface import command_line
from . import arguments
from .commands import DONE, FAILED, INTERRUPTED, run_demo, run_layers, run_report, run_show, run_view, say
from .drawing import add_drawing, add_overlay, list_late
from .store import add_store_commands, run_scan

MODEL = "a file, a folder, a name in a library, a function or demo: see below"

IMAGES = (
    "files, folders or globs; videos with --frames or --fps; with --preprocess none a .npy, or an .npz with each input by"
    " name"
)

MODELS = """\
MODEL is one of
  demo                     the embedded network
  FILE                     .onnx, .tflite, .keras, .h5, .hdf5, .pt2; .pt and .pth (pickles) only with --trust
  FOLDER                   a SavedModel of tf.keras 2, only with --trust
  keras:VGG16              a model of keras.applications, by its name
  torchvision:vgg16        of torchvision
  timm:resnet18            of timm
  hf:FOLDER, hf:NAME       of transformers, from a folder or the cache on this machine
  package.module:factory   a function that builds the model (--weights gives it its weights)

"""
EXIT_CODES = "exit codes: 0 done, 1 an error, 2 wrong usage, 3 done but some images were skipped\n"
WITHOUT_MODEL = ("demo", "check", "top")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    _open_streams()
    if argv is None:
        sys.excepthook = _print_traceback
    options = argparse.Namespace(debug=False, run=None)
    try:
        with command_line(), _flushed():
            parser().parse_args(arguments.signed(sys.argv[1:] if argv is None else argv), options)
            with _spoken_warnings():
                code: int = options.run(options)
        return code
    except KeyboardInterrupt:
        folder = os.path.isdir(getattr(options, "output", None) or "") and hasattr(options, "resume")
        again = "; the same command goes on from here" if options.run is run_scan else ""
        say("interrupted" + ("; the same command with --resume goes on from here" if folder else again))
        return INTERRUPTED
    except BrokenPipeError:
        # `layerscope layers … | head` closes the pipe.
        _let_go()
        return DONE
    except Exception as error:
        from ..errors import InternalError, LayerscopeError

        if options.debug or not isinstance(error, LayerscopeError | OSError):
            raise
        message = str(error)
        if isinstance(error, OSError):
            _let_go()
        if isinstance(error, InternalError):
            message = f"{message}; --debug shows it"
        say(f"error: {' '.join(message.split())}")
        return FAILED


def parser() -> argparse.ArgumentParser:
    """The whole grammar of the command line."""
    top = arguments.Parser(
        prog="layerscope",
        description="See what any layer of a trained vision model produces.",
        epilog=MODELS + EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"layerscope {__version__}")
    commands = top.add_subparsers(title="commands", dest="command", required=True, metavar="COMMAND")
    _add_demo(commands)
    _add_layers(commands)
    _add_show(commands)
    _add_view(commands)
    _add_report(commands)
    add_store_commands(partial(_command, commands), _add_common, MODEL)
    return top


def _add_demo(commands: Any) -> None:
    demo = _command(commands, "demo", "run the embedded model on the embedded photo", run_demo)
    demo.add_argument(
        "-o", "--output", metavar="DIR", default="demo-out", type=arguments.path, help="folder (default: demo-out)"
    )
    demo.add_argument("--debug", action="store_true", help="show the traceback of an error")


def _add_layers(commands: Any) -> None:
    layers = _command(commands, "layers", "list the layers of a model", run_layers)
    layers.add_argument("model", metavar="MODEL", type=arguments.name, help=MODEL)
    layers.add_argument(
        "image",
        metavar="IMAGE",
        nargs="?",
        type=arguments.name,
        help="an image for the dry run, or a .npy or .npz with --preprocess none (default: a blank one, or zeros)",
    )
    layers.add_argument("--json", action="store_true", help="as JSON, one object per layer")
    _add_common(layers)


def _add_show(commands: Any) -> None:
    show = _command(commands, "show", "draw layers of a model for images", run_show)
    show.add_argument("model", metavar="MODEL", type=arguments.name, help=MODEL)
    show.add_argument("images", metavar="IMAGE", nargs="*", type=arguments.name, help=IMAGES)
    show.add_argument(
        "-l",
        "--layer",
        action="append",
        type=arguments.name,
        metavar="LAYER",
        help="path, end of a path, glob, kind:Conv2D, last, stages, output or index; may be repeated (default: last; every"
        " attention map for attention and rollout)",
    )
    combine = show.add_argument("--combine", metavar="RULE", help="%(words)s")
    list_late(combine, arguments.combinations)
    target = show.add_argument(
        "--target", metavar="CLASS", help="class index or label (default: each image's top-1 class), for %(words)s"
    )
    list_late(target, lambda: arguments.combinations(target=True))
    add_overlay(show)
    add_drawing(show)
    _add_output(show)
    _add_common(show)


def _add_view(commands: Any) -> None:
    view = _command(commands, "view", "look at layers in the browser, on a page of this machine", run_view)
    _add_viewed(view, "all")
    view.add_argument(
        "--port", type=arguments.port, metavar="N", default=0, help="port of the page (default: a free one)"
    )
    view.add_argument("--no-browser", action="store_true", help="print the address and open no browser")
    view.add_argument(
        "--host",
        metavar="ADDRESS",
        type=arguments.name,
        default="127.0.0.1",
        help="where the page is served; any other than this machine's 127.0.0.1 opens it, unencrypted, to others",
    )
    _add_common(view)


def _add_report(commands: Any) -> None:
    report = _command(commands, "report", "write layers with all their values as one HTML file", run_report)
    _add_viewed(report, "stages, the last of each resolution; of a store all")
    report.add_argument(
        "--channels",
        type=arguments.channels,
        metavar="0:16,40",
        help="with --store, these channels of each layer (default: a dozen that tell most)",
    )
    report.add_argument(
        "-o",
        "--output",
        metavar="OUT.html",
        type=arguments.path,
        default="report.html",
        help="the file (default: report.html)",
    )
    _add_common(report)


STORE = "in place of MODEL and IMAGE: what `layerscope scan` has kept of a data set"


def _add_viewed(command: argparse.ArgumentParser, usual: str) -> None:
    command.add_argument("model", metavar="MODEL", nargs="?", type=arguments.name, help=MODEL)
    command.add_argument(
        "images", metavar="IMAGE", nargs="*", type=arguments.name, help=f"{IMAGES}; demo has a photo of its own"
    )
    command.add_argument("--store", metavar="DIR", type=arguments.name, help=STORE)
    command.add_argument(
        "-l",
        "--layer",
        action="append",
        type=arguments.name,
        metavar="LAYER",
        help=f"path, end of a path, glob, kind:Conv2D, last, stages or index; may be repeated (default: {usual})",
    )
    command.add_argument("--frames", metavar="0,30,60", help="of videos, these frames; a range is 0:300:30")
    command.add_argument("--fps", type=arguments.rate, metavar="N", help="of videos, so many frames per second")


def _add_output(show: argparse.ArgumentParser) -> None:
    paper = show.add_mutually_exclusive_group()
    paper.add_argument("--dpi", type=arguments.positive, metavar="N", help="pixels per inch for printing, such as 300")
    paper.add_argument(
        "--width-mm",
        type=arguments.figure,
        metavar="MM",
        help="the width on paper in place of --dpi: 85 for a column of a journal, 180 for a page",
    )
    show.add_argument(
        "--theme", choices=("light", "dark", "transparent"), default="light", help="the background (default: light)"
    )
    show.add_argument(
        "-o",
        "--output",
        metavar="OUT",
        type=arguments.path,
        help="OUT.png (.svg, .pdf …) for one picture, OUT.npz, .npy or .csv for numbers instead, else a folder",
    )
    show.add_argument(
        "--tiles", action="store_true", help="in place of each picture a folder with a file for each of its tiles"
    )
    show.add_argument(
        "--frames", metavar="0,30,60", help="of videos, these frames; a range is 0:300:30, all of them are :"
    )
    show.add_argument(
        "--fps", type=arguments.rate, metavar="N", help="of videos, so many frames per second, such as 1 or 0.5"
    )
    show.add_argument(
        "--resume", action="store_true", help="leave out images whose pictures are complete in the folder already"
    )
    show.add_argument(
        "--terminal",
        choices=("auto", "kitty", "iterm", "sixel", "blocks", "none"),
        help="how to draw in the terminal; none writes files (default without -o: auto, the best it supports)",
    )
    show.add_argument(
        "--batch", type=arguments.positive, metavar="N", help="images that the model gets at a time (default: 16)"
    )
    show.add_argument(
        "--values",
        metavar="OUT.npz",
        type=arguments.path,
        help="also write the layer's own values (.npz, .npy or .csv)",
    )


def _command(commands: Any, name: str, text: str, run: Callable[[argparse.Namespace], int]) -> argparse.ArgumentParser:
    epilog = EXIT_CODES if name in WITHOUT_MODEL else MODELS + EXIT_CODES
    added: argparse.ArgumentParser = commands.add_parser(
        name, help=text, description=text, epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    added.set_defaults(run=run)
    return added


def _add_common(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--weights",
        metavar="FILE",
        type=arguments.path,
        help="weights file, where MODEL is a function or a library's model",
    )
    command.add_argument(
        "--preprocess",
        metavar="NAME",
        default="auto",
        help="preprocessing recipe: unit, raw, tf, imagenet, caffe …; none for arrays that are ready (default: auto)",
    )
    command.add_argument(
        "--range",
        type=arguments.levels,
        metavar="LOW:HIGH",
        help="black and white in photos of more than 8 bits, such as 0:4095 for 12 bits",
    )
    command.add_argument(
        "--size", type=arguments.size, metavar="HxW", help="input size, where the model doesn't fix it"
    )
    command.add_argument(
        "--labels", metavar="FILE", type=arguments.labels, help="class names, one per line; or imagenet"
    )
    command.add_argument(
        "--import",
        dest="modules",
        action="append",
        metavar="MODULE",
        default=[],
        type=arguments.name,
        help="import a module of yours first, such as one that registers Keras classes; may be repeated",
    )
    command.add_argument(
        "--device",
        metavar="DEVICE",
        type=arguments.name,
        help="where the model runs: cpu, cuda, cuda:1, gpu, mps … (default: a file's model on the CPU, others as their"
        " framework chooses)",
    )
    command.add_argument("--trust", action="store_true", help="let the model file run code while it is loaded")
    command.add_argument("--debug", action="store_true", help="show the traceback of an error")


@contextmanager
def _spoken_warnings() -> Iterator[None]:
    """layerscope's own warnings as one line on stderr; warnings of frameworks are silenced."""
    from ..errors import ImagesSkipped, LayerscopeWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", LayerscopeWarning)
        # Skipped images are listed one by one at the end.
        warnings.simplefilter("ignore", ImagesSkipped)
        said: set[str] = set()

        def show(message: Warning | str, *_: Any, **__: Any) -> None:
            line = f"warning: {' '.join(str(message).split())}"
            if line not in said:
                say(line)
            said.add(line)

        warnings.showwarning = show
        yield


def _open_streams() -> None:
    """Streams that can be written to, whatever the shell closed; one without UTF-8 gets `?` for `×` rather than an error."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            # The next file would have this number, and get what is printed.
            os.open(os.devnull, os.O_RDWR)
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w" if number else "r"))  # noqa: SIM115 - to the end of the process
        reconfigure = getattr(getattr(sys, name), "reconfigure", None)
        if number and reconfigure is not None:
            reconfigure(errors="replace")


@contextmanager
def _flushed() -> Iterator[None]:
    """What is printed has reached its place when the block ends, or the error is raised here; also when argparse ends it."""
    try:
        yield
    except SystemExit:
        sys.stdout.flush()
        raise
    sys.stdout.flush()


def _let_go() -> None:
    """Where nothing more can be printed, Python doesn't try again at the end."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _print_traceback(kind: type[BaseException], error: BaseException, trace: Any) -> None:
    """As Python does, with the names in it made safe to print."""
    import traceback

    for line in "".join(traceback.format_exception(kind, error, trace)).splitlines():
        print(printable(line), file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
