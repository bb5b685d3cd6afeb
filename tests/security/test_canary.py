"""The watchers of this folder see what they are there to see."""

import builtins
import contextlib
import pickle
import socket
import subprocess
import sys

import pytest

from helpers import canary as canaries


def datagram():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"", ("127.0.0.1", 9))


def test_a_pickle_makes_the_file(canary):
    assert not canary.sings
    pickle.loads(pickle.dumps(canary.pickled()))
    assert canary.sings
    canary.hush()
    eval(canary.code)
    assert canary.sings


@pytest.mark.parametrize(
    "act",
    [
        lambda: socket.create_connection(("127.0.0.1", 9)),
        lambda: socket.getaddrinfo("localhost", 80),
        lambda: socket.gethostbyname("localhost"),
        datagram,
        lambda: builtins.input("well? "),
        lambda: subprocess.run([sys.executable, "-c", ""]),
    ],
    ids=["connect", "look-up", "old look-up", "datagram", "question", "program"],
)
def test_what_is_forbidden_is_seen_though_it_is_caught(act):
    watch = canaries.Watch()
    with pytest.raises(AssertionError, match="forbidden"), watch, contextlib.suppress(OSError):
        act()
    assert watch.events


def test_a_process_of_its_own_reports_what_it_did():
    said, events = canaries.run("input('well? ')")
    assert said.startswith("PermissionError") and events[0].startswith("builtins.input")
    assert canaries.run("1 / 0") == ("ZeroDivisionError: division by zero", [])
