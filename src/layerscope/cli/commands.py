"""What the commands do: `demo`, `layers`, `show`, `view` and `report`."""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..safe_text import printable, writable

if TYPE_CHECKING:
    from ..core.layer_table import LayerTable
    from ..plots.options import DrawOptions
    from ..scope.scope import Scope
    from ..store.store import Store
    from ..viewer.session import Session

NARROW = 120
DONE, FAILED, USAGE, SKIPPED, INTERRUPTED = 0, 1, 2, 3, 130
SECONDS_TO_END = 5.0  # for what a model still does after Ctrl-C


def run_demo(options: argparse.Namespace) -> int:
    """`layerscope demo`."""
    from .demo import run

    def tell(text: str) -> None:
        with suppress(BrokenPipeError):  # the pictures are written, whoever stops reading
            print(text)

    run(options.output, tell)
    return DONE


def run_layers(options: argparse.Namespace) -> int:
    """`layerscope layers`."""
    from ..errors import PreprocessUnknown

    images = given_images(options, [] if options.image is None else [options.image])
    _check(options, images)
    try:
        scope = _open(options)
    except PreprocessUnknown:
        if images or options.preprocess != "auto":
            raise
        # Not a model of photos: its layers are listed for zeros.
        options.preprocess = "none"
        scope = _open(options)
    table = scope.layers(_images(images, scope) if images else _blank(scope))
    if options.json:
        print(table.json())
    elif sys.stdout.isatty():
        _print_rich(table)
    else:
        print(writable(table.plain()))
    return DONE


def run_show(options: argparse.Namespace) -> int:
    """`layerscope show`."""
    from ..combinations.registry import usual_layers
    from ..errors import BadOption
    from ..plots.batch_job import Job
    from ..plots.figure import FigureOptions
    from ..plots.overlay import OverlayOptions

    drawing: type[DrawOptions] = FigureOptions if options.figure else OverlayOptions
    start = time.perf_counter()
    if options.by and not options.figure:
        raise BadOption(f"--by {options.by} is for --figure; --top chooses channels by their mean")
    options.by = options.by or "mean"
    if options.figure and options.combine is None:
        options.combine = "mean"
    layers = options.layer or [usual_layers(options.combine)]
    screen = None if options.tiles else _screen(options.terminal, options.output)
    options.images = _named_images(options)
    given = given_images(options, options.images)
    job = Job(
        None,
        layers,
        images=given if len(given) > 1 else given[0],
        combine=options.combine,
        target=int(options.target) if (options.target or "").isdecimal() else options.target,
        options=drawing.among(vars(options)),
        overlay=options.overlay,
        figure=options.figure,
        tiles=options.tiles,
        output=options.output,
        values=options.values,
        dpi=options.dpi,
        width_mm=options.width_mm,
        screen=screen,
        resume=options.resume,
        sources=[path for path in (options.model, options.weights, options.labels) if path],
        batch=options.batch,
    )
    _check(options, given)
    job.check()
    scope = _open(options)
    images = _images(given, scope)
    job = replace(job, scope=scope, images=images, names=_names(given, scope), sources=[*job.sources, *options.images])
    skipped: list[tuple[str, str]] = []
    written, count = 0, job.count()
    with _pictures(1 if screen else count) as step:
        for path in job.run(step, lambda id, reason: skipped.append((id, reason)), lambda note: say(f"note: {note}")):
            print(writable(printable(str(path))))
            written += 1
    if "last" in layers:
        say(scope.explained("last", images))
    for id, reason in skipped:
        say(f"skipped {id}: {reason}")
    if count > 1 and (written or screen is None):
        seconds = time.perf_counter() - start
        say(_summary(written, count - len(skipped), len(skipped), seconds=seconds, folder=options.output))
    return SKIPPED if skipped else DONE


def run_view(options: argparse.Namespace) -> int:
    """`layerscope view`: until Ctrl-C."""
    from ..viewer.lanes import settle
    from ..viewer.page import check_libraries, serve

    check_libraries()
    session, code = _session(options, None), DONE
    with serve(session, host=options.host, port=options.port, browser=not options.no_browser) as viewer:
        print(viewer.url, flush=True)
        say("the page is open until Ctrl-C")
        try:
            viewer.wait()
        except KeyboardInterrupt:
            say("closed")
            code = INTERRUPTED
    settle(SECONDS_TO_END)
    return code


def run_report(options: argparse.Namespace) -> int:
    """`layerscope report`."""
    from ..errors import BadOption
    from ..viewer.report import check_file, write_report, write_store_report

    file = check_file(options.output)
    if (store := store_of(options)) is not None:
        write_store_report(store, file, options.layer, options.channels)
    elif options.channels is not None:
        raise BadOption("--channels is for the report of a store", "leave it out: a report of a model has all channels")
    else:
        write_report(_session(options, "stages"), file)
    print(writable(printable(str(file))))
    return DONE


def _session(options: argparse.Namespace, layers: str | None) -> Session:
    """What a page is made from."""
    from ..viewer.opening import Opening
    from ..viewer.session import Session

    if (store := store_of(options)) is not None:
        from ..viewer.stored import StoredSession

        return StoredSession(store, options.layer)
    given = given_images(options, _named_images(options))
    _check(options, given)
    scope = _open(options)
    opening = Opening(options.model, _opening(options), options.modules)
    return Session(scope, _images(given, scope), options.layer or layers, opening=opening)


def store_of(options: argparse.Namespace) -> Store | None:
    """The store that is named in place of a model and its images, as `--store` or as the model."""
    from ..errors import BadOption
    from ..store.store import open_store
    from ..viewer.stored import refuse_beside
    from ..viewer.stored import store_of as given

    if options.store is None and options.model is None:
        raise BadOption("no model is given", f"`layerscope {options.command} MODEL IMAGE`, or `--store DIR`")
    if options.store is not None and options.model is not None:
        raise BadOption(
            "a model and --store are given", "give one of them: a store brings its own images and needs no model"
        )
    store = given(options.model) if options.store is None else open_store(options.store)
    if store is not None:
        more = {"--range": options.range, "--import": options.modules, "--frames": options.frames, "--fps": options.fps}
        opening = {**_opening(options), "preprocess": options.preprocess}
        refuse_beside(
            options.images, opening, [name for name, value in more.items() if value is not None and value != []]
        )
    return store


def _named_images(options: argparse.Namespace) -> list[str]:
    """The images that the user named; of the demo without any, its own photo."""
    from ..errors import BadOption
    from ..scope.open import demo_photo

    names = options.images or ([str(demo_photo())] if options.model == "demo" else [])
    if not names:
        raise BadOption(f"no image is given for {options.model}", "give one or more behind the model")
    return list(names)


@contextmanager
def _pictures(count: int) -> Iterator[Callable[[str], None]]:
    """Around the drawing of `count` pictures; what it gives is told of each."""
    from ..core.progress import work

    with work(count, "pictures") as step:
        yield lambda _: step(1)


def _summary(files: int, images: int, skipped: int, *, seconds: float, folder: Path | None) -> str:
    """What a run over several images has done, in one line.

    >>> _summary(24, 12, 1, seconds=83.2, folder=Path("out"))
    '24 files from 12 images in out, 1 min 23 s; 1 image skipped'
    """
    from ..safe_text import counted

    taken = f"{seconds:.1f} s" if seconds < 60 else f"{int(seconds // 60)} min {int(seconds % 60)} s"
    left_out = f"; {counted(skipped, 'image')} skipped" if skipped else ""
    return f"{counted(files, 'file')} from {counted(images, 'image')} in {folder or Path()}, {taken}{left_out}"


def given_images(options: argparse.Namespace, names: Sequence[str]) -> list[Any]:
    """What the user named as images: names of files, and the frames that are wanted of videos; of a dry run the first."""
    from ..errors import BadOption, ImageNotReadable
    from ..inputs.formats import is_video

    wanted = {name: value for name in ("frames", "fps") if (value := getattr(options, name, None)) is not None}
    if not any(map(is_video, names)):
        if wanted:
            raise BadOption(f"--{next(iter(wanted))} is for videos, and none is given")
        return list(names)
    from ..inputs.video import Unread, video

    if options.preprocess.lower() == "none":
        raise BadOption("--preprocess none gives arrays to the model as they are: leave it out, or give no video")
    if not hasattr(options, "frames"):
        wanted = {"frames": 0}
    images: list[Any] = []
    for name in names:
        try:
            # Without a choice the name stays: its error says how to choose.
            images += video(name, **wanted) if is_video(name) and wanted else [name]
        except ImageNotReadable as error:
            if len(names) == 1:
                raise
            images.append(Unread(Path(name).name, error))
    return images


def _check(options: argparse.Namespace, images: Sequence[Any]) -> None:
    """Wrong names, files and words are reported before a framework is imported, which takes seconds."""
    from ..combinations.reduce import read_weights
    from ..inputs.images import check_files, collect

    check_words(options)
    if images:
        _check_names(images)
        given = list(images) if len(images) > 1 else images[0]
        _register_plugins([source.id for source in collect(given)])
        check_files(given)
    check_model(options)
    rule, _, channel_weights = (getattr(options, "combine", None) or "").partition(":")
    if rule == "weights":
        read_weights(Path(channel_weights))


def check_words(options: argparse.Namespace) -> None:
    """Of device, preprocessing and model, what can be told to be wrong by its name alone."""
    from ..backends.common.device import Device
    from ..errors import BadOption
    from ..inputs.recipe import named
    from ..scope.open import check_reference

    if options.device:
        Device.of(options.device)
    if options.preprocess.lower() not in ("auto", "none"):
        named(options.preprocess)
    if options.preprocess.lower() == "none" and (options.range or options.size):
        raise BadOption("--preprocess none gives arrays to the model as they are: leave --range and --size out")
    check_reference(options.model)


def check_model(options: argparse.Namespace) -> None:
    """The files of a model are there, and are such files."""
    from ..backends.registry import for_file
    from ..errors import ModelNotReadable
    from ..files import open_regular
    from ..scope.open import labels_file, read_labels

    if options.model != "demo" and Path(options.model).exists():
        for_file(Path(options.model))
    if options.weights:
        open_regular(options.weights, what="weights", error=ModelNotReadable).close()
    if options.labels:
        read_labels(labels_file(options.labels))


def _check_names(images: Sequence[Any]) -> None:
    """Raises `ImageNotReadable` for a name without the ending of a file, where there is no such file: it may be a layer."""
    import glob

    from ..errors import ImageNotReadable
    from ..inputs.arrays import is_arrays
    from ..inputs.formats import is_video
    from ..inputs.paths import is_image

    for image in images:
        if not isinstance(image, str) or is_image(image) or is_video(image) or is_arrays(image):
            continue
        if not (glob.has_magic(image) or "://" in image or Path(image).expanduser().exists()):
            raise ImageNotReadable(f"image {image}: no such file; a layer is given as -l {image}")


def _register_plugins(names: Sequence[str]) -> None:
    """Plugins of Pillow that are installed, for formats among the photos; a program registers them by itself."""
    from ..inputs.formats import PLUGINS

    endings = {Path(name).suffix.lower() for name in names}
    for module in {PLUGINS[ending].removesuffix("-plugin").replace("-", "_") for ending in endings & PLUGINS.keys()}:
        with suppress(ImportError):
            plugin = importlib.import_module(module)
            getattr(plugin, "register_heif_opener", lambda: None)()


def _blank(scope: Scope) -> Any:
    """Zeros for a model that takes no photos; `None` for a blank photo."""
    from ..inputs.recipe import READY
    from ..scope.batches import zeros_of

    return zeros_of(scope.facts.inputs) if scope.preprocess == READY else None


def _images(paths: Sequence[Any], scope: Scope) -> Any:
    """What the scope captures: files of photos, or a batch that is ready for the model."""
    from ..inputs.arrays import read_ready
    from ..inputs.recipe import READY

    if scope.preprocess == READY:
        return read_ready(paths)
    return list(paths) if len(paths) > 1 else paths[0]


def _names(paths: Sequence[Any], scope: Scope) -> list[str]:
    """The names of the images in ready batches from files, none the same as another; none for photos, which have theirs."""
    from ..inputs.arrays import read_ready
    from ..inputs.images import numbered
    from ..inputs.recipe import READY
    from ..scope.batches import count_images

    if scope.preprocess != READY:
        return []
    counts = [count_images(read_ready([path]), READY, scope.facts.inputs) or 0 for path in paths]
    names = [name for path, count in zip(paths, counts, strict=True) for name in numbered(path, count)]
    return [f"{name}#{names[:at].count(name) + 1}" if name in names[:at] else name for at, name in enumerate(names)]


def _screen(protocol: str | None, output: Path | None) -> Callable[[Any], object] | None:
    """What draws in the terminal; `None` where pictures only become files: with -o, with none, and where it can't draw."""
    if protocol == "none" or (protocol is None and output is not None):
        return None
    if protocol in (None, "auto") and not sys.stdout.isatty():
        return None
    from ..terminal import draw, drawn_by

    chosen = drawn_by(sys.stdout) if protocol in (None, "auto") else protocol
    return None if chosen == "none" else lambda picture: draw(picture, sys.stdout, chosen)


def _open(options: argparse.Namespace) -> Scope:
    from ..scope.factory import import_module
    from ..scope.open import open as open_scope

    for module in options.modules:
        import_module(module)
    scope = open_scope(options.model, **_opening(options))
    if options.device:
        say(f"device: {getattr(scope.backend, 'device', '') or 'cpu'}")
    say(f"preprocessing: {scope.preprocess.describe()} ({scope.plan.note})")
    return scope


def _opening(options: argparse.Namespace) -> dict[str, Any]:
    """What `ls.open` is given besides the model."""
    names = ("weights", "size", "labels", "device", "trust")
    return {"preprocess": preprocess_of(options), **{name: getattr(options, name) for name in names}}


def preprocess_of(options: argparse.Namespace) -> Any:
    name = None if options.preprocess.lower() == "none" else options.preprocess
    return name if options.range is None or name is None else {"name": name, "range": options.range}


def _print_rich(table: LayerTable) -> None:
    """The tree, for a terminal; a narrow one goes without the columns that the shape holds as well."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from ..core.columns import columns_within, widths_of
    from ..core.table_text import FOLDED, HEADER, RIGHT, SPARE, footer, tree_rows

    console = Console()
    narrow = console.width < NARROW
    gap = 1 if narrow else 2
    header = [name.replace("parameters", "params") if narrow else name for name in HEADER]
    rows = tree_rows(table)
    widths = widths_of([header, *(cells for cells, _ in rows)])
    least = [min(width, FOLDED.get(name, width)) for width, name in zip(widths, HEADER, strict=True)]
    kept = columns_within(least, console.width, SPARE, gap)
    shown = Table(
        title=Text(printable(table.title)), header_style="bold", box=None, pad_edge=False, padding=(0, gap, 0, 0)
    )
    for column in kept:
        side: Any = "right" if column in RIGHT else "left"
        shown.add_column(header[column], justify=side, overflow="fold", no_wrap=HEADER[column] not in FOLDED)
    for cells, layer in rows:
        texts = [Text(writable(cells[column])) for column in kept]
        shown.add_row(*texts, style="" if layer is None or layer.showable else "dim")
    console.print(shown)
    for line in footer(table, kept):
        console.print(Text(writable(line)), style="dim")


def say(text: str) -> None:
    """One line on stderr; a run doesn't end because nobody reads it."""
    with suppress(OSError):
        print(writable(f"layerscope: {printable(text)}", sys.stderr), file=sys.stderr, flush=True)
