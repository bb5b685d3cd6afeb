"""`TinyBackend` by the name that other packages know; it lives in `layerscope.testing`."""

from .testing.tiny import *  # noqa: F403
