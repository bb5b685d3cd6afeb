"""A vision transformer: its patch tokens on their grid, the class token separately, and what it attends to."""

import timm
import torch

import layerscope as ls

torch.manual_seed(0)
model = timm.create_model("vit_tiny_patch16_224", depth=3)
maps = ls.open(model).capture(ls.demo_photo(), ["blocks.2", "kind:AttentionMap"])
tokens, weights = maps["blocks.2"], maps["blocks.2.attn.attention_map"]
ls.sheet(tokens, channels=range(16)).save("tokens.png")
ls.strip(tokens.prefix()).save("class-token.png")
ls.sheet(weights).save("attention.png")
ls.sheet(ls.attention(weights, "cls")).save("class-token-looks.png")
ls.overlay(ls.attention_rollout(maps)).save("rollout.png")  # of the layers that hold attention weights
