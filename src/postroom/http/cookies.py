"""The cookie of a session, and that no other site makes a browser use it.

The cookie is HttpOnly and SameSite=Strict; over TLS it is Secure, and its name begins with `__Host-`, so
that nobody who owns another name or the plain HTTP of this host can put one there. What changes something
must also say that it comes from a page of ours: by Sec-Fetch-Site, which no page can forge, or, from browsers
that do not send that, by Origin.
"""

from collections.abc import Mapping
from datetime import timedelta
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection
from starlette.responses import Response

from postroom.errors import Forbidden

PREFIX = "ps_"
"""How the text of a session begins."""
NAME = "postroom_session"
SECURE_NAME = f"__Host-{NAME}"
SAFE = {"GET", "HEAD", "OPTIONS"}


class CrossSite(Forbidden):
    code = "http.cross_site"


def shown(connection: HTTPConnection, *, is_secure: bool) -> str | None:
    """What the browser shows as a session."""
    found = connection.cookies.get(SECURE_NAME if is_secure else NAME)
    return found if found is not None and found.startswith(PREFIX) else None


def check_same_origin(headers: Mapping[str, str]) -> None:
    """Raises `CrossSite` for what does not come from a page of ours."""
    site = headers.get("sec-fetch-site")
    if not (is_own(headers.get("origin"), headers) if site is None else site == "same-origin"):
        raise CrossSite("A session in a cookie is for pages of this host; others send a key.")


def is_own(origin: str | None, headers: Mapping[str, str]) -> bool:
    """Whether an origin is this very host. The scheme is left out: who ends TLS may stand in front of us."""
    try:
        return bool(origin) and urlsplit(origin).netloc == headers.get("host")
    except ValueError:
        return False


def give(answer: Response, text: str, life: timedelta, *, is_secure: bool) -> None:
    """Let the browser show this from now on."""
    _set(answer, text, int(life.total_seconds()), is_secure=is_secure)


def take(answer: Response, *, is_secure: bool) -> None:
    """Let the browser forget it."""
    _set(answer, "", 0, is_secure=is_secure)


def _set(answer: Response, text: str, seconds: int, *, is_secure: bool) -> None:
    answer.set_cookie(
        SECURE_NAME if is_secure else NAME,
        text,
        max_age=seconds,
        path="/",
        secure=is_secure,
        httponly=True,
        samesite="strict",
    )
