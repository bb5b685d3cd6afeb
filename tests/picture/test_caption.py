"""The lines of a caption know their kinds."""

import json

import numpy as np

import layerscope as ls
from helpers.wording import wording
from layerscope.core.note import Note, kind_of
from layerscope.picture.caption import one_line, special


def test_lines_have_kinds():
    values = np.arange(12.0, dtype=np.float32).reshape(1, 3, 4, 1)
    picture = ls.heatmap(values, scale=(2, 5))
    kinds = dict(zip(map(kind_of, picture.lines), picture.lines, strict=True))
    assert list(kinds) == ["subject", "scale", "layout", "beyond"]
    assert kinds["scale"] == picture.scale.describe()
    wording(kinds["beyond"], "2")


def test_values_without_a_colour_of_their_own_have_a_kind():
    for values, kind in (([0, 0], "dead"), ([2, 2], "constant"), ([1, np.nan], "not-finite")):
        assert [note.kind for note in special(np.array(values, np.float32), "the map")] == [kind]
    assert special(np.array([1.0, 2.0]), "the map") == ()


def test_notes_of_one_kind_keep_it_in_one_line():
    assert one_line([]) == ()
    assert one_line([Note("tokens", "a"), Note("tokens", "b")])[0].kind == "tokens"
    (line,) = one_line([Note("tokens", "a"), Note("layout", "b"), "c"])
    assert (line, line.kind) == ("a · b · c", "notes")


def test_a_file_remembers_the_kinds_of_notes():
    fm = ls.mean(ls.FeatureMap.of_array(np.ones((1, 2, 2, 3), np.float32)))
    about = json.loads(json.dumps(ls.heatmap(fm).about()))
    assert len(about["note_kinds"]) == len(about["notes"])
    assert about["note_kinds"][0] == "layout"
