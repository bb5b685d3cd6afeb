"""Names of files: never the same for two, never that of an input, never too long, on whatever file system."""

import os
import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import layerscope as ls
from helpers.wording import raises
from layerscope.callbacks.recorder import Recorder
from layerscope.plots.batch_job import Job
from layerscope.plots.file_names import Namer, Paths, files_of
from layerscope.plots.options import DrawOptions
from layerscope.testing import TinyBackend, tiny_model


@pytest.fixture
def scope():
    return ls.open(tiny_model(), backend=TinyBackend(), preprocess="unit", size=8)


def picture(path, color="red"):
    Image.new("RGB", (8, 8), color).save(path)
    return path


def as_elsewhere(path):
    """What is one name where case doesn't count, nor how accents are composed."""
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", str(path)).casefold())


names = st.text(st.sampled_from("aA-b.cé猫:#/ \\\u0301ß2p"), max_size=12) | st.sampled_from(
    ["con", "NUL", "a" * 300, "猫" * 100, "com1.v2", "a.png", "A.PNG", "a.jpg"]
)


@settings(deadline=None, max_examples=60)
@given(st.lists(names, min_size=1, max_size=5, unique=True), st.lists(names, min_size=1, max_size=5, unique=True))
def test_every_picture_has_a_name_of_its_own_that_any_system_takes(images, layers):
    namer = Namer(None)
    parts = ("", "-p1", "-p2", "-p2-tokens")
    paths = [namer.picture(layer, image, part) for image in images for layer in layers for part in parts]
    assert len({*map(as_elsewhere, paths)}) == len(images) * len(layers) * len(parts)
    for path in paths:
        assert len(os.fsencode(path.name)) <= 255
        assert path.name.split(".")[0].lower() not in ("con", "nul", "com1", "")
        assert path.suffix == ".png"
        assert not set(path.name) & set('<>:"/\\|?*\0 ')
    again = [namer.picture(layer, image, part) for image in images for layer in layers for part in parts]
    assert again == paths


def test_joined_names_stay_apart():
    namer = Namer(None)
    owners = [("b-c", "a", ""), ("c", "a-b", ""), ("c", "x", "-p2"), ("c-p2", "x", ""), ("c", "A", ""), ("c", "a", "")]
    assert len({as_elsewhere(namer.picture(*owner)) for owner in owners}) == len(owners)


def test_an_input_is_reached_by_no_name(tmp_path):
    kept = picture(tmp_path / "kept.png")
    (tmp_path / "soft.png").symlink_to(kept)
    os.link(kept, tmp_path / "hard.png")
    paths = Paths([kept, tmp_path / "missing.png", "nul\0"])
    for name in ("kept", "soft", "hard"):
        assert paths.is_input(tmp_path / f"{name}.png")
        assert paths.free(tmp_path, name, ".png", name).name == f"{name}-2.png"
    assert paths.free(tmp_path, "other", ".png", "other").name == "other.png"
    (tmp_path / "folder.png").mkdir()
    assert paths.free(tmp_path, "folder", ".png", "folder").name == "folder-2.png"


def test_an_output_that_links_to_another_is_not_written_over_it(tmp_path):
    picture(tmp_path / "one.png")
    (tmp_path / "two.png").symlink_to("one.png")
    paths = Paths()
    assert paths.free(tmp_path, "one", ".png", 1).name == "one.png"
    assert paths.free(tmp_path, "two", ".png", 2).name == "two-2.png"


@pytest.mark.parametrize("here", [True, False])
def test_no_image_of_a_folder_is_written_over(scope, tmp_path, monkeypatch, here):
    """The pictures of an earlier run lie among the images."""
    monkeypatch.chdir(tmp_path)
    job = Job(scope, ["conv1", "conv2"], tmp_path, output=None if here else tmp_path)
    for name in ("a", "b"):
        picture(tmp_path / f"{name}.png")
    first = list(job.run())
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert len({*first}) == 4
    second = list(job.run())
    assert len({*second}) == 2 * len(before)
    assert {path: path.read_bytes() for path in before} == before


def test_pages_and_values_spare_the_images_and_what_the_model_was_read_from(scope, tmp_path):
    page, weights, image = (picture(tmp_path / name) for name in ("out-p2.png", "v-conv1.png", "a.png"))
    weights = weights.rename(tmp_path / "v-conv1.npz")
    before = {path: path.read_bytes() for path in (page, weights)}
    pages = Job(scope, ["conv1"], image, output=tmp_path / "out.png", options=DrawOptions(per_page=2), sources=[page])
    assert len([*pages.run()]) == 2
    values = Job(scope, ["conv1", "conv2"], image, values=tmp_path / "v.npz", output=tmp_path / "o", sources=[weights])
    assert tmp_path / "v-conv1-2.npz" in [*values.run()]
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.parametrize("option", ["output", "values"])
def test_an_output_that_is_an_input_is_refused_before_anything_is_written(scope, tmp_path, option):
    name = {"output": "a.png", "values": "weights.npz"}[option]
    image = picture(tmp_path / "a.png")
    (tmp_path / "weights.npz").touch()
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    combine = f"weights:{tmp_path / 'weights.npz'}"
    job = Job(scope, ["conv1"], image, combine, **{"output": tmp_path / "out.png", option: tmp_path / name})
    with raises(ls.BadOption, name):
        list(job.run())
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_long_names_do_not_end_a_run_halfway(scope, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for name in ("a", "x" * 251, "x" * 250 + "y", "猫" * 83):
        picture(folder / f"{name}.png")
    paths = list(Job(scope, ["conv1"], folder, output=tmp_path / "out").run())
    assert len({*paths}) == len([*(tmp_path / "out").iterdir()]) == 4


def test_a_recorder_spares_its_images(tmp_path):
    names = ["epoch-0001-conv1-a.png.png", "a.png", "b.png"]
    before = {path: path.read_bytes() for path in (picture(tmp_path / name) for name in names)}
    recorder = Recorder(tiny_model(), [*before], "conv1", tmp_path, preprocess="unit", size=8, backend=TinyBackend())
    assert len({*recorder.step(1)}) == 3
    assert {path: path.read_bytes() for path in before} == before


def test_the_files_among_images(tmp_path):
    image = picture(tmp_path / "a.png")
    assert files_of(str(tmp_path)) == files_of([image, np.zeros((2, 2))]) == [image]
    assert files_of(np.zeros((1, 3, 8, 8))) == files_of(iter([image])) == []
