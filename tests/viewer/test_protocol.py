"""docs/protocol.md says what the session answers."""

import re
from pathlib import Path

import layerscope as ls
from helpers.viewer import KINDS, id_of, read, shapes_session, tiny_session
from layerscope.viewer.opening import Opening

PAGE = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text("utf-8")


def rows(heading):
    """The names in the first column of the table under a heading."""
    section = PAGE.split(f"\n## {heading}\n" if f"\n## {heading}\n" in PAGE else f"\n### {heading}\n")[1].split("\n#")[
        0
    ]
    firsts = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    return [name for first in firsts for name in re.findall(r"`(\w+)`", first)]


def listed(start):
    """The names in the braces behind a text."""
    names = PAGE.split(start)[1].split("}")[0]
    return set(re.findall(r"\w+", names))


def test_every_op_is_described():
    assert set(rows("Requests")) == {*tiny_session()._answers, "progress", "cancel"}


def test_every_array_of_a_map_is_described():
    session, found = shapes_session(), set()
    for path in KINDS:
        for encoding in ("auto", "u8"):
            asked = {"input": "i0", "layer": id_of(session, path), "encoding": encoding}
            meta, tensors = read(session.answer("map", asked))
            found |= tensors.keys()
            assert meta.keys() == listed("`meta`: `{protocol, ") | {"protocol"}
    assert found <= set(rows("A map"))
    assert set(rows("A map")) - found == {"offsets", "row_fields", "column_fields"}  # of these layers none has any


def test_every_word_on_a_combination_is_described():
    meta, _ = read(tiny_session().answer("combine", {"input": "i0", "layer": "l0", "name": "mean"}))
    assert meta.keys() == listed("`meta`: `{name, ") | {"name"}


def test_every_word_of_the_manifest_is_described():
    session = tiny_session(opening=Opening("demo"))
    manifest = session.answer("manifest").result
    text = PAGE.split("## Manifest")[1]
    parts = [manifest, manifest["model"], *manifest["inputs"], *manifest["layers"], *manifest["combinations"]]
    for part in (*parts, *manifest["colours"], manifest["choices"], manifest["first"], manifest["caps"]):
        for name in part:
            assert re.search(rf"\b{name}\b", text), name
    assert manifest["version"] == ls.__version__
