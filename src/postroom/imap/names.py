"""Folder names: modified UTF-7 (RFC 3501, 5.1.3) and the text that people read.

A name's identity is the bytes that the server listed; send those back, never a decoded and encoded
copy. `decode` is for showing, `encode` for new folders.
"""

import binascii
import re

ENCODED = re.compile(rb"&([^-]*)-?")
PLAIN = re.compile(r"[\x20-\x7e]+|[^\x20-\x7e]+")


def decode(raw: bytes, *, utf8: bool = False) -> str:
    """The name as people read it. Never raises: what is not modified UTF-7 is shown as it stands.

    `utf8`: the session has enabled UTF8=ACCEPT (RFC 6855), so names are plain UTF-8.
    """
    if utf8 or not raw.isascii():
        return raw.decode("utf-8", "replace")
    try:
        return ENCODED.sub(lambda match: _shift_in(match[1]), raw).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError):
        return raw.decode("ascii")


def encode(name: str) -> bytes:
    """`name` as modified UTF-7.

    :raises ValueError: it holds a lone surrogate.
    """
    return b"".join(
        run.encode().replace(b"&", b"&-") if " " <= run[0] <= "~" else _shift_out(run)
        for run in PLAIN.findall(name)
    )


def _shift_in(encoded: bytes) -> bytes:
    if not encoded:
        return b"&"
    padded = encoded.replace(b",", b"/") + b"=" * (-len(encoded) % 4)
    return binascii.a2b_base64(padded, strict_mode=True).decode("utf-16-be").encode("utf-8")


def _shift_out(run: str) -> bytes:
    encoded = binascii.b2a_base64(run.encode("utf-16-be"), newline=False).rstrip(b"=")
    return b"&" + encoded.replace(b"/", b",") + b"-"
