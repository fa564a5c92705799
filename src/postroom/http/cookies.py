"""The cookie of a session, and that no other site makes a browser use it.

The cookie is HttpOnly and SameSite=Strict; over TLS it is Secure, and its name begins with `__Host-`, so
that nobody who owns another name or the plain HTTP of this host can put one there. What changes something
must also say that it comes from a page of ours: by Sec-Fetch-Site, which no page can forge, or, from browsers
that do not send that, by Origin.

A mark is another cookie, for a browser that another site will send back to us: that one shows no cookie
which is SameSite=Strict. It opens nothing, and says only that this is the browser which began.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Literal
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection
from starlette.responses import Response

from postroom.errors import Forbidden

PREFIX = "ps_"
"""How the text of a session begins."""
NAME = "postroom_session"
SAFE = {"GET", "HEAD", "OPTIONS"}


class CrossSite(Forbidden):
    code = "http.cross_site"


def shown(connection: HTTPConnection, *, is_secure: bool) -> str | None:
    """What the browser shows as a session."""
    return mark_shown(connection, NAME, PREFIX, is_secure=is_secure)


def check_same_origin(headers: Mapping[str, str]) -> None:
    """Raises `CrossSite` for what does not come from a page of ours."""
    if not is_same_origin(headers):
        raise CrossSite("A session in a cookie is for pages of this host; others send a key.")


def is_same_origin(headers: Mapping[str, str]) -> bool:
    """Whether it comes from a page of ours."""
    site = headers.get("sec-fetch-site")
    return is_own(headers.get("origin"), headers) if site is None else site == "same-origin"


def is_own(origin: str | None, headers: Mapping[str, str]) -> bool:
    """Whether an origin is this very host. The scheme is left out: who ends TLS may stand in front of us."""
    try:
        return bool(origin) and urlsplit(origin).netloc == headers.get("host")
    except ValueError:
        return False


def give(answer: Response, text: str, life: timedelta, *, is_secure: bool) -> None:
    """Let the browser show this from now on."""
    _set(answer, NAME, text, life, is_secure=is_secure)


def take(answer: Response, *, is_secure: bool) -> None:
    """Let the browser forget it."""
    _set(answer, NAME, "", timedelta(), is_secure=is_secure)


def mark(answer: Response, name: str, text: str, life: timedelta, *, is_secure: bool) -> None:
    """Let the browser show this mark, also where another site has sent it here."""
    _set(answer, name, text, life, is_secure=is_secure, same_site="lax")


def mark_shown(connection: HTTPConnection, name: str, prefix: str, *, is_secure: bool) -> str | None:
    """What the browser shows as that mark, and which begins as ours do."""
    found = connection.cookies.get(_named(name, is_secure=is_secure))
    return found if found is not None and found.startswith(prefix) else None


def _set(
    answer: Response,
    name: str,
    text: str,
    life: timedelta,
    *,
    is_secure: bool,
    same_site: Literal["strict", "lax"] = "strict",
) -> None:
    answer.set_cookie(
        _named(name, is_secure=is_secure),
        text,
        max_age=int(life.total_seconds()),
        path="/",
        secure=is_secure,
        httponly=True,
        samesite=same_site,
    )


def _named(name: str, *, is_secure: bool) -> str:
    return f"__Host-{name}" if is_secure else name
