"""Is it alive, is it ready, how is it doing: asked by machines, answered without a key."""

import asyncio
from datetime import timedelta
from typing import Literal

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel

from postroom import __version__
from postroom.errors import TryLater
from postroom.http.deps import AtDoor

router = APIRouter(tags=["health"])

PATIENCE = 2
"""Seconds that the database may take to answer."""


class NotReady(TryLater):
    code = "api.not_ready"


class Health(BaseModel):
    status: Literal["ok"] = "ok"
    version: str = __version__


@router.get("/health")
async def get_health() -> Health:
    """The process lives. Touches nothing else."""
    return Health()


@router.get("/health/ready")
async def get_readiness(door: AtDoor) -> Health:
    """The database answers too."""
    try:
        async with asyncio.timeout(PATIENCE), door.database.unbound():
            return Health()
    except TimeoutError as error:
        raise NotReady("The database does not answer in time.", wait=timedelta(seconds=5)) from error


@router.get("/metrics", include_in_schema=False)
async def metrics(request: Request, door: AtDoor) -> Response:
    """For Prometheus. Holds numbers of the whole installation and nothing of any tenant."""
    for gauges in request.app.state.gauges:
        await gauges.refresh(door.database)
    return Response(generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})
