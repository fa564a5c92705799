"""Modified UTF-7, the encoding of folder names in IMAP (RFC 3501, 5.1.3), and matching of LIST patterns."""

import re
from base64 import b64decode, b64encode


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


def matches(pattern: str, name: str) -> bool:
    """LIST's wildcards: `*` matches anything, `%` stops at a level's end."""
    wild = {"*": ".*", "%": "[^/]*"}
    expression = "".join(wild.get(character, re.escape(character)) for character in pattern)
    return re.fullmatch(expression, name, re.DOTALL | (re.IGNORECASE if name == "INBOX" else 0)) is not None
