"""The commands over data sets: `scan`, `check` and `top`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..errors import BadOption
from ..safe_text import counted
from . import arguments
from .commands import DONE, FAILED, SKIPPED, check_model, check_words, given_images, preprocess_of, say

if TYPE_CHECKING:
    from ..store.store import Store

SOURCES = (
    "a folder, glob or files; a .csv, .tsv or .parquet with a column of paths; tars of WebDataset; a data set that Hugging"
    " Face's save_to_disk wrote; videos with --frames or --fps"
)

TABLES = (".csv", ".txt")

Command = Callable[[str, str, Callable[[argparse.Namespace], int]], argparse.ArgumentParser]


def add_store_commands(command: Command, common: Callable[[argparse.ArgumentParser], None], model: str) -> None:
    """Add the commands of this module; `common` adds what all have that open a model, `model` says how one is named."""
    scan = command("scan", "run a model over a data set and keep what its layers make of each image", run_scan)
    scan.add_argument("model", metavar="MODEL", type=arguments.name, help=model)
    _add_scan(scan)
    common(scan)
    check = command("check", "compare every file of a store with the checksum that its receipt states", run_check)
    check.add_argument("store", metavar="STORE", type=arguments.name, help="the folder of a store")
    check.add_argument(
        "--repair",
        action="store_true",
        help="forget damaged units, so that the same scan does them again, however large it is",
    )
    check.add_argument("--debug", action="store_true", help="show the traceback of an error")
    top = command("top", "draw the images of a store that excite a channel most, or list its channels", run_top)
    _add_top(top)


def _add_scan(scan: argparse.ArgumentParser) -> None:
    scan.add_argument("images", metavar="FOLDER", nargs="+", type=arguments.name, help=SOURCES)
    scan.add_argument(
        "-l",
        "--layer",
        action="append",
        required=True,
        type=arguments.name,
        metavar="LAYER",
        help="path, end of a path, glob, kind:Conv2D, last, stages or index; may be repeated",
    )
    scan.add_argument(
        "--store",
        metavar="DIR",
        required=True,
        type=arguments.name,
        help="where the results go; the same command goes on from what is there",
    )
    scan.add_argument(
        "--keep",
        choices=("pooled", "maps", "stats"),
        default="pooled",
        help="of each image: mean, maximum and its place for each channel; the maps as well; or statistics alone (default:"
        " pooled)",
    )
    scan.add_argument(
        "--dtype",
        choices=("float16", "float32", "uint8"),
        default="float16",
        help="of kept maps; uint8 holds each map in 253 steps (default: float16)",
    )
    scan.add_argument("--channels", type=arguments.channels, metavar="0:16,40", help="only these channels")
    scan.add_argument(
        "--top", type=arguments.positive, metavar="K", default=16, help="top images of each channel (default: 16)"
    )
    scan.add_argument(
        "--batch", type=arguments.positive, metavar="N", help="images at a time (default: found by itself)"
    )
    scan.add_argument(
        "--unit",
        type=arguments.positive,
        metavar="N",
        default=128,
        help="images that are committed together (default: 128)",
    )
    scan.add_argument(
        "--labels-from", metavar="FOLDER|COLUMN", default="auto", help="what gives images their classes; none for none"
    )
    scan.add_argument("--column", metavar="NAME", help="the column of paths or images, where its name doesn't tell")
    scan.add_argument("--frames", metavar="0,30,60", help="of videos, these frames; a range is 0:300:30")
    scan.add_argument("--fps", type=arguments.rate, metavar="N", help="of videos, so many frames per second")
    scan.add_argument(
        "--engine", choices=("local", "dask", "ray"), default="local", help="who does the work (default: local)"
    )
    scan.add_argument("--address", metavar="ADDRESS", help="where a cluster of Dask or Ray runs already, such as auto")
    scan.add_argument(
        "--gpus-per-worker", type=arguments.share, metavar="N", help="the part of a GPU that each worker of Ray takes"
    )
    scan.add_argument(
        "--workers", type=arguments.positive, metavar="N", default=1, help="processes that share the work (default: 1)"
    )
    scan.add_argument("--yes", action="store_true", help="begin a large scan without asking")


def _add_top(top: argparse.ArgumentParser) -> None:
    top.add_argument("store", metavar="STORE", type=arguments.name, help="the folder that a scan has filled")
    top.add_argument(
        "-l",
        "--layer",
        type=arguments.name,
        metavar="LAYER",
        help="path, or a part of only that path; none for the only one",
    )
    top.add_argument(
        "-c",
        "--channel",
        metavar="N",
        help="number or class of a channel; without one, the table of all channels is printed",
    )
    top.add_argument("-k", type=arguments.positive, metavar="K", help="how many images (default: 9)")
    top.add_argument(
        "--view",
        choices=("overlay", "masked", "crop", "contour", "photo"),
        default="overlay",
        help="the map on the photo, the photo where the channel is active, what the unit sees, a line (default: overlay)",
    )
    top.add_argument(
        "--samples",
        action="store_true",
        help="an image of each eighth by the channel's largest value, not the top alone",
    )
    top.add_argument("--columns", type=arguments.positive, metavar="N", help="photos in a row")
    top.add_argument(
        "--theme", choices=("light", "dark", "transparent"), default="light", help="the background (default: light)"
    )
    top.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        type=arguments.name,
        help="the picture (default: top.png), or of the table a .csv",
    )
    top.add_argument("--debug", action="store_true", help="show the traceback of an error")


def run_top(options: argparse.Namespace) -> int:
    """`layerscope top`."""
    from ..store.store import open_store

    store = open_store(options.store)
    if options.channel is None:
        table = store.stats(options.layer)
        if options.output and not str(options.output).lower().endswith(TABLES):
            raise BadOption(
                f"-o {options.output}: without a channel there is a table, which is written as .csv",
                "a picture is of one channel: give it with -c",
            )
        if options.output:
            say(str(table.to_csv(options.output)))
        else:
            print(table)
        return DONE
    channel = int(options.channel) if options.channel.isascii() and options.channel.isdecimal() else options.channel
    about = {"samples": options.samples, "view": options.view, "columns": options.columns, "theme": options.theme}
    picture = store.top(options.layer, channel, k=options.k, **about)
    print(picture.save(options.output or "top.png"))
    return DONE


def run_scan(options: argparse.Namespace) -> int:
    """`layerscope scan`."""
    from ..scope.factory import import_module
    from ..store.scan import scan

    check_words(options)
    check_model(options)
    images = given_images(options, options.images)
    for module in options.modules:
        import_module(module)
    store = scan(
        options.model,
        images if len(images) > 1 else images[0],
        options.layer,
        options.store,
        keep=options.keep,
        dtype=options.dtype,
        channels=options.channels,
        top=options.top,
        batch=options.batch,
        unit=options.unit,
        labels_from=None if options.labels_from.lower() == "none" else options.labels_from,
        column=options.column,
        engine=options.engine,
        workers=options.workers,
        address=options.address,
        gpus_per_worker=options.gpus_per_worker,
        yes=options.yes,
        **_opening(options),
    )
    failures = store.failures
    for image in failures:
        say(f"skipped {image.id}: {image.reason}")
    for line in _summary(store):
        say(line)
    return SKIPPED if failures else DONE


def _opening(options: argparse.Namespace) -> dict[str, Any]:
    """What `open` takes beside the model."""
    about = {name: getattr(options, name) for name in ("weights", "size", "labels", "device", "trust")}
    return {**about, "preprocess": preprocess_of(options)}


def _summary(store: Store) -> list[str]:
    """What the last run of a scan has come to, in a few lines."""
    about = store.provenance["runs"][-1]
    counts = store.outcomes
    new = sum(counts.values()) - about["already"]
    seconds = max(about["units_took"]["clock"], 1e-3)
    words = [f"{count:,} {word}" for word, count in counts.items() if count]
    lines = [f"{counted(store.plan.images, 'image')} in {store.storage}: {', '.join(words)}"]
    if new:
        lines.append(f"{new:,} in {seconds:,.1f} s, {new / seconds:,.0f} a second; {about['seconds']:,.1f} s in all")
    if about["changed"]:
        lines.append(f"changed since, done again: {_some(about['changed'])}")
    if about["damaged"]:
        lines.append(f"damaged, done again: {_some(about['damaged'])}")
    return lines


def _some(names: list[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def run_check(options: argparse.Namespace) -> int:
    """`layerscope check`."""
    from ..store.check import check_store

    found = check_store(options.store, repair=options.repair)
    print(found)
    return DONE if found else FAILED
