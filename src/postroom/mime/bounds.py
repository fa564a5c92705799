"""Bring HTML into a shape that no parser can choke on: one linear pass, before any parser sees it.

HTML parsers take quadratic time on deep nesting and on long attribute lists (seconds per megabyte). Here
every element is closed in order, none lies deeper than DEPTH, none has more than ATTRIBUTES; comments,
declarations and what is never text (scripts, styles) are gone. What remains means the same to a reader.
"""

import re
from collections.abc import Callable
from html import unescape

MOST = 1_000_000  # characters
DEPTH = 100
ATTRIBUTES = 60
LONG_TAG = 600  # characters; shorter ones cannot hold enough attributes to matter
SMALL = 16 << 10  # a document of this size cannot hurt, whatever is in it
FEW_TAGS = 3_000

# One attribute, as the HTML standard's tokenizer sees it (13.2.5.32 and following).
ATTRIBUTE = r"""[\s/]*+[^\s/>][^\s/>=]*+(?:\s*+=\s*+(?:"[^"]*+"|'[^']*+'|[^\s>"'][^\s>]*+)?+)?+"""
ONE_ATTRIBUTE = re.compile(ATTRIBUTE)
START = re.compile(rf"<([a-zA-Z][^\s/>]*+)((?:{ATTRIBUTE})*+)[\s/]*+>")
ANY_TAG = re.compile(rf"<[a-zA-Z][^\s/>]*+(?:{ATTRIBUTE})*+[\s/]*+(?:>|\Z)")
LONE_ANGLE = re.compile(r"<(?![a-zA-Z/!?])")
END = re.compile(r"</([a-zA-Z][^\s/>]*+)[^>]*+>")

VOID = frozenset(
    ["area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "wbr"]
)
# Left out with all that is in them: a parser does not read their content as HTML, and a person not at all.
OPAQUE = frozenset(
    ["script", "style", "iframe", "noembed", "noframes", "plaintext", "textarea", "title", "xmp", "template"]
)
OPAQUE_END = {name: re.compile(rf"</{name}(?=[\s/>])[^>]*+>", re.IGNORECASE) for name in OPAQUE}
# Left out, but not their content. Foreign content and forms follow rules of their own.
TAGS_LEFT_OUT = """
    svg math noscript html head body form frameset frame base meta link object embed applet select
    option optgroup button image input isindex
"""
SKIPPED = frozenset(TAGS_LEFT_OUT.split())
CELLS = frozenset(["td", "th", "p"])
CLOSES = {
    "p": frozenset(["p"]),
    "li": frozenset(["li", "p"]),
    "dt": frozenset(["dt", "dd", "p"]),
    "dd": frozenset(["dt", "dd", "p"]),
    "td": CELLS,
    "th": CELLS,
    "tr": CELLS | {"tr"},
    "tbody": CELLS | {"tr", "tbody", "thead"},
}


def is_harmless(html: str) -> bool:
    """Whether a parser can be given `html` as it is: true of nearly all mail, and found out quickly."""
    if len(html) <= SMALL:
        return True
    if len(html) > MOST or html.count("<") > FEW_TAGS:
        return False
    tags = ANY_TAG.findall(html)
    if not tags or max(map(len, tags)) <= LONG_TAG:
        return True
    return all(len(ONE_ATTRIBUTE.findall(tag)) <= ATTRIBUTES for tag in tags if len(tag) > LONG_TAG)


def bounded(html: str, look: Callable[[str, str], None] | None = None) -> str:
    """`html` with all bounds kept. `look` is shown the name and the attributes of each start tag."""
    html = LONE_ANGLE.sub("&lt;", html[:MOST])
    tree = _Tree(look)
    copied = 0
    at = html.find("<")
    while at >= 0:
        tree.out.append(html[copied:at])
        copied = _construct(html, at, tree)
        if copied < 0:  # never closed: the rest is inside a tag or a comment
            break
        at = html.find("<", copied)
    else:
        tree.out.append(html[copied:])
    tree.close(0)
    return "".join(tree.out)


def _construct(html: str, at: int, tree: "_Tree") -> int:
    """Take in what begins with the `<` at `at`; the offset behind it, or -1 when it has no end."""
    following = html[at + 1 : at + 2]
    if following in ("!", "?"):
        return _declaration_end(html, at)
    if following == "/":
        end = END.match(html, at)
        if end is not None:
            tree.end(end[1].lower())
            return end.end()
        closed = html.find(">", at)
        return closed + 1 if closed >= 0 else -1
    start = START.match(html, at)
    if start is None:
        return -1
    name = start[1].lower()
    if name in OPAQUE:
        end = OPAQUE_END[name].search(html, start.end())
        return end.end() if end else -1
    if tree.look is not None:
        tree.look(name, start[2])
    if name not in SKIPPED:
        tree.start(name, start[2])
    return start.end()


def attributes_of(tag: str) -> dict[str, str]:
    """The attributes of a tag as it writes them; of several with one name the first, as parsers do."""
    found: dict[str, str] = {}
    for attribute in ONE_ATTRIBUTE.findall(tag):
        name, _equals, value = attribute.partition("=")
        found.setdefault(name.strip("/ \t\n\r\f").lower(), unescape(value.strip().strip("\"'")))
    return found


def _declaration_end(html: str, at: int) -> int:
    if not html.startswith("<!--", at):
        closed = html.find(">", at)
        return closed + 1 if closed >= 0 else -1
    for empty in ("<!-->", "<!--->"):
        if html.startswith(empty, at):
            return at + len(empty)
    closed = html.find("-->", at + 4)
    return closed + 3 if closed >= 0 else -1


class _Tree:
    """Writes tags so that all are closed in order."""

    def __init__(self, look: Callable[[str, str], None] | None) -> None:
        self.look = look
        self.out: list[str] = []
        self._stack: list[str] = []
        self._open: dict[str, int] = {}

    def start(self, name: str, attributes: str) -> None:
        closes = CLOSES.get(name)
        while closes and self._stack and self._stack[-1] in closes:
            self.close(len(self._stack) - 1)
        if name == "a":
            self.end("a")
        if len(attributes) > LONG_TAG:
            found = ONE_ATTRIBUTE.findall(attributes)
            if len(found) > ATTRIBUTES:
                attributes = " ".join(found[:ATTRIBUTES])
        attributes = attributes.rstrip("/").replace("<", "&lt;")
        if name in VOID:
            self.out.append(f"<{name}{attributes}>")
        elif len(self._stack) < DEPTH:
            self.out.append(f"<{name}{attributes}>")
            self._stack.append(name)
            self._open[name] = self._open.get(name, 0) + 1

    def end(self, name: str) -> None:
        if not self._open.get(name):
            if name == "br":
                self.out.append("<br>")
            return
        level = len(self._stack) - 1
        while self._stack[level] != name:
            level -= 1
        self.close(level)

    def close(self, level: int) -> None:
        while len(self._stack) > level:
            name = self._stack.pop()
            self._open[name] -= 1
            self.out.append(f"</{name}>")
