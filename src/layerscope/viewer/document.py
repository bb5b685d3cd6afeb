"""The HTML of page and report: style, data and program in one file, and a policy that lets nothing else in.

Whatever a model, a file or a label is called, it is text in here: as an entity in HTML, as an escape in JSON.
"""

from __future__ import annotations

import base64
import hashlib
import html
import re
from dataclasses import dataclass
from importlib import resources

from ..safe_text import printable

ROOT = "layerscope"
DATA = "layerscope-data"


@dataclass(frozen=True)
class Document:
    """A page that is one file.

    >>> page = Document("a<b", "run()", "")
    >>> "<title>a&lt;b</title>" in page.html(), "<script>run()</script>" in page.html()
    (True, True)

    Attributes:
        title: What the window is called.
        program: The only script that runs in it.
        style: Its only style sheet.
    """

    title: str
    program: str
    style: str

    @classmethod
    def of(cls, title: str, program: str) -> Document:
        """With a program of the front end as it was built: `page` or `report`."""
        static = resources.files("layerscope.viewer").joinpath("static")
        files = (f"{program}.js", "style.css")
        return cls(title, *(static.joinpath(name).read_text("utf-8") for name in files))

    def policy(self, connect: str = "'none'") -> str:
        """The content security policy under which this program and this style work, and nothing else; what it may ask.

        >>> Document("", "", "").policy().split("; ")[3]
        "connect-src 'none'"
        """
        rules = {
            "default-src": "'none'",
            "script-src": _digest(self.program),
            "style-src": _digest(self.style),
            "connect-src": connect,
            "img-src": "blob: data:",
            "base-uri": "'none'",
            "form-action": "'none'",
        }
        return "; ".join(f"{name} {value}" for name, value in rules.items())

    def html(self, data: str = "", *, with_policy: bool = False) -> str:
        """The whole text; with JSON that the program reads, and with its policy where no server sends that."""
        policy = f'<meta http-equiv="Content-Security-Policy" content="{self.policy()}">\n' if with_policy else ""
        script = f'<script type="application/json" id="{DATA}">{_in_html(data)}</script>\n' if data else ""
        return (
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            f"{policy}"
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            '<link rel="icon" href="data:,">\n'
            f"<title>{html.escape(printable(self.title))}</title>\n<style>{self.style}</style>\n</head>\n<body>\n"
            f'<div id="{ROOT}"></div>\n{script}<script>{self.program}</script>\n</body>\n</html>\n'
        )


def _in_html(json: str) -> str:
    """JSON that holds the same, and can't end the element that it stands in."""
    return re.sub("[<>&]", lambda sign: f"\\u{ord(sign[0]):04x}", json)


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
