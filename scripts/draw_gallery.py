"""Draw a page with every kind of picture, light and dark, at three sizes: `make pictures`, then open gallery/index.html."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from itertools import chain
from pathlib import Path

import numpy as np
from draw_guide import TARGET, Made, mirrored, network, of_channels

import layerscope as ls
from layerscope.cli import demo

OUT = Path(__file__).parents[1] / "gallery"
# What people see: a notebook cell or a slide, and a figure across a page of a paper.
SIZES = {"screen, 900 pixels": "max-width:900px", "paper, 180 mm": "width:180mm"}
PAGE = """<!doctype html><meta charset="utf-8"><title>Every kind of picture</title>
<style>body{font:15px system-ui;margin:24px}img{display:block}h2{margin:48px 0 8px}
details{margin:4px 0}.dark{background:#000;padding:8px}</style>"""


def main() -> None:
    """Write every picture and the page that shows them."""
    OUT.mkdir(exist_ok=True)
    page = [PAGE]
    for name, picture in chain.from_iterable(make() for make in MAKERS):
        print(name, picture)
        page.append(f"<h2>{escape(name)}: {picture.width} × {picture.height} pixels</h2>")
        for theme in ("light", "dark"):
            file = f"{name}-{theme}.png"
            picture.themed(theme).save(OUT / file)
            page.append(f'<div class={theme}><a href="{file}">{theme}, at full size</a></div>')
            page += [_seen(file, size, style, shown=theme == "light") for size, style in SIZES.items()]
    (OUT / "index.html").write_text("\n".join(page), "utf-8")


def _seen(file: str, size: str, style: str, *, shown: bool) -> str:
    return (
        f'<details {"open" * shown}><summary>{size}</summary><img loading=lazy src="{file}" style="{style}"></details>'
    )


def of_layers() -> Iterator[Made]:
    """Layers of the embedded model, from the first to the answer."""
    scope = ls.open("demo")
    maps = scope.capture(ls.demo_photo(), [demo.EARLY, demo.MIDDLE, "_conv_head", "Reshape", "output"])
    early, middle, head = maps[demo.EARLY], maps[demo.MIDDLE], maps["_conv_head"]
    yield "sheet", ls.sheet(early)
    yield "sheet-one-range", ls.sheet(early, scale="layer")
    yield "sheet-sorted", ls.sheet(middle, sort="energy", channels=range(64))
    yield "sheet-statistics", ls.sheet(middle, channels=range(24), statistics=True)
    yield "sheet-of-240", ls.sheet(middle)
    yield "sheet-of-1280", ls.sheet(head)
    yield "sheet-page", ls.sheet(head, per_page=96)
    yield "one-channel", ls.sheet(early, channels=[4])
    yield "clipped", ls.heatmap(ls.mean(early), clip=(1, 99))
    yield "logarithmic", ls.heatmap(ls.mean(early), norm="log")
    yield "sheet-symlog", ls.sheet(head, scale="layer", norm="symlog", channels=range(64))
    yield "contours", ls.overlay(ls.mean(middle), contours=3)
    yield "overlay-mean", ls.overlay(ls.mean(middle), on="photo")
    yield "beside", ls.beside(ls.class_cam(scope.capture(ls.demo_photo(), demo.LATE)[demo.LATE], TARGET))
    yield "kernels", ls.kernels(scope, "_conv_stem")
    yield "kernels-norm", ls.kernels(scope, "_blocks.0._depthwise_conv")
    yield "dense", ls.strip(maps["Reshape"])
    yield "answer", ls.bars(maps["output"])


def of_numbers() -> Iterator[Made]:
    """Arrays whose values are known, with all that can be special about them."""
    y, x = np.mgrid[-1:1:24j, -1:1:32j]
    values = np.stack([np.sin(k * x) * np.cos(y * (k + 1)) for k in range(12)], -1)[None].astype(np.float32)
    values[..., 2], values[..., 3] = 0, 0.5
    values[0, 4:8, 4:8, 4], values[0, 10, 10, 5], values[0, 12, 12, 6] = np.nan, np.inf, -np.inf
    yield "special-values", ls.sheet(values)
    yield "beyond-limits", ls.sheet(values, scale=(-0.5, 0.5))
    yield "dense-few", ls.bars(values[0, 3, 5], labels=[f"class {k}" for k in range(12)])
    waves = np.sin(np.outer(np.arange(400) / 20, np.arange(1, 13)))[None]
    yield "sequence", ls.strip(waves, layout="bnc", axis="seconds", step=0.01)
    volume = np.exp(-((np.mgrid[-1:1:12j, -1:1:32j, -1:1:32j] ** 2).sum(0)) * 4)[None, ..., None].astype(np.float32)
    yield "montage", ls.montage(volume, channel=0)
    yield "volume-sheet", ls.sheet(np.concatenate([volume, volume**2, -volume], -1))


def of_several() -> Iterator[Made]:
    """Layers and photos side by side."""
    photo = ls.demo_photo()
    maps = ls.open("demo").capture([photo, mirrored(photo)], ["_blocks.1", "_blocks.5._swish", "_blocks.10"])
    yield "compare", ls.compare(maps, photos=True)
    yield "compare-channels", ls.compare(maps["_blocks.10"], channels=[0, 17, 40])
    yield "compare-pca", ls.compare(maps, combine="pca")


def of_tokens() -> Iterator[Made]:
    """A vision transformer without training: its layout is as that of a trained one, and its values mean nothing."""
    import torch
    from torch import nn

    class Transformer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patches = nn.Conv2d(3, 96, 16, 16)
            self.cls_token = nn.Parameter(torch.randn(1, 1, 96))
            self.blocks = nn.Sequential(*(nn.TransformerEncoderLayer(96, 3, 192, batch_first=True) for _ in range(3)))

        def forward(self, photos: torch.Tensor) -> torch.Tensor:
            patches = self.patches(photos).flatten(2).transpose(1, 2)
            return self.blocks(torch.cat([self.cls_token.expand(len(photos), -1, -1), patches], 1))

    torch.manual_seed(0)
    scope = ls.open(Transformer(), preprocess="imagenet")
    maps = scope.capture(ls.demo_photo(), ["blocks.2", "kind:AttentionMap"])
    tokens, weights = maps["blocks.2"], maps["blocks.2.self_attn.attention_map"]
    yield "tokens", ls.sheet(tokens, channels=range(32))
    yield "class-token", ls.strip(tokens.prefix())
    yield "attention-matrices", ls.sheet(weights)
    yield "attention", ls.sheet(ls.attention(weights, "cls"))
    yield "rollout", ls.overlay(ls.attention_rollout(maps))


def of_signs() -> Iterator[Made]:
    """Evidence for and against a class."""
    maps = network().capture(ls.demo_photo(), "_blocks.10", target=TARGET)
    yield "signs", ls.overlay(ls.hires_cam(maps["_blocks.10"]))
    yield "signs-on-photo", ls.overlay(ls.hires_cam(maps["_blocks.10"]), on="photo")


MAKERS = (of_layers, of_numbers, of_several, of_channels, of_tokens, of_signs)

if __name__ == "__main__":
    main()
