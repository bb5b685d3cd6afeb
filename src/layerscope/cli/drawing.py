"""The options of `layerscope show` by which a picture is drawn: those of an overlay, and those of every picture."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from . import arguments

CHANNELS = "only these channels; or a condition, such as 'mean > 0.1 and sparsity < 50%% and not dead'"


def add_overlay(show: argparse.ArgumentParser) -> None:
    show.add_argument(
        "--overlay", action="store_true", help="lay the map on the photo; of several channels or heads, their mean"
    )
    show.add_argument(
        "--figure",
        action="store_true",
        help="photo, combined map, overlay and the strongest channels in one picture for a paper (default: mean)",
    )
    show.add_argument("--by", choices=("mean", "max"), help="what makes a channel of a --figure strong (default: mean)")
    show.add_argument(
        "--on", choices=("grey", "photo"), default="grey", help="overlay on the photo in grey or in its colours"
    )
    show.add_argument(
        "--alpha", type=arguments.figure, metavar="0-1", help="greatest opacity of an overlay (default: 0.85)"
    )
    show.add_argument("--even", action="store_true", help="overlay values all with the same opacity (default: 0.6)")
    show.add_argument(
        "--interpolation",
        choices=("nearest", "smooth"),
        help="overlay units as flat areas, or blended (default: smooth for class activation maps)",
    )
    show.add_argument("--smooth", action="store_const", const=True, help="the same as --interpolation smooth")
    show.add_argument(
        "--contours",
        type=arguments.contours,
        metavar="N|LEVELS",
        help="lines on an overlay: how many, or 0.5,1.5",
    )
    show.add_argument(
        "--top",
        type=arguments.figure,
        metavar="N",
        help="how many channels, the strongest ones, or bars; of an overlay per cent to colour",
    )


def add_drawing(show: argparse.ArgumentParser) -> None:
    show.add_argument("--channels", type=arguments.channels, metavar="0:16,40", help=CHANNELS)
    show.add_argument("--columns", type=arguments.positive, metavar="N", help="tiles per row")
    scale = show.add_argument(
        "--scale", type=arguments.scale, metavar="RULE", help="%(words)s or LOW:HIGH (default for tiles: channel)"
    )
    list_late(scale, arguments.scales)
    show.add_argument(
        "--clip", type=arguments.clip, metavar="LOW:HIGH", help="clip the scale to these percentiles, such as 1:99"
    )
    show.add_argument(
        "--norm",
        choices=("linear", "log", "symlog"),
        help="equal steps of colour for equal steps of what (default: linear)",
    )
    show.add_argument("--colors", metavar="NAME", help="a colour map from the cmap catalogue, such as magma")
    sort = show.add_argument(
        "--sort", type=arguments.sort, default="index", metavar="ORDER", help="order of the tiles: %(words)s"
    )
    list_late(sort, arguments.orders)
    show.add_argument(
        "--per-page", type=arguments.positive, metavar="N", help="tiles per page (default: as many as fit)"
    )
    show.add_argument("--zoom", type=arguments.positive, metavar="N", help="picture pixels per unit of the map")
    show.add_argument("--statistics", action="store_true", help="mean and share of zeros below each tile")
    show.add_argument(
        "--text", type=int, choices=(1, 2, 3, 4), help="text size; 3 for print (default: as the picture needs)"
    )
    show.add_argument("--title", metavar="TEXT", help="the title of each picture ('' for none)")
    show.add_argument(
        "--caption",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="title, subject and notes on the picture; without, a --title that you give is; the file keeps them",
    )
    show.add_argument(
        "--bar", action=argparse.BooleanOptionalAction, default=True, help="the colour bar beside the picture"
    )


def list_late(action: argparse.Action, make: Callable[[], str]) -> None:
    """What `%(words)s` becomes in the help of an option, made when it is printed."""
    vars(action)["words"] = arguments.Late(make)
