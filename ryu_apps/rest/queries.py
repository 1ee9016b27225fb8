"""Refuses query parameters that a route does not take: who mistypes a filter is not to be answered without it."""

from __future__ import annotations

from collections.abc import Iterator

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from ryu_apps.rest.problems import Kind, Problem

_MOST_NAME = 100


async def only_known_queries(request: Request) -> None:
    """A dependency of all routes of ours; raises a 422 problem that names the parameter."""
    given = request.query_params
    route = request.scope.get("route")
    if not given or not isinstance(route, APIRoute):
        return
    known = frozenset(_names(route.dependant))
    for name in given:
        if name not in known:
            raise Problem(
                Kind.INVALID,
                f"{request.method} {request.url.path[:_MOST_NAME]} takes no parameter {name[:_MOST_NAME]!r}",
                field=name[:_MOST_NAME],
                remedy=f"it takes {', '.join(sorted(known))}" if known else "leave it out: it takes none",
            )


def _names(dependant: Dependant) -> Iterator[str]:
    for field in dependant.query_params:
        yield field.alias
    for needed in dependant.dependencies:
        yield from _names(needed)
