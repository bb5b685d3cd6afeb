"""The main job on the embedded model and photo: what `layerscope demo` and `make demo` do."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from ..combinations.class_cam import class_cam, head_weights
from ..combinations.pca import pca
from ..combinations.reduce import mean, weighted
from ..core.feature_map import FeatureMap
from ..picture.picture import Picture
from ..plots.heatmap import heatmap
from ..plots.overlay import overlay
from ..plots.sheet import sheet
from ..scope.open import demo_model, demo_photo
from ..scope.open import open as open_scope
from ..viewer.report import report
from ..writing import make_folder

EARLY, MIDDLE, LATE = "_blocks.0._swish", "_blocks.4._swish:1", "_swish:1"


def run(folder: Path, say: Callable[[str], None]) -> list[Path]:
    """Write the demo's pictures and its report into `folder`, and print what each shows. Returns their paths."""
    make_folder(folder)
    scope = open_scope(demo_model())
    photo = demo_photo()
    say(f"model  EfficientNet-Lite0 (ImageNet, embedded), {scope.facts.framework}")
    say(f"photo  {photo.name} (embedded)")
    say(f"input  {scope.preprocess.describe()}")
    (classes,) = scope.predict(photo)
    say("the model's top-5 classes:")
    for prediction in classes:
        say(f"  {prediction.probability:6.1%}  {prediction.label}")
    maps = scope.capture(photo, [EARLY, MIDDLE, LATE])
    say(f"in {folder}:")
    written = []
    weighed = weighted(maps[LATE], head_weights(scope, classes[0].index, LATE))
    evidence = class_cam(maps[LATE], classes[0].index)
    for name, picture, sentence in _pictures(maps, weighed, evidence, classes[0].label):
        written.append(picture.save(folder / name))
        say(f"  {name:24}  {sentence}")
    written.append(report(scope, photo, [EARLY, MIDDLE, LATE], folder / "8-report.html"))
    say("  8-report.html             the three layers with all their values, for the browser, without a server")
    say(f"`{command()} view demo` shows every layer")
    return written


def command() -> str:
    """What starts layerscope here: its name, or the path of what runs where a shell doesn't find that name."""
    running = Path(sys.argv[0]).absolute()
    if shutil.which("layerscope") or running.stem != "layerscope":
        return "layerscope"
    here = Path.cwd()
    return str(running.relative_to(here) if running.is_relative_to(here) else running)


def _pictures(
    maps: Mapping[str, FeatureMap], weighed: FeatureMap, evidence: FeatureMap, label: str
) -> Iterator[tuple[str, Picture, str]]:
    early, middle, late = maps[EARLY], maps[MIDDLE], maps[LATE]
    yield "1-early-sheet.png", sheet(early), f"all {early.of} channels of an early layer, {EARLY}, {_size(early)} each"
    yield "2-middle-sheet.png", sheet(middle), f"all {middle.of} channels of a middle layer, {MIDDLE}, {_size(middle)}"
    yield (
        "3-late-sheet.png",
        sheet(late),
        f"all {late.of} channels of the last layer with pixels, {LATE}, {_size(late)}",
    )
    yield "4-mean.png", heatmap(mean(middle)), f"the mean of the {middle.of} channels of {MIDDLE}, with a colour bar"
    yield "5-weighted.png", heatmap(weighed), f"{LATE}: its channels weighted by the classifier's row for '{label}'"
    yield "6-pca.png", heatmap(pca(middle)), f"{MIDDLE}: three principal components as red, green, blue"
    yield (
        "7-overlay.png",
        overlay(evidence),
        f"the class activation map on the photo: what speaks for '{label}'",
    )


def _size(fm: FeatureMap) -> str:
    return "×".join(map(str, fm.spatial))
