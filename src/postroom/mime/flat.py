"""The words of simple HTML without building a tree: most mail hides nothing and nests nothing crookedly.

A document is simple when each of its tags is known here and cleanly written, when nothing in it may be
hidden, and when its tables hold cells only. A tree would give the same words in the same order. The rest is
for a parser.
"""

import re
from html import unescape

LONGEST = 256 << 10  # characters
BREAK = "\f"  # white space to an HTML parser; here, a new line
TABLE, CELL = "\x02", "\x03"  # behind this only parts of a table may come; here comes one
OWN = "\x01\x02\x03"

SPACE = r" \n\r\t\f"
VALUE = rf"""(?:"[^"<>]*+"|'[^'<>]*+'|[^{SPACE}<>"'=]*+)"""  # no angles: what looks like a tag's end is one


def _raw(name: str) -> str:
    """An element whose content is no HTML, nor shown."""
    end = rf"/{name}[{SPACE}/>]"
    return rf"<{name}(?=[{SPACE}>])[^<>]*+>[^<]*+(?:<(?!{end})[^<]*+)*+(?:</{name}[^>]*+(?:>|\Z)|\Z)"


TOKEN = re.compile(
    r"<!--(?!-?>)[^-]*+(?:-(?!->|-!>)[^-]*+)*+(?:--!?>|\Z)"
    rf"|<[!?][^->][^>]*+(?:>|\Z)|{_raw('style')}|{_raw('title')}"
    rf"|<(/?[a-zA-Z][a-zA-Z0-9:]*+)((?:[{SPACE}/]++(?:[a-zA-Z:-]++(?:={VALUE})?+)?+)*+)>"
)
# Styles that may hide an element: the selectors for a tree decide. From the colon on they are found faster.
MAY_HIDE = re.compile(
    rb":(?=\s?(?:none|all|0))(?:(?<=display:)|(?<=mso-hide:)|(?<=font-size:)|(?<=max-height:)|(?<=opacity:))"
)
REFERENCE = re.compile(rb"&(?:#|colon)")  # could spell anything
# Of the characters by number, the plainest: of the others the standard library leaves some out.
UNUSUAL_NUMBER = re.compile(
    r"&#(?!(?:3[2-9]|[4-9]\d|1[01]\d|12[0-6]|1[6-9]\d|[2-9]\d\d|[1-9]\d{3});)", re.ASCII
)
STRAY = re.compile(f"{TABLE}[{SPACE}]*+[^{CELL}{SPACE}]")

BREAKING = "p div h1 h2 h3 h4 h5 h6 ul ol dl blockquote"  # before and after
STARTING = "br li dt dd hr section article header footer address center figure main nav aside"
INLINE = """
    html head body meta link base form label input
    a abbr b big cite code del em font i img ins q s small span strike strong sub sup tt u wbr o:p
"""
ROWS = "/tr tbody /tbody thead /thead tfoot /tfoot /th"
WRITTEN: dict[str | None, str] = {  # what stands in the text for each tag
    None: "",
    **dict.fromkeys(INLINE.split(), ""),
    **{f"/{name}": "" for name in f"{INLINE} {STARTING}".split()},
    **dict.fromkeys(f"{STARTING} {BREAKING}".split(), BREAK),
    **{f"/{name}": BREAK for name in BREAKING.split()},
    **dict.fromkeys(ROWS.split(), CELL + TABLE),
    "table": BREAK + TABLE,
    "/table": CELL + BREAK,
    "tr": BREAK + CELL + TABLE,
    "td": CELL,
    "th": CELL,
    "/td": " " + CELL + TABLE,
}


def words(html: str) -> str | None:
    """The text of `html` with BREAK where a line ends, white space as it came; None when it is not simple."""
    if len(html) > LONGEST or any(mark in html for mark in OWN):
        return None
    pieces = TOKEN.split(html)  # text, tag, attributes, text, ..., text
    tags = pieces[1::3]
    if not WRITTEN.keys() >= set(tags):
        tags = [tag and tag.lower() for tag in tags]
        if not WRITTEN.keys() >= set(tags):
            return None
    attributes = "".join(filter(None, pieces[2::3])).encode().lower()
    if b"hidden" in attributes or REFERENCE.search(attributes) or MAY_HIDE.search(attributes):
        return None
    texts = pieces[0::3]
    shown = "".join(texts)
    if "<" in shown or ("&#" in shown and UNUSUAL_NUMBER.search(shown)):
        return None
    if "&" in shown:
        texts = [unescape(text) if "&" in text else text for text in texts]
    del pieces[2::3]
    pieces[0::2] = texts
    pieces[1::2] = [WRITTEN[tag] for tag in tags]
    text = "".join(pieces)
    if STRAY.search(text):
        return None
    return text.replace(TABLE, "").replace(CELL, "")
