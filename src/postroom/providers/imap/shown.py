"""What a server says, as people may be shown it."""

import unicodedata

LONGEST = 200  # characters


def shown(text: str) -> str:
    """A server's text for people: no control or direction characters, one line, not too long."""
    clean = "".join(" " if unicodedata.category(c) in {"Cc", "Zl", "Zp"} else c for c in text[: LONGEST * 4])
    clean = "".join(c for c in clean if unicodedata.category(c) not in {"Cf", "Cs", "Co"})
    clean = " ".join(clean.split())
    return clean if len(clean) <= LONGEST else clean[: LONGEST - 1] + "…"
