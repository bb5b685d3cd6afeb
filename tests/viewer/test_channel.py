"""A session's conversation with the views of a notebook: answers in pieces, as bytes or as text, cancelled and released."""

import base64
import queue
import threading
import time

import numpy as np
import pytest
from PIL import Image

import layerscope as ls
from layerscope.testing import TinyBackend, tiny_model
from layerscope.viewer import channel as channel_module
from layerscope.viewer.channel import PIECE, Channel
from layerscope.viewer.session import Reply, Session


@pytest.fixture
def photo():
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8))


@pytest.fixture
def session(photo):
    return Session(ls.open(tiny_model(), backend=TinyBackend(), preprocess="unit", size=8), photo)


class Page:
    """What a notebook's page does with messages."""

    def __init__(self, session):
        self.came = queue.SimpleQueue()
        self.channel = Channel(session, lambda message, buffers: self.came.put((message, [bytes(b) for b in buffers])))

    def say(self, id, op=None, buffers=(), **rest):
        self.channel.receive({"id": id, **({} if op is None else {"op": op}), **rest}, buffers)

    def next(self):
        return self.came.get(timeout=20)

    def reply(self):
        """(message, buffers) of an answer, put together from its pieces; and of how many messages it was."""
        pieces, count = [], 0
        while True:
            message, buffers = self.next()
            if "progress" in message:
                continue
            count += 1
            pieces += [base64.b64decode(each) for each in message.get("base64", [])] + buffers
            if "more" in message:
                continue
            data, buffers = b"".join(pieces), []
            for size in message.get("sizes", []):
                buffers.append(data[:size])
                data = data[size:]
            assert not data
            return message, buffers, count

    def ask(self, op, buffers=(), base64=False, **params):
        self.say("a-1", op, buffers, params=params, base64=base64)
        return self.reply()


@pytest.fixture
def page(session):
    opened = Page(session)
    yield opened
    opened.channel.close()


def test_answers_are_the_session_s(page, session):
    message, _, _ = page.ask("manifest")
    assert message["ok"] and message["id"] == "a-1" and message["result"] == session.answer("manifest").result
    message, buffers, count = page.ask("map", input="i0", layer="l0")
    assert message["sizes"] == [len(buffers[0])] and count == 1
    assert buffers == list(session.answer("map", {"input": "i0", "layer": "l0"}).buffers)


def test_bytes_come_as_text_where_the_page_asks_again(page, session):
    message, buffers, _ = page.ask("map", base64=True, input="i0", layer="l0")
    assert message["base64"] and buffers == list(session.answer("map", {"input": "i0", "layer": "l0"}).buffers)


@pytest.mark.parametrize("text", [False, True])
def test_large_answers_come_in_pieces_that_no_message_limit_stops(page, session, monkeypatch, text):
    given = (bytes(range(256)) * 60_000, b"", b"end")
    monkeypatch.setattr(session, "answer", lambda *_, **__: Reply({}, given))
    page.say("a-1", "map", base64=text)
    sizes = []
    for _ in range(4):
        message, buffers = page.next()
        sizes.append(len(message["base64"][0]) if text else len(buffers[0]))
    assert max(sizes) <= 8_000_000 and message["sizes"] == [len(each) for each in given]
    page.say("a-1", "map", base64=text)
    assert page.reply()[1] == list(given)
    assert len(given[0]) > PIECE


def test_what_is_wrong_is_said_by_the_name_of_its_error(page):
    message, _, _ = page.ask("map", input="i0", layer="nowhere")
    assert message == {
        "id": "a-1",
        "ok": False,
        "error": {"kind": "BadOption", "message": "There is no layer 'nowhere' here."},
    }
    assert page.ask("unknown")[0]["error"]["kind"] == "BadOption"
    page.say("a-2", params=3)
    assert page.reply()[0]["error"]["kind"] == "BadOption"


@pytest.mark.parametrize("message", [None, [], "text", {}, {"op": "map"}, {"id": 3}, {"id": "x" * 65}])
def test_messages_that_nobody_can_be_answered_for_are_logged(page, caplog, message):
    page.channel.receive(message)
    assert "without an id" in caplog.text and page.came.empty()


def test_an_image_is_uploaded_in_pieces_of_text(page, tmp_path):
    path = tmp_path / "new.png"
    Image.new("RGB", (8, 8), "red").save(path)
    data = path.read_bytes()
    for start in range(0, len(data), 50):
        page.say("a-1", piece=base64.b64encode(data[start : start + 50]).decode())
    message, _, _ = page.ask("add", name="new.png")
    assert message["result"]["name"] == "new.png" and message["result"]["width"] == 8
    page.say("a-1", piece="no base64!")
    assert page.ask("add", name="new.png")[0]["error"]["kind"] == "BadOption"


def test_an_upload_is_bounded_before_it_is_put_together(page, monkeypatch):
    monkeypatch.setattr(channel_module, "UPLOAD_BYTES", 0)
    monkeypatch.setattr(channel_module, "PIECE", 300)
    page.say("a-1", piece="A" * 400)
    page.say("a-1", piece="A")
    assert page.reply()[0]["error"]["kind"] == "BadOption"
    assert not page.channel._pieces


def test_a_request_is_cancelled_and_followed_while_the_model_runs(page, session, monkeypatch):
    begun, go_on = threading.Event(), threading.Event()

    def slow(*_):
        with ls.core.progress.work(3, "images") as step:
            for _ in range(3):
                begun.set()
                assert go_on.wait(20)
                step(1)

    monkeypatch.setitem(session._answers, "map", slow)
    monkeypatch.setattr(channel_module, "OFTEN", 0)
    page.say("a-1", "map")
    assert begun.wait(20)
    assert page.next() == ({"id": "a-1", "progress": {"part": 0, "whole": 3, "text": "images"}}, [])
    page.say("a-2", "progress", params={"of": "a-1"})
    assert page.next()[0]["result"] == {"part": 0, "whole": 3, "text": "images"}
    page.say("a-3", "cancel", params={"of": "a-1"})
    assert page.next()[0]["result"] == {"cancelled": True}
    go_on.set()
    assert page.reply()[0]["error"]["kind"] == "Cancelled"


def test_the_last_view_that_goes_releases_all_and_another_one_finds_it_working(page, session):
    def threads():
        return [each for each in threading.enumerate() if each.name.startswith("layerscope-widget")]

    before = len(threads())
    page.ask("map", input="i0", layer="l0")
    page.say("b-1", "map", params={"input": "i0", "layer": "l0"})
    page.reply()
    assert session._cache.nbytes and len(threads()) > before
    page.say("a-gone", "gone")
    assert page.next() == ({"id": "who"}, [])
    page.say("b-here", "here")
    assert session._cache.nbytes
    ending = list(threads())
    page.say("b-gone", "gone")
    assert not session._cache.nbytes
    for each in ending[before:]:
        each.join(20)
    assert page.ask("map", input="i0", layer="l0")[0]["ok"]


def test_views_whose_window_was_closed_hold_nothing_when_another_one_goes(page, session, monkeypatch):
    monkeypatch.setattr(channel_module, "PATIENCE", 0.01)
    for view in "ab":
        page.say(f"{view}-1", "map", params={"input": "i0", "layer": "l0"})
        page.reply()
    page.say("a-gone", "gone")
    until = time.monotonic() + 20
    while session._cache.nbytes and time.monotonic() < until:
        time.sleep(0.01)
    assert not session._cache.nbytes and not page.channel._lanes
