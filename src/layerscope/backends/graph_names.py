"""Names of the layers of a graph file."""

from __future__ import annotations


def free(path: str, taken: set[str]) -> str:
    """`path`, or `path_2`, `path_3` … where it is taken; the result counts as taken.

    >>> taken = {"conv"}
    >>> free("conv", taken), free("conv", taken), free("pool", taken)
    ('conv_2', 'conv_3', 'pool')
    """
    number, found = 1, path
    while found in taken:
        number += 1
        found = f"{path}_{number}"
    taken.add(found)
    return found
