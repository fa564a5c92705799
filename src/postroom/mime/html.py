"""HTML of strangers: clean enough to show, or reduced to its words."""

import re
from collections.abc import Callable
from dataclasses import dataclass

import nh3
from selectolax.lexbor import LexborHTMLParser

from postroom.mime import flat
from postroom.mime.bounds import MOST, attributes_of, bounded, is_harmless
from postroom.mime.flat import BREAK

FORMATTING = """
    a abbr acronym address article aside b bdi bdo big blockquote br caption center cite code col
    colgroup dd del dfn dir div dl dt em figcaption figure font footer h1 h2 h3 h4 h5 h6 header hr i
    img ins kbd li main mark nav ol p pre q s samp section small span strike strong sub sup table
    tbody td tfoot th thead time tr tt u ul var wbr
"""
TAGS = set(FORMATTING.split())
LAYOUT = {"align", "valign", "width", "height", "bgcolor", "dir", "lang", "style", "title"}
ATTRIBUTES = {
    "*": LAYOUT | {"background"},  # which is only counted
    "a": {"href"},
    "img": {"src", "alt", "border", "hspace", "vspace"},
    "table": {"border", "cellpadding", "cellspacing", "summary"},
    "td": {"colspan", "rowspan", "nowrap"},
    "th": {"colspan", "rowspan", "nowrap", "scope"},
    "col": {"span"},
    "colgroup": {"span"},
    "font": {"color", "face", "size"},
    "ol": {"start", "type", "reversed"},
    "ul": {"type"},
    "li": {"value", "type"},
    "time": {"datetime"},
}
IMAGES = {"src", "background"}
LOADING = {
    "body": ("background", "style"),
    "html": ("background", "style"),
    "image": ("src", "srcset"),
    "img": ("srcset",),
    "input": ("src",),
    "video": ("poster",),
}
"""Where else images are loaded from. These tags, or attributes, are left out, and no filter sees them."""
OPAQUE = {
    "script",
    "style",
    "title",
    "textarea",
    "iframe",
    "noembed",
    "noframes",
    "xmp",
    "template",
    "svg",
    "math",
}

PASSES = 4

# Nothing in here can place an element over the page, load anything, or read anything.
PROPERTIES = re.compile(
    r"(?:(?:background-)?color|font(?:-(?:family|size|style|variant|weight))?|text-(?:align|decoration|indent|transform)"
    r"|line-height|letter-spacing|word-(?:break|spacing|wrap)|overflow-wrap|white-space|vertical-align|direction"
    r"|(?:margin|padding)(?:-(?:top|right|bottom|left))?|border(?:-(?:top|right|bottom|left))?(?:-(?:color|style|width))?"
    r"|border-(?:collapse|spacing|radius)|(?:min-|max-)?(?:width|height)|table-layout|list-style-type|display|float|clear)\Z"
)
VALUE = re.compile(r"""(?:(?:rgba?|hsla?)\([\d\s.,%/]{1,40}\)|[\w\s#%.,!+'"/-])*+\Z""")
LINK = re.compile(r"(?:https?://|mailto:|tel:)", re.IGNORECASE)
INLINE_IMAGE = re.compile(r"(?:cid:|data:image/(?:png|gif|jpe?g|webp|bmp);base64,)", re.IGNORECASE)
REMOTE_IMAGE = re.compile(r"https?://", re.IGNORECASE)
REMOTE_IN_STYLE = re.compile(r"""url\(\s*+["']?+\s*+(?:https?:)?//""", re.IGNORECASE)
# Browsers ignore these inside a URL's scheme.
IGNORED = re.compile(r"[\x00-\x20\x7f-\xa0\u2028\u2029\ufeff]+")


PRE_AND_LINE_END = re.compile(r"(<pre(?: [^<>]*)?>)\n")


@dataclass(frozen=True, slots=True)
class Sanitised:
    """HTML that can be shown in a sandboxed frame, and how many remote images it would have loaded."""

    html: str
    blocked_images: int


def sanitise(html: str, *, remote_images: bool = False) -> Sanitised:
    """Only what formats text is left: no script, handler, form, frame, style sheet or remote resource.

    Images inside the mail keep their `cid:` address; whoever shows the mail replaces it. Remote images lose
    their address and are counted, unless `remote_images`; those in the background (`background`, `url()` in a
    style) are always taken out and counted. Doing it twice changes nothing.
    """
    blocked = 0

    def allow(tag: str, attribute: str, value: str) -> str | None:
        nonlocal blocked
        if attribute == "style":
            blocked += len(REMOTE_IN_STYLE.findall(value))
            return style(value) or None
        if attribute == "href":
            return value if LINK.match(IGNORED.sub("", value[:200])) else None
        if attribute not in IMAGES:
            return value
        address = IGNORED.sub("", value[:200])
        wanted = INLINE_IMAGE.match(address) or (remote_images and REMOTE_IMAGE.match(address))
        if wanted and attribute == "src":
            return value
        blocked += _loads(address) and (attribute == "background" or tag == "img")
        return None

    def look(tag: str, attributes: str) -> None:
        nonlocal blocked
        blocked += _left_out(tag, attributes)

    clean = _clean(html, allow, look)
    found = blocked
    for _ in range(PASSES):  # a parser may move things about (out of tables); then once more
        html, clean = clean, _clean(clean, allow)
        if clean == html:
            break
    return Sanitised(clean, found)


def _left_out(tag: str, written: str) -> int:
    """How many images a tag with these attributes would load from where no filter looks."""
    names = LOADING.get(tag, ())
    if not any(name in written.lower() for name in names):
        return 0
    attributes = attributes_of(written)
    if tag == "img" and _loads(attributes.get("src", "")):
        return 0  # one image, which is counted already
    in_style = len(REMOTE_IN_STYLE.findall(attributes.get("style", ""))) if "style" in names else 0
    return in_style + any(_loads(attributes.get(name, "")) for name in names if name != "style")


def _loads(address: str) -> bool:
    """Whether an image is loaded from there that does not lie in the mail."""
    address = IGNORED.sub("", address[:200])
    return bool(address) and not address.startswith("#") and not INLINE_IMAGE.match(address)


def _clean(
    html: str,
    allow: Callable[[str, str, str], str | None],
    look: Callable[[str, str], None] | None = None,
) -> str:
    clean = nh3.clean(
        bounded(html, look),
        tags=TAGS,
        attributes=ATTRIBUTES,
        attribute_filter=allow,
        clean_content_tags=OPAQUE,
        url_schemes={"http", "https", "mailto", "tel", "cid", "data"},
        link_rel="noopener noreferrer",
        strip_comments=True,
    )
    # Parsers skip a line end right behind <pre>; where one is meant, two must be written.
    return PRE_AND_LINE_END.sub(r"\1\n\n", clean)


def style(value: str) -> str:
    """The declarations of a style attribute that only format; without escapes, functions or comments."""
    kept = []
    for declaration in value[:4_000].split(";"):
        name, _colon, setting = declaration.partition(":")
        name, setting = name.strip().lower(), setting.strip()
        if setting and PROPERTIES.match(name) and VALUE.match(setting):
            kept.append(f"{name}: {setting}")
    return "; ".join(kept)


BLOCKS = (
    r"<(?=(?:p|div|br|tr|li|h[1-6]|table|[uod]l|d[td]|blockquote|pre|hr|section|article|header|footer|address"
    r"|center|caption|figure|main|nav|aside|/p|/div|/table|/h[1-6]|/[uod]l|/blockquote|/pre)[\s/>])"
)
BLOCK = re.compile(BLOCKS)
BLOCK_IN_ANY_CASE = re.compile(BLOCKS, re.IGNORECASE)  # five times slower, and seldom needed
UPPER_CASE_TAG = re.compile(r"<[A-Z]")
PREFORMATTED = re.compile(r"<(/?)pre[\s>]", re.IGNORECASE)
# How mail hides words: preheaders, and instructions for machines that no person should notice.
NOTHING = re.compile(r":\s?0[;p%]")


def _selectors(*signs: str) -> str:
    return ", ".join(f'[style*="{sign}" i], [style*="{sign.replace(":", ": ")}" i]' for sign in signs)


NOT_DISPLAYED = _selectors("display:none")
NOT_VISIBLE = _selectors("visibility:hidden", "mso-hide:all") + ", [hidden]"
OF_NO_SIZE = _selectors(
    *(
        f"{name}:{size}"
        for name in ("font-size", "max-height", "opacity")
        for size in ("0;", "0px", "0pt", "0%")
    )
)
NEVER_TEXT = "script, style, noscript, template, title, textarea, select, object"
SPACES = re.compile("  ++")
PARAGRAPH = re.compile(f"{BREAK * 3}+")


def to_text(html: str) -> str:
    """The words of `html` that a reader sees, with line breaks where a browser would break."""
    html = html[:MOST]
    simple = flat.words(html)
    return tidy(parsed(html) if simple is None else simple)


def parsed(html: str) -> str:
    """The text of the tree that a browser makes of `html`, without what is hidden."""
    if not is_harmless(html):
        html = bounded(html)
    if PREFORMATTED.search(html):
        html = _keep_lines(html)
    block = BLOCK_IN_ANY_CASE if UPPER_CASE_TAG.search(html) else BLOCK
    html = (BREAK + "<").join(block.split(html)).replace("</td>", " </td>").replace("</TD>", " </TD>")
    tree = LexborHTMLParser(html)
    _remove_hidden(tree, html)
    body = tree.body
    return body.text() if body else ""


def _remove_hidden(tree: LexborHTMLParser, html: str) -> None:
    """Take out what no reader sees; `html` tells what to look for."""
    selectors = [NEVER_TEXT]
    if "none" in html or "NONE" in html:
        selectors.append(NOT_DISPLAYED)
    if "hid" in html or "HID" in html:
        selectors.append(NOT_VISIBLE)
    if NOTHING.search(html):
        selectors.append(OF_NO_SIZE)
    # Through `:is` each is found once, in document order. From the last to the first, because an outer one
    # takes its inner ones along, and touching a node that is gone would crash the process.
    for node in reversed(tree.css(f":is({', '.join(selectors)})")):
        if node.tag not in ("html", "body"):
            node.decompose()


def tidy(text: str) -> str:
    """Runs of white space are one space, one or two breaks a new line, more of them an empty line."""
    for white in "\n\r\t\xa0\x01":
        text = text.replace(white, " ")
    text = SPACES.sub(" ", text)
    text = BREAK.join([line.strip(" ") for line in text.split(BREAK)])
    return PARAGRAPH.sub("\n\n", text).replace(BREAK * 2, "\n").replace(BREAK, "\n").strip()


def _keep_lines(html: str) -> str:
    """Line ends inside <pre> as breaks, which survive when white space is collapsed."""
    out: list[str] = []
    inside = False
    at = 0
    for found in PREFORMATTED.finditer(html):
        piece = html[at : found.start()]
        out.append(piece.replace("\n", BREAK) if inside else piece)
        at, inside = found.start(), not found[1]
    out.append(html[at:])
    return "".join(out)
