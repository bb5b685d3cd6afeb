"""A model exported with `torch.export`: its layers keep their modules' names, without the modules' code."""

import torch
from torch import nn

import layerscope as ls

torch.manual_seed(0)
model = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3)).eval()
torch.export.save(torch.export.export(model, (torch.zeros(1, 3, 224, 224),)), "model.pt2")

scope = ls.open("model.pt2", preprocess="imagenet")  # or the ExportedProgram itself
print(scope.layers())
fm = scope.capture(ls.demo_photo(), "1")["1"]
print(ls.sheet(fm).save("exported-relu.png"))
