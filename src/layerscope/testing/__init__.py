"""For tests: `TinyBackend`, a whole model in numpy, and `BackendTests`, the suite that every backend passes.

```python
class TestMine(BackendTests):
    def backend(self):
        return MyBackend()

    def build(self, parameters, fail=False):
        return ...  # the network drawn below, with these weights

    def state(self, model):
        return ...  # bytes that change when anything of the model does

    paths = {"conv1": "conv1", "act": "act", "conv2": "conv2", "head": "head"}
```

The network of the suite, on images of 8 × 8 with 3 channels:

    conv1 3→4, 3×3, padding 1 ─ act ─ conv2 4→5, 3×3, stride 2, no padding ─ act ─ mean over the pixels ─ head 5→6
          [4, 8, 8]           :0 (ReLU, one layer, called twice)  [5, 3, 3]  :1                           [6]
"""

from __future__ import annotations

from ..backends.protocol import Captured
from .capturing import CaptureTests
from .facts import EvidenceTests, FactsTests
from .gradients import GradientTests
from .leaving import LeavingTests
from .scores import ScoreTests
from .table import TableTests
from .tiny import Step, TinyBackend, TinyModel, convolution, tiny_model, tiny_parameters
from .verbs import VerbTests
from .weights import HeadTests, KernelTests

__all__ = [
    "BackendTests",
    "Captured",
    "Step",
    "TinyBackend",
    "TinyModel",
    "convolution",
    "tiny_model",
    "tiny_parameters",
]


class BackendTests(
    VerbTests,
    TableTests,
    CaptureTests,
    LeavingTests,
    GradientTests,
    FactsTests,
    EvidenceTests,
    ScoreTests,
    KernelTests,
    HeadTests,
):
    """The behaviour that every backend owes the core; subclass it in a pytest module, and say how to build the network.

    What a subclass gives is written at `Network`: `backend()`, `build()`, `state()`, `paths`, and where needed `ran()`,
    `normed()`, `axes`, `shared`, `can_fail`, `tolerance`. A child of `Backend` marks a verb that it doesn't offer with
    `not_offered(reason)`; a class that only has the verbs may lack optional ones, which are printed. The suite runs without
    pytest's help, so other test runners take it as well.

    >>> class Suite(BackendTests):
    ...     def backend(self):
    ...         return TinyBackend()
    ...
    ...     def build(self, parameters, fail=False):
    ...         return tiny_model(parameters, fail)
    >>> Suite().test_values_are_those_of_the_network()
    """
