"""/v1/accounts/oauth: mailboxes that are connected by a consent which somebody gives in a browser."""

from datetime import timedelta

import structlog
from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from postroom.accounts.answers import ConsentOut
from postroom.accounts.asked import ConsentIn
from postroom.accounts.consent import CALLBACK, BadState
from postroom.accounts.routes import PATIENCE, AtDesk, patience
from postroom.accounts.signing_in import LIFE, Asked
from postroom.errors import PostroomError
from postroom.http import cookies
from postroom.http.deps import AdminOfAll, AtDoor
from postroom.http.limits import allow
from postroom.http.page import page, refused
from postroom.people.keys import new_text

router = APIRouter(prefix="/v1/accounts/oauth", tags=["accounts"])

MARK = "postroom_consent"
"""The cookie of a browser in which somebody has begun."""
MARK_PREFIX = "pb_"
logger = structlog.get_logger()


@router.post("/auth-url", status_code=201)
async def ask_for_consent(
    caller: AdminOfAll, door: AtDoor, desk: AtDesk, wanted: ConsentIn, request: Request, response: Response
) -> ConsentOut:
    """Where to send somebody who is to consent, at their provider, that their mailbox is connected.

    Begun by a person on a page of this host, it ends in the same browser and no other.
    """
    browser = None
    if caller.person is not None and cookies.is_same_origin(request.headers):
        is_secure = door.is_secure(request)
        browser = cookies.mark_shown(request, MARK, MARK_PREFIX, is_secure=is_secure) or new_text(MARK_PREFIX)
        cookies.mark(response, MARK, browser, LIFE, is_secure=is_secure)
    asked = Asked(
        wanted.client, wanted.wish(wanted.address or ""), wanted.account, wanted.return_to, wanted.state
    )
    begun = await desk.consents.begin(caller, asked, browser)
    return ConsentOut(url=begun.url, expires_at=begun.expires_at)


@router.get(f"{CALLBACK.removeprefix(router.prefix)}/{{client}}", include_in_schema=False)
async def come_back(door: AtDoor, desk: AtDesk, request: Request, client: str) -> Response:
    """Where a provider sends the browser. A person sees the answer, or is sent on."""
    allow(request, timedelta(seconds=PATIENCE))  # what is cut off in the middle has to be begun anew
    shown = cookies.mark_shown(request, MARK, MARK_PREFIX, is_secure=door.is_secure(request))
    try:
        arrived = await desk.consents.arrive(client, request.query_params.multi_items(), shown)
    except PostroomError as error:
        return _refused(error, request, None)
    try:
        async with patience():
            account = await desk.consents.finish(arrived)
    except PostroomError as error:
        return _refused(error, request, arrived.onward(error=error.code))
    onward = arrived.onward(account=str(account.public_id))
    if onward is not None:
        return RedirectResponse(onward, status_code=303)
    return page("The mailbox is connected", f"{account.address} is being copied. You can close this page.")


def _refused(error: PostroomError, request: Request, onward: str | None) -> Response:
    logger.info("accounts.consent_refused", code=error.code)
    if onward is not None:
        return RedirectResponse(onward, status_code=303)
    # A page that is loaded again says nothing of the mailbox: it may be connected.
    title = "This consent is over" if isinstance(error, BadState) else "The mailbox was not connected"
    return refused(title, error, request)
