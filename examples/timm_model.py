"""A timm model by name, with weights from a file and the preprocessing of its configuration."""

import timm
import torch

import layerscope as ls

torch.save(timm.create_model("resnet10t").state_dict(), "resnet10t.pth")
scope = ls.open("timm:resnet10t", weights="resnet10t.pth")
print(scope)
ls.sheet(scope.capture(ls.demo_photo(), "layer2")["layer2"]).save("resnet10t-layer2.png")
