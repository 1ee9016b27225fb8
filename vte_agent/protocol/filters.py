"""Who may send what through a site's tunnels, in the form in which the site carries it out.

Addresses that the same rules are about are one standing. Between two standings a list of patterns decides, in
order; between those of which nothing is said nothing passes.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from vte_agent.protocol.base import Message, Prefixes

RuleName = Annotated[str, Field(min_length=1, max_length=100)]
StandingId = Annotated[int, Field(ge=0, lt=1 << 31)]
PortNumber = Annotated[int, Field(ge=0, le=65535)]


class Pattern(Message):
    """Packets that a rule of the policy decides on. protocol None: all; ports none: all.

    ports are those of the destination, or of the source where it is about answers (reply); a packet of a protocol
    that has none is not at any of them.
    """

    rule: RuleName
    allow: bool
    protocol: Annotated[int, Field(ge=0, le=255)] | None = None
    ports: tuple[tuple[PortNumber, PortNumber], ...] = ()
    reply: bool = False


class Standing(Message):
    """Addresses to which the same applies; those of two standings do not overlap."""

    id: StandingId
    prefixes: Prefixes


class Pair(Message):
    """What one standing may send to another."""

    source: StandingId
    target: StandingId
    patterns: tuple[Pattern, ...]


class Filters(Message):
    """All of it."""

    standings: tuple[Standing, ...] = ()
    pairs: tuple[Pair, ...] = ()


class RuleCount(Message):
    """How many packets a rule has decided on here since the agent started."""

    rule: RuleName
    allow: bool
    packets: Annotated[int, Field(ge=0)]
