"""The API: all routes, behind the token, with its own description of itself."""

from __future__ import annotations

import time
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware

from ryu_apps.rest import failures, forecasts, health, reconcile, stitches, topology, vnets
from ryu_apps.rest.apps import ApiSettings, Apps, Ask
from ryu_apps.rest.guards import LimitBody, RequireToken, Shield
from ryu_apps.rest.problems import Kind, Problem, ProblemView, documented
from ryu_apps.store import StoreError
from stitching.plan import NotPossible
from stitching.stitch import BadTransition

PREFIX = "/v1"

_ANYWHERE = (Kind.UNAUTHORIZED, Kind.INVALID, Kind.INTERNAL, Kind.UNAVAILABLE)
_WITH_BODY = (Kind.MALFORMED, Kind.TOO_LARGE, Kind.NOT_JSON)


def create_api(
    ask: Ask, *, token: str, started_s: float | None = None, settings: ApiSettings | None = None
) -> FastAPI:
    """The API of a controller whose apps are reached by `ask`; nobody gets in without the token.

    started_s is when the controller started, in seconds since the epoch; now, when it is left out.
    """
    if not token:
        raise ValueError("an empty token would let everybody in; see ryu_apps.rest.token")
    api = _Api(
        title="Lockstitch",
        summary="Stitches virtual networks together before the traffic arrives.",
        version=health.version(),
        openapi_url=f"{PREFIX}/openapi.json",
        # The interactive pages load their scripts from other people's servers.
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        exception_handlers={
            Problem: failures.on_problem,
            NotPossible: failures.on_not_possible,
            BadTransition: failures.on_bad_transition,
            StoreError: failures.on_store_error,
            RequestValidationError: failures.on_invalid,
            HTTPException: failures.on_http,
        },
        middleware=[Middleware(Shield), Middleware(RequireToken, token=token), Middleware(LimitBody)],
    )
    api.state.apps = Apps(ask, settings or ApiSettings(), time.time() if started_s is None else started_s)
    v1 = APIRouter(prefix=PREFIX, responses=documented(*_ANYWHERE))
    for part in (topology, vnets, stitches, forecasts, health, reconcile):
        v1.include_router(part.router)
    api.include_router(v1)
    return api


class _Api(FastAPI):
    """FastAPI, with problems and the token in its description."""

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI description of the API."""
        if self.openapi_schema is None:
            self.openapi_schema = _described(super().openapi())
        return self.openapi_schema


def _described(schema: dict[str, Any]) -> dict[str, Any]:
    components = schema.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    # FastAPI's own shape of a validation error: ours is a problem.
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    problem = ProblemView.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(problem.pop("$defs", {}))
    schemas["Problem"] = {**problem, "title": "Problem"}
    components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    schema["security"] = [{"token": []}]
    body_problems = {str(status): response for status, response in documented(*_WITH_BODY).items()}
    for path in schema["paths"].values():
        for operation in path.values():
            if "requestBody" in operation:
                operation["responses"] = {**body_problems, **operation["responses"]}
    return schema
