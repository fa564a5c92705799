"""Modified UTF-7, the encoding of folder names in IMAP (RFC 3501, 5.1.3), and matching of LIST patterns."""

import re
from base64 import b64decode, b64encode
from collections.abc import Callable


def encode_name(name: str) -> str:
    """`Entwürfe & mehr` -> `Entw&APw-rfe &- mehr`."""

    def shifted(match: re.Match[str]) -> str:
        if match[0] == "&":
            return "&-"
        code = b64encode(match[0].encode("utf-16-be")).decode().rstrip("=").replace("/", ",")
        return f"&{code}-"

    return re.sub(r"&|[^\x20-\x7e]+", shifted, name)


def decode_name(name: str) -> str:
    """The reverse; what is not modified UTF-7 stays as it is."""

    def restored(match: re.Match[str]) -> str:
        code = match[1].replace(",", "/")
        try:
            return (
                b64decode(code + "=" * (-len(code) % 4), validate=True).decode("utf-16-be") if code else "&"
            )
        except ValueError:
            return match[0]

    return re.sub(r"&([^-]*)-", restored, name)


def matcher(pattern: str, level: str = "/") -> Callable[[str], bool]:
    """Whether names match: of LIST's wildcards `*` stands for anything, `%` stops where a level ends."""
    wild = {"*": ".*", "%": f"[^{re.escape(level)}]*"}
    expression = "".join(wild.get(character, re.escape(character)) for character in pattern)
    exact, any_case = (re.compile(expression, re.DOTALL | flag) for flag in (re.NOFLAG, re.IGNORECASE))
    return lambda name: (any_case if name == "INBOX" else exact).fullmatch(name) is not None
