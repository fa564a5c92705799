"""HTML of strangers: clean enough to show, or reduced to its words."""

import re

from selectolax.lexbor import LexborHTMLParser


def to_text(html: str) -> str:
    """The words of `html`, with line breaks where a browser would break."""
    body = LexborHTMLParser(html).body
    return re.sub(r"[ \t\r\n]+", " ", body.text()).strip() if body else ""
