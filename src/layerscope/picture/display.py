"""Where a picture is shown: by the notebook that runs, else by the system's viewer."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import threading
import warnings
from base64 import b64encode
from typing import TYPE_CHECKING, Any

from ..errors import LayerscopeWarning, caller_level

if TYPE_CHECKING:
    from .picture import Picture

WIDEST = 900  # pixels of CSS: what a cell of a notebook has room for


def mime_bundle(picture: Picture) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a notebook stores of a picture: its PNG, once, and the size and the alternative text to show it with."""
    width = min(picture.width, WIDEST)
    size = {"width": width, "height": max(1, round(picture.height * width / picture.width)), "alt": picture.alt()}
    data = {"image/png": b64encode(picture.png()).decode(), "text/plain": repr(picture)}
    return data, {"image/png": size}


def show(picture: Picture) -> None:
    """Display the picture in the notebook, else open it as a file; where nothing can, a warning says where the file is."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if hasattr(shell, "kernel"):  # a terminal has none
        sys.modules["IPython"].display.display(picture)
        return
    number, path = tempfile.mkstemp(prefix="layerscope-", suffix=".png")
    with open(number, "wb") as file:
        file.write(picture.png())
    if not _opened(path):
        warnings.warn(
            LayerscopeWarning(f"no viewer can be opened here: the picture is in {path}"), stacklevel=caller_level()
        )


def _opened(path: str) -> bool:
    """Whether the system's viewer was started on a file."""
    if sys.platform == "win32":
        try:
            os.startfile(path)
        except OSError:
            return False
        return True
    mac = sys.platform == "darwin"
    command = shutil.which("open" if mac else "xdg-open")
    if command is None or not (mac or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return False
    nothing = subprocess.DEVNULL
    viewer = subprocess.Popen([command, path], stdin=nothing, stdout=nothing, stderr=nothing, start_new_session=True)
    threading.Thread(target=viewer.wait, daemon=True).start()
    return True
