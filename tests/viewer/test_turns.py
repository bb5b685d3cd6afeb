"""Many at once: the model runs for one of them at a time, each can be cancelled, and what is kept stays bounded."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import layerscope as ls
from helpers.viewer import PHOTO, ShapesBackend, shapes_model, shapes_session, tiny_session, values_of
from layerscope.backends.protocol import Captured
from layerscope.errors import BadOption, Cancelled
from layerscope.testing.tiny import Step, TinyBackend, TinyModel, tiny_model
from layerscope.viewer.session import Question, Session
from layerscope.viewer.turns import WAITING, AtWork, Job, Turns, turns_of


class Slow:
    """A model of one layer that runs for as long as the gate is shut, and counts how many run at once."""

    def __init__(self):
        self.gate, self.inside = threading.Event(), threading.Event()
        self.now, self.most, self.runs = 0, 0, 0
        self.model = TinyModel((Step("slow", "Conv", "bchw", self.run), Step("fast", "Relu", "bchw", np.abs)))
        self.gate.set()

    def run(self, x):
        self.now += 1
        self.runs += 1
        self.most = max(self.most, self.now)
        self.inside.set()
        assert self.gate.wait(10)
        time.sleep(0.005)
        self.now -= 1
        return x * 2

    def session(self):
        session = Session(ls.open(self.model, backend=TinyBackend(), preprocess="unit", size=8), PHOTO)
        session.answer("manifest")
        self.inside.clear()
        return session


@pytest.fixture
def slow():
    return Slow()


def ask(session, layer="l0", id=""):
    return session.answer("map", {"input": "i0", "layer": layer}, id=id)


def until(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_one_run_at_a_time_also_for_two_sessions_of_a_model(slow):
    sessions = [slow.session(), slow.session()]
    with ThreadPoolExecutor(16) as pool:
        replies = list(pool.map(lambda number: ask(sessions[number % 2], f"l{number // 2 % 2}"), range(32)))
    assert slow.most == 1
    assert len({bytes(reply.buffers[0]) for reply in replies}) == 2


def test_whoever_waits_for_the_same_map_does_not_run_the_model_again(slow):
    session = slow.session()
    before = slow.runs
    slow.gate.clear()
    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(ask, session) for _ in range(8)]
        assert slow.inside.wait(10)
        slow.gate.set()
        assert len({future.result().buffers[0] for future in waiting}) == 1
    assert slow.runs == before + 1


def test_a_request_that_waits_is_cancelled_at_once_and_the_others_go_on(slow):
    session = slow.session()
    slow.gate.clear()
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(ask, session, id="a-1")
        assert slow.inside.wait(10)
        second, third = (pool.submit(ask, session, "l1", id=id) for id in ("a-2", "a-3"))
        until(lambda: session.answer("progress", {"of": "a-2"}).result["text"] == WAITING)
        assert session.answer("cancel", {"of": "a-2"}).result == {"cancelled": True}
        with pytest.raises(Cancelled):
            second.result(10)
        assert not first.done() and not third.done()
        slow.gate.set()
        assert first.result(10).buffers and third.result(10).buffers


def test_progress_is_told_beside_the_work_and_cancels_between_two_steps():
    session = tiny_session()
    session.answer("manifest")
    seen = []

    def watch():
        until(lambda: session.answer("progress", {"of": "b-1"}).result["text"])
        seen.append(session.answer("progress", {"of": "b-1"}).result)
        session.answer("cancel", {"of": "b-1"})

    model, run = session.scope.model, session.scope.model.steps[2].run
    model.steps = (
        *model.steps[:2],
        Step("conv2", "Conv", "bchw", lambda x: (time.sleep(0.2), run(x))[1]),
        *model.steps[3:],
    )
    watcher = threading.Thread(target=watch)
    watcher.start()
    with pytest.raises(Cancelled):
        session.answer("combine", {"input": "i0", "layer": "l0", "name": "score-cam", "target": 1}, id="b-1")
    watcher.join()
    assert seen[0].keys() == {"part", "whole", "text"}
    assert session.answer("progress", {"of": "b-1"}).result == {"part": 0, "whole": 0, "text": ""}


def test_the_word_to_cancel_may_come_before_the_request(slow):
    session = slow.session()
    assert session.answer("cancel", {"of": "c-1"}).result == {"cancelled": False}
    with pytest.raises(Cancelled):
        ask(session, id="c-1")
    assert ask(session, id="c-2").buffers


def test_two_requests_of_one_id_are_not_confused(slow):
    session = slow.session()
    slow.gate.clear()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(ask, session, id="d-1")
        assert slow.inside.wait(10)
        with pytest.raises(BadOption, match="d-1"):
            ask(session, id="d-1")
        slow.gate.set()
        assert first.result(10).buffers


def test_closing_cancels_what_waits_and_forgets_what_was_kept(slow):
    session = slow.session()
    slow.gate.clear()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(ask, session, id="e-1")
        assert slow.inside.wait(10)
        second = pool.submit(ask, session, "l1", id="e-2")
        until(lambda: session.answer("progress", {"of": "e-2"}).result["text"] == WAITING)
        session.close()
        with pytest.raises(Cancelled):
            second.result(10)
        slow.gate.set()
        with pytest.raises(Cancelled):
            first.result(10)


def test_an_error_of_the_model_frees_the_turn():
    def fail(x):
        raise RuntimeError("broken")

    model = TinyModel((Step("conv", "Conv", "bchw", np.abs), Step("bad", "Conv", "bchw", np.abs)))
    session = Session(ls.open(model, backend=TinyBackend(), preprocess="unit", size=8), PHOTO)
    session.answer("manifest")
    model.steps = (model.steps[0], Step("bad", "Conv", "bchw", fail))
    with pytest.raises(ls.ModelNotReadable):
        ask(session, "l1")
    assert ask(session, "l0").buffers


def test_turns_belong_to_a_model_and_last_as_long_as_someone_holds_them():
    one, other = shapes_model(), shapes_model()
    turns = turns_of(one)
    assert turns_of(one) is turns and turns_of(other) is not turns
    assert isinstance(turns, Turns) and AtWork(turns).progress("nobody") == {"part": 0, "whole": 0, "text": ""}


def test_what_is_kept_stays_within_its_bytes_over_many_switches():
    session = shapes_session(room=20_000)
    layers = [each["id"] for each in session.answer("manifest").result["layers"] if each["kind_of"] != "none"]
    for number in range(200):
        assert ask(session, layers[number * 7 % len(layers)]).buffers
        assert session._cache.nbytes <= 20_000
    fm = session.scope.capture(PHOTO, "map")["map"]
    np.testing.assert_allclose(values_of(ask(session, layers[0])), fm.values[0], rtol=2**-11)


class Hoarder(TinyBackend):
    """Gives views of an arena that is far larger than they are."""

    arena = np.ones((1, 1000, 8, 8), np.float32)

    def capture(self, model, batch, paths, target=None):
        return {path: Captured(self.arena[:, :4]) for path in paths}


def test_a_map_that_is_kept_owns_its_memory_and_not_all_that_its_framework_holds():
    session = Session(ls.open(tiny_model(), backend=Hoarder(), preprocess="unit", size=8), PHOTO)
    shared = session.scope.capture(PHOTO, "conv1")["conv1"]
    assert np.shares_memory(shared.values, Hoarder.arena)
    kept = session._captures.map_of(session._subject(Question({"input": "i0", "layer": "l0"}, (), Job("")))[1])
    assert not np.shares_memory(kept.values, Hoarder.arena)


def test_a_map_larger_than_all_that_is_kept_is_answered_all_the_same():
    session = Session(ls.open(shapes_model(), backend=ShapesBackend(), preprocess="unit", size=8), PHOTO, room=10)
    assert ask(session).buffers == ask(session).buffers and session._cache.nbytes == 0
