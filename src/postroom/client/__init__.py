"""A client of the HTTP API, typed, to be awaited or not. It needs httpx2, and nothing of the server.

    from postroom.client import Client

    with Client("http://127.0.0.1:8025", key="pr_...") as postroom:
        for message in postroom.list_messages.each(read=False):
            print(message.received_at, message.sender.address, message.subject)

Methods are called as the operations of the OpenAPI document; `errors` has what they raise, `model` what they
give.
"""

from .call import UNSET, Unset
from .client import AsyncClient, Client
from .errors import (
    BadAnswer,
    Broken,
    Conflict,
    Failure,
    Forbidden,
    Invalid,
    NotFound,
    NotReached,
    Problem,
    TryLater,
    Unauthenticated,
)
from .model import Grant

__all__ = [
    "UNSET",
    "AsyncClient",
    "BadAnswer",
    "Broken",
    "Client",
    "Conflict",
    "Failure",
    "Forbidden",
    "Grant",
    "Invalid",
    "NotFound",
    "NotReached",
    "Problem",
    "TryLater",
    "Unauthenticated",
    "Unset",
]
