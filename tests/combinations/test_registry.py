"""Combinations by name: what each needs of a capture, in `show`, in a job of many files, on the command line."""

import json

import numpy as np
import pytest
from PIL import Image

import layerscope as ls
from helpers.wording import raises, warns, wording
from layerscope.combinations.registry import RULES, combined, rule_named
from layerscope.core.note import kind_of
from layerscope.plots.batch_job import Job
from layerscope.plots.options import DrawOptions

CHANNELS = 6
OF_MAPS = [rule for rule in RULES if rule.layers == "last"]


@pytest.fixture(scope="module")
def scope():
    torch = pytest.importorskip("torch", reason="a model with gradients")
    from torch import nn

    torch.set_num_threads(1)
    torch.manual_seed(2)
    model = nn.Sequential(
        nn.Conv2d(3, CHANNELS, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(CHANNELS, 4),
    ).eval()
    return ls.open(model, preprocess="unit", size=16, labels=["ant", "bee", "cat", "dog"])


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    random = np.random.default_rng(0)
    for index in range(3):
        Image.fromarray(random.integers(0, 255, (20, 24, 3), np.uint8)).save(folder / f"{index}.png")
    return folder


@pytest.mark.parametrize("name", [rule.name for rule in OF_MAPS if not rule.takes.startswith(":")])
def test_every_name_draws(scope, photos, name):
    picture = ls.show(scope, photos / "0.png", "1", combine=name, target="cat")
    assert picture.width > 100
    fm = scope.capture(photos / "0.png", "1", target="cat")["1"]
    assert picture.title.lower().startswith(combined(fm, name, "cat").rule.lower())


@pytest.mark.parametrize("rule", ["clusters:0", "nmf:-1", "nmf:0", "clusters:two"])
def test_a_count_that_is_none_is_named_as_it_was_given(rule):
    with raises(ls.BadOption, f"combine={rule!r}"):
        combined(np.zeros((1, 4, 4, 3), np.float32), rule)


def test_a_target_that_is_not_given_is_the_first_class(scope, photos):
    image = photos / "1.png"
    first = scope.predict(image, top=1)[0][0]
    for name in ("grad-cam", "score-cam"):
        wording(ls.show(scope, image, "1", combine=name).title, f'"{first.label}"')


@pytest.mark.parametrize("name", ["mean", "grad-cam", "score-cam"])
def test_a_folder_is_refused_and_of_a_ready_batch_the_first_is_drawn(scope, photos, name):
    with raises(ls.BadOption, "capture()", "3"):
        ls.show(scope, photos, "1", combine=name)
    ready = ls.open(scope.model, preprocess=None)
    colors = 9 * np.random.default_rng(3).standard_normal((60, 3, 1, 1)).astype(np.float32)
    many = np.broadcast_to(colors, (60, 3, 16, 16)).copy()
    (output,) = ready.capture(many, "output").values()
    first = output.values.argmax(-1)
    batch = many[[0, int(np.flatnonzero(first != first[0])[0])]]
    both = ls.show(ready, batch, "1", combine=name)
    if name != "mean":
        wording(both.title, first[0])
    alone = ls.show(ready, batch[:1], "1", combine=name)
    assert both.title == alone.title
    assert np.array_equal(both.codes(both.cells[0]), alone.codes(alone.cells[0]))


def test_the_command_line_names_every_rule(capsys):
    from layerscope.cli import main

    with pytest.raises(SystemExit):
        main(["show", "--help"])
    output = " ".join(capsys.readouterr().out.split())
    for rule in RULES:
        assert f" {rule}" in output or f" {rule.name}" in output, rule


def test_names_are_found_with_near_ones():
    with raises(ls.BadOption, "combine='grad_cam'", "'grad-cam'"):
        rule_named("grad_cam")
    with raises(ls.BadOption):
        rule_named("weights")
    with raises(ls.BadOption, "combine='mean:3'"):
        rule_named("mean:3")
    with raises(ls.BadOption):
        combined(np.ones((1, 2, 2, 3)), 5)


def test_a_function_is_a_combination(scope, photos):
    picture = ls.show(scope, photos / "0.png", "1", combine=lambda fm: ls.weighted(fm, {2: -1.0}))
    wording(picture.title, "1", "6")


@pytest.mark.parametrize("name", ["grad-cam", "score-cam"])
def test_each_file_of_a_job_has_its_own_top_1_class(scope, photos, tmp_path, name):
    (photos / "broken.png").write_bytes(b"no picture")
    job = Job(scope, ["1"], images=str(photos), combine=name, output=tmp_path / "out")
    skipped = []
    with warns(ls.ImagesSkipped, "broken.png"):
        written = list(job.run(skip=lambda id, reason: skipped.append(id)))
    assert len(written) == 3
    assert skipped == ["broken.png"]
    for path, index in zip(sorted(written), range(3), strict=True):
        first = scope.predict(photos / f"{index}.png", top=1)[0][0]
        assert f'"{first.label}"' in Image.open(path).text["Title"]


def test_a_job_with_a_target_takes_it_for_all(scope, photos, tmp_path):
    job = Job(scope, ["1"], images=str(photos), combine="hires-cam", target="dog", output=tmp_path / "out")
    titles = [Image.open(path).text["Title"] for path in job.run(lambda id: None)]
    assert len(titles) == 3
    assert all('for "dog"' in title for title in titles)


def test_a_target_that_does_not_exist_is_named(scope, photos):
    with raises(ls.BadOption, "'cut'", "'cat'"):
        ls.show(scope, photos / "0.png", "1", combine="grad-cam", target="cut")
    with raises(ls.BadOption, "4", "0", "3"):
        ls.show(scope, photos / "0.png", "1", combine="grad-cam", target=4)


@pytest.mark.parametrize("target", [1.5, [1, 2], True, np.array([1, 2])])
@pytest.mark.parametrize("name", ["grad-cam", "score-cam", "cam"])
def test_a_target_that_is_no_class_is_named(scope, photos, name, target):
    with raises(ls.BadOption):
        ls.show(scope, photos / "0.png", "1", combine=name, target=target)


def test_a_whole_number_of_another_library_is_a_class(scope, photos):
    import torch

    for target in (np.int64(2), torch.tensor(2)):
        picture = ls.show(scope, photos / "0.png", "1", combine="grad-cam", target=target)
        assert picture.provenance["class"] == 2
        wording(picture.title, '"cat"')


def test_a_rule_without_a_target_notes_it_and_takes_no_gradients(photos):
    for rule in ("mean", "eigen-cam", ls.eigen_cam):
        picture = ls.show("demo", photos / "0.png", "_conv_stem", combine=rule, target=282)
        wording(" ".join(picture.lines))
        assert "gradients" not in " ".join(picture.lines)
    fm = ls.open("demo").capture(photos / "0.png", "_conv_stem")["_conv_stem"]
    assert kind_of(combined(fm, "mean", 282).notes[-1]) == "no-target"
    assert "no-target" not in map(kind_of, combined(fm, "mean").notes)


def test_the_functions_of_the_table_are_as_good_as_their_names(scope, photos):
    image = photos / "1.png"
    for function, name in ((ls.grad_cam, "grad-cam"), (ls.score_cam, "score-cam"), (ls.mean, "mean")):
        ours, named = ls.show(scope, image, "1", combine=function), ls.show(scope, image, "1", combine=name)
        assert ours.title == named.title
        assert np.array_equal(ours.pixels, named.pixels)
    wording(ls.show("demo", image, "_blocks.10", channels=[0], combine=ls.score_cam, target=282).title, '"tiger cat"')


@pytest.mark.limit("the top-1 class of a model")
def test_a_segmentation_has_a_first_class_and_boxes_have_none(limit, photos):
    torch = pytest.importorskip("torch", reason="a model with gradients")
    from torch import nn

    class Boxes(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.boxes = nn.Conv2d(3, 4, 3), nn.Linear(4, 5 * 4)

        def forward(self, x):
            return self.boxes(self.conv(x).mean((2, 3))).view(-1, 4)

    masks = ls.open(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 3, 1)).eval(), preprocess="unit", size=16)
    image = photos / "0.png"
    with torch.no_grad():
        sums = masks.model(torch.from_numpy(masks.capture(image, "0")["0"].origin.inputs)).sum((0, 2, 3))
    for name in ("grad-cam", "score-cam"):
        assert ls.show(masks, image, "0", combine=name).title.startswith(
            f"{'Grad' if name == 'grad-cam' else 'Score'}-CAM for class {int(sums.argmax())} "
        )
    boxes = ls.open(Boxes().eval(), preprocess="unit", size=16)
    for name in ("grad-cam", "score-cam"):
        with limit.raises("target="):
            ls.show(boxes, image, "conv", combine=name)
    with limit.raises():
        boxes.predict(image)
    limit.shows("predict")


@pytest.mark.parametrize("name", ["grad-cam", "score-cam"])
def test_values_of_images_with_classes_of_their_own_have_files_of_their_own(scope, photos, tmp_path, name):
    job = Job(scope, ["1"], images=str(photos), combine=name, output=tmp_path / "out", values=tmp_path / "v.npz")
    files = list(job.run(lambda id: None))
    # An image named as a layer is (here "1") keeps its name.
    assert {path.name for path in files if path.suffix == ".png"} == {f"{index}-1-{name}.png" for index in range(3)}
    written = {path.name for path in files if path.suffix == ".npz"}
    assert written == {"v-0.npz", "v-1.npz", "v-2.npz"}
    for index in range(3):
        saved = ls.load(tmp_path / f"v-{index}.npz")
        assert np.array_equal(saved.values, scope.capture(photos / f"{index}.png", "1")["1"].values)
    job = Job(
        scope, ["1"], images=str(photos), combine=name, target=1, output=tmp_path / "out", values=tmp_path / "w.npz"
    )
    assert [path.name for path in job.run(lambda id: None) if path.suffix == ".npz"] == ["w.npz"]
    assert ls.load(tmp_path / "w.npz").shape[0] == 3


@pytest.mark.parametrize("target", [None, 1])
@pytest.mark.parametrize("name", ["grad-cam", "cam"])
def test_one_range_for_all_images_is_of_all_images(scope, photos, tmp_path, name, target):
    job = Job(
        scope,
        ["1"],
        images=str(photos),
        combine=name,
        target=target,
        output=tmp_path / "out",
        options=DrawOptions(scale="images"),
    )
    abouts = []
    for path in job.run(lambda id: None):
        with Image.open(path) as image:
            abouts.append(json.loads(image.text["layerscope"]))
    maps = []
    for index in range(3):
        image = photos / f"{index}.png"
        aim = scope.predict(image, top=1)[0][0].index if target is None else target
        maps.append(combined(scope.capture(image, "1", target=aim)["1"], name, aim).values)
    low, high = float(np.min(maps)), float(np.max(maps))
    assert len(abouts) == 3
    for about in abouts:
        assert about["limits"] == pytest.approx([low, high], rel=1e-5)


@pytest.mark.parametrize("suffix", [".svg", ".jpg"])
def test_one_picture_goes_to_the_file_that_is_named(scope, photos, tmp_path, suffix):
    out = tmp_path / "new" / f"out{suffix}"
    job = Job(scope, ["1"], images=str(photos / "0.png"), combine="mean", output=out)
    assert list(job.run(lambda id: None)) == [out]
    assert out.is_file()
    with raises(ls.BadOption):
        list(Job(scope, ["1"], images=str(photos), combine="mean", output=out).run(lambda id: None))


def test_gradients_that_a_runtime_lacks_are_refused_with_a_remedy():
    with raises(ls.GradientsUnavailable):
        ls.show("demo", ls.demo_photo(), "last", combine="grad-cam", target=282)


def test_on_the_command_line(tmp_path, capsys):
    from layerscope.cli import main

    out = tmp_path / "out.png"
    arguments = ["show", "demo", str(ls.demo_photo()), "-l", "_blocks.10", "--channels", "0:4", "-o", str(out)]
    assert main([*arguments, "--combine", "score-cam", "--target", "tiger cat"]) == 0
    wording(Image.open(out).text["Title"], "Score-CAM", '"tiger cat"')
    assert main([*arguments, "--combine", "ablation-cam", "--target", "283"]) == 0
    wording(Image.open(out).text["Title"], "Ablation-CAM", '"Persian cat"')
    assert main([*arguments, "--combine", "eigen-cam"]) == 0
    capsys.readouterr()
    assert main([*arguments, "--combine", "score-cam", "--target", "tigercat"]) == 1
    wording(capsys.readouterr().err)


def test_what_a_rule_is_given_tells_its_files_apart(scope, photos, tmp_path):
    np.save(tmp_path / "mine.npy", np.ones(CHANNELS))
    names = []
    for rule in ("similarity:1,2", "similarity:2,1", f"weights:{tmp_path / 'mine.npy'}", "mean"):
        job = Job(scope, ["1"], images=str(photos / "0.png"), combine=rule, output=tmp_path / "out")
        names += [path.name for path in job.run(lambda id: None)]
    assert names == ["0-1-similarity-1_2.png", "0-1-similarity-2_1.png", "0-1-weights-mine.png", "0-1-mean.png"]
