"""A document of intents as a value: each has a name and one form."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from stitching.application import Application
from stitching.policy.windows import Window
from stitching.stitch import Protection

DEFAULT_MBPS = 1.0
"""What a stitch for low latency, or a segment, is promised where its intent names no bandwidth."""


class EndBy(StrEnum):
    """How an end is named; NAME is a bare word, which has to mean one thing only."""

    NAME = "name"
    HOST = "host"
    VNET = "vnet"
    GROUP = "group"


@dataclass(frozen=True, slots=True)
class End:
    """Who an intent is about: a host (name, address or MAC), a virtual network, or a group of the policy."""

    by: EndBy
    name: str

    def __str__(self) -> str:
        return self.name if self.by is EndBy.NAME else f"{self.by} {self.name}"


@dataclass(frozen=True, slots=True)
class Latency:
    """Paths of their own between two ends, each within a latency; bandwidth_mbps is of each pair of hosts.

    The ports of the application are those of the second end.
    """

    between: tuple[End, End]
    application: Application | None = None
    max_latency_ms: float | None = None
    bandwidth_mbps: float = DEFAULT_MBPS
    protection: Protection = Protection.NONE
    max_loss: float | None = None


@dataclass(frozen=True, slots=True)
class Transfer:
    """An amount of data that has to be over by the end of a window: a daily one, or one that comes once."""

    source: End
    target: End
    amount_mbit: float
    window: Window
    application: Application | None = None


@dataclass(frozen=True, slots=True)
class Apart:
    """Nobody of one of these ends may talk to anybody of another."""

    ends: tuple[End, ...]


@dataclass(frozen=True, slots=True)
class Reach:
    """The hosts of one end may call those of another, with this application or with all; until_s ends it."""

    source: End
    target: End
    application: Application | None = None
    until_s: float | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """A part of one virtual network: an end of one, or these hosts and those in these subnets of a network."""

    end: End
    hosts: tuple[str, ...] = ()
    subnets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Share:
    """Parts of two virtual networks are one segment; bandwidth_mbps is promised each way on its links."""

    between: tuple[Part, Part]
    bandwidth_mbps: float = DEFAULT_MBPS
    max_latency_ms: float | None = None
    max_loss: float | None = None


@dataclass(frozen=True, slots=True)
class Rate:
    """What one virtual network may always send to another (or within itself), and what it never exceeds."""

    source: End
    target: End
    guarantee_mbps: float | None = None
    cap_mbps: float | None = None
    follow_forecast: bool = False


Form = Latency | Transfer | Apart | Reach | Share | Rate

FORMS: dict[str, type] = {
    "latency": Latency,
    "transfer": Transfer,
    "apart": Apart,
    "reach": Reach,
    "share": Share,
    "rate": Rate,
}


@dataclass(frozen=True, slots=True)
class Intent:
    """Something that somebody wants, under a name."""

    name: str
    form: Form
    description: str = ""

    @property
    def kind(self) -> str:
        """What its form is called."""
        return next(name for name, form in FORMS.items() if type(self.form) is form)

    @property
    def ends(self) -> tuple[End, ...]:
        """Who it is about."""
        match self.form:
            case Apart(ends):
                return ends
            case Latency(between):
                return between
            case Share((one, other)):
                return one.end, other.end
            case Transfer(source, target) | Reach(source, target) | Rate(source, target):
                return source, target


@dataclass(frozen=True, slots=True)
class Document:
    """Intents; their order means nothing, and no two have one name."""

    intents: tuple[Intent, ...] = ()

    def named(self, name: str) -> Intent | None:
        """The intent of this name."""
        return next((intent for intent in self.intents if intent.name == name), None)
