"""What the overlay's app hears from its threads: the signer's watches, the gate, the forecasts."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from ryu_apps.app import Event
from ryu_apps.overlay.foreseeing import Foreseen
from ryu_apps.overlay.signing.requests import RollNow
from ryu_apps.predicting.fits import Fit
from vte_agent.protocol.frames import Moved
from vte_agent.protocol.has import Has
from vte_agent.protocol.signed import Signed

MOVES_KEPT = 64
"""Of one site, until they are taken; of more the oldest are forgotten."""


@dataclass
class RollTold(Event):
    """The signer has a roll."""

    now: RollNow


@dataclass
class MembersTold(Event):
    """The signer says who is a member."""

    members: tuple[Signed, ...]


@dataclass
class SiteCame(Event):
    """A site's channel is there."""

    serial: int


@dataclass(eq=False)
class Said:
    """What a site has said that was not taken yet: its newest report, and its last moves of routes by itself."""

    has: Has | None = None
    moves: deque[Moved] = field(default_factory=lambda: deque(maxlen=MOVES_KEPT))


@dataclass
class SiteSaid(Event):
    """A site says something; `Hearing.take` gives all of it."""

    serial: int
    said: Said


@dataclass
class SiteGone(Event):
    """A site's channel is gone."""

    serial: int
    why: str


@dataclass
class DemandsForeseen(Event):
    """What sites will send is forecast."""

    result: Foreseen


@dataclass
class DemandsFitted(Event):
    """A model of a demand is fitted."""

    result: Fit


@dataclass
class RoundDue(Event):
    """A round is due, of all that was heard before this."""
