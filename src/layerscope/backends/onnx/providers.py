"""Which execution provider of ONNX Runtime runs a model: by the device that was asked for, among those of this build."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import onnxruntime

from ...errors import DeviceWarning, caller_level
from ..common.device import Device

CPU = ("CPUExecutionProvider",)
PROVIDERS = {
    "cuda": ("CUDAExecutionProvider",),
    "tensorrt": ("TensorrtExecutionProvider",),
    "rocm": ("MIGraphXExecutionProvider", "ROCMExecutionProvider"),
    "dml": ("DmlExecutionProvider",),
    "coreml": ("CoreMLExecutionProvider",),
    "mps": ("CoreMLExecutionProvider",),
    "openvino": ("OpenVINOExecutionProvider",),
    "npu": ("QNNExecutionProvider", "VitisAIExecutionProvider"),
}
GPU = (*PROVIDERS["cuda"], *PROVIDERS["rocm"], *PROVIDERS["dml"], *PROVIDERS["coreml"])
NUMBERED = {*PROVIDERS["cuda"], *PROVIDERS["tensorrt"], *PROVIDERS["rocm"], *PROVIDERS["dml"]}  # take a `device_id`


class Execution(NamedTuple):
    """How sessions run: the threads inside an operator, `None` for the runtime's choice, and the providers in their order."""

    threads: int | None = None
    providers: Sequence[Any] = CPU


ON_CPU = Execution()


def providers_of(device: str) -> list[Any]:
    """The providers for a device, of which the first that has an operator runs it; the CPU alone where none is there.

    That is said with a `DeviceWarning`.

    >>> providers_of("cpu")
    ['CPUExecutionProvider']
    """
    asked = Device.of(device)
    available = onnxruntime.get_available_providers()
    names = GPU if asked.kind == "gpu" else PROVIDERS.get(asked.kind, ())
    chosen = next((name for name in names if name in available), None)
    if chosen is None:
        if asked.kind != "cpu":
            asked.warn_missing(f"ONNX Runtime {onnxruntime.__version__}", available)
        return list(CPU)
    return [(chosen, {"device_id": asked.number}) if asked.number and chosen in NUMBERED else chosen, *CPU]


def name_of(provider: Any) -> str:
    """A provider's name, with the number of its device."""
    return provider if isinstance(provider, str) else f"{provider[0]} {provider[1]['device_id']}"


def check_used(used: Sequence[str], providers: Sequence[Any]) -> None:
    """Say where ONNX Runtime has left out the provider that it was given: its libraries don't load, or its device is gone."""
    first = name_of(providers[0]).partition(" ")[0]
    if first not in used:
        warnings.warn(
            f"ONNX Runtime could not start {first}, so the model runs on the CPU: check its libraries and driver",
            DeviceWarning,
            stacklevel=caller_level(),
        )
