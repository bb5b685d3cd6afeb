"""Where a network sees a class: class activation maps, signed, on the photo.

The model here is small and untrained, so the maps mean nothing; use your own instead.
"""

import torch
from torch import nn

import layerscope as ls

torch.manual_seed(0)
model = nn.Sequential(
    nn.Conv2d(3, 16, 3, stride=2, padding=1),
    nn.ReLU(),
    nn.Conv2d(16, 32, 3, stride=2, padding=1),
    nn.ReLU(),
    nn.AdaptiveAvgPool2d(1),
    nn.Flatten(),
    nn.Linear(32, 4),
).eval()

scope = ls.open(model, preprocess="imagenet", size=112, labels=["ant", "bee", "cat", "dog"])
fm = scope.capture(ls.demo_photo(), "3", target="cat")["3"]
for method in (ls.grad_cam, ls.hires_cam, ls.class_cam, ls.score_cam):
    cam = method(fm)
    print(ls.overlay(cam).save(f"{method.__name__}.png"), cam.notes)

# Averaged over noisy and mirrored inputs, with contour lines at three levels.
print(ls.overlay(ls.grad_cam(fm, smooth=8, flip=True), contours=3).save("grad_cam-smooth.png"))
