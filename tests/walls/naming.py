"""Which parameters of which routes name something of a tenant's, as the document of the API has them.

A value is written as a template over what a side shows: `{account}` is the id of its account, `in:"{path}"` a
query for a folder that only it has. What a template names nobody else may tell from what is not there.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

NAMES: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("/v1/people/keys/{id}", "id", ("{key}",)),
    ("/v1/people/keys", "accounts", ("{account}",)),
    ("/v1/people/sessions/{id}", "id", ("{session}",)),
    ("/v1/accounts/{id}*", "id", ("{account}",)),
    ("/v1/accounts", "address", ("{mailbox}",)),
    ("/v1/mail/messages/{id}*", "id", ("{message}",)),
    ("/v1/mail/threads/{id}", "id", ("{thread}",)),
    ("/v1/mail/messages", "thread", ("{thread}",)),
    ("/v1/mail/messages", "folder", ("{folder}", "{path}")),
    ("/v1/mail/messages", "label", ("{label}", "{path}")),
    ("/v1/mail/messages", "from", ("{address}",)),
    ("/v1/jobs/{id}/events", "id", ("{said}",)),
    ("/v1/jobs/{id}/events", "after", ("{line}",)),
    ("/v1/jobs/{id}/events", "last-event-id", ("{line}",)),
    ("/v1/jobs/{id}/requeue", "id", ("{said}",)),
    ("/v1/jobs/{id}*", "id", ("{job}",)),
    ("/v1/jobs", "kind", ("{kind}",)),
    ("/v1/sync/parked/{id}*", "id", ("{parked}",)),
    ("/v1/events", "after", ("{event}",)),
    ("/v1/events", "folder", ("{folder}",)),
    ("/v1/events", "consumer", ("{consumer}",)),
    ("/v1/events/consumers/{name}", "name", ("{consumer}",)),
    ("/v1/events/consumers/{name}", "cursor", ("{event}",)),
    ("/v1/events/consumers/{name}", "if_cursor", ()),
    ("/v1/events/stream", "after", ("{event}",)),
    ("/v1/events/stream", "last-event-id", ("{event}",)),
    ("/v1/events/stream", "folder", ("{folder}",)),
    ("/v1/webhooks/{id}*", "id", ("{webhook}",)),
    ("/v1/webhooks*", "accounts", ("{account}",)),
    ("/v1/webhooks/{id}/replay", "after", ("{event}",)),
    ("/v1/search", "q", ("{word}", 'in:"{path}"', "account:{mailbox}", "from:{address}", "label:{label}")),
    ("*", "account", ("{account}",)),
    ("*", "cursor", ("{cursor}",)),
)
"""Path, parameter and templates; the first that fits."""

NAME_NOTHING = (
    # How much of what one has oneself, in which order and form.
    *(("*", name) for name in ("page", "page_size", "limit", "sort_by", "order", "fields", "facets")),
    *(("*", name) for name in ("counted", "format", "full", "types", "state", "range", "open", "wait")),
    *(("/v1/mail/messages", name) for name in ("read", "starred", "after", "before", "has_attachment")),
    # A tag of what is told anyhow.
    *(("*", name) for name in ("if-none-match", "if-range")),
    # What to try, of whatever mailbox; where to go then, as the settings allow; a client of the installation.
    *(("/v1/accounts/*", name) for name in ("address", "return_to", "client")),
    # Which part of the message in the path.
    ("/v1/mail/messages/{id}/attachments/{number}", "number"),
    # What a key of one's own, or an account, is to be like.
    *(("/v1/people/keys", name) for name in ("name", "scopes", "expires_at")),
    *(("/v1/accounts*", name) for name in ("password", "server", "starttls", "username", "folders", "since")),
    *(("/v1/accounts*", name) for name in ("largest", "poll_every_minutes", "daily_bytes", "watch_folders")),
    *(("/v1/accounts*", name) for name in ("compress", "connections", "paused", "oauth")),
    # Where and what of one's own is posted.
    *(("/v1/webhooks*", name) for name in ("url", "description", "since", "overlap_hours")),
    # A grant; its `client` is one of the installation, for all tenants.
    ("/v1/accounts*", "oauth.*"),
)


@dataclass(frozen=True, slots=True)
class Parameter:
    """A place where a caller says something. `where`: path, query, header or body."""

    method: str
    path: str
    where: str
    name: str

    def __str__(self) -> str:
        return f"{self.method} {self.path} {self.where}:{self.name}"

    @property
    def templates(self) -> tuple[str, ...] | None:
        """What it names; () where that is nothing, None where nobody has said so."""
        if (self.method, self.where) == ("PUT", "path"):
            return ()  # what one makes of one's own is called as one likes
        for path, name, templates in NAMES:
            if name == self.name and fnmatchcase(self.path, path):
                return templates
        if any(fnmatchcase(self.path, path) and fnmatchcase(self.name, name) for path, name in NAME_NOTHING):
            return ()
        return None


def parameters(document: Mapping[str, Any]) -> Iterator[Parameter]:
    """Of all routes; what stands in a body within something else by its whole way, with dots."""
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            for told in map(partial(_found, document), operation.get("parameters", ())):
                yield Parameter(method.upper(), path, told["in"], told["name"].lower())
            if "requestBody" in operation:
                [content] = operation["requestBody"]["content"].values()
                for name in _properties(document, content["schema"]):
                    yield Parameter(method.upper(), path, "body", name)


def _found(document: Mapping[str, Any], part: Mapping[str, Any]) -> Mapping[str, Any]:
    """A part, or what it refers to."""
    if "$ref" not in part:
        return part
    found = document
    for name in part["$ref"].split("/")[1:]:
        found = found[name]
    return found


def _properties(document: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[str]:
    schema = _found(document, schema)
    for kind in (*schema.get("anyOf", ()), *schema.get("allOf", ()), *schema.get("oneOf", ())):
        yield from _properties(document, kind)
    if "items" in schema:
        yield from _properties(document, schema["items"])
    for name, inner in schema.get("properties", {}).items():
        yield name
        for deeper in _properties(document, inner):
            yield f"{name}.{deeper}"
