"""Channels into one map: against numpy's plain expression, against one read of the array, and the memory of PCA."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

import layerscope as ls

from .arrays import channels_first_in_memory, name, photo_map
from .measure import Measured, Row, Target, child, side_by_side

TITLE = "Combining"
PEAK = """
import json, bench
import numpy as np
from bench.arrays import photo_map, channels_first_in_memory
from bench.measure import peak_beyond
import layerscope as ls
values = {values}
flat = values.reshape(-1, 64)
{before}
print(json.dumps(peak_beyond(lambda: {run})))
"""


def rows() -> Iterator[Row]:
    for channels in (64, 2048):
        values = photo_map(channels)
        memories = {"NHWC": values, "[h, w, c]": values[0], "NCHW": channels_first_in_memory(values)}
        for memory in memories if channels == 64 else ("NHWC",):
            # Of a small map the fixed cost of a few calls is all there is to see.
            target = Target("within", 1.5) if channels == 64 else None
            yield from _combinations(f"{name(channels)}, {memory}", memories[memory], target)
    yield from _pca()


def _combinations(what: str, values: np.ndarray, target: Target | None) -> Iterator[Row]:
    # A dead channel's weight in a principal component, or a channel left out of {channel: weight}, is exactly 0.
    weights = np.random.default_rng(2).normal(size=values.shape[-1]).astype(np.float32)
    without = np.where(np.arange(len(weights)) == 5, 0, weights).astype(np.float32)
    plain: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        "mean": (lambda: ls.mean(values), lambda: values.mean(-1)),
        "total": (lambda: ls.total(values), lambda: values.sum(-1)),
        "weighted": (lambda: ls.weighted(values, weights), lambda: np.sum(values * weights, axis=-1)),
        "weighted, one weight 0,": (lambda: ls.weighted(values, without), lambda: np.sum(values * without, axis=-1)),
        "maximum": (lambda: ls.maximum(values), lambda: values.max(-1)),
        "norm": (lambda: ls.norm(values), lambda: np.linalg.norm(values, axis=-1)),
        "deviation": (lambda: ls.deviation(values), lambda: values.std(-1)),
    }
    for each, (ours, theirs) in plain.items():
        found = side_by_side({"ours": ours, "numpy": theirs, "read": lambda: values.sum()}, seconds=0.6)
        yield Row(f"{each} of {what}", found["ours"], "numpy's expression", found["numpy"], target)
        yield Row(f"{each} of {what}", found["ours"], "one read, array.sum()", found["read"])


def _pca() -> Iterator[Row]:
    from sklearn.decomposition import PCA

    for memory in ("NHWC", "NCHW"):
        values = photo_map(64) if memory == "NHWC" else channels_first_in_memory(photo_map(64))
        flat = np.ascontiguousarray(values).reshape(-1, 64)
        found = side_by_side(
            {
                "ours": lambda values=values: ls.pca(values),
                "sklearn": lambda flat=flat: PCA(3, svd_solver="full").fit_transform(flat),
                "svd": lambda flat=flat: np.linalg.svd(flat - flat.mean(0), full_matrices=False),
            },
            seconds=2,
        )
        what = f"PCA of {name(64)}, {memory} memory"
        yield Row(what, found["ours"], "", None, Target("below", 0.5))
        yield Row(what, found["ours"], 'sklearn PCA(3, svd_solver="full")', found["sklearn"])
        yield Row(what, found["ours"], "np.linalg.svd, thin", found["svd"])
    yield from _pca_memory()
    print("np.linalg.svd with its default full_matrices=True is left out: U alone, 50,176², takes 10 GB in float32.")


def _pca_memory() -> Iterator[Row]:
    others = {
        'sklearn PCA(3, svd_solver="full")': _peak(
            'PCA(3, svd_solver="full").fit_transform(flat)', "from sklearn.decomposition import PCA"
        ),
        "np.linalg.svd, thin": _peak("np.linalg.svd(flat - flat.mean(0), full_matrices=False)"),
    }
    first = _peak("ls.pca(values)", values="channels_first_in_memory(photo_map(64))")
    yield Row(f"PCA of {name(64)}, NCHW memory: peak beyond the array", first, "", None, Target("below", 1000))
    ours = _peak("ls.pca(values)")
    yield Row(f"PCA of {name(64)}, NHWC memory: peak beyond the array", ours, "", None, Target("below", 1000))
    for peer, peak in others.items():
        yield Row(f"PCA of {name(64)}, NHWC memory: peak beyond the array", ours, peer, peak)


def _peak(run: str, before: str = "", values: str = "photo_map(64)") -> Measured:
    small = "ls.pca(np.random.default_rng(0).normal(size=(1, 4, 4, 8)).astype('f4'))"  # so that no import counts
    code = PEAK.format(values=values, before=f"{before}\n{small}", run=run)
    return Measured(tuple(child(code) for _ in range(3)), "MB")
