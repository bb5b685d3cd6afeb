"""Nothing is lost: scans that are killed, interrupted, out of disk or run twice at once leave an undisturbed one's store."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import layerscope as ls
from helpers.stores import contents, small_scan, write_images
from helpers.wording import raises
from layerscope.cli import main
from layerscope.store.storage import storage_of

HELPER = Path(__file__).parents[1] / "helpers/killed.py"


def helper(*arguments):
    program = [sys.executable, str(HELPER), *map(str, arguments)]
    run = subprocess.run(program, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


@pytest.mark.slow
def test_fifty_kills_at_random_instants_change_nothing(tmp_path):
    counts = helper("killed", tmp_path, 50, 1)
    assert counts["wrong"] == [] and counts["kills"] == 50
    assert counts["partial"] >= 5 and counts["unfinished"] >= 1 and counts["stores"] >= 2


@pytest.mark.slow
def test_scans_that_run_out_of_disk_go_on_when_there_is_room(tmp_path):
    found = helper("full", tmp_path)
    assert found["codes"][0] == 1 and found["codes"][-1] == 0 and found["same"]


@pytest.mark.slow
def test_of_several_scans_at_once_one_works_and_the_others_refuse(tmp_path):
    found = helper("together", tmp_path)
    assert found["codes"][0] == 0 and set(found["codes"]) <= {0, 1} and found["same"]


@pytest.mark.parametrize("number", range(0, 40, 6))
def test_a_disk_that_is_full_at_any_write_is_told_and_nothing_is_lost(tmp_path, monkeypatch, number):
    images, count = write_images(tmp_path / "images", 16), 0
    own = os.fsync

    def full(descriptor):
        nonlocal count
        count += 1
        if count > number:
            raise OSError(errno.ENOSPC, "No space left on device")
        own(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with raises(ls.BadOption, "No space left") if number == 0 else pytest.raises(ls.BadOption, match="make room"):
        small_scan(images, tmp_path / "store", keep="maps")
    monkeypatch.undo()
    assert not list((tmp_path / "store").rglob("*.part"))
    small_scan(images, tmp_path / "store", keep="maps")
    small_scan(images, tmp_path / "whole", keep="maps")
    assert contents(tmp_path / "store") == contents(tmp_path / "whole")


def test_a_second_scan_refuses_and_names_the_first(tmp_path):
    images = write_images(tmp_path / "images", 8)
    with storage_of(tmp_path / "store").locked(), pytest.raises(ls.BadOption, match=f"process {os.getpid()} on "):
        small_scan(images, tmp_path / "store")
    assert not contents(tmp_path / "store")
    small_scan(images, tmp_path / "store")


POOLED = """
import sys
from helpers.stores import small_scan
if __name__ == "__main__":
    small_scan(sys.argv[1], sys.argv[2], keep="maps", unit=4, workers=2)
"""


@pytest.mark.slow
def test_a_pool_ends_with_its_killed_driver_and_the_store_is_gone_on_with(tmp_path):
    images, store = write_images(tmp_path / "images", 200), tmp_path / "store"
    (tmp_path / "pooled.py").write_text(POOLED)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HELPER.parents[1]), *sys.path])}
    program = [sys.executable, str(tmp_path / "pooled.py"), str(images), str(store)]
    driver = subprocess.Popen(program, env=environment, start_new_session=True)
    for _ in range(600):
        if len(list(store.glob("receipts/*.json"))) >= 3:
            break
        time.sleep(0.02)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    for _ in range(100):  # its workers find out within a second
        try:
            os.killpg(driver.pid, 0)
        except ProcessLookupError:
            break
        time.sleep(0.1)
    else:
        pytest.fail("workers outlive their driver")
    assert 3 <= len(list(store.glob("receipts/*.json"))) <= 50
    small_scan(images, store, keep="maps", unit=4)
    small_scan(images, tmp_path / "whole", keep="maps", unit=4)
    assert contents(store) == contents(tmp_path / "whole")


def test_the_commands_and_their_exit_codes(tmp_path, capsys, monkeypatch):
    images, store = write_images(tmp_path / "images", 5), str(tmp_path / "store")
    line = ["scan", "demo", str(images), "-l", "_conv_stem", "--store", store, "--unit", "2", "--batch", "2"]

    def interrupted(*_, calls=[]):  # noqa: B006 - counts its calls
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return run(*_)

    from layerscope.store import unit

    run = unit.run
    monkeypatch.setattr(unit, "run", interrupted)
    assert main(line) == 130
    assert "the same command goes on from here" in capsys.readouterr().err
    monkeypatch.undo()
    assert main(["check", store]) == 0
    assert "still to be done" in capsys.readouterr().out
    assert main(line) == 0
    assert main(["check", store]) == 0
    assert "3 of 3 units whole" in capsys.readouterr().out
    (images / "9.png").write_bytes(b"no image")
    assert main(line) == 3
    assert "skipped 9.png" in capsys.readouterr().err
    assert main([*line, "--keep", "maps"]) == 1
    assert "pooled there, maps now" in capsys.readouterr().err
    shard = next(Path(store, "pooled.zarr").rglob("c/0/0"))
    shard.write_bytes(shard.read_bytes()[:-1])
    assert main(["check", store]) == 1
    assert "bytes" in capsys.readouterr().out
    assert main(line) == 3
    assert "damaged, done again" in capsys.readouterr().err
