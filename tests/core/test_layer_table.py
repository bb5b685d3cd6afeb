"""The table of layers: as text, as JSON, as HTML."""

import json

import layerscope as ls
from helpers.layer_table import TABLE, layer


def test_the_table_prints_and_is_stable_json():
    text = repr(TABLE)
    assert "\n       vgg16\n" in text, "a name that only groups layers has no index"
    assert "\n    1    block1_conv2 " in text
    assert "\n         :1 " in text
    assert " vgg16/block1_conv2 " in TABLE.plain()
    assert "1×16×16×4" in text
    assert "(output)" in text
    assert 'title="vgg16/block1_conv2">block1_conv2</td>' in TABLE._repr_html_()
    rows = json.loads(TABLE.json())
    assert rows[4] == {
        "path": "act/relu",
        "kind": "ReLU",
        "axes": "bhwc",
        "shape": [1, 8, 8, 4],
        "index": 4,
        "channels": 4,
        "spatial": [8, 8],
        "calls": 2,
        "call_shapes": [[1, 8, 8, 4], [1, 4, 4, 4]],
        "note": "",
        "aliases": [],
        "mark": "picture",
        "parameters": None,
        "receptive": None,
    }
    assert rows[10]["shape"] is None
    assert len(TABLE[2:4]) == 2


def test_names_from_a_model_cannot_steer_a_terminal():
    table = ls.LayerTable([ls.Layer("a\x1b[2J/b\u202ec", "Conv\r", note="\x9b1m")], title="t\x07")
    for text in (repr(table), table.plain()):
        assert not set("\x1b\x9b\x07\r\u202e") & set(text)
        assert r"b\u202ec" in text


def test_names_from_a_model_are_no_html():
    table = ls.LayerTable([layer("<script>", 0)], title="<b>")
    assert "<script>" not in table._repr_html_()
    assert "<b>" not in table._repr_html_()
