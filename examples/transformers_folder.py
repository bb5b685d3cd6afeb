"""A model of Hugging Face transformers from a folder, with its image processor and its labels."""

import torch
from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

import layerscope as ls

torch.manual_seed(0)
sizes = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 96}
ViTForImageClassification(ViTConfig(**sizes, id2label={0: "cat", 1: "dog"})).save_pretrained("my_vit")
ViTImageProcessor().save_pretrained("my_vit")

scope = ls.open("hf:my_vit")
print(scope)
maps = scope.capture(ls.demo_photo(), "kind:AttentionMap")
ls.overlay(ls.attention_rollout(maps)).save("my_vit-rollout.png")
