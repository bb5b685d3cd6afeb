"""Any `nn.Module`: the layers, one of them as a sheet, several in one pass."""

from torch import nn

import layerscope as ls

model = nn.Sequential(
    nn.Conv2d(3, 16, 3, padding=1),
    nn.ReLU(inplace=True),
    nn.MaxPool2d(2),
    nn.Conv2d(16, 32, 3, padding=1),
    nn.ReLU(inplace=True),
)
scope = ls.open(model, preprocess="imagenet")
print(scope.layers())
maps = scope.capture(ls.demo_photo(), "kind:Conv2d")
for path, fm in maps.items():
    print(ls.sheet(fm).save(f"torch-{path}.png"))
