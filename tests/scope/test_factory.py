"""Models that a function of the user's builds: what is said where the reference is wrong."""

import pytest

import layerscope as ls
from helpers.wording import raises
from layerscope import ModelNotReadable

CODE = """
import json
nothing = 3
def build(): return json
def missing(): import no_such_package_of_theirs
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    (tmp_path / "ownmodel.py").write_text(CODE)
    (tmp_path / "nets").mkdir()
    (tmp_path / "nets" / "small.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("ownmodel.py:build", "write ownmodel:build"),
        ("nets/small.py:build", "write nets.small:build"),
        ("ownmodel.build", "write ownmodel:build"),
        ("ownmodel.py", "write ownmodel:FUNCTION"),
        ("ownmodel:biuld", "Did you mean 'build'?"),
        ("ownmodle:build", "Did you mean 'ownmodel'?"),
        ("nets.tiny:build", "no module 'nets.tiny'"),
        ("ownmodel:nothing", "neither a model nor a function"),
        ("ownmodel:build", "returns no model"),
        ("ownmodel:missing", "No module named 'no_such_package_of_theirs'"),
    ],
)
def test_a_wrong_reference_is_answered_with_the_right_one(reference, said):
    with raises(ModelNotReadable, said):
        ls.open(reference)
