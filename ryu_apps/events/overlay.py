"""What is asked of the overlay: which sites and tunnels there are, which ways packets take, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ryu_apps.app import Event, Request
from ryu_apps.overlay.signing.requests import ControllerCard
from stitching.overlay.choosing import Choice
from stitching.overlay.classes import DefinedClass, UplinkTerms
from stitching.overlay.compiling import ChoiceKey
from stitching.overlay.explaining import SiteExplanation
from stitching.overlay.link_capacity import Carried
from stitching.overlay.links import SiteLink
from stitching.overlay.mesh_rules import DefinedRule
from stitching.overlay.scoring import AppClass
from stitching.overlay.site_plan import ClassMatch
from stitching.overlay.sites import Address, Pair, Site
from stitching.overlay.tunnels import Tunnel
from stitching.policy.decision import Flow
from vte_agent.protocol.has import Has


@dataclass(frozen=True)
class OverlayAnswer:
    """The overlay as it is.

    connected: who is on the control channel; said: the last word of each site; told: the generation that each was
    sent last; why: for what reason two sites have tunnels; choices: the way of each class between two sites, with
    the scores of all that there were; card: what the signer trusts this controller by; port: where sites are
    listened for, 0 while they are not; links: what joins the bridges of sites.
    """

    epoch: int
    sites: Mapping[int, Site]
    connected: frozenset[int]
    revoked: frozenset[int]
    said: Mapping[int, Has]
    told: Mapping[int, int]
    tunnels: tuple[Tunnel, ...]
    why: Mapping[Pair, str]
    choices: Mapping[ChoiceKey, Choice]
    problems: tuple[str, ...] = field(default=())
    card: ControllerCard | None = None
    port: int = 0
    links: tuple[SiteLink, ...] = ()


@dataclass
class SiteLinksChanged(Event):
    """The bridges of sites are joined otherwise, through encrypted tunnels; or these carry more or less."""

    links: Carried


@dataclass
class OverlayRequest(Request[OverlayAnswer]):
    """How does the overlay do?"""


@dataclass
class ExplainBetweenSites(Request[SiteExplanation | None]):
    """What becomes of such a packet (now, or at_s) between one of these addresses and one of those, and why?

    None: no two of them are behind two sites.
    """

    sources: tuple[Address, ...]
    targets: tuple[Address, ...]
    flow: Flow
    at_s: float | None = None


@dataclass
class ClassesRequest(Request[tuple[DefinedClass, ...]]):
    """Which application classes are there? By name."""


@dataclass
class PutClass(Request[bool]):
    """Define a class of this name (that of wants), or define it anew; answers whether it is new.

    Raises TooManyClasses.
    """

    order: int
    matches: tuple[ClassMatch, ...]
    wants: AppClass


@dataclass
class DeleteClass(Request[bool]):
    """Forget a class; answers whether it was there."""

    name: str


@dataclass
class RulesRequest(Request[tuple[DefinedRule, ...]]):
    """Which rules are there for pairs of sites? By name."""


@dataclass
class PutRule(Request[bool]):
    """Make a rule, or make the one of its name this; answers whether it is new. Raises TooManyRules."""

    rule: DefinedRule


@dataclass
class DeleteRule(Request[bool]):
    """Forget a rule; answers whether it was there."""

    name: str


@dataclass
class OrderKeys(Request[int]):
    """Have the keys of all tunnels made anew; answers the number of this order."""


@dataclass
class SetUplinkTerms(Request[None]):
    """Keep what an uplink carries and costs; where nothing is said of it any more, forget it."""

    terms: UplinkTerms
