"""torchvision: the weights bring the preprocessing and the class names."""

from torchvision.models import SqueezeNet1_1_Weights, squeezenet1_1

import layerscope as ls

weights = SqueezeNet1_1_Weights.DEFAULT
model = squeezenet1_1(weights=None).eval()  # weights=weights for trained ones, which torchvision downloads once
scope = ls.open(model, preprocess=weights)
print(scope)
fm = scope.capture(ls.demo_photo(), "features.0")["features.0"]
print(ls.sheet(fm).save("torchvision-features.0.png"))
