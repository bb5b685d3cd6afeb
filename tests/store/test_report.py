"""The report of a store: what it holds, how large it gets, that no name gets out of its place, and that it asks nobody."""

import io
import json
import re
import subprocess
from base64 import b64decode
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

import layerscope as ls
from helpers import browser
from helpers.stores import OPENING, small_store, write_images
from helpers.wording import raises, warns, wording
from layerscope import BadChannels, BadOption, LayerNotFound, LayerscopeWarning
from layerscope.cli import main
from layerscope.store.report.histogram import histogram, spread
from layerscope.store.table import Table
from layerscope.testing.tiny import Step, TinyModel
from layerscope.viewer import report as reports

HOSTILE = "<img src=x onerror=document.title=1>"
EMPTY = {"meta", "link", "img", "source", "path"}


class Elements(HTMLParser):
    """Every element with its attributes, and the text of each kind; fails where one isn't closed."""

    def __init__(self, text):
        super().__init__()
        self.found, self.open, self.texts = [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in EMPTY:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append((self.open[-1] if self.open else "", data))

    def all(self, tag):
        return [attributes for name, attributes in self.found if name == tag]

    def text(self, tag):
        return [data for name, data in self.texts if name == tag]


def read(path):
    return Elements(path.read_text("utf-8"))


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store of which one image couldn't be read."""
    folder = tmp_path_factory.mktemp("report")
    write_images(folder / "images", 24, classes=("cat", "dog"))
    (folder / "images" / "dog" / "broken.png").write_bytes(b"no image")
    return small_store(folder, 24, keep="maps", dtype="float32")


@pytest.fixture(scope="module")
def written(store, tmp_path_factory):
    path = tmp_path_factory.mktemp("written") / "r.html"
    assert ls.report(store, path=path) == path
    return read(path)


def test_each_layer_has_its_statistics_its_plane_and_its_channels(store, written):
    assert written.text("h2") == ["Images", "conv1", "conv2"]
    tables = [entry for entry in written.all("div") if entry.get("class") == "scroll"]
    assert [entry["aria-label"] for entry in tables] == [store.stats(layer).title for layer in store.layers]
    articles = [entry["id"] for entry in written.all("article")]
    alive = {layer: [row["channel"] for row in store.stats(layer) if not row["dead"]] for layer in store.layers}
    assert sorted(articles) == sorted(
        f"layer-{at}-channel-{channel}" for at, layer in enumerate(alive) for channel in alive[layer]
    )
    assert len(written.all("svg")) == len(articles)
    assert len(written.all("picture")) == 2


def test_channels_that_tell_classes_apart_come_first(store, written):
    table = store.classes("conv2")
    best = table.sort("auc")["channel"].tolist()
    shown = [entry["id"] for entry in written.all("article") if entry["id"].startswith("layer-1")]
    dead = set(np.flatnonzero(store.stats("conv2")["dead"] | store.stats("conv2")["constant"]).tolist())
    assert shown == [f"layer-1-channel-{channel}" for channel in best if channel not in dead]


def test_photos_have_words_and_are_those_of_the_store(store, written):
    images = written.all("img")
    assert all(image["alt"] for image in images)
    tally = store.tally("conv1")
    first = next(entry["id"] for entry in written.all("article"))
    channel = int(first.rpartition("-")[2])
    top = store.ids[tally.top_image[channel, 0]]
    (overlay, crop) = [image for image in images if image["alt"].startswith(f"{top}, ")][:2]
    assert overlay["alt"].split(", ")[1] == "with the map"
    for image in (overlay, crop):
        kind, _, data = image["src"].partition(",")
        assert kind == "data:image/webp;base64"
        with Image.open(io.BytesIO(b64decode(data))) as pixels:
            assert pixels.size == (int(image["width"]), int(image["height"]))


def test_it_names_the_images_that_were_skipped(written):
    assert written.text("summary")[0] == "1 image skipped"
    assert any(text.startswith("dog/broken.png: ") for text in written.text("li"))


def test_it_asks_nobody_and_runs_nothing(written):
    assert not written.all("script") + written.all("iframe") + written.all("object")
    for _, attributes in written.found:
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
        for name in ("src", "srcset"):
            assert attributes.get(name, "data:").startswith("data:")
        assert attributes.get("href", "#").startswith(("#", "data:,"))
    (policy,) = [entry["content"] for entry in written.all("meta") if "http-equiv" in entry]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "url(" not in "".join(written.text("style"))


def test_layers_and_channels_are_chosen(store, tmp_path):
    found = read(ls.report(store, None, "conv2", tmp_path / "r.html", channels=[3, 1]))
    assert found.text("h2")[1:] == ["conv2"]
    assert [entry["id"] for entry in found.all("article")] == ["layer-0-channel-3", "layer-0-channel-1"]
    path = tmp_path / "cli.html"
    assert main(["report", "--store", str(store.storage), "-l", "conv1", "--channels", "2", "-o", str(path)]) == 0
    assert [entry["id"] for entry in read(path).all("article")] == ["layer-0-channel-2"]


def test_what_cannot_be_is_refused(store, tmp_path, capsys):
    path = tmp_path / "r.html"
    with raises(BadChannels, "99"):
        ls.report(store, path=path, channels=[1, 99])
    with raises(BadChannels):
        ls.report(store, path=path, channels=[])
    with raises(BadOption):
        ls.report(store, path=path, channels="mean > 1")
    with raises(LayerNotFound, "conv3"):
        ls.report(store, layers="conv3", path=path)
    with raises(BadOption):
        ls.report(store, "cat.png", path=path)
    with raises(BadOption):
        ls.report("demo", path=path)
    with raises(BadOption):
        ls.report("demo", ls.demo_photo(), path=path, channels=[1])
    assert main(["report", "demo", "--channels", "1", "-o", str(path)]) == 1
    assert main(["report", "-o", str(path)]) == 1
    wording(capsys.readouterr().err)
    assert not path.exists()


def test_it_stays_below_its_size_and_says_what_is_left_out(store, tmp_path, monkeypatch):
    whole = ls.report(store, path=tmp_path / "whole.html").stat().st_size
    assert whole > 450_000
    monkeypatch.setattr(reports, "MOST", 400_000)
    with warns(LayerscopeWarning):
        path = ls.report(store, path=tmp_path / "less.html")
    assert path.stat().st_size <= 400_000
    found = read(path)
    assert 0 < len(found.all("article")) < len(read(tmp_path / "whole.html").all("article"))
    assert any("are shown" in text for text in found.text("p"))
    monkeypatch.setattr(reports, "MOST", 8_000)
    with raises(BadOption):
        ls.report(store, path=tmp_path / "none.html")


@pytest.mark.parametrize("keep", ["stats", "pooled"])
def test_a_store_without_labels_or_vectors_has_what_it_can(tmp_path, keep):
    store = small_store(tmp_path, 10, classes=("",), keep=keep)
    found = read(ls.report(str(store.storage), path=tmp_path / "r.html"))
    assert found.all("article")
    assert len(found.all("picture")) == (2 if keep == "pooled" else 0)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """The report of layers, classes and files whose names would be programs."""
    folder = tmp_path_factory.mktemp("hostile")
    name = HOSTILE.replace("/", "")
    images = write_images(folder / "images", 12, classes=(name, '"><b>'))
    for path in list(images.rglob("*.png")):
        path.rename(path.with_name(f"{name}{path.name}"))
    steps = [
        Step(HOSTILE, HOSTILE, "bchw", lambda x: x[:, :, ::2, ::2]),
        Step("fc", "Dense", "bc", lambda x: x.mean((2, 3))),
    ]
    store = ls.scan(TinyModel(steps), images, [HOSTILE, "fc"], folder / "store", **{**OPENING, "labels": [HOSTILE] * 3})
    return ls.report(store, path=folder / "r.html")


def test_no_name_gets_out_of_its_place(hostile):
    found = read(hostile)
    assert {tag for tag, _ in found.found} <= {
        "html", "head", "meta", "link", "title", "style", "body", "header", "h1", "h2", "h3", "h4", "p", "nav", "ul", "ol",
        "li", "a", "span", "main", "section", "details", "summary", "div", "table", "caption", "thead", "tbody", "tr", "th",
        "td", "figure", "figcaption", "picture", "source", "img", "article", "b", "svg", "path", "text",
    }  # fmt: skip
    assert HOSTILE in found.text("h2")
    assert not [entry for entry in found.all("img") if "onerror" in entry]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_browser_opens_it_without_a_word(hostile, theme, tmp_path):
    browser.check_installed()
    program = tmp_path / "open.mjs"
    program.write_text(PROGRAM)
    line = [browser.node(), str(program), str(browser.FRONTEND), browser.chromium(), hostile.as_uri(), theme]
    done = subprocess.run(line, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said == {"said": [], "asked": [hostile.as_uri()], "broken": 0, "wide": False, "paper": PAPERS[theme]}


PAPERS = {"light": "rgb(255, 255, 255)", "dark": "rgb(22, 24, 28)"}
PROGRAM = """
import { createRequire } from 'node:module'
const [folder, executablePath, url, colorScheme] = process.argv.slice(2)
const { chromium } = createRequire(folder + '/package.json')('playwright-core')
const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] })
const page = await browser.newPage({ viewport: { width: 1360, height: 800 }, colorScheme })
const said = [], asked = []
page.on('console', message => said.push(message.text()))
page.on('pageerror', error => said.push(error.message))
page.on('request', request => { if (!request.url().startsWith('data:')) asked.push(request.url()) })
await page.goto(url)
const seen = await page.evaluate(async () => {
  const images = [...document.images]
  for (const image of images) { image.loading = 'eager'; await image.decode().catch(() => {}) }
  return {
    broken: images.filter(image => !image.naturalWidth).length,
    wide: document.documentElement.scrollWidth > innerWidth,
    paper: getComputedStyle(document.body).backgroundColor,
  }
})
await browser.close()
console.log(JSON.stringify({ said, asked, ...seen }))
"""


def test_a_histogram_keeps_every_value():
    lows, highs = np.array([0.0, 0.5, 2.0]), np.array([0.0, 2.0, 4.0])
    counts = np.array([7.0, 3.0, 2.0])
    assert spread(lows, highs, counts, edges=np.linspace(0, 4, 65)).sum() == pytest.approx(12)


def test_a_histogram_of_one_number_has_one_bar_and_one_label():
    table = Table({"low": [2.0], "high": [2.0], "count": [5]})
    drawn = histogram(table, "x")
    assert drawn.count("M0 72") + drawn.count("<text") >= 2
    assert len(re.findall(">2<", drawn)) == 1


@pytest.mark.parametrize("ends", [(0.0, 6.0), (-2.0, 2.0), (0.1, 0.7), (1.0, 1.5), (0.0, 0.0003)])
def test_a_number_below_a_histogram_stands_there_once(ends):
    drawn = histogram(Table({"low": [ends[0]], "high": [ends[1]], "count": [5]}), "x")
    labels = re.findall(r">([^<>]+)</text>", drawn)
    assert len(labels) == len(set(labels)) >= 2
    places = re.findall(r'<text x="([^"]+)"', drawn)
    assert len(places) == len(set(places))
