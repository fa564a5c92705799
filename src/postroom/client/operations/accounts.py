"""Connected mailboxes."""

from datetime import date
from typing import Literal
from uuid import UUID

from postroom.client.call import UNSET, Call, Listing, Operation, Paged, Unset, body, given, query
from postroom.client.model.accounts import Account, AccountPage, Connected, Consent, Found, Grant
from postroom.client.model.jobs import Job


class Accounts:
    @Listing
    def list_accounts(
        self, *, page_size: int | None = None, cursor: str | None = None
    ) -> Paged[AccountPage, Account]:
        """Connected mailboxes, in the order in which they were connected."""
        return Paged("GET", "/v1/accounts", AccountPage, query(page_size=page_size, cursor=cursor))

    @Operation
    def connect_account(
        self,
        *,
        address: str,
        password: str | None = None,
        oauth: Grant | None = None,
        server: str | None = None,
        starttls: Literal["require", "auto", "off"] | None = None,
        username: str | None = None,
        folders: str | None = None,
        since: date | None = None,
        largest: int | None = None,
        poll_every_minutes: float | None = None,
        daily_bytes: int | None = None,
        watch_folders: str | None = None,
        compress: Literal["auto", "always", "never"] | None = None,
        connections: int | None = None,
    ) -> Call[Connected]:
        """Connect a mailbox: its server is tried first, and nothing is stored unless that works."""
        asked = given(
            address=address,
            password=password,
            oauth=oauth,
            server=server,
            starttls=starttls,
            username=username,
            folders=folders,
            since=since,
            largest=largest,
            poll_every_minutes=poll_every_minutes,
            daily_bytes=daily_bytes,
            watch_folders=watch_folders,
            compress=compress,
            connections=connections,
        )
        return Call("POST", "/v1/accounts", Connected, body=asked)

    @Operation
    def estimate(
        self,
        *,
        address: str,
        password: str | None = None,
        oauth: Grant | None = None,
        server: str | None = None,
        starttls: Literal["require", "auto", "off"] | None = None,
        username: str | None = None,
        folders: str | None = None,
        since: date | None = None,
        largest: int | None = None,
        poll_every_minutes: float | None = None,
        daily_bytes: int | None = None,
        watch_folders: str | None = None,
        compress: Literal["auto", "always", "never"] | None = None,
        connections: int | None = None,
    ) -> Call[Found]:
        """What connecting a mailbox would copy; nothing is stored. With a grant comes an `access_token`."""
        asked = given(
            address=address,
            password=password,
            oauth=oauth,
            server=server,
            starttls=starttls,
            username=username,
            folders=folders,
            since=since,
            largest=largest,
            poll_every_minutes=poll_every_minutes,
            daily_bytes=daily_bytes,
            watch_folders=watch_folders,
            compress=compress,
            connections=connections,
        )
        return Call("POST", "/v1/accounts/estimate", Found, body=asked)

    @Operation
    def ask_for_consent(
        self,
        *,
        client: str,
        address: str | None = None,
        account: UUID | None = None,
        return_to: str | None = None,
        state: str | None = None,
        folders: str | None = None,
        since: date | None = None,
        largest: int | None = None,
        poll_every_minutes: float | None = None,
        daily_bytes: int | None = None,
        watch_folders: str | None = None,
        compress: Literal["auto", "always", "never"] | None = None,
        connections: int | None = None,
    ) -> Call[Consent]:
        """Where to send somebody who is to consent, at their provider, that their mailbox is connected."""
        asked = given(
            client=client,
            address=address,
            account=account,
            return_to=return_to,
            state=state,
            folders=folders,
            since=since,
            largest=largest,
            poll_every_minutes=poll_every_minutes,
            daily_bytes=daily_bytes,
            watch_folders=watch_folders,
            compress=compress,
            connections=connections,
        )
        return Call("POST", "/v1/accounts/oauth/auth-url", Consent, body=asked)

    @Operation
    def get_account(self, id: UUID) -> Call[Account]:
        """How a mailbox is doing."""
        return Call("GET", f"/v1/accounts/{id}", Account)

    @Operation
    def change_account(
        self,
        id: UUID,
        *,
        paused: bool | Unset | None = UNSET,
        poll_every_minutes: float | Unset | None = UNSET,
        daily_bytes: int | Unset | None = UNSET,
        watch_folders: str | Unset | None = UNSET,
        password: str | Unset | None = UNSET,
        oauth: Grant | Unset | None = UNSET,
    ) -> Call[Account]:
        """Change what is given; what is left out stays as it is, and None takes a limit or wish away."""
        asked = body(
            paused=paused,
            poll_every_minutes=poll_every_minutes,
            daily_bytes=daily_bytes,
            watch_folders=watch_folders,
            password=password,
            oauth=oauth,
        )
        return Call("PATCH", f"/v1/accounts/{id}", Account, body=asked)

    @Operation
    def remove_account(self, id: UUID) -> Call[Job | None]:
        """Forget a mailbox and everything copied from it: at once, or by the job that is returned."""
        return Call("DELETE", f"/v1/accounts/{id}", Job)
