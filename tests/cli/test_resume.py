"""Runs over many photos: the line at their end, and how they go on after an interruption."""

import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import layerscope as ls
from helpers.wording import wording
from layerscope import cli
from layerscope.picture.png import text_of

LAYERS = ("-l", "_conv_stem", "-l", "_blocks.0._swish")


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkdir("photos")
    with Image.open(ls.demo_photo()) as photo:
        for number in range(3):
            photo.rotate(90 * number).resize((60, 40)).save(f"photos/{number}.png")

    def run(*options, layers=LAYERS, photos=("photos",), to="out"):
        code = cli.main([str(word) for word in ("show", "demo", *photos, *layers, *options, "-o", to)])
        out, err = capsys.readouterr()
        return code, out.split(), re.sub(r"\d+\.\d s", "0.0 s", err).splitlines()

    return run


def stamps(folder="out"):
    return {path.name: path.stat().st_mtime_ns for path in Path(folder).iterdir()}


def test_a_run_over_a_folder_ends_with_a_summary(run):
    Path("photos/broken.png").write_bytes(Path("photos/0.png").read_bytes()[:300])
    code, out, err = run("--combine", "mean")
    assert (code, len(out)) == (3, 6)
    wording(err[-2:], "6", "3", "broken.png")
    assert "files of" not in run("--combine", "mean", photos=["photos/0.png"])[2][-1]


def test_resume_makes_what_is_missing_half_written_or_of_a_changed_photo(run):
    code, out, _ = run("--per-page", "20", "--resume")  # nothing to leave out yet
    assert (code, len(out)) == (0, 12)
    whole = {path: Path(path).read_bytes() for path in out}
    before = stamps()
    code, again, err = run("--per-page", "20", "--resume")
    assert (code, again, stamps()) == (0, [], before)
    wording([line for line in err if "complete" in line or "files from" in line])

    page = next(path for path in out if path.startswith("out/1-") and path.endswith("-p2.png"))
    Path(page).write_bytes(whole[page][: len(whole[page]) // 2])
    os.remove(next(path for path in out if path.startswith("out/2-")))
    code, again, _ = run("--per-page", "20", "--resume")
    assert code == 0
    assert again == [path for path in out if not path.startswith("out/0-")]
    assert all(text_of(path) for path in out)
    assert run("--per-page", "20", "--resume")[1] == []

    with Image.open("photos/0.png") as photo:
        photo.rotate(180).save("photos/0.png")
    assert {path.partition("-")[0] for path in run("--per-page", "20", "--resume")[1]} == {"out/0"}


@pytest.mark.parametrize("options", [("--combine", "mean"), ("--combine", "score-cam", "--target", "281")])
def test_resume_of_which_nothing_readable_is_left_ends_as_the_first_run(run, options):
    Path("photos/broken.png").write_bytes(Path("photos/0.png").read_bytes()[:300])
    layers = ("-l", "_blocks.15._project_conv")
    assert run(*options, layers=layers)[0] == 3
    code, out, err = run(*options, "--resume", layers=layers)
    assert (code, out) == (3, [])
    assert any("skipped broken.png" in line for line in err)
    for number in range(3):
        os.remove(f"photos/{number}.png")
    assert run(*options, "--resume", layers=layers)[:2] == (1, []), "as without --resume"


@pytest.mark.parametrize("options", [("--combine", "mean", "--scale", "0:9"), ("--combine", "mean", "--dpi", "300")])
def test_resume_takes_no_pictures_of_another_run_for_its_own(run, options):
    run("--combine", "mean")
    assert len(run(*options, "--resume")[1]) == 6
    assert run(*options, "--resume")[1] == []


def test_resume_keeps_names_of_photos_that_share_one(run):
    with Image.open("photos/1.png") as photo:
        photo.convert("RGB").save("photos/0.jpg", quality=95)
    code, out, _ = run("--combine", "mean", layers=LAYERS[:2])
    assert (code, len(set(out))) == (0, 4)
    whole = {path: Path(path).read_bytes() for path in out}
    os.remove(out[1])
    assert run("--combine", "mean", "--resume", layers=LAYERS[:2])[1] == [out[1]]
    assert {path: Path(path).read_bytes() for path in out} == whole


def test_pictures_that_depend_on_each_other_are_resumed_all_or_none(run):
    options = ("--combine", "mean", "--scale", "images", "--resume")
    _, out, _ = run(*options)
    assert run(*options)[1] == []
    os.remove(out[0])
    assert run(*options)[1] == out
    Path("photos/2.png").unlink()
    assert len(run(*options)[1]) == 4


def test_an_interrupted_run_goes_on(run, monkeypatch):
    from layerscope.picture.picture import Picture

    save, saved = Picture.save, []

    def interrupted(picture, path, dpi=None, **size):
        saved.append(path)
        if len(saved) == 4:
            raise KeyboardInterrupt
        return save(picture, path, dpi, **size)

    monkeypatch.setattr(Picture, "save", interrupted)
    assert run("--combine", "mean")[0] == 130
    monkeypatch.setattr(Picture, "save", save)
    code, out, _ = run("--combine", "mean", "--resume")
    assert code == 0
    assert {path.partition("-")[0] for path in out} == {"out/1", "out/2"}
    assert len(list(Path("out").iterdir())) == 6


@pytest.mark.parametrize("more", [("--values", "v.npz"), ("--terminal", "blocks"), ("--preprocess", "none")])
def test_resume_is_for_pictures_of_photos_in_a_folder(run, more):
    np.save("batch.npy", np.zeros((2, 3, 224, 224), np.float32))
    photos = ["batch.npy"] if "none" in more else ["photos"]
    code, _, err = run("--resume", *more, photos=photos)
    assert code == 1
    wording(err[-1])
    code, _, err = run("--resume", photos=["photos/0.png"], layers=LAYERS[:2], to="one.png")
    assert code == 1
    wording(err[-1])


def test_the_text_of_a_picture_is_read_from_whole_files_alone(tmp_path):
    path = ls.heatmap(np.eye(9)).save(tmp_path / "eye.png")
    content = path.read_bytes()
    assert text_of(path)["Software"] == "layerscope"
    for end in range(0, len(content), 37):
        path.write_bytes(content[:end])
        assert text_of(path) is None
    path.write_bytes(content[:-30] + bytes(30))
    assert text_of(path) is None
    path.write_bytes(content[:300] + b"\0" + content[301:])
    assert text_of(path) is None
