"""Which route a request is for, and what that route needs, known before any body is read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.routing import compile_path

from ryu_apps.rest.access.roles import Need, Role


@dataclass(frozen=True, slots=True)
class Entry:
    """A route: its path as the description writes it, its methods and its need."""

    path: str
    methods: frozenset[str]
    need: Need
    pattern: re.Pattern[str]


class RouteTable:
    """All routes by path. Raises ValueError for one that declares no need: it would be open to every token."""

    def __init__(self, parts: Iterable[tuple[str, APIRouter]], *, also: Iterable[tuple[str, Need]] = ()) -> None:
        self._entries = [entry for prefix, router in parts for entry in _entries(prefix, router)]
        self._entries += [_entry(path, frozenset({"GET"}), need) for path, need in also]

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries)

    def find(self, method: str, path: str) -> Entry | None:
        """The route that a request is for, None where there is none; of several the first, as FastAPI has it."""
        for entry in self._entries:
            if method in entry.methods and entry.pattern.match(path):
                return entry
        return None


def _entries(prefix: str, router: APIRouter) -> Iterator[Entry]:
    for route in router.routes:
        if not isinstance(route, APIRoute):
            raise ValueError(f"{route!r} is no plain route; include its router in the API by itself")
        declared = [one.dependency for one in route.dependencies if isinstance(one.dependency, Need)]
        if not declared:
            raise ValueError(f"the route {route.path} does not say what it needs; see ryu_apps.rest.access.roles")
        need = Need(
            max((one.role for one in declared), key=lambda role: Role(role).rank),
            scoped=all(one.scoped for one in declared),
            secret=any(one.secret for one in declared),
        )
        yield _entry(prefix + route.path, frozenset(route.methods or ()), need)


def _entry(path: str, methods: frozenset[str], need: Need) -> Entry:
    return Entry(path, methods, need, compile_path(path)[0])
