"""The devices that a user may name, and what is said where there is none of that kind."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ...errors import BadOption, DeviceWarning, caller_level, near
from ...surface import option

WORDS = ("cpu", "gpu", "cuda", "rocm", "xpu", "mps", "tpu", "npu", "meta", "tensorrt", "dml", "coreml", "openvino")


@dataclass(frozen=True)
class Device:
    """A device by its kind, and its number where several are there."""

    kind: str
    number: int | None = None

    @classmethod
    def of(cls, device: Any) -> Device:
        """What `"cuda"`, `"cuda:1"` or a `torch.device` names.

        >>> Device.of("cuda:1"), str(Device.of("cpu"))
        (Device(kind='cuda', number=1), 'cpu')

        Raises:
            BadOption: It names no device.
        """
        match = re.fullmatch(r"([a-z]+)(?::([0-9]+))?", str(device).lower())
        if match is None or match[1] not in WORDS:
            raise BadOption(
                f"{option('device', str(device))}: use {', '.join(WORDS)}, with a number where there are several, such as"
                f" cuda:1{near(str(device), WORDS)}"
            )
        return cls(match[1], None if match[2] is None else int(match[2]))

    def __str__(self) -> str:
        return self.kind if self.number is None else f"{self.kind}:{self.number}"

    def warn_missing(self, framework: str, there: Iterable[str]) -> None:
        """Say that the framework finds no such device here, so that it is the CPU."""
        warnings.warn(
            f"{option('device', str(self))}: {framework} finds none here (there is {', '.join(there) or 'cpu'}), so the model"
            " runs on the CPU",
            DeviceWarning,
            stacklevel=caller_level(),
        )
