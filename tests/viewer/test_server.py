"""What the server of the local page does with many requests at once, with clients that leave, and when it ends."""

import asyncio
import logging
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import layerscope as ls
from helpers.pages import served, until
from helpers.wording import raises
from layerscope.viewer import lanes
from layerscope.viewer.frames import pack_frame, unpack_frame
from layerscope.viewer.listener import bind


@pytest.fixture
def server():
    with served() as running:
        yield running


def begin(server, layer="slow", id="slow-1"):
    """A thread that asks for a layer, begun by the session where it is slow; its answer is `thread.answers[0]`."""
    answers = []
    thread = threading.Thread(target=lambda: answers.append(server.ask("map", {"layer": layer}, id=id)))
    thread.answers = answers
    thread.start()
    return thread


def test_a_reply_is_a_frame_with_its_buffers(server):
    answer = server.upload(b"12345")
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.message == {"id": "a-1", "ok": True, "result": {"op": "add", "name": "cat.png"}, "buffers": [5]}
    assert answer.buffers == [b"12345"]
    assert len(answer.body) % 8 == 0


@pytest.mark.parametrize("sizes", [[], [0], [1, 8, 0, 9]])
def test_frames_keep_what_is_put_in(sizes):
    buffers = [bytes(range(size)) for size in sizes]
    message = {"id": "a", "text": "é\u202e</script>\ud800", "number": 0.1}
    packed = pack_frame(message, buffers)
    assert unpack_frame(packed) == ({**message, "buffers": sizes}, buffers)
    for cut in range(0, len(packed) - 8, 7):
        with pytest.raises(ValueError, match=r"shorter|JSON|Expecting|Unterminated"):
            unpack_frame(packed[:cut])


def test_what_the_session_refuses_is_an_answer(server):
    answer = server.ask("nothing")
    assert answer.status == 200
    assert answer.message["ok"] is False
    assert answer.message["error"] == {"kind": "BadOption", "message": "No op 'nothing'."}


def test_a_fault_of_ours_is_an_answer_and_is_logged(server, caplog):
    with caplog.at_level(logging.ERROR):
        answer = server.ask("fault")
    assert answer.message["error"] == {"kind": "InternalError", "message": "ZeroDivisionError: division by zero"}
    assert "ZeroDivisionError" in caplog.text
    assert server.ask("manifest").message["ok"]


def test_fifty_clients_at_once_each_get_their_own_answer(server):
    def ask(number):
        return server.ask("map", {"number": number}, id=f"client-{number}").message

    with ThreadPoolExecutor(50) as clients:
        for number, message in enumerate(clients.map(ask, range(200))):
            assert message["id"] == f"client-{number}"
            assert message["result"]["number"] == number
    assert sorted(server.session.begun) == sorted(f"client-{number}" for number in range(200))


def test_progress_is_told_beside_the_work_and_cancel_ends_it(server):
    thread = begin(server)
    until(lambda: server.session.begun)
    assert server.ask("progress", {"of": "slow-1"}).message["result"]["part"] == 1
    assert server.ask("map", {"layer": "kept"}, id="beside").message["ok"]
    assert server.ask("cancel", {"of": "slow-1"}, id="c").message["ok"]
    thread.join(10)
    assert thread.answers[0].message["error"]["kind"] == "Cancelled"


def test_what_waits_is_cancelled_before_it_begins(server):
    running = begin(server)
    until(lambda: server.session.begun)
    waiting = begin(server, "fast", "waiting-1")
    until(lambda: "waiting-1" in server.lanes._jobs)
    server.ask("cancel", {"of": "waiting-1"}, id="c-1")
    waiting.join(10)
    assert waiting.answers[0].message["error"]["kind"] == "Cancelled"
    server.ask("cancel", {"of": "slow-1"}, id="c-2")
    running.join(10)
    assert server.ask("map", id="after").message["ok"]
    assert "waiting-1" not in server.session.begun


def test_a_client_that_leaves_cancels_its_work_and_what_it_had_waiting(server):
    head = f"POST /api HTTP/1.1\r\nhost: 127.0.0.1:{server.port}\r\nx-layerscope-token: {server.token}\r\n"
    connections = []
    for id, layer in (("left-1", "slow"), ("left-2", "fast")):
        body = f'{{"id": "{id}", "op": "map", "params": {{"layer": "{layer}"}}}}'
        connections.append(
            server.raw(f"{head}content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode())
        )
        until(lambda id=id: id in server.lanes._jobs)
    until(lambda: server.session.begun)
    for connection in reversed(connections):
        connection.close()
    until(lambda: server.session.ended == ["left-1"])
    assert server.ask("map", id="next").message["ok"]
    assert server.session.begun == ["left-1", "next"]
    assert not server.lanes._jobs


def test_an_id_that_is_being_answered_is_not_taken_twice(server):
    thread = begin(server)
    until(lambda: server.session.begun)
    assert server.ask("map", id="slow-1").message["error"]["kind"] == "BadOption"
    server.ask("cancel", {"of": "slow-1"}, id="c")
    thread.join(10)
    assert thread.answers[0].message["error"]["kind"] == "Cancelled"


def test_the_queue_has_an_end(server, monkeypatch):
    monkeypatch.setattr(lanes, "MOST_WAITING", 3)
    threads = [begin(server)]
    until(lambda: server.session.begun)
    for number in range(3):
        threads.append(begin(server, "fast", f"waiting-{number}"))
        until(lambda number=number: f"waiting-{number}" in server.lanes._jobs)
    assert server.ask("map", id="one-more").status == 503
    server.ask("cancel", {"of": "slow-1"}, id="c")
    for thread in threads:
        thread.join(10)
    assert [thread.answers[0].message["ok"] for thread in threads] == [False, True, True, True]


def test_closing_ends_what_runs_and_frees_the_port(server):
    thread = begin(server)
    until(lambda: server.session.begun)
    waiting = begin(server, "fast", "waiting-1")
    until(lambda: len(server.lanes._jobs) == 2)
    before = threading.active_count()
    start = time.monotonic()
    server.close()
    assert time.monotonic() - start < 3
    thread.join(10)
    waiting.join(10)
    until(lambda: threading.active_count() <= before - 7)  # the listener, four lanes, and the two that asked
    bind("127.0.0.1", server.port).close()
    server.close()


def test_two_servers_at_once_know_nothing_of_each_other(server):
    with served() as other:
        assert other.port != server.port
        assert other.token != server.token
        assert server.ask("map", {"at": 1}).message["result"]["at"] == 1
        assert other.ask("map", {"at": 2}).message["result"]["at"] == 2
        assert other.ask("map", x_layerscope_token=server.token).status == 403
        assert other.ask("map", origin=f"http://127.0.0.1:{server.port}").status == 403
    assert server.ask("map").status == 200


def test_it_runs_beside_the_loop_of_a_notebook():
    async def notebook():
        with served() as server:
            answers = await asyncio.gather(*(asyncio.to_thread(server.ask, "map", id=str(n)) for n in range(1, 9)))
            return [answer.message["id"] for answer in answers]

    assert asyncio.run(notebook()) == [str(n) for n in range(1, 9)]


def test_loggers_and_signals_of_the_process_are_left_alone(caplog):
    def state():
        loggers = [logging.getLogger(name) for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "asyncio")]
        return [(logger.level, logger.handlers[:], logger.propagate) for logger in loggers], [
            signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)
        ]

    before = state()
    with served() as server:
        assert state() == before
        with caplog.at_level(logging.DEBUG):
            assert server.send("GET", f"/?token={server.token}").status == 200
        assert server.token not in caplog.text
    assert state() == before


def test_a_port_that_is_taken_is_named(server):
    with pytest.raises(ls.BadOption, match=str(server.port)):
        bind("127.0.0.1", server.port)
    with raises(ls.BadOption, "300.0.0.1"):
        bind("300.0.0.1", 0)
