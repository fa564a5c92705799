"""Who is asking, their keys and sessions; and whether the server is well."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from postroom.client.call import Call, Operation, given
from postroom.client.model.people import Health, Keys, Me, NewKey, Scope, Sessions


class People:
    @Operation
    def get_me(self) -> Call[Me]:
        """Whose key this is, or who has signed in; and what they may do."""
        return Call("GET", "/v1/people/me", Me)

    @Operation
    def list_keys(self) -> Call[Keys]:
        """The keys that are not revoked, the oldest first."""
        return Call("GET", "/v1/people/keys", Keys)

    @Operation
    def make_key(
        self,
        *,
        name: str,
        scopes: Sequence[Scope],
        expires_at: datetime | None = None,
        accounts: Sequence[UUID] | None = None,
    ) -> Call[NewKey]:
        """Make a key, for all accounts or for some. It is in this answer and can never be asked for again."""
        asked = given(name=name, scopes=scopes, expires_at=expires_at, accounts=accounts)
        return Call("POST", "/v1/people/keys", NewKey, body=asked)

    @Operation
    def revoke_key(self, id: UUID) -> Call[None]:
        """End a key at once."""
        return Call("DELETE", f"/v1/people/keys/{id}")

    @Operation
    def list_sessions(self) -> Call[Sessions]:
        """The sessions that are open, the oldest first."""
        return Call("GET", "/v1/people/sessions", Sessions)

    @Operation
    def revoke_session(self, id: UUID) -> Call[None]:
        """End somebody's session at once."""
        return Call("DELETE", f"/v1/people/sessions/{id}")

    @Operation
    def sign_out(self) -> Call[None]:
        """End the session that asks this."""
        return Call("DELETE", "/v1/people/session")

    @Operation
    def get_health(self) -> Call[Health]:
        """The server lives."""
        return Call("GET", "/health", Health)

    @Operation
    def get_readiness(self) -> Call[Health]:
        """Its database answers too; else `TryLater` or `Broken`."""
        return Call("GET", "/health/ready", Health)
