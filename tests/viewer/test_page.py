"""`ls.view`: the page of a real model, as a program and a notebook use it."""

import asyncio
import gc
import http.client
import io
import json
import resource
import webbrowser
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from PIL import Image

import layerscope as ls
from helpers.wording import raises, warns
from layerscope.testing import TinyBackend, tiny_model
from layerscope.viewer.frames import pack_frame, unpack_frame
from layerscope.viewer.payload import unpack


@pytest.fixture(scope="module")
def scope():
    return ls.open(tiny_model(), backend=TinyBackend(), preprocess="unit", size=8)


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)).save(path)
    return path


@pytest.fixture
def viewer(scope, photo):
    with ls.view(scope, photo, browser=False) as opened:
        yield opened


class Client:
    """What the page of a viewer does."""

    def __init__(self, viewer):
        address = urlsplit(viewer.url)
        self.port, (self.token,) = address.port, parse_qs(address.query)["token"]
        self.count = 0

    def ask(self, op, buffers=(), **params):
        """(message, buffers) of the reply."""
        self.count += 1
        body = pack_frame({"id": f"test-{self.count}", "op": op, "params": params}, buffers)
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        headers = {"content-type": "application/octet-stream", "x-layerscope-token": self.token}
        connection.request("POST", "/api", body, headers)
        response = connection.getresponse()
        data = response.read()
        connection.close()
        assert response.status == 200, data
        return unpack_frame(data)


def test_the_values_of_a_layer_arrive(viewer, scope, photo):
    client = Client(viewer)
    manifest = client.ask("manifest")[0]["result"]
    layer = next(each for each in manifest["layers"] if each["path"] == "conv1")
    message, (data,) = client.ask("map", input="i0", layer=layer["id"])
    assert message["ok"]
    _, tensors = unpack(data)
    values = scope.capture(photo, "conv1")["conv1"].values[0]
    assert np.allclose(tensors["values"].astype(np.float32), np.moveaxis(values, -1, 0), rtol=2e-3, atol=1e-3)


def test_an_image_is_added_and_shown(viewer):
    client = Client(viewer)
    file = io.BytesIO()
    Image.new("RGB", (12, 9), "teal").save(file, "PNG")
    added = client.ask("add", [file.getvalue()], name="../../<b>teal.png")[0]["result"]
    assert (added["width"], added["height"]) == (12, 9)
    assert "/" not in added["name"]
    assert client.ask("photo", input=added["id"])[0]["ok"]


def bomb():
    """A PNG of 60,000 × 60,000 pixels in a few kilobytes."""
    file = io.BytesIO()
    Image.new("1", (60_000, 60_000)).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", "ImageNotReadable"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "ImageNotReadable"),
        (b"%PDF-1.4", "ImageNotReadable"),
    ],
)
def test_what_is_no_image_is_an_answer(viewer, data, kind):
    message, _ = Client(viewer).ask("add", [data], name="x.png")
    assert message["error"]["kind"] == kind


def test_a_pixel_bomb_is_refused_before_it_is_decoded(viewer):
    data = bomb()
    assert len(data) < 1_000_000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    message, _ = Client(viewer).ask("add", [data], name="bomb.png")
    assert message["error"]["kind"] == "ImageTooLarge"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB: decoded it has 450 MB


def test_paths_are_no_ids(viewer):
    client = Client(viewer)
    for name in ("/etc/passwd", "../photo.png", "photo.png", "file:///etc/passwd", "i9", "", "i0/../i0"):
        assert client.ask("photo", input=name)[0]["error"]["kind"] == "BadOption"
        assert client.ask("map", input="i0", layer=name)[0]["error"]["kind"] == "BadOption"


def test_memory_stays_flat_over_200_switches_of_layers(scope, photo, monkeypatch):
    monkeypatch.setattr("layerscope.viewer.session.ROOM", 1 << 16)
    with ls.view(scope, photo, browser=False) as viewer:
        client = Client(viewer)
        layers = [layer["id"] for layer in client.ask("manifest")[0]["result"]["layers"] if layer["kind_of"] != "none"]

        def switch(count):
            for number in range(count):
                assert client.ask("map", input="i0", layer=layers[number % len(layers)])[0]["ok"]
            gc.collect()
            return len(gc.get_objects())

        first = switch(50)
        assert switch(200) - first < 500


def test_it_works_beside_the_loop_of_a_notebook(scope, photo):
    async def cell():
        with ls.view(scope, photo, browser=False) as viewer:
            return await asyncio.to_thread(Client(viewer).ask, "manifest")

    assert asyncio.run(cell())[0]["ok"]


def test_two_views_at_once_and_one_model(scope, photo):
    with ls.view(scope, photo, browser=False) as one, ls.view(scope, photo, "conv1", browser=False) as other:
        assert one.port != other.port
        assert len(Client(one).ask("manifest")[0]["result"]["layers"]) > 1
        assert len(Client(other).ask("manifest")[0]["result"]["layers"]) == 1
    assert repr(one) == "<Viewer closed>"


def test_the_browser_is_opened_where_there_is_one(scope, photo, monkeypatch):
    opened = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    for name in ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    with ls.view(scope, photo):
        assert not opened, "one of the terminal would take it"
    monkeypatch.setenv("DISPLAY", ":0")
    with ls.view(scope, photo) as viewer:
        assert opened == [viewer.url]
    with ls.view(scope, photo, browser=False):
        assert len(opened) == 1


def test_a_notebook_shows_a_link(viewer):
    assert viewer.url in viewer._repr_html_()
    assert viewer.url in repr(viewer)
    viewer.close()
    viewer.close()
    viewer.wait()
    assert viewer.url not in viewer._repr_html_()


def test_an_open_address_is_warned_of(scope, photo):
    with warns(ls.LayerscopeWarning, "0.0.0.0"), ls.view(scope, photo, host="0.0.0.0", browser=False) as viewer:
        assert Client(viewer).ask("manifest")[0]["ok"]
        assert viewer.url.startswith(f"http://127.0.0.1:{viewer.port}/")


@pytest.mark.parametrize(
    "options", [{"host": ""}, {"port": -1}, {"port": 65536}, {"port": "8000"}, {"browser": "no"}, {"hots": "x"}]
)
def test_wrong_options_are_named(scope, photo, options):
    with raises(ls.BadOption):
        ls.view(scope, photo, **options)


def test_a_port_that_is_chosen_is_taken_and_freed(scope, photo, viewer):
    port = viewer.port
    with pytest.raises(ls.BadOption, match=str(port)):
        ls.view(scope, photo, port=port, browser=False)
    viewer.close()
    with ls.view(scope, photo, port=port, browser=False) as again:
        assert again.port == port
        assert json.dumps(Client(again).ask("manifest")[0]["result"])
