"""Application classes: which packets are of one, and what it wants of the ways between sites."""

from __future__ import annotations

import ipaddress
import threading
from typing import Annotated

from fastapi import APIRouter, Path, Response
from pydantic import AfterValidator, BaseModel, Field, model_validator

from ryu_apps.events.overlay import ClassesRequest, DeleteClass, PutClass
from ryu_apps.rest.access.audit import ChangeOf
from ryu_apps.rest.access.roles import Role, needs
from ryu_apps.rest.apps import SITE_OVERLAY, Apps, AppsOf
from ryu_apps.rest.bodies import Body, Subnet
from ryu_apps.rest.conditions import GUARDED, TAGGED, ConditionsOf, stored, stored_as
from ryu_apps.rest.overlay import NONE_HERE, no_overlay
from ryu_apps.rest.pages import LINKED, PageOf
from ryu_apps.rest.problems import Kind, Problem, documented
from stitching.overlay.classes import MOST_CLASSES, DefinedClass, TooManyClasses
from stitching.overlay.scoring import AppClass, Weights
from stitching.overlay.site_plan import ClassMatch
from stitching.policy.document import PROTOCOLS
from stitching.policy.faults import Refused
from stitching.policy.fields import ports_in, protocol_of

router = APIRouter(prefix="/overlay/classes", tags=["overlay"])

CLASS_NAME = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
MOST_MATCHES = 64

_NAMES = {number: name for name, number in PROTOCOLS.items()}
_ONE_AT_A_TIME = threading.Lock()
"""What a precondition says must still hold when the change is made."""

Name = Annotated[str, Path(pattern=CLASS_NAME)]
Weight = Annotated[float, Field(ge=0, le=1000)]
Rtt = Annotated[float, Field(gt=0, le=60_000)]
Loss = Annotated[float, Field(gt=0, lt=1)]


def _protocol(text: str) -> str:
    try:
        number = protocol_of(text)
    except Refused as error:
        raise ValueError(f"{error.reason}; {error.remedy}") from error
    if number is None:
        raise ValueError("leave it out for any")
    return _NAMES.get(number, str(number))


class MatchBody(Body):
    """Packets of a class; what is left out may be anything."""

    source: Subnet | None = None
    destination: Subnet | None = None
    protocol: Annotated[str, Field(max_length=10), AfterValidator(_protocol)] | None = Field(
        default=None, description="tcp, udp, sctp, icmp, icmpv6, or a number."
    )
    ports: str | None = Field(
        default=None, max_length=11, description="Of the destination: one, or the first and the last, 8000-8099."
    )
    dscp: int | None = Field(default=None, ge=0, le=63)

    @model_validator(mode="after")
    def _makes_sense(self) -> MatchBody:
        if self == MatchBody.model_construct():
            raise ValueError("it would match every packet; name at least one field")
        if (
            self.source is not None
            and self.destination is not None
            and (":" in self.source) != (":" in self.destination)
        ):
            raise ValueError("source and destination are of two versions of IP, so it could never match")
        if self.protocol is None and self.ports is not None:
            raise ValueError("ports need a protocol: tcp, udp or sctp")
        try:
            ports_in(self.ports, protocol_of(self.protocol))
        except Refused as error:
            raise ValueError(f"{error.field}: {error.reason}; {error.remedy}") from error
        return self

    def match(self) -> ClassMatch:
        """As decisions know it."""
        number = protocol_of(self.protocol)
        return ClassMatch(
            ipaddress.ip_network(self.source) if self.source is not None else None,
            ipaddress.ip_network(self.destination) if self.destination is not None else None,
            number,
            next(iter(ports_in(self.ports, number)), None),
            self.dscp,
        )


class WeightsBody(Body):
    """How much each part of a score counts; only their ratios matter."""

    latency: Weight = 1.0
    loss: Weight = 1.0
    bandwidth: Weight = 1.0
    price: Weight = 0.2
    relay_load: Weight = 0.3


class WantsBody(Body):
    """What a class wants of a way between two sites.

    Delay costs between least_rtt_ms and most_rtt_ms, loss up to most_loss, a gigabyte up to most_price. A way
    beyond max_rtt_ms or max_loss is taken only where all are.
    """

    weights: WeightsBody = WeightsBody()
    least_rtt_ms: float = Field(default=10.0, ge=0, le=60_000)
    most_rtt_ms: Rtt = 200.0
    most_loss: Loss = 0.05
    most_price: float = Field(default=0.2, gt=0, le=1e6)
    max_rtt_ms: Rtt | None = None
    max_loss: Loss | None = None

    @model_validator(mode="after")
    def _makes_sense(self) -> WantsBody:
        self.app("class")
        return self

    def app(self, name: str) -> AppClass:
        """As decisions know it. Raises ValueError."""
        weights = Weights(**self.weights.model_dump())
        return AppClass(name, weights, **self.model_dump(exclude={"weights"}))


class ClassBody(Body):
    """An application class. Of several that match a packet, the one of the lowest order has it; then by name."""

    order: int = Field(default=100, ge=0, le=10_000)
    matches: list[MatchBody] = Field(min_length=1, max_length=MOST_MATCHES)
    wants: WantsBody = WantsBody()


class ClassView(BaseModel):
    """An application class."""

    name: str
    order: int
    matches: list[MatchBody]
    wants: WantsBody


@router.get("", dependencies=[needs(Role.VIEWER)], responses={**LINKED, **NONE_HERE})
def get_classes(apps: AppsOf, page: PageOf) -> list[ClassView]:
    """The application classes, by name."""
    return [_view(one) for one in page.of(_asked(apps), lambda one: (one.name,), str)]


@router.get(
    "/{name}",
    dependencies=[needs(Role.VIEWER)],
    responses={**TAGGED, **documented(Kind.NO_OVERLAY, Kind.UNKNOWN_CLASS)},
)
def get_class(apps: AppsOf, name: Name, conditions: ConditionsOf, response: Response) -> ClassView:
    """One application class."""
    found = _named(_asked(apps), name)
    if found is None:
        raise _unknown(name)
    conditions.read(found, response)
    return found


@router.put(
    "/{name}",
    dependencies=[needs(Role.OPERATOR)],
    responses={
        **stored_as(ClassView),
        **documented(Kind.NO_OVERLAY, Kind.TOO_MANY_CLASSES),
    },
)
def put_class(
    apps: AppsOf, name: Name, body: ClassBody, conditions: ConditionsOf, change: ChangeOf, response: Response
) -> ClassView:
    """Define a class, or define it anew; it is stored, then sites are told.

    With If-Match only where it is still what it was, with `If-None-Match: *` only where there is none.
    """
    matches = tuple(one.match() for one in body.matches)
    with _ONE_AT_A_TIME:
        change.before = _named(_asked(apps), name)
        conditions.check(change.before)
        try:
            is_new = apps.ask(SITE_OVERLAY, PutClass(body.order, matches, body.wants.app(name)))
        except TooManyClasses as error:
            raise Problem(
                Kind.TOO_MANY_CLASSES,
                f"there are {MOST_CLASSES} classes, as many as there may be",
                field="name",
                remedy="delete one, or give one that is there more matches",
            ) from error
    view = ClassView(name=name, order=body.order, matches=[_match(one) for one in matches], wants=body.wants)
    return stored(view, response, f"/v1/overlay/classes/{name}", is_new=is_new)


@router.delete(
    "/{name}",
    status_code=204,
    response_model=None,
    dependencies=[needs(Role.OPERATOR)],
    responses={**GUARDED, **documented(Kind.NO_OVERLAY, Kind.UNKNOWN_CLASS)},
)
def delete_class(apps: AppsOf, name: Name, conditions: ConditionsOf, change: ChangeOf) -> None:
    """Forget a class; its packets are of the next one that matches, or of none."""
    with _ONE_AT_A_TIME:
        change.before = _named(_asked(apps), name)
        conditions.check(change.before)
        if not apps.ask(SITE_OVERLAY, DeleteClass(name)):
            raise _unknown(name)


def _asked(apps: Apps) -> tuple[DefinedClass, ...]:
    return apps.ask(SITE_OVERLAY, ClassesRequest(), missing=no_overlay())


def _named(classes: tuple[DefinedClass, ...], name: str) -> ClassView | None:
    return next((_view(one) for one in classes if one.name == name), None)


def _unknown(name: str) -> Problem:
    return Problem(
        Kind.UNKNOWN_CLASS,
        f"no class is called {name!r}",
        field="name",
        remedy="GET /v1/overlay/classes lists them; PUT makes one",
    )


def _view(one: DefinedClass) -> ClassView:
    wants = one.wants
    weights = WeightsBody(**{name: getattr(wants.weights, name) for name in WeightsBody.model_fields})
    plain = {name: getattr(wants, name) for name in WantsBody.model_fields if name != "weights"}
    return ClassView(
        name=one.name,
        order=one.order,
        matches=[_match(match) for match in one.matches],
        wants=WantsBody(weights=weights, **plain),
    )


def _match(one: ClassMatch) -> MatchBody:
    ports = None
    if one.ports is not None:
        first, last = one.ports
        ports = f"{first}" if first == last else f"{first}-{last}"
    return MatchBody(
        source=str(one.source) if one.source is not None else None,
        destination=str(one.destination) if one.destination is not None else None,
        protocol=_NAMES.get(one.protocol, str(one.protocol)) if one.protocol is not None else None,
        ports=ports,
        dscp=one.dscp,
    )
