"""The snapshot of wording: what it keeps, what it drops, and that a difference fails the test."""

from types import SimpleNamespace

import pytest

import layerscope as ls
from helpers import wording


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module of tests in a place of its own, with a golden file of two tests."""
    monkeypatch.setattr(wording, "TESTS", tmp_path / "tests")
    monkeypatch.setattr(wording, "FILES", tmp_path / "tests" / "wording")
    wording.golden.cache_clear()
    path = tmp_path / "tests" / "plots" / "test_it.py"
    path.parent.mkdir(parents=True)
    path.write_text("def test_one(): ...\n\n\nclass TestIt:\n    def test_two(self): ...\n")
    wording.write(
        path, {"TestIt::test_two[10]": "    text: ten", "TestIt::test_two[2]": "    text: a\n        b", "test_one": ""}
    )
    yield path
    wording.golden.cache_clear()


def test_a_golden_file_comes_back_as_it_was_written(module):
    text = wording.file_of(module).read_text("utf-8")
    assert text.endswith("\nTestIt::test_two[2]\n    text: a\n        b\n\nTestIt::test_two[10]\n    text: ten\n")
    assert wording.golden(wording.file_of(module)) == {
        "TestIt::test_two[2]": "    text: a\n        b",
        "TestIt::test_two[10]": "    text: ten",
    }


@pytest.mark.parametrize(
    ("collected", "whole", "names"),
    [
        (["test_one"], True, {"test_one", "TestIt::test_two[2]", "TestIt::test_two[10]"}),
        (["test_one", "TestIt::test_two[2]"], True, {"test_one", "TestIt::test_two[2]"}),
        (["test_one", "TestIt::test_two[2]"], False, {"test_one", "TestIt::test_two[2]", "TestIt::test_two[10]"}),
    ],
    ids=["another test ran", "a case is gone", "one case was asked for"],
)
def test_renewing_a_part_leaves_the_rest(module, collected, whole, names):
    wording.renew({str(module): {"test_one": "    BadScale: new"}}, {str(module): collected}, whole=whole)
    wording.golden.cache_clear()
    assert set(wording.golden(wording.file_of(module))) == names


def test_renewing_drops_tests_and_modules_that_are_gone(module):
    wording.write(module.with_name("test_gone.py"), {"test_x": "    text: x"})
    module.write_text("def test_one(): ...\n")
    wording.renew({}, {str(module): ["test_one"]}, whole=True)
    assert not list(wording.FILES.rglob("*.txt"))


def item_of(module, name):
    chain = [SimpleNamespace(name=part) for part in (module.name, *name.split("::"))]
    return SimpleNamespace(path=module, listchain=lambda: chain)


@pytest.mark.parametrize("pinned", [True, False])
def test_another_wording_fails_and_another_class_everywhere(module, monkeypatch, pinned):
    monkeypatch.setattr(wording, "pinned", lambda: pinned)
    item = item_of(module, "TestIt::test_two[10]")
    wording.compare(item, {"    text: ten": "text"})
    with pytest.raises(pytest.fail.Exception, match=r"make wording ONLY=tests/plots/test_it\.py"):
        wording.compare(item, {"    BadScale: ten": "BadScale"})
    with pytest.raises(pytest.fail.Exception):
        wording.compare(item, {})
    if pinned:
        with pytest.raises(pytest.fail.Exception, match=r"-    text: ten\n\+    text: eleven"):
            wording.compare(item, {"    text: eleven": "text"})
    else:
        wording.compare(item, {"    text: eleven": "text"})


def test_a_new_module_fails_until_its_file_is_written(module, monkeypatch):
    monkeypatch.setattr(wording, "pinned", lambda: True)
    new = module.with_name("test_new.py")
    new.write_text("def test_x(): ...\n")
    item = item_of(new, "test_x")
    wording.compare(item, {})
    with pytest.raises(pytest.fail.Exception, match=r"\+    text: x"):
        wording.compare(item, {"    text: x": "text"})
    wording.renew({str(new): {"test_x": "    text: x"}}, {str(new): ["test_x"]}, whole=True)
    wording.golden.cache_clear()
    wording.compare(item, {"    text: x": "text"})


def test_messages_hold_their_data_as_whole_words(tmp_path):
    with pytest.raises(AssertionError), wording.raises(ls.BadOption, "2"):
        raise ls.BadOption("use 12")
    with wording.raises(ls.LayerscopeError, "12", "batch=", "'a'"):
        raise ls.BadOption(f"batch=3 in {tmp_path}/x: use 12 of 'a' · or 0x7f12345678")
    wording.wording(["one note", "another"])
