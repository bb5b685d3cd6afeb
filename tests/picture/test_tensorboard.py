"""Pictures in TensorBoard, read back by TensorBoard's own reader."""

import io
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import layerscope as ls
from helpers.wording import raises

accumulator = pytest.importorskip(
    "tensorboard.backend.event_processing.event_accumulator", reason="tensorboard reads the files"
)


@pytest.fixture
def pictures():
    values = np.random.default_rng(0).normal(size=(1, 5, 6, 4)).astype(np.float32)
    return {"sheet": ls.sheet(values), "colours": ls.heatmap(ls.pca(values))}


def images_of(folder):
    """{tag: [(step, RGB)]} of all event files of a folder."""
    events = accumulator.EventAccumulator(str(folder), size_guidance={accumulator.IMAGES: 0}).Reload()
    return {
        tag: [
            (event.step, np.asarray(Image.open(io.BytesIO(event.encoded_image_string)).convert("RGB")))
            for event in events.Images(tag)
        ]
        for tag in events.Tags()["images"]
    }


@pytest.mark.slow
def test_a_folder_gets_an_event_file_with_the_pictures_themselves(pictures, tmp_path):
    folder = tmp_path / "new" / "run"
    assert ls.to_tensorboard(pictures, folder, tag="maps", step=3) == ("maps/sheet", "maps/colours")
    assert ls.to_tensorboard(pictures["sheet"], folder, tag="maps/sheet", step=4) == ("maps/sheet",)
    images = images_of(folder)
    assert {tag: [step for step, _ in steps] for tag, steps in images.items()} == {
        "maps/sheet": [3, 4],
        "maps/colours": [3],
    }
    assert np.array_equal(images["maps/sheet"][0][1], pictures["sheet"].rgb())
    assert np.array_equal(images["maps/colours"][0][1], pictures["colours"].rgb())


def test_tags_come_from_titles_and_indices(pictures, tmp_path):
    sheet = pictures["sheet"]
    assert ls.to_tensorboard(sheet, tmp_path) == (sheet.title,)
    assert ls.to_tensorboard([sheet, sheet], tmp_path, tag="x") == ("x/0", "x/1")
    assert ls.to_tensorboard({"a": sheet}, tmp_path) == ("a",)


@pytest.mark.parametrize("library", ["torch.utils.tensorboard", "tensorboardX"])
def test_a_writer_of_ones_own(library, pictures, tmp_path):
    module = pytest.importorskip(library, reason="the writer is its own")
    writer = module.SummaryWriter(str(tmp_path))
    ls.to_tensorboard(pictures, writer, step=7)
    writer.close()
    images = images_of(tmp_path)
    for tag, picture in pictures.items():
        ((step, pixels),) = images[tag]
        assert step == 7
        assert np.array_equal(pixels, picture.rgb())


def test_no_framework_is_loaded_for_it(tmp_path):
    script = (
        "import sys, numpy as np, layerscope as ls\n"
        f"ls.to_tensorboard(ls.heatmap(np.eye(3)), {str(tmp_path)!r}, tag='a')\n"
        "print(*sorted({'torch', 'tensorflow', 'keras', 'matplotlib'} & set(sys.modules)))"
    )
    assert not subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()


def test_wrong_arguments_are_refused(pictures, tmp_path, monkeypatch):
    sheet = pictures["sheet"]
    with raises(ls.BadOption):
        ls.to_tensorboard(sheet, 3)
    for wrong, name in ((np.eye(3), "ndarray"), ([], "list"), ([sheet, "x"], "str"), ("x", "str"), (None, "NoneType")):
        with raises(ls.BadOption, name):
            ls.to_tensorboard(wrong, tmp_path)
    for step in (1.5, True, "1"):
        with raises(ls.BadOption, "step="):
            ls.to_tensorboard(sheet, tmp_path, step=step)
    (tmp_path / "file").write_text("")
    # The name of an event file is new each time, so it is none for the snapshot.
    with pytest.raises(ls.BadOption, match=re.escape(str(tmp_path / "file"))):
        ls.to_tensorboard(sheet, tmp_path / "file")
    monkeypatch.setitem(sys.modules, "tensorboard.summary.writer.record_writer", None)
    with raises(ls.BackendMissing, 'layerscope[tensorboard]"'):
        ls.to_tensorboard(sheet, tmp_path / "other")
    assert not (tmp_path / "other").exists()
