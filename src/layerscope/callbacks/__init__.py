"""Pictures of chosen layers while a model trains: in your own loop, in Keras's `fit`, in Lightning's `Trainer`.

```python
model.fit(x, y, epochs=20, callbacks=[ls.callbacks.KerasCallback(x[:1], "conv2", folder="maps", preprocess=None)])
trainer = Trainer(callbacks=[ls.callbacks.LightningCallback(image, "net.conv2", folder="maps")])
```

Training isn't affected: weights, optimizer, gradients, random state and train/eval flags are what they would be
without.
"""

from __future__ import annotations

from .frameworks import KerasCallback, LightningCallback
from .recorder import Recorder

__all__ = ["KerasCallback", "LightningCallback", "Recorder"]
