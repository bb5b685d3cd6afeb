"""Images from generators, loaders and data sets: read once, without their labels."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

import layerscope as ls
from layerscope.inputs.images import load, stream
from layerscope.testing import TinyBackend, tiny_model

IMAGES = np.random.default_rng(0).integers(0, 255, (6, 8, 8, 3), dtype=np.uint8)
LABELS = np.arange(6)


class Indexed:
    """As `keras.utils.Sequence` and its iterators: numbers past the end begin anew."""

    def __init__(self, items):
        self.items, self.asked = items, []

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        self.asked.append(index)
        return self.items[index % len(self.items)]


class Endless(Indexed):
    """As a `DirectoryIterator`, which is an iterator too, that never stops."""

    def __iter__(self):
        return self

    def __next__(self):
        self.asked.append(len(self.asked))
        return self.items[len(self.asked) % len(self.items)]


class Loader:
    """As a loader of PyTorch: a length and an iterator, which gives lists."""

    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __iter__(self):
        return map(list, self.items)


BATCHES = [(IMAGES[:4], LABELS[:4]), (IMAGES[4:], LABELS[4:])]


@pytest.mark.parametrize(
    "images",
    [
        Indexed(BATCHES),
        Endless(BATCHES),
        Loader(BATCHES),
        Indexed([batch.astype(np.float32) for batch, _ in BATCHES]),
        Indexed([(batch, np.eye(6)[labels]) for batch, labels in BATCHES]),
        Indexed([(batch, labels, np.ones(len(labels))) for batch, labels in BATCHES]),
        Indexed([(batch, batch) for batch, _ in BATCHES]),
        Indexed(list(zip(IMAGES, LABELS, strict=True))),
        Indexed([(Image.fromarray(image), 3) for image in IMAGES]),
        Indexed([(image, image[..., 0]) for image in IMAGES]),
        Indexed([(image, image[..., :1]) for image in IMAGES]),
        Indexed([(Image.fromarray(image), Image.new("L", (8, 8))) for image in IMAGES]),
        Indexed([(Image.fromarray(image), "cat") for image in IMAGES]),
        Indexed([(image, "cat") for image in IMAGES]),
        Indexed([{"image": Image.fromarray(image), "label": 3} for image in IMAGES]),
        Indexed([({"image": image}, 3) for image in IMAGES]),
        Indexed([{"jpg": Image.fromarray(image), "cls": 3, "__key__": "a"} for image in IMAGES]),
        [(Image.fromarray(image), 3) for image in IMAGES],
        list(zip(IMAGES, LABELS, strict=True)),
        [{"image": Image.fromarray(image), "label": 3} for image in IMAGES],
        list(zip(IMAGES[::2], IMAGES[1::2], strict=True)),
        (batch for batch in BATCHES),
        (image for image in IMAGES),
        ([image] for image in IMAGES),
        (list(pair) for pair in zip(IMAGES[::2], IMAGES[1::2], strict=True)),
        map(tuple, BATCHES),
        {"a": IMAGES}.values(),
        iter([IMAGES]),
    ],
    ids=range(28),
)
def test_a_stream_gives_its_images_once(images):
    photos, skipped = load(images)
    assert not skipped
    assert np.array_equal(np.array([photo.pixels for photo in photos]), IMAGES)
    assert len({photo.id for photo in photos}) == 6


def test_a_loader_of_pytorch_gives_channels_first():
    torch = pytest.importorskip("torch")
    from torch.utils.data import DataLoader, TensorDataset

    data = TensorDataset(torch.from_numpy(IMAGES).permute(0, 3, 1, 2).float() / 255, torch.from_numpy(LABELS))
    masked = TensorDataset(data.tensors[0], torch.zeros(6, 1, 8, 8))
    for images in (data, DataLoader(data, batch_size=4), DataLoader(masked, batch_size=4), data.tensors[0], list(data)):
        photos, _ = load(images)
        assert np.array_equal(np.array([photo.pixels for photo in photos]), IMAGES)


def test_a_stream_is_not_read_ahead():
    images = Indexed(list(IMAGES))
    first = next(stream(images, 2))
    assert len(first) == 2
    assert images.asked == [0, 1]


def test_a_capture_stops_at_the_end():
    scope = ls.open(tiny_model(), backend=TinyBackend(), preprocess="unit", size=8)
    for images in (Endless(BATCHES), Indexed(BATCHES)):
        assert scope.capture(images, "conv1", batch=4)["conv1"].shape == (6, 8, 8, 4)


def test_a_list_holds_images_whatever_their_number():
    photos, _ = load([IMAGES[0], IMAGES[1, ..., 0]])
    assert [photo.mode for photo in photos] == ["RGB", "L"]


def test_an_unknown_thing_is_no_image():
    with pytest.raises(ls.ImageNotReadable):
        load({"image": IMAGES})
    with pytest.raises(ls.ImageNotReadable):
        load(7)


@pytest.mark.parametrize(
    "mask", [lambda image: image % 2, lambda image: image > 9, lambda image: (image % 21).astype(np.int64)]
)
@pytest.mark.parametrize("wrap", [list, iter, lambda pairs: [(*pair, 1.0) for pair in pairs]])
def test_a_mask_with_as_many_channels_as_its_image_is_no_photo(mask, wrap):
    image = np.arange(192, dtype=np.uint8).reshape(8, 8, 3)
    photos, _ = load(wrap([(image, mask(image))] * 2))
    assert [photo.pixels.max() for photo in photos] == [191, 191]
    pair, _ = load(wrap([(image, image[::-1])] * 2))
    assert len(pair) == 4
