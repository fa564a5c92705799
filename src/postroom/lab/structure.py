"""The parts of a message as IMAP numbers and describes them: `BODY[1.2]`, `BODY[2.MIME]`, BODYSTRUCTURE.

Only for mail that the lab made or was given by its owner: the standard library reads it.
"""

import email
from email.message import Message
from email.utils import collapse_rfc2231_value

from postroom.lab.wire import quoted


def section(raw: bytes, name: str) -> bytes:
    """The bytes of `1`, `1.2`, `2.MIME`, `2.HEADER`, `2.TEXT`; nothing for a part that is not there."""
    path, what = _split(name)
    part: Message | None = email.message_from_bytes(raw)
    for number in path.split("."):
        part = _child(part, int(number)) if part is not None else None
    if part is None:
        return b""
    match what:
        case "":
            return _content(part)
        case "MIME":
            return _header(part)
        case "HEADER" | "TEXT" if part.get_content_type() == "message/rfc822":
            inner = _content(part)
            header, empty_line, body = inner.partition(b"\r\n\r\n")
            return header + empty_line if what == "HEADER" else body
    return b""


def _split(name: str) -> tuple[str, str]:
    """`1.2.MIME` -> `1.2`, `MIME`."""
    path, _, what = name.rpartition(".")
    return (path, what) if path and not what.isdigit() else (name, "")


def _child(part: Message, number: int) -> Message | None:
    """Part `number` below; what has no parts is its own first part."""
    payload = part.get_payload()
    if part.get_content_type() == "message/rfc822" and isinstance(payload, list):
        return _child(_children(part)[0], number)
    if isinstance(payload, list):
        return _children(part)[number - 1] if 0 < number <= len(payload) else None
    return part if number == 1 else None


def _children(part: Message) -> list[Message]:
    payload = part.get_payload()
    return [child for child in payload if isinstance(child, Message)] if isinstance(payload, list) else []


def _content(part: Message) -> bytes:
    payload = part.get_payload()
    if isinstance(payload, str) and payload.isascii():
        return payload.encode()
    if isinstance(payload, str):  # 8bit: only the decoded form is still the bytes that came
        decoded = part.get_payload(decode=True)
        return decoded if isinstance(decoded, bytes) else b""
    whole = part.as_bytes()
    return whole.partition(b"\n\n")[2].replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def _header(part: Message) -> bytes:
    fields = (f"{name}: {value}\r\n" for name, value in part.raw_items())
    return "".join(fields).encode("ascii", "surrogateescape") + b"\r\n"


def bodystructure(raw: bytes, *, extended: bool) -> bytes:
    """BODY (`extended` false) or BODYSTRUCTURE (RFC 3501, 7.4.2)."""
    return _described(email.message_from_bytes(raw), extended=extended)


def _described(part: Message, *, extended: bool) -> bytes:
    kind, subtype = part.get_content_maintype(), part.get_content_subtype()
    if part.is_multipart() and kind == "multipart":
        children = b"".join(_described(child, extended=extended) for child in _children(part))
        more = b" %s NIL NIL" % _parameters(part) if extended else b""
        return b"(%s %s%s)" % (children, _string(subtype), more)
    content = _content(part)
    encoding = str(part.get("Content-Transfer-Encoding", "7bit")).strip() or "7bit"
    content_id = part.get("Content-ID")
    fields = [
        _string(kind if kind != "message" else "application"),
        _string(subtype),
        _parameters(part),
        _string(str(content_id)) if content_id else b"NIL",
        b"NIL",
        _string(encoding),
        b"%d" % len(content),
    ]
    if kind == "text":
        fields.append(b"%d" % content.count(b"\n"))
    if extended:
        fields += [b"NIL", _disposition(part), b"NIL"]
    return b"(%s)" % b" ".join(fields)


def _parameters(part: Message, header: str = "Content-Type") -> bytes:
    found = part.get_params(failobj=[], header=header)[1:]
    pairs = [_string(name) + b" " + _string(collapse_rfc2231_value(value)) for name, value in found]
    return b"(%s)" % b" ".join(pairs) if pairs else b"NIL"


def _disposition(part: Message) -> bytes:
    kind = part.get_content_disposition()
    return b"(%s %s)" % (_string(kind), _parameters(part, "Content-Disposition")) if kind else b"NIL"


def _string(value: str) -> bytes:
    """As IMAP strings have it: in one line, 7-bit."""
    return quoted(" ".join(value.split()).encode("ascii", "replace").decode())
