"""Attention on the command line: the rules take the attention maps by themselves."""

import json

import numpy as np
import pytest
from PIL import Image

import layerscope as ls
from helpers.wording import wording
from layerscope import cli

VIT = """
import torch
from torch import nn

class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.attn = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x):
        return x + self.attn(x, x, x, need_weights=False)[0]

class Vit(nn.Module):
    def __init__(self):
        super().__init__()
        self.patch, self.cls_token = nn.Conv2d(3, 8, 4, 4), nn.Parameter(torch.ones(1, 1, 8))
        self.blocks, self.head = nn.Sequential(Block(), Block()), nn.Linear(8, 4)

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1)
        return self.head(self.blocks(x)[:, 0])

def build():
    torch.manual_seed(0)
    return Vit().eval()
"""
OPTIONS = ("--size", "16x16", "--preprocess", "unit")


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    pytest.importorskip("torch", reason="a transformer")
    (tmp_path / "attending.py").write_text(VIT)
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        code = cli.main(["show", "attending:build", *map(str, arguments), *OPTIONS])
        out, err = capsys.readouterr()
        return code, out.split(), err

    yield run
    monkeypatch.delitem(__import__("sys").modules, "attending", raising=False)


def test_rollout_is_that_of_all_attention_maps(run, tmp_path):
    code, out, err = run(ls.demo_photo(), "--combine", "rollout", "--overlay", "-o", "a.png")
    assert (code, out) == (0, ["a.png"]), err
    scope = ls.open("attending:build", size=16, preprocess="unit")
    fm = ls.attention_rollout(scope.capture(ls.demo_photo(), "kind:AttentionMap"))
    with Image.open("a.png") as image:
        assert np.array_equal(np.asarray(image.convert("RGB")), ls.overlay(fm).rgb())
        wording(json.loads(image.text["layerscope"])["caption"])
    assert np.array_equal(ls.show(scope, ls.demo_photo(), combine="rollout", overlay=True).rgb(), ls.overlay(fm).rgb())


def test_attention_on_the_photo_is_the_mean_of_the_heads(run, tmp_path):
    code, out, err = run(
        ls.demo_photo(), "--combine", "attention:mean", "--overlay", "-l", "*.0.attn*_map", "-o", "out"
    )
    assert code == 0, err
    scope = ls.open("attending:build", size=16, preprocess="unit")
    (layer,) = scope.capture(ls.demo_photo(), "*.0.attn*_map")
    shown = ls.show(scope, ls.demo_photo(), layer, combine="attention:mean", overlay=True)
    heads = ls.attention(scope.capture(ls.demo_photo(), layer), "mean")
    assert np.array_equal(shown.rgb(), ls.overlay(ls.mean(heads)).rgb())
    with Image.open(out[0]) as image:
        assert np.array_equal(np.asarray(image.convert("RGB")), shown.rgb())
    wording([shown.title, *out])


def test_rollouts_of_several_photos_are_files_of_their_own(run, tmp_path):
    photo = Image.open(ls.demo_photo())
    for name in "abc":
        photo.save(f"{name}.png")
    code, out, _ = run("a.png", "b.png", "c.png", "--combine", "rollout", "-o", "out")
    assert code == 0
    assert [path.partition("-")[0] for path in out] == ["out/a", "out/b", "out/c"]
    wording(out)


@pytest.mark.parametrize("query", ["", ":cls", ":mean", ":1,2", ":5"])
def test_attention_is_drawn_for_each_head_of_each_layer(run, query):
    code, out, err = run(ls.demo_photo(), "--combine", f"attention{query}", "-o", "out")
    assert code == 0, err
    assert [path.endswith("-tokens.png") for path in out] == [False, True] * 2
    with Image.open(out[0]) as image:
        wording(image.text["Title"])


@pytest.mark.parametrize("rule", ["attention:clss", "attention:9,9", "attention:1,x", "rollout:cls"])
def test_a_token_that_is_not_there_is_named(run, rule):
    code, _, err = run(ls.demo_photo(), "--combine", rule, "-o", "out")
    assert code == 1
    wording(err.splitlines()[-1])


def test_a_model_without_attention_says_so(capsys, tmp_path):
    assert cli.main(["show", "demo", str(ls.demo_photo()), "--combine", "rollout", "-o", str(tmp_path / "a.png")]) == 1
    wording(capsys.readouterr().err.splitlines()[-1])
