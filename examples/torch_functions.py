"""PyTorch: an addition and a concatenation in a module's forward are layers, without a module of their own.

Run it with `python examples/torch_functions.py`; it writes `joined.png`.
"""

import torch
from torch import nn
from torch.nn import functional as F

import layerscope as ls


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fine = nn.Conv2d(3, 8, 3, padding=1)
        self.coarse = nn.Conv2d(3, 8, 5, padding=2)
        self.head = nn.Linear(16, 10)

    def forward(self, x):
        both = torch.cat([F.relu(self.fine(x)), F.relu(self.coarse(x))], dim=1)
        return self.head(both.mean((2, 3)))


torch.manual_seed(0)
scope = ls.open(Net(), preprocess="unit", size=224)
print(scope.layers())  # relu(), relu_1(), cat() and mean() beside fine, coarse and head
maps = scope.capture(ls.demo_photo(), ["relu_1()", "cat()"])
ls.sheet(maps["cat()"]).save("joined.png")
