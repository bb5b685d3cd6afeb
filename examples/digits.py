"""A whole data set: a small network learns handwritten digits, and stores tell what its channels have come to stand for.

Needs torch, scikit-learn and `layerscope[store]`, and takes about half a minute. The images, two stores and pictures lie in
`digits/` afterwards.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

import layerscope as ls

LAYERS = ["relu1", "relu2", "relu3"]
SIDE = 32


class DigitNet(nn.Sequential):
    """Three convolutions and a dense layer, which sees the largest value of each channel."""

    def __init__(self) -> None:
        super().__init__()
        for number, (given, made) in enumerate([(1, 8), (8, 16), (16, 32)], 1):
            self.add_module(f"conv{number}", nn.Conv2d(given, made, 5, padding=2))
            self.add_module(f"norm{number}", nn.BatchNorm2d(made))
            self.add_module(f"relu{number}", nn.ReLU())
            self.add_module(f"pool{number}", nn.MaxPool2d(2) if number < 3 else nn.AdaptiveMaxPool2d(1))
        self.add_module("flatten", nn.Flatten())
        self.add_module("dense", nn.Linear(32, 10))


def write_images(folder: Path, count: int | None = None) -> None:
    """The digits as PNG files, three quarters to learn from: `train/3/0013.png`, `test/3/0023.png` …"""
    data = load_digits()
    digits = data.target[:count]
    learned, _ = train_test_split(range(len(digits)), train_size=0.75, stratify=digits, random_state=0)
    split = dict.fromkeys(learned, "train")
    for number, (pixels, digit) in enumerate(zip(data.images, digits, strict=False)):
        below = folder / split.get(number, "test") / str(digit)
        below.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray((pixels * 255 / 16).astype("uint8"))
        image.resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(below / f"{number:04d}.png")


def read_images(folder: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """All images below a folder as the network takes them, and their digits."""
    files = sorted(folder.glob("*/*.png"))
    images = torch.from_numpy(np.stack([np.array(Image.open(file)) for file in files])[:, None]).float() / 255
    return images, torch.tensor([int(file.parent.name) for file in files])


def train(model: nn.Module, images: torch.Tensor, digits: torch.Tensor, epochs: int) -> None:
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    model.train()
    for _ in range(epochs):
        for batch in torch.randperm(len(images)).split(64):
            loss = nn.functional.cross_entropy(model(images[batch]), digits[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    model.eval()


@torch.no_grad()
def accuracy(model: nn.Module, images: torch.Tensor, digits: torch.Tensor) -> float:
    return (model(images).argmax(1) == digits).float().mean().item()


def pictures(before: ls.Store, after: ls.Store) -> Iterator[tuple[str, ls.Picture]]:
    """The channel that tells one digit best, in two ways and down to what leaves it cold; all digits in a plane."""
    channel = int(after.classes("relu3").sort("auc")["channel"][0])
    yield "top", after.top("relu3", channel)
    yield "contour", after.top("relu3", channel, view="contour")
    yield "samples", after.top("relu3", channel, samples=True)
    yield "scatter-before", before.scatter("relu3")
    yield "scatter-after", after.scatter("relu3")


def main(folder: Path, count: int | None = None, epochs: int = 10) -> float:
    """The accuracy on the digits that weren't learned from."""
    torch.manual_seed(0)
    write_images(folder / "images", count)
    model = DigitNet().eval()
    before = ls.scan(model, folder / "images", LAYERS, folder / "before", preprocess="unit", size=SIDE)
    train(model, *read_images(folder / "images" / "train"), epochs)
    after = ls.scan(model, folder / "images", LAYERS, folder / "after", preprocess="unit", size=SIDE)
    reached = accuracy(model, *read_images(folder / "images" / "test"))
    print(f"accuracy on test: {reached:.1%}\n")

    best = after.classes("relu3").sort("auc").take(6)
    print(after.stats("relu3").take(6), "\n")
    print(best, "\n")
    print(after.class_means("relu3").take(best["channel"]), "\n")
    print(after.similar_images("relu3", after.ids[-1], count=6), "\n")
    print(before.compare(after, "relu3").take(6), "\n")
    print(before.cka(after), "\n")
    for name, picture in pictures(before, after):
        print(picture.save(folder / f"{name}.png"))
    return reached


if __name__ == "__main__":
    main(Path("digits"))
