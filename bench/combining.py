"""Channels into one map: against numpy's plain expression, against one read of the array, and the memory of PCA.

Factors, clusters, similarity and difference: against scikit-learn called directly, pytorch-grad-cam, SciPy and numpy.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator

import numpy as np

import layerscope as ls

from .arrays import channels_first_in_memory, name, photo_map
from .measure import Measured, Row, Target, child, side_by_side
from .peers import beside_torchvision, low_rank_colors, min_max_colors

TITLE = "Combining"
PEAK = """
import json, bench
import numpy as np
from bench.arrays import photo_map, channels_first_in_memory
from bench.measure import peak_beyond
import layerscope as ls
values = {values}
flat = values.reshape(-1, values.shape[-1])
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
    yield from _plain_memory()
    yield from _pca()
    for channels in (64, 2048):
        yield from _colors(channels)
    for channels in (64, 2048):
        yield from _learned(channels)
        yield from _compared(channels)
    yield from _learned_memory()


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
    for rule, (ours, theirs) in plain.items():
        times = side_by_side({"ours": ours, "numpy": theirs, "read": lambda: values.sum()}, seconds=0.6)
        yield Row(f"{rule} of {what}", times["ours"], "numpy's expression", times["numpy"], target)
        yield Row(f"{rule} of {what}", times["ours"], "one read, array.sum()", times["read"])


def _pca() -> Iterator[Row]:
    from sklearn.decomposition import PCA

    for memory in ("NHWC", "NCHW"):
        values = photo_map(64) if memory == "NHWC" else channels_first_in_memory(photo_map(64))
        flat = np.ascontiguousarray(values).reshape(-1, 64)
        times = side_by_side(
            {
                "ours": lambda values=values: ls.pca(values),
                "sklearn": lambda flat=flat: PCA(3, svd_solver="full").fit_transform(flat),
                "svd": lambda flat=flat: np.linalg.svd(flat - flat.mean(0), full_matrices=False),
            },
            seconds=2,
        )
        what = f"PCA of {name(64)}, {memory} memory"
        yield Row(what, times["ours"], "", None, Target("below", 0.5))
        yield Row(what, times["ours"], 'sklearn PCA(3, svd_solver="full")', times["sklearn"])
        yield Row(what, times["ours"], "np.linalg.svd, thin", times["svd"])
    yield from _pca_memory()
    print("np.linalg.svd with its default full_matrices=True is left out: U alone, 50,176², takes 10 GB in float32.")


def _colors(channels: int) -> Iterator[Row]:
    """From a layer to a picture of its first three components."""
    import torch

    values = photo_map(channels)
    size = values.shape[1:3]
    tokens = values.reshape(-1, channels)
    tensor = torch.from_numpy(tokens)
    times = side_by_side(
        {
            "ours": lambda: ls.heatmap(ls.pca(values)),
            "FeatLens's steps, no text": lambda: low_rank_colors(tensor, size, (448, 448)),
            "sklearn PCA(3), min to max, Pillow, no text": lambda: min_max_colors(tokens, size, (448, 448)),
        },
        seconds=2,
    )
    for other in [*times][1:]:
        yield Row(f"PCA of {name(channels)} as a picture", times["ours"], other, times[other])


def _plain_memory() -> Iterator[Row]:
    """The peak of each beyond the array that it is given."""
    peers = {
        "mean": ("ls.mean(values)", "values.mean(-1)"),
        "total": ("ls.total(values)", "values.sum(-1)"),
        "weighted": ("ls.weighted(values, weights)", "np.sum(values * weights, axis=-1)"),
        "maximum": ("ls.maximum(values)", "values.max(-1)"),
        "norm": ("ls.norm(values)", "np.linalg.norm(values, axis=-1)"),
        "deviation": ("ls.deviation(values)", "values.std(-1)"),
    }
    first = "v = values[:, :4, :4]; ls.mean(v); ls.norm(v); ls.deviation(v); ls.maximum(v); np.linalg.norm(v, axis=-1)"
    before = f"weights = np.random.default_rng(0).normal(size=64).astype('f4')\n{first}"
    for rule, (ours, theirs) in peers.items():
        what = f"{rule} of {name(64)}: peak beyond the array"
        yield Row(what, _peak(ours, before), "numpy's expression", _peak(theirs, before), Target("below", 20))


def _learned(channels: int) -> Iterator[Row]:
    from sklearn.cluster import KMeans
    from sklearn.decomposition import NMF

    values = photo_map(channels)
    flat = values.reshape(-1, channels)
    nmf = {
        "ours": lambda: ls.nmf(values),
        "sklearn NMF(6), called directly": lambda: NMF(6, init="nndsvda", random_state=0, max_iter=400).fit_transform(
            flat
        ),
    }
    dff = _dff()
    if dff is not None:
        # It writes into what it is given where that has NaN, and takes channels first.
        nmf["pytorch-grad-cam dff(6)"] = lambda: dff(values.transpose(0, 3, 1, 2), 6)
    clusters = {
        "ours": lambda: ls.clusters(values),
        "sklearn KMeans(6), called directly": lambda: KMeans(6, n_init=4, random_state=0).fit(flat),
    }
    for rule, contestants in (("nmf", nmf), ("clusters", clusters)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "not settled after 400 rounds", which the caption says
            times = side_by_side(contestants, seconds=3)
        for other in list(contestants)[1:]:
            target = Target("within", 1.5) if channels == 64 and "directly" in other else None
            yield Row(f"{rule} of {name(channels)}", times["ours"], other, times[other], target)


def _compared(channels: int) -> Iterator[Row]:
    from scipy.spatial.distance import cdist

    values = photo_map(channels)
    other = values * np.float32(0.9) + np.float32(0.01)
    flat = values.reshape(-1, channels)
    query = values[0, 3, 3]

    def cosine() -> object:
        return values @ query / (np.linalg.norm(values, axis=-1) * np.linalg.norm(query))

    def changed() -> object:
        change = values - other
        return change, np.sqrt(np.square(change).mean((0, 1, 2))), np.sqrt(np.square(other).mean((0, 1, 2)))

    similarity = {
        "ours": lambda: ls.similarity(values, (3, 3)),
        "numpy's expression": cosine,
        'scipy cdist("cosine")': lambda: cdist(flat, query[None], "cosine"),
        "one read, array.sum()": lambda: values.sum(),
    }
    difference = {
        "ours": lambda: ls.difference(values, other),
        "numpy: a - b, rms of each channel in both": changed,
        "numpy: a - b alone": lambda: values - other,
    }
    for rule, contestants in (("similarity", similarity), ("difference", difference)):
        times = side_by_side(contestants, seconds=1)
        for expression in list(contestants)[1:]:
            target = Target("within", 1.5) if channels == 64 and expression == list(contestants)[1] else None
            yield Row(f"{rule} of {name(channels)}", times["ours"], expression, times[expression], target)


def _learned_memory() -> Iterator[Row]:
    """The peak of each beyond the array that it is given."""
    sklearn = "from sklearn.decomposition import NMF; from sklearn.cluster import KMeans; NMF(2).fit(flat[:9])"
    small = (
        "v = np.abs(values[:, :4, :4]); ls.nmf(v, 2); ls.clusters(v, 2); ls.similarity(v, (0, 0)); ls.difference(v, v)"
    )
    peers = {
        "nmf": ("ls.nmf(values)", 'NMF(6, init="nndsvda", random_state=0, max_iter=400).fit_transform(flat)'),
        "clusters": ("ls.clusters(values)", "KMeans(6, n_init=4, random_state=0).fit(flat)"),
        "similarity": (
            "ls.similarity(values, (3, 3))",
            "flat @ flat[9] / (np.linalg.norm(flat, axis=-1) * np.linalg.norm(flat[9]))",
        ),
        "difference": ("ls.difference(values, values[:, ::-1])", "values - values[:, ::-1]"),
    }
    quiet = "import warnings; warnings.simplefilter('ignore')"
    for rule, (ours, theirs) in peers.items():
        first, second = _peak(ours, f"{sklearn}\n{small}\n{quiet}"), _peak(theirs, f"{sklearn}\n{small}\n{quiet}")
        what = f"{rule} of {name(64)}: peak beyond the array"
        other = "sklearn, called directly" if rule in ("nmf", "clusters") else "numpy's expression"
        yield Row(what, first, other, second, Target("below", 1000))


def _dff() -> Callable[[np.ndarray, int], object] | None:
    """pytorch-grad-cam's Deep Feature Factorization."""
    module = beside_torchvision("pytorch_grad_cam.feature_factorization.deep_feature_factorization")
    return None if module is None else module.dff


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
