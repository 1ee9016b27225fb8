"""Roles, who has them, and what a route needs: one declaration a route."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, cast

from fastapi import Depends, Request

from ryu_apps.rest.problems import Kind, Problem
from stitching.terms import MOST_PRIORITY, PRIORITY

SCOPE_KEY = "lockstitch.principal"
"""Where a request (its ASGI scope) has its principal."""


class Role(StrEnum):
    """What a token is for; each role may do what those before it may."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"

    @property
    def rank(self) -> int:
        """A higher one may do more."""
        return tuple(Role).index(self)

    @property
    def default_max_priority(self) -> int:
        """The greatest priority for those who were granted none: displacing others takes a grant, or an admin."""
        return MOST_PRIORITY if self is Role.ADMIN else PRIORITY


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks: a token without its secret. scope: the virtual networks it is confined to; None: to none.

    max_priority: the greatest that it may ask for, of stitches.
    """

    token_id: str
    name: str
    role: Role
    scope: frozenset[str] | None = None
    max_priority: int = PRIORITY


@dataclass(frozen=True, slots=True)
class Need:
    """What a route needs. scoped: its handler keeps to the scope of the caller; others refuse scoped tokens.

    secret: its answer holds a secret, which no log and no store may keep. Who is not let in by the gate is stopped
    here again, where FastAPI calls this as a dependency.
    """

    role: Role
    scoped: bool = False
    secret: bool = False

    @property
    def changes(self) -> bool:
        """Whether such a route changes something: all that a viewer may do changes nothing."""
        return self.role is not Role.VIEWER

    def check(self, who: Principal) -> None:
        """Raise a 403 problem that says what is missing."""
        if who.role.rank < self.role.rank:
            raise Problem(
                Kind.FORBIDDEN,
                f"this needs the role {self.role}; the token {who.name!r} has the role {who.role}",
                field="Authorization",
                remedy=f"use a token with the role {self.role}; an admin makes one with `lockstitch token create`",
            )
        if who.scope is not None and not self.scoped:
            raise Problem(
                Kind.FORBIDDEN,
                f"this is about the whole fabric; the token {who.name!r} is confined to {listed(who.scope)}",
                field="Authorization",
                remedy="use a token without a scope; an admin makes one with `lockstitch token create`",
            )

    async def __call__(self, request: Request) -> None:
        """Check the caller of a request."""
        self.check(principal_of(request))


def needs(role: Role, *, scoped: bool = False, secret: bool = False) -> Any:
    """What every route declares in its `dependencies`."""
    return Depends(Need(role, scoped, secret))


def principal_of(request: Request) -> Principal:
    """Who asks. Raises a 401 problem where nobody was let in."""
    who = request.scope.get(SCOPE_KEY)
    if who is None:
        raise Problem(Kind.UNAUTHORIZED, "the request carries no bearer token", field="Authorization")
    return cast("Principal", who)


def listed(scope: frozenset[str]) -> str:
    """A scope in words."""
    if not scope:
        return "no virtual network"
    return f"the virtual network{'s' if len(scope) > 1 else ''} " + ", ".join(sorted(scope))


Who = Annotated[Principal, Depends(principal_of)]
"""A parameter of a handler: who asks."""
