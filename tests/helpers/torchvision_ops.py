"""Makes torchvision importable beside a torch that its compiled operators don't fit; timm needs it at import.

The wheel's C++ library was built for another build of torch, so `torchvision::nms` and its like are not registered, and
`import torchvision` stops where it describes them. Their signatures are declared here, without code behind them: models,
weights' metadata and transforms are Python and work; only boxes (`nms`, `roi_align`) can't be computed.
"""

import importlib.util

import torch

SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_declared = torch.library.Library("torchvision", "FRAGMENT")  # kept: the declarations end with it


def declare() -> None:
    """Before `import torchvision` or `import timm`; does nothing where the operators exist or torchvision is absent."""
    if importlib.util.find_spec("torchvision") is None:
        return
    for schema in SCHEMAS:
        name = schema.split("(")[0]
        if torch._C._dispatch_has_kernel(f"torchvision::{name}") or hasattr(torch.ops.torchvision, name):
            continue
        _declared.define(schema)


declare()
