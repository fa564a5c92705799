"""Builds the application. Nothing here decides anything; a room that has routes is one line."""

from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from uuid import UUID

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from starlette.middleware.cors import CORSMiddleware

from postroom import __version__
from postroom.accounts import store as account_store
from postroom.accounts.consent import CALLBACK
from postroom.accounts.oauth import Oauth
from postroom.accounts.oauth_routes import router as oauth_accounts
from postroom.accounts.routes import Desk
from postroom.accounts.routes import router as accounts
from postroom.accounts.seek import Seek, guessed
from postroom.accounts.signing_in import Consents
from postroom.accounts.tokens import Tokens
from postroom.alerts.gauges import gauges as alert_gauges
from postroom.alerts.routes import router as alerts
from postroom.api import docs, health
from postroom.api.live import Live
from postroom.db import leases
from postroom.db.pool import Connection, Database
from postroom.events import routes as events
from postroom.events.consumer_routes import router as consumers
from postroom.events.page_routes import router as event_pages
from postroom.http import problems
from postroom.http.compress import Compressed
from postroom.http.deps import Door, count_unread
from postroom.http.heads import Heads
from postroom.http.limits import BodyLimit, TimeLimit
from postroom.http.pages import Cursors
from postroom.http.problems import Unexpected
from postroom.http.rates import Rates
from postroom.http.requests import Requests
from postroom.http.streams import Streams
from postroom.http.tags import Tags
from postroom.ids import AccountId, TenantId
from postroom.jobs import routes as jobs
from postroom.jobs.gauges import gauges as job_gauges
from postroom.mail.routes import router as mail
from postroom.people.entrance import Entrance
from postroom.people.routes import router as people
from postroom.people.tokens import Issuers
from postroom.providers.model import Provider
from postroom.search.routes import router as search
from postroom.settings import Settings
from postroom.sync import halt
from postroom.sync.live import TYPES as SYNC_NEWS
from postroom.sync.model import key
from postroom.sync.routes import router as sync
from postroom.vault.seal import Vault
from postroom.webhooks import routes as webhooks
from postroom.webhooks.change import Prober

ROUTERS = (
    *(people, oauth_accounts, accounts, mail, search, sync, jobs.router),
    *(event_pages, consumers, events.router, webhooks.router, alerts),
)


def _name(route: APIRoute) -> str:
    """What generated clients call an operation."""
    return route.name


ROUTES = APIRouter(generate_unique_id_function=_name)
"""Those of every application: what FastAPI works out of them at the first request takes it 60 ms."""
for _router in (*ROUTERS, health.router, docs.front, docs.router):
    ROUTES.include_router(_router)

CORS_ASKED = (
    *("Authorization", "Content-Type", "Last-Event-ID", "X-Request-ID"),
    *("If-None-Match", "If-Range", "Range"),
)
CORS_TOLD = (
    *("X-Request-ID", "Retry-After", "ETag", "Content-Disposition", "Accept-Ranges", "Content-Range"),
    *("RateLimit", "RateLimit-Policy"),
)
"""Headers that pages of other origins may send and read."""


def create_app(
    database: Database,
    settings: Settings,
    vault: Vault,
    providers: Mapping[str, Provider],
    live: Live,
    oauth: Oauth | None = None,
    seek: Seek = guessed,
    issuers: Issuers | None = None,
    *,
    access_log: bool = True,
) -> FastAPI:
    """The HTTP API, on a pool, and with live news, that the caller opens and closes.

    `seek` finds the server of an address; `access_log` as in `http.requests`.
    """
    oauth = oauth or Oauth()
    app = docs.Documented(
        title="Postroom",
        version=__version__,
        description=docs.ABOUT,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        routes=ROUTES.routes,
    )
    find, origins = Entrance(database, issuers or Issuers()).find, frozenset(settings.cors_origins)
    app.state.door = Door(
        database,
        find,
        Cursors(vault),
        Streams(),
        origins,
        settings.is_behind_tls,
        rates=Rates(settings.rate_limit_per_minute),
    )
    app.state.jobs = jobs.Desk(live.jobs, _account, account_store.public_ids)
    app.state.events = events.Desk(live.log, live.syncs.aside, SYNC_NEWS, _account)
    prober = Prober(vault, oauth.http.allowed)  # as any other way out
    app.state.webhooks = webhooks.Desk(prober, _account, account_store.public_ids)
    app.state.gauges = (job_gauges(), alert_gauges())
    begin_anew, returns = halt.begin_anew, frozenset(settings.oauth_return_urls)
    app.state.desk = Desk(
        vault,
        providers,
        settings.sync_interval,
        halt.stop,
        begin_anew,
        partial(halt.remove, farewell=Tokens(database, vault, oauth).revoke),
        _is_syncing,
        oauth,
        seek,
        Consents(database, vault, oauth, providers, begin_anew, settings.public_url, returns),
    )
    problems.plug_in(app, count_unread)
    _put_layers_around(app, settings, access_log)
    return app


def _put_layers_around(app: FastAPI, settings: Settings, access_log: bool) -> None:
    # The last one added is the outermost: a request meets them from the bottom up.
    app.add_middleware(BodyLimit)
    app.add_middleware(TimeLimit, limit=timedelta(seconds=settings.request_seconds))
    app.add_middleware(Unexpected)
    app.add_middleware(Tags)
    app.add_middleware(Compressed)
    app.add_middleware(Heads, changing=(CALLBACK,))
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=CORS_ASKED,
            expose_headers=CORS_TOLD,
        )
    app.add_middleware(Requests, access_log=access_log)


async def _is_syncing(conn: Connection, tenant: TenantId, account: AccountId) -> bool:
    return await leases.is_held(conn, tenant, key(account))


async def _account(conn: Connection, tenant: TenantId, public_id: UUID) -> AccountId:
    return (await account_store.get(conn, tenant, public_id)).id
