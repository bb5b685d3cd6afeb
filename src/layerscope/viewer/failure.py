"""What a page is told of a request that failed."""

from __future__ import annotations

import logging

from ..errors import LayerscopeError, one_line

LOG = logging.getLogger("layerscope.viewer")


def failure(error: Exception, op: str) -> dict[str, str]:
    """The kind and the message of an error; what is nobody's mistake but ours goes into the log as well.

    >>> from layerscope.errors import BadOption
    >>> failure(BadOption("there is no layer 'l9' here"), "map")
    {'kind': 'BadOption', 'message': "there is no layer 'l9' here"}
    """
    if isinstance(error, LayerscopeError):
        return {"kind": type(error).__name__, "message": str(error)}
    LOG.error("the request %r failed", op, exc_info=error)
    return {"kind": "InternalError", "message": f"{type(error).__name__}: {one_line(error)}"}
