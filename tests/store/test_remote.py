"""Stores at URLs: an S3 endpoint on loopback with faults put in, and a file system of fsspec."""

import json
import pickle
import threading
import uuid

import pytest

import layerscope as ls
from helpers.object_store import BUCKET, Faults, faulty, s3_endpoint
from helpers.stores import contents, small_scan, write_images
from layerscope import BadOption
from layerscope.store import remote
from layerscope.store.bucket import Bucket
from layerscope.store.filesystem import FileSystem
from layerscope.store.storage import Folder, storage_of
from layerscope.store.store import open_store

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


@pytest.fixture(scope="module")
def endpoint():
    with s3_endpoint() as address:
        yield address


@pytest.fixture
def at(endpoint, monkeypatch):
    """Sets where `s3://` leads to."""

    def at(address):
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)

    for name, value in {
        "AWS_ACCESS_KEY_ID": "tests",
        "AWS_SECRET_ACCESS_KEY": "tests",
        "AWS_REGION": "us-east-1",
        "AWS_ALLOW_HTTP": "true",
        "NO_PROXY": "127.0.0.1",
    }.items():
        monkeypatch.setenv(name, value)
    at(endpoint)
    return at


def fresh_url():
    return f"s3://{BUCKET}/{uuid.uuid4().hex}"


@pytest.fixture(params=["s3", "memory"])
def place(request, at):
    url = fresh_url() if request.param == "s3" else f"memory://{uuid.uuid4().hex}"
    return storage_of(url)


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """Images, and the store of a scan of them in a folder."""
    folder = tmp_path_factory.mktemp("remote")
    images = write_images(folder / "images", 20, classes=("cat", "dog"))
    return images, small_scan(images, folder / "store", keep="maps")


def test_a_url_leads_to_the_library_that_knows_it(tmp_path):
    assert storage_of("s3://bucket/run/") == Bucket("s3://bucket/run")
    assert storage_of("memory://run") == FileSystem("memory://run")
    assert storage_of(f"file://{tmp_path}") == Folder(str(tmp_path))
    assert pickle.loads(pickle.dumps(storage_of("s3://bucket/run"))) == Bucket("s3://bucket/run")


def test_names_hold_bytes(place):
    place.put("units/000000.npz", b"0123456789")
    assert place.get("units/000000.npz") == b"0123456789"
    assert place.get_range("units/000000.npz", 3, 4) == b"3456"
    assert place.get_range("units/000000.npz", 3, 0) == b""
    assert place.put_new("units/000000.npz", b"other") is False
    assert place.put_new("store.json", b"{}") is True
    assert place.sizes() == {"store.json": 2, "units/000000.npz": 10}
    assert place.sizes("units") == {"units/000000.npz": 10}
    assert place.modified("store.json") > 1.7e9
    place.put("store.json", b"{ }")
    assert place.sizes()["store.json"] == 3
    place.delete("store.json")
    place.delete("store.json")
    assert list(place.sizes()) == ["units/000000.npz"]
    with pytest.raises(FileNotFoundError):
        place.get("store.json")


def test_one_scan_at_a_time_and_a_dead_ones_lock_is_taken_over(place, monkeypatch):
    monkeypatch.setattr(remote, "BEAT", 0.1)
    monkeypatch.setattr(remote, "STALE", 0.5)
    with place.locked(), pytest.raises(BadOption, match=r"another scan \(process \d+"), place.locked():
        pass
    assert place.sizes() == {}
    place.put("lock", json.dumps({"host": "gone", "pid": 1, "token": "x"}).encode())
    with place.locked():
        assert json.loads(place.get("lock"))["token"] != "x"
    assert place.sizes() == {}


def test_of_two_that_find_a_dead_lock_one_gets_it(at, monkeypatch):
    monkeypatch.setattr(remote, "BEAT", 0.1)
    monkeypatch.setattr(remote, "STALE", 0.5)
    url = fresh_url()
    storage_of(url).put("lock", b'{"host": "gone", "pid": 1, "token": "x"}')
    together, outcomes = threading.Barrier(2), []

    def scan():
        together.wait()
        try:
            with storage_of(url).locked():
                outcomes.append("held")
                threading.Event().wait(1.5)
        except BadOption:
            outcomes.append("refused")

    threads = [threading.Thread(target=scan) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["held", "refused"]


def test_a_scan_into_a_url_gives_the_store_of_a_folder(place, local):
    images, wanted = local
    store = small_scan(images, str(place), keep="maps")
    assert store.digest == wanted.digest
    held = {name: place.get(name) for name in place.sizes() if name not in ("lock", "provenance.json")}
    assert held == contents(wanted.storage.root)
    again = open_store(str(place))
    assert again.stats("conv1").to_csv() == wanted.stats("conv1").to_csv()
    assert (again.feature_map("conv2", 3).values == wanted.feature_map("conv2", 3).values).all()
    assert len(again.top("conv1", 1, k=4).cells) == 4
    assert again.maps("conv1").shape[0] == 20
    assert ls.check_store(str(place))
    place.put("units/000001.npz", place.get("units/000001.npz")[:-1])
    assert not ls.check_store(str(place))
    assert small_scan(images, str(place), keep="maps").digest == wanted.digest
    assert ls.check_store(str(place))


@pytest.mark.parametrize("faults", [{"fail": 5, "slow": 0.01}, {"fail": 7, "cut": 4}], ids=str)
def test_a_place_with_faults_gets_the_same_store(endpoint, at, local, faults):
    images, wanted = local
    faults = Faults(**faults)
    url = fresh_url()
    with faulty(endpoint, faults) as address:
        at(address)
        assert small_scan(images, url, keep="maps").digest == wanted.digest
    assert (faults.failed > 0) == bool(faults.fail)
    assert (faults.halved > 0) == bool(faults.cut)
    at(endpoint)
    assert ls.check_store(url)


def test_a_place_that_never_answers_is_named_and_the_scan_goes_on_later(endpoint, at, local, monkeypatch):
    images, wanted = local
    url, done = fresh_url(), []
    put = Bucket.put

    def failing(self, name, data):
        if name.startswith("receipts") and len(done) == 1:
            raise BadOption(f"can't write {self.url}/{name}: 403 Forbidden")
        if name.startswith("receipts"):
            done.append(name)
        put(self, name, data)

    monkeypatch.setattr(Bucket, "put", failing)
    with pytest.raises(BadOption, match="403"):
        small_scan(images, url, keep="maps")
    monkeypatch.undo()
    for name, value in {
        "AWS_ACCESS_KEY_ID": "tests",
        "AWS_SECRET_ACCESS_KEY": "tests",
        "AWS_REGION": "us-east-1",
        "AWS_ALLOW_HTTP": "true",
        "AWS_ENDPOINT_URL": endpoint,
    }.items():
        monkeypatch.setenv(name, value)
    assert sum(receipt is not None for receipt in open_store(url).receipts) == 1
    assert small_scan(images, url, keep="maps").digest == wanted.digest


def test_what_cant_be_reached_is_named(at):
    with pytest.raises(BadOption, match=r"s3://no-such-bucket/run/store\.json: .*404"):
        storage_of("s3://no-such-bucket/run").put("store.json", b"{}")
    with pytest.raises(BadOption, match="nonsense"):
        storage_of("nonsense://run").get("store.json")
    with pytest.raises(BadOption, match="no store here"):
        open_store(fresh_url())
