"""What the overlay's app hears from its threads: the signer's watches, the gate, the forecasts."""

from __future__ import annotations

from dataclasses import dataclass

from ryu_apps.app import Event
from ryu_apps.overlay.foreseeing import Foreseen
from ryu_apps.overlay.signing.requests import RollNow
from ryu_apps.predicting.fits import Fit
from vte_agent.protocol.frames import Moved
from vte_agent.protocol.has import Has
from vte_agent.protocol.signed import Signed


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


@dataclass
class SiteSaid(Event):
    """A site says what it has."""

    serial: int
    has: Has


@dataclass
class SiteMoved(Event):
    """A site has moved a route by itself."""

    serial: int
    moved: Moved


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
