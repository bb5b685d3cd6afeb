"""`python -m bench [GROUP]... [--save] [--readme]`: all groups, or those named."""

from __future__ import annotations

import argparse
from importlib import import_module

from .measure import HERE, machine, print_table, saved, write_readme

# Capturing last, as it changes how the process keeps memory.
GROUPS = (
    "drawing",
    "combining",
    "comparing",
    "starting",
    "activation",
    "viewer",
    "scanning",
    "capture",
    "every_layer",
    "scoring",
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description="layerscope against its peers, one thread")
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"any of {', '.join(GROUPS)} (default: all)")
    parser.add_argument("--save", action="store_true", help="also write bench/results.json")
    parser.add_argument(
        "--readme", action="store_true", help="also put the tables of these groups into bench/README.md"
    )
    arguments = parser.parse_args()
    if unknown := set(arguments.groups) - set(GROUPS):
        parser.error(f"no group {', '.join(sorted(unknown))}: use {', '.join(GROUPS)}")
    print(", ".join(f"{name} {value}" for name, value in machine().items()))
    results, titles = {}, {}
    for name in arguments.groups or GROUPS:
        group = import_module(f".{name}", __package__)
        titles[name] = group.TITLE
        results[name] = print_table(group.TITLE, group.rows())
    missed = [row for rows in results.values() for row in rows if row.reached is False]
    for row in missed:
        print(
            f"missed: {row.what} against {row.against or 'the clock'}: {row.ratio or row.ours}, target {row.target_text}"
        )
    if not missed:
        print("every target reached")
    if arguments.save:
        print(f"written: {saved(results, HERE / 'results.json')}")
    if arguments.readme:
        print(f"written: {write_readme({titles[name]: rows for name, rows in results.items()}, HERE / 'README.md')}")


if __name__ == "__main__":
    main()
