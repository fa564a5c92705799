"""Read the IMAP servers out of Mozilla's format `config-v1.1.xml`. Pure.

The document is a stranger's: it is bounded, it may declare nothing (no DTD, and so no entities that grow, or
that name files), and a server in it counts only where the connection is encrypted.

https://www.bucksch.org/1/projects/thunderbird/autoconfiguration/config-file-format.html
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

LARGEST = 64 << 10  # bytes
MOST = 8  # servers
DECLARES = re.compile(r"<!(?!--)")
HOST = re.compile(r"(?=.{1,253}\Z)(?:(?!-)[a-z0-9_-]{1,63}\.)+(?=[a-z])[a-z0-9-]{2,63}\Z")
USERNAME = re.compile(r"[^\x00-\x1f\x7f]{1,254}\Z")
SECURITY = {"SSL": "tls", "STARTTLS": "starttls"}  # what is `plain` is nothing for us
PASSWORDS = {"password-cleartext", "password-encrypted", "plain", "secure"}  # two of them in old documents


class BadConfig(ValueError):
    """Not a document of this format, or one that is not read."""


def servers(raw: bytes, address: str, domain: str) -> list[tuple[Mapping[str, Any], bool]]:
    """Settings of each IMAP server in its order, and whether it takes a password. Raises `BadConfig`.

    `domain` is that of the address, in ASCII.
    """
    local = address.rpartition("@")[0]
    places = {"%EMAILADDRESS%": address, "%EMAILLOCALPART%": local, "%EMAILDOMAIN%": domain}
    found = []
    for server in _incoming(_root(raw)):
        if (settings := _settings(server, places, address)) is not None:
            ways = {_text(way) for way in server.iterfind("authentication")}
            found.append((settings, not ways or not ways.isdisjoint(PASSWORDS)))
    return found[:MOST]


def _root(raw: bytes) -> Element:
    if len(raw) > LARGEST:
        raise BadConfig("it is too large")
    try:
        text = raw.decode("utf-8-sig")
        if DECLARES.search(text):
            raise BadConfig("it declares something")
        return ElementTree.fromstring(text)
    except (UnicodeDecodeError, ElementTree.ParseError, ValueError) as error:
        raise BadConfig("it is no XML in UTF-8") from error


def _incoming(root: Element) -> Iterator[Element]:
    for provider in root.iterfind("emailProvider"):
        for server in provider.iterfind("incomingServer"):
            if server.get("type") == "imap":
                yield server


def _settings(server: Element, places: Mapping[str, str], address: str) -> Mapping[str, Any] | None:
    host = _filled(_text(server.find("hostname")), places).lower().rstrip(".")
    port, security = _text(server.find("port")), SECURITY.get(_text(server.find("socketType")))
    username = _filled(_text(server.find("username")), places) or address
    if not (HOST.match(host) and security and USERNAME.match(username)):
        return None
    if not re.fullmatch(r"[0-9]{1,5}", port) or not 0 < int(port) < 65536:
        return None
    named = {} if username == address else {"username": username}
    return {"host": host, "port": int(port), "security": security, **named}


def _filled(text: str, places: Mapping[str, str]) -> str:
    """Each placeholder once: what stands for one is not looked through for others."""
    return re.sub("|".join(places), lambda found: places[found[0]], text)


def _text(element: Element | None) -> str:
    return (element.text or "").strip() if element is not None else ""
