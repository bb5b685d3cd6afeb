"""Combinations by name: what each needs of a capture, in `show`, in a job of many files, on the command line."""

import numpy as np
import pytest
from PIL import Image

import layerscope as ls
from layerscope.rules import RULES, combined, rule_named
from layerscope.saving import Job

CHANNELS = 6


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
    for at in range(3):
        Image.fromarray(random.integers(0, 255, (20, 24, 3), np.uint8)).save(folder / f"{at}.png")
    return folder


@pytest.mark.parametrize("name", [each.name for each in RULES if not each.takes.startswith(":")])
def test_every_name_draws(scope, photos, name):
    picture = ls.show(scope, photos / "0.png", "1", combine=name, target="cat")
    assert picture.width > 100
    fm = scope.capture(photos / "0.png", "1", target="cat")["1"]
    assert picture.title.startswith(combined(fm, name, "cat").rule)


def test_a_target_that_is_not_given_is_the_first_class(scope, photos):
    image = photos / "1.png"
    first = scope.predict(image, top=1)[0][0]
    for name in ("grad-cam", "score-cam"):
        assert f"class {first.index}, {first.label}" in ls.show(scope, image, "1", combine=name).title


def test_names_are_found_with_near_ones():
    with pytest.raises(ls.BadOption, match=r"combine='grad_cam'.*'grad-cam'"):
        rule_named("grad_cam")
    with pytest.raises(ls.BadOption, match="weights:FILE"):
        rule_named("weights")
    with pytest.raises(ls.BadOption, match="combine='mean:3'"):
        rule_named("mean:3")
    with pytest.raises(ls.BadOption, match="or a function"):
        combined(np.ones((1, 2, 2, 3)), 5)


def test_a_function_is_a_combination(scope, photos):
    picture = ls.show(scope, photos / "0.png", "1", combine=lambda fm: ls.weighted(fm, {2: -1.0}))
    assert "weighted sum of 1 of 6" in picture.title


@pytest.mark.parametrize("name", ["grad-cam", "score-cam"])
def test_each_file_of_a_job_has_its_own_first_class(scope, photos, tmp_path, name):
    (photos / "broken.png").write_bytes(b"no picture")
    job = Job(scope, ["1"], images=str(photos), combine=name, output=tmp_path / "out")
    with pytest.warns(ls.ImagesSkipped, match=r"broken\.png"):
        written = list(job.run(lambda id: None))
    assert len(written) == 3
    assert [id for id, _ in job.skipped] == ["broken.png"]
    for path, at in zip(sorted(written), range(3), strict=True):
        first = scope.predict(photos / f"{at}.png", top=1)[0][0]
        assert f"class {first.index}, {first.label}" in Image.open(path).text["Title"]


def test_a_job_with_a_target_takes_it_for_all(scope, photos, tmp_path):
    job = Job(scope, ["1"], images=str(photos), combine="hires-cam", target="dog", output=tmp_path / "out")
    titles = [Image.open(path).text["Title"] for path in job.run(lambda id: None)]
    assert len(titles) == 3
    assert all("HiRes-CAM for class 3, dog" in each for each in titles)


def test_a_target_that_does_not_exist_is_named(scope, photos):
    with pytest.raises(ls.BadOption, match=r"no class 'cut'.*'cat'"):
        ls.show(scope, photos / "0.png", "1", combine="grad-cam", target="cut")
    with pytest.raises(ls.BadOption, match="4 classes, 0 to 3"):
        ls.show(scope, photos / "0.png", "1", combine="grad-cam", target=4)


def test_gradients_that_a_runtime_lacks_are_refused_with_the_way_out():
    with pytest.raises(ls.GradientsUnavailable, match="gradients"):
        ls.show("demo", ls.demo_photo(), "last", combine="grad-cam", target=282)


def test_on_the_command_line(tmp_path, capsys):
    from layerscope.cli import main

    out = tmp_path / "out.png"
    arguments = ["show", "demo", str(ls.demo_photo()), "-l", "_blocks.10", "--channels", "0:4", "-o", str(out)]
    assert main([*arguments, "--combine", "score-cam", "--target", "tiger cat"]) == 0
    assert Image.open(out).text["Title"].startswith("Score-CAM for class 282, tiger cat")
    assert main([*arguments, "--combine", "ablation-cam", "--target", "283"]) == 0
    assert Image.open(out).text["Title"].startswith("Ablation-CAM for class 283, Persian cat")
    assert main([*arguments, "--combine", "eigen-cam"]) == 0
    capsys.readouterr()
    assert main([*arguments, "--combine", "score-cam", "--target", "tigercat"]) == 1
    assert "tiger cat" in capsys.readouterr().err
