"""The API: all routes, behind tokens, with its own description of itself."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Depends, FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware

from pathing import Oversubscribed
from ryu_apps.feed import Feed
from ryu_apps.ofctl import changing as ryu_changes
from ryu_apps.ofctl import reading as ryu_reads
from ryu_apps.ofctl import topology as ryu_topology
from ryu_apps.rest import (
    audit,
    batch,
    events,
    explain,
    failures,
    forecasts,
    health,
    intents,
    link_marks,
    overlay,
    overlay_classes,
    overlay_rules,
    ovsdb,
    policies,
    reconcile,
    reservations,
    stitch_changing,
    stitches,
    tokens,
    topology,
    vnets,
)
from ryu_apps.rest.access.access import Access, AccessSettings
from ryu_apps.rest.access.gate import Gate, RequireToken
from ryu_apps.rest.access.roles import Need, Role
from ryu_apps.rest.access.routes import RouteTable
from ryu_apps.rest.apps import ApiSettings, Apps, Ask
from ryu_apps.rest.conditions import NotChanged
from ryu_apps.rest.described import ANYWHERE, described
from ryu_apps.rest.events import Streams
from ryu_apps.rest.guards import LimitBody, Shield
from ryu_apps.rest.problems import Problem, documented
from ryu_apps.rest.queries import only_known_queries
from ryu_apps.store import AccessStore, StoreError
from stitching.plan import NotPossible
from stitching.stitch import BadTransition

PREFIX = "/v1"
DESCRIPTION = f"{PREFIX}/openapi.json"

PARTS: tuple[tuple[str, APIRouter], ...] = (
    *(
        (PREFIX, part.router)
        for part in (
            topology,
            vnets,
            policies,
            explain,
            batch,
            stitches,
            stitch_changing,
            link_marks,
            intents,
            forecasts,
            reconcile,
            ovsdb,
            overlay,
            overlay_classes,
            overlay_rules,
            reservations,
            health,
            events,
            tokens,
            audit,
        )
    ),
    *(("", part.router) for part in (ryu_topology, ryu_reads, ryu_changes)),
)
"""All routers by the prefix they are served under. Each of their routes declares what it needs."""


def create_api(
    ask: Ask,
    *,
    token: str,
    started_s: float | None = None,
    settings: ApiSettings | None = None,
    store: AccessStore | None = None,
    feed: Feed | None = None,
    limits: AccessSettings | None = None,
    pages: Sequence[APIRouter] = (),
) -> FastAPI:
    """The API of a controller whose apps are reached by `ask`; nobody gets in without a token. Raises StoreError.

    token is that of the first admin. started_s is when the controller started, in seconds since the epoch; now,
    when it is left out. store keeps tokens and the audit, in memory where none is given; feed has the events.
    pages answer what is left: the paths of hosted apps.
    """
    settings = settings or ApiSettings()
    access = Access(store or AccessStore.in_memory(), token, limits, clock=settings.clock)
    # Hosted apps come last: what has a path of ours is ours.
    parts = (*PARTS, *(("", page) for page in pages))
    table = RouteTable(parts, also=[(DESCRIPTION, Need(Role.VIEWER, scoped=True))])
    api = _Api(
        title="Lockstitch",
        summary="Stitches virtual networks together before the traffic arrives.",
        version=health.version(),
        openapi_url=DESCRIPTION,
        # The interactive pages load their scripts from other people's servers.
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        exception_handlers={
            Problem: failures.on_problem,
            NotChanged: failures.on_not_changed,
            NotPossible: failures.on_refusal,
            Oversubscribed: failures.on_refusal,
            BadTransition: failures.on_bad_transition,
            StoreError: failures.on_refusal,
            RequestValidationError: failures.on_invalid,
            HTTPException: failures.on_http,
        },
        middleware=[
            Middleware(Shield),
            Middleware(RequireToken, access=access),
            Middleware(LimitBody),
            Middleware(Gate, access=access, table=table),
        ],
    )
    api.table = table
    api.state.access = access
    api.state.feed = feed or Feed()
    api.state.streams = Streams()
    api.state.apps = Apps(ask, settings, time.time() if started_s is None else started_s)
    for prefix, router in parts:
        # Ryu's paths and hosted apps take what Ryu takes, which is anything.
        checks = [Depends(only_known_queries)] if prefix == PREFIX else []
        api.include_router(router, prefix=prefix, dependencies=checks, responses=documented(*ANYWHERE))
    return api


class _Api(FastAPI):
    """FastAPI, with problems and tokens in its description."""

    table: RouteTable

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI description of the API."""
        if self.openapi_schema is None:
            self.openapi_schema = described(super().openapi(), self.table)
        return self.openapi_schema
