"""Names of folders as names of files, and back.

Folder names are strangers' text. Each level becomes one file name in modified UTF-7 in which everything
but plain letters, digits and a few marks is encoded, the dot and the slash too: `..` becomes `&AC4ALg-`.
So no name leaves the folder it is written to, hides, or collides with a suffix, and `decode` gives it back.
"""

import binascii
import re
from hashlib import blake2b

from postroom.imap import names

PLAIN = re.compile(r"[A-Za-z0-9 _\[\]()+=,@'!#$-]+")
LONGEST = 180  # bytes; file systems allow 255, and Maildir++ joins levels


def levels(path: str, delimiter: str | None) -> list[str]:
    """The levels of a folder's path; never empty, no level is."""
    parts = path.split(delimiter) if delimiter else [path]
    return [part for part in parts if part] or ["unnamed"]


def encode(level: str) -> str:
    """A safe file name. What is too long is cut and ends in a digest, so that names stay apart."""
    out, at = [], 0
    for plain in PLAIN.finditer(level):
        out += [_shift(level[at : plain.start()]), plain[0]]
        at = plain.end()
    out.append(_shift(level[at:]))
    encoded = "".join(out)
    if len(encoded) <= LONGEST:
        return encoded
    digest = blake2b(encoded.encode(), digest_size=6).hexdigest()
    return f"{encoded[: LONGEST - 13]}~{digest}"


def decode(name: str) -> str:
    """What `encode` was given, unless it was cut; other programs' names as well as they can be read."""
    return names.decode(name.encode("utf-8", "surrogateescape"))


def _shift(run: str) -> str:
    if not run or run == "&":
        return run and "&-"
    encoded = binascii.b2a_base64(run.encode("utf-16-be", "replace"), newline=False)
    return "&" + encoded.rstrip(b"=").replace(b"/", b",").decode() + "-"
