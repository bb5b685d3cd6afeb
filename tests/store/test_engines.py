"""Every engine leaves the same store."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import layerscope as ls
from helpers.ray_cluster import NOT_STARTED
from helpers.stores import contents, small_scan, write_images
from helpers.wording import raises
from layerscope.store.engines import ray, worker
from layerscope.store.engines.worker import cores
from layerscope.testing import tiny_model


@pytest.fixture
def images(tmp_path):
    return write_images(tmp_path / "images", 40)


@pytest.mark.parametrize("workers", [2, 3])
def test_a_pool_of_processes_leaves_the_store_of_one(images, tmp_path, workers):
    (images / "7.png").write_bytes(b"no image")
    alone = small_scan(images, tmp_path / "alone", keep="maps")
    pooled = small_scan(images, tmp_path / "pooled", keep="maps", workers=workers)
    assert contents(tmp_path / "alone") == contents(tmp_path / "pooled")
    assert alone.digest == pooled.digest and len(pooled.failures) == 1


def test_progress_is_told_of_every_image(images, tmp_path):
    events = []
    with ls.progress(lambda event: events.append(event) if event.what == "images" else None):
        small_scan(images, tmp_path / "store")
    assert [event.done for event in events] == sorted(event.done for event in events)
    assert (events[0].done, events[-1].done, events[-1].total) == (0, 40, 40)


def test_an_observer_cancels_a_scan_and_the_next_one_goes_on(images, tmp_path):
    def stop(event):
        if event.what == "images" and event.done >= 20:
            raise ls.Cancelled("enough")

    with pytest.raises(ls.Cancelled), ls.progress(stop):
        small_scan(images, tmp_path / "store", keep="maps")
    done = len(list((tmp_path / "store/receipts").iterdir()))
    assert 1 <= done < 5
    small_scan(images, tmp_path / "store", keep="maps")
    small_scan(images, tmp_path / "whole", keep="maps")
    assert contents(tmp_path / "store") == contents(tmp_path / "whole")


def test_a_model_that_cannot_be_sent_is_told(images, tmp_path):
    with raises(ls.BadOption, "workers"):
        small_scan(images, tmp_path / "store", workers=2, model=tiny_model())


def test_the_number_of_threads_of_a_run_is_told(images, tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    alone = small_scan(images, tmp_path / "alone", model=tiny_model())
    assert alone.provenance["runs"][-1]["threads"] == cores()
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    shared = small_scan(images, tmp_path / "shared", workers=2)
    assert shared.provenance["runs"][-1]["threads"] == 3


def test_a_worker_of_a_cluster_has_its_threads_for_a_unit_and_what_it_had_afterwards(monkeypatch):
    torch = pytest.importorskip("torch")
    found = []

    def counted(spec, units, scope):
        found.append((torch.get_num_threads(), *(os.environ.get(name) for name in names)))
        return iter(["receipt"])

    names = ("OMP_NUM_THREADS", "LAYERSCOPE_ONNX_THREADS", "LAYERSCOPE_TFLITE_THREADS")
    monkeypatch.setattr(worker, "process", counted)
    monkeypatch.setattr(worker, "opened", lambda spec: "scope")
    monkeypatch.setattr(worker, "_SCOPES", {})
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("LAYERSCOPE_TFLITE_THREADS", "5")
    monkeypatch.delenv("LAYERSCOPE_ONNX_THREADS", raising=False)
    before, spec = torch.get_num_threads(), SimpleNamespace(plan=SimpleNamespace(makers="these"))
    assert worker.do_units(spec, ["unit", "unit"], 7) == ["receipt", "receipt"]
    assert found == [(7, "7", "7", "5")] * 2
    assert torch.get_num_threads() == before
    assert [os.environ.get(name) for name in names] == ["1", None, "5"]


class Killing:
    """Progress that ends something once some images are done."""

    def __init__(self, images, kill):
        self.images, self.kill = images, kill

    def __call__(self, event):
        if self.kill is not None and event.what == "images" and event.done >= self.images:
            kill, self.kill = self.kill, None
            kill()


def test_what_a_lost_worker_was_writing_is_gone_at_the_end(images, tmp_path):
    def lose(event):
        if event.what == "images" and event.done >= 8:
            (tmp_path / "store/receipts/.layerscope-0123456789abcdef.part").write_bytes(b"unfinished")

    small_scan(images, tmp_path / "alone")
    with ls.progress(lose):
        small_scan(images, tmp_path / "store", workers=2)
    assert contents(tmp_path / "store") == contents(tmp_path / "alone")


@pytest.fixture
def importable(monkeypatch, tmp_path):
    """Workers in processes of their own find `helpers` too."""
    paths = [str(Path(__file__).parents[1]), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture
def alone(images, tmp_path):
    (images / "7.png").write_bytes(b"no image")
    small_scan(images, tmp_path / "alone", keep="maps")
    return contents(tmp_path / "alone")


pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::FutureWarning"
)


@pytest.mark.slow
def test_a_dask_cluster_of_this_machine_leaves_the_same_store(images, tmp_path, alone, importable):
    store = small_scan(images, tmp_path / "store", keep="maps", engine="dask", workers=2)
    assert contents(tmp_path / "store") == alone
    assert [image.id for image in store.failures] == ["7.png"]


@pytest.mark.slow
def test_a_dask_worker_that_is_killed_costs_nothing(images, tmp_path, alone, importable):
    from distributed import LocalCluster

    with LocalCluster(n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None) as cluster:
        nanny = next(iter(cluster.workers.values()))
        killed = Killing(8, lambda: os.kill(nanny.pid, signal.SIGKILL))
        with ls.progress(killed):
            small_scan(images, tmp_path / "store", keep="maps", engine="dask", address=cluster.scheduler_address)
    assert killed.kill is None
    assert contents(tmp_path / "store") == alone


def test_a_cluster_on_loopback_alone_is_told_from_one_of_the_network(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        monkeypatch.setattr(ray, "own_address", lambda: "127.0.0.2")
        assert ray.on_loopback_alone(f"127.0.0.1:{port}") and ray.on_loopback_alone(f"localhost:{port}")
        assert not ray.on_loopback_alone(f"10.0.0.1:{port}") and not ray.on_loopback_alone("auto")
        monkeypatch.setattr(ray, "own_address", lambda: "127.0.0.1")
        assert not ray.on_loopback_alone(f"127.0.0.1:{port}")
    assert ray.on_loopback_alone("127.0.0.1:99999")


RAY = Path(__file__).parents[1] / "helpers/ray_cluster.py"


def scanned_with_ray(work, folder):
    """What `helpers/ray_cluster.py` tells; it has two tries, as Ray wants its processes to start within 30 seconds.

    A process group of its own ends with all that Ray has started, so that a hang fails and nothing is left behind.
    """
    for number in range(2):
        own = folder / str(number)
        own.mkdir()
        program = [sys.executable, str(RAY), work, str(own)]
        process = subprocess.Popen(
            program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        try:
            out, errors = process.communicate(timeout=180)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if process.returncode != NOT_STARTED:
            assert process.returncode == 0, errors[-4000:]
            return json.loads(out.splitlines()[-1])
    return pytest.skip(f"Ray didn't start here, on a machine with the load {os.getloadavg()[0]:.1f}: {errors[-200:]}")


@pytest.mark.slow
def test_a_ray_cluster_of_this_machine_listens_on_loopback_and_leaves_the_same_store(tmp_path, importable):
    pytest.importorskip("ray")
    told = scanned_with_ray("own", tmp_path)
    assert told["same"] and told["address"].startswith("127.0.0.1:")


@pytest.mark.slow
def test_a_node_of_a_ray_cluster_that_is_killed_costs_nothing(tmp_path, importable):
    pytest.importorskip("ray")
    assert scanned_with_ray("killed", tmp_path) == {"nodes": 2, "same": True}


def test_options_of_clusters_are_for_their_engine(images, tmp_path):
    with pytest.raises(ls.BadOption, match="for a cluster"):
        small_scan(images, tmp_path / "store", address="tcp://127.0.0.1:1")
    with pytest.raises(ls.BadOption, match="for Ray"):
        small_scan(images, tmp_path / "store", engine="dask", gpus_per_worker=0.5)
    with pytest.raises(ls.BadOption, match=r"no Dask scheduler at tcp://127\.0\.0\.1:1"):
        small_scan(images, tmp_path / "store", engine="dask", address="tcp://127.0.0.1:1")
