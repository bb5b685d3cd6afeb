"""The lines of a caption know their kinds."""

import contextlib
import json
from dataclasses import replace

import numpy as np
import pytest

import layerscope as ls
from helpers.wording import wording
from layerscope.core.note import Note, kind_of
from layerscope.core.placement import Placement
from layerscope.picture.canvas import Frame
from layerscope.picture.caption import special
from layerscope.testing import TinyBackend, tiny_model


def test_lines_have_kinds():
    values = np.arange(12.0, dtype=np.float16).reshape(1, 3, 4, 1)
    picture = ls.heatmap(values, scale=(2, 5))
    kinds = dict(zip(map(kind_of, picture.lines), picture.lines, strict=True))
    assert list(kinds) == ["subject", "layout", "beyond"]
    assert kinds["subject"] == "float16", "the title says that it is an array"
    assert list(map(kind_of, ls.heatmap(values.astype(np.float32), scale=(2, 5)).lines)) == ["layout", "beyond"]
    wording(kinds["beyond"], "2")


def test_values_without_a_colour_of_their_own_have_a_kind():
    for values, kind in (([0, 0], "dead"), ([2, 2], "constant"), ([1, np.nan], "not-finite")):
        assert [note.kind for note in special(np.array(values, np.float32), "the map")] == [kind]
    assert special(np.array([1.0, 2.0]), "the map") == ()


@pytest.mark.parametrize(
    ("note", "sentence"),
    [
        ("read as bhwc", "Read as bhwc."),
        ("conv1 is frozen", "conv1 is frozen."),
        ("_blocks.0 is dead!", "_blocks.0 is dead!"),
        ("3 channels are dead", "3 channels are dead."),
        ("", ""),
    ],
)
def test_notes_are_sentences_that_keep_names(note, sentence):
    (line,) = Frame("title", notes=[Note("layout", note)]).notes
    assert (line, kind_of(line)) == (sentence, "layout")


@pytest.mark.parametrize(
    ("box", "words"),
    [
        ((0.0, 0.0, 300.0, 400.0), "40 × 30, squashed to 20 × 20"),
        ((0.0, 50.0, 300.0, 300.0), "40 × 30, centre crop, resized to 20 × 20"),
        ((0.0, 0.0, 300.0, 300.0), "40 × 30, crop, resized to 20 × 20"),
        ((-50.0, 0.0, 400.0, 400.0), "40 × 30, letterboxed to 20 × 20"),
        ((-50.0, 50.0, 400.0, 300.0), "40 × 30, cropped and padded to 20 × 20"),
    ],
)
def test_the_subject_says_how_the_photo_was_fed(box, words):
    place = Placement((30, 40), (20, 20), tuple(side / 10 for side in box))
    fm = replace(ls.FeatureMap.of_array(np.eye(4)), placement=(place,), photos=(np.zeros((30, 40, 3), np.uint8),))
    subject = ls.heatmap(replace(fm, ids=("cat.jpg",))).lines[0]
    assert subject.endswith(f"cat.jpg, {words}")


def test_a_file_remembers_the_kinds_of_notes():
    fm = ls.mean(ls.FeatureMap.of_array(np.ones((1, 2, 2, 3), np.float32)))
    about = json.loads(json.dumps(ls.heatmap(fm).about()))
    assert len(about["note_kinds"]) == len(about["notes"])
    assert about["note_kinds"][0] == "layout"


@pytest.mark.parametrize("preprocess", ["auto", "unit"])
def test_a_preprocessing_that_was_assumed_is_marked(preprocess):
    scope = ls.open(tiny_model(), backend=TinyBackend(), preprocess=preprocess)
    photo = np.random.default_rng(0).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    assumed = preprocess == "auto"
    with pytest.warns(ls.PreprocessWarning, match="assumed") if assumed else contextlib.nullcontext():
        picture = ls.show(scope, photo, "conv1")
    assert ("unit preprocessing (assumed)" in " ".join(picture.lines)) == assumed
    assert picture.provenance.get("preprocess_assumed", False) == assumed
