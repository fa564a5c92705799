"""A page with one thing to read, and at most one thing to do, for people whom a link has led here.

It needs nothing from anywhere, and its policy lets it have nothing: the one style is known by its hash.
"""

import base64
import re
from hashlib import sha256
from html import escape

from fastapi import Request
from fastapi.responses import HTMLResponse

from postroom.errors import PostroomError
from postroom.http import problems

STYLE = """
:root { color-scheme: light dark; font: 100%/1.5 system-ui, sans-serif; }
body { max-width: 32rem; margin: 15vh auto 2rem; padding: 0 1.5rem; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; line-height: 1.25; }
button { font: inherit; padding: .5rem 1.25rem; cursor: pointer; }
"""
PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
<main>
<h1>{title}</h1>
<p>{text}</p>
{more}</main>
"""
BUTTON = '<form method="post"><button autofocus>{}</button></form>\n'
SMALL = "<p><small>{}</small></p>\n"
CODE = re.compile("`([^`]+)`")
POLICY = (
    f"default-src 'none'; style-src 'sha256-{base64.b64encode(sha256(STYLE.encode()).digest()).decode()}';"
    " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


def page(
    title: str, text: str, status: int = 200, *, button: str | None = None, small: str | None = None
) -> HTMLResponse:
    """`button`: what is written on one that posts to this page's own address."""
    more = BUTTON.format(escape(button)) if button else ""
    if small:
        more += SMALL.format(escape(small))
    words = CODE.sub(r"<code>\1</code>", escape(text))
    html = PAGE.format(title=escape(title), text=words, style=STYLE, more=more)
    headers = {"Content-Security-Policy": POLICY}
    if button:
        headers["Referrer-Policy"] = (
            "same-origin"  # with `no-referrer` browsers do not tell the form's origin
        )
    return HTMLResponse(html, status, headers)


def refused(title: str, error: PostroomError, request: Request) -> HTMLResponse:
    """Why something did not work, in the words and with the headers of the problem that programs get."""
    request_id = problems.request_id(request.scope)
    told, problem = problems.told(error, request_id), problems.of(error, request_id)
    named = " ".join(filter(None, [told["code"], told.get("request_id")]))
    answer = page(title, told["detail"], problem.status_code, small=named)
    for name in {"retry-after", "www-authenticate"} & set(problem.headers):
        answer.headers[name] = problem.headers[name]
    return answer
