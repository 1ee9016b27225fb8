"""Stitches: made, asked about, listed and taken away."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Path, Query, Response
from pydantic import Field

from ryu_apps.events import CheckStitch, CreateStitch, DeleteStitch, StitchesRequest
from ryu_apps.rest.access.audit import ChangeOf
from ryu_apps.rest.access.roles import Principal, Role, Who, needs
from ryu_apps.rest.apps import STITCHER, Apps, AppsOf
from ryu_apps.rest.conditions import GUARDED, TAGGED, ConditionsOf
from ryu_apps.rest.fabric import Fabric, fabric_of
from ryu_apps.rest.pages import LINKED, LOCATED, PageOf
from ryu_apps.rest.problems import Kind, Problem, documented
from ryu_apps.rest.scoping import fabric_within, sees_stitch
from ryu_apps.rest.stitch_bodies import KINDS, StitchBody
from ryu_apps.rest.stitch_requests import request_of
from ryu_apps.rest.stitch_views import StitchView, check_view, stitch_view
from ryu_apps.rest.views import CheckView
from ryu_apps.rest.wait_query import WaitOf
from ryu_apps.rest.waiting import CONFIRMED, ON_THE_WAY
from stitching.plan import NotPossible
from stitching.stitch import ENDED, State, Stitch

router = APIRouter(prefix="/stitches", tags=["stitches"])

StitchId = Annotated[int, Path(ge=1, le=0xFFFFFFFF)]

READS = needs(Role.VIEWER, scoped=True)
CHANGES = needs(Role.OPERATOR, scoped=True)

MEASURED = ("load_mbps", "probe_ms", "probe_loss", "packets", "bytes")
"""What changes although nobody changed the stitch."""


@dataclass(frozen=True, slots=True)
class StitchFilter:
    """Which stitches a list is of: those that meet every condition."""

    states: frozenset[State] | None
    labels: tuple[tuple[str, str | None], ...] = ()
    kinds: frozenset[str] | None = None

    def takes(self, stitch: Stitch) -> bool:
        """Whether a stitch is among them."""
        if self.states is not None and stitch.state not in self.states:
            return False
        if self.kinds is not None and stitch.request.KIND not in self.kinds:
            return False
        has = dict(stitch.request.labels)
        return all(name in has and value in (None, has[name]) for name, value in self.labels)


def _filter(
    state: Annotated[
        list[State] | None,
        Query(max_length=len(State), description="Only stitches in this state; may be repeated."),
    ] = None,
    kind: Annotated[
        list[Literal["vm", "segment", "bandwidth"]] | None,
        Query(max_length=len(KINDS), description="Only stitches of this kind; may be repeated."),
    ] = None,
    label: Annotated[
        list[Annotated[str, Field(max_length=127)]] | None,
        Query(max_length=16, description="name=value, or name alone for any value; all of them must be there."),
    ] = None,
) -> StitchFilter:
    labels = tuple((name, value if given else None) for name, given, value in map(_parted, label or ()))
    return StitchFilter(
        frozenset(state) if state is not None else None, labels, frozenset(kind) if kind is not None else None
    )


def _parted(label: str) -> tuple[str, str, str]:
    return label.partition("=")


FilterOf = Annotated[StitchFilter, Depends(_filter)]


@router.get("", dependencies=[READS], responses=LINKED)
def get_stitches(apps: AppsOf, who: Who, page: PageOf, only: FilterOf) -> list[StitchView]:
    """The stitches, the newest last."""
    stitches = all_stitches(apps)
    fabric = fabric_of(apps)
    shown = (stitch for stitch in stitches if only.takes(stitch) and sees_stitch(who, fabric, stitch))
    return [stitch_view(stitch, fabric) for stitch in page.of(shown, lambda stitch: (stitch.id,), int)]


@router.get("/{stitch_id}", dependencies=[READS], responses={**TAGGED, **documented(Kind.UNKNOWN_STITCH)})
def get_stitch(
    apps: AppsOf, who: Who, stitch_id: StitchId, conditions: ConditionsOf, response: Response
) -> StitchView:
    """One stitch."""
    stitch, fabric = one_stitch(apps, who, stitch_id)
    view = stitch_view(stitch, fabric)
    conditions.read(view, response, measured=MEASURED)
    return view


@router.post(
    "",
    status_code=201,
    dependencies=[CHANGES],
    responses={
        201: {"headers": LOCATED},
        202: {"description": "It is on the way still", "model": StitchView, "headers": LOCATED},
        **documented(Kind.UNKNOWN_HOST, Kind.UNKNOWN_VNET, Kind.NOT_POSSIBLE, Kind.NOT_UP),
    },
)
async def post_stitch(
    apps: AppsOf,
    who: Who,
    body: StitchBody,
    change: ChangeOf,
    response: Response,
    wait: WaitOf,
) -> StitchView:
    """Make a stitch. Answers once it is admitted.

    With wait=up, 201 once a probe has crossed it, 202 where it is still on the way after wait_s (30 unless given),
    409 where it failed. With wait_s alone, 201 in any state, once it is up or has failed, or after that time.
    """

    def create() -> tuple[Stitch, Fabric]:
        # Everything the answer needs is asked first: no error may follow once the stitch exists.
        fabric = fabric_of(apps)
        request = request_of(body, fabric_within(who, fabric), who)
        return apps.ask(STITCHER, CreateStitch(request)), fabric

    stitch, fabric = await apps.ask_apart(create)
    response.headers["Location"] = f"/v1/stitches/{stitch.id}"
    stitch = await apps.waiting.one_settled(partial(some_stitches, apps), stitch, wait.within_s)
    if not wait.up:
        return stitch_view(stitch, fabric)
    if stitch.state in ON_THE_WAY:
        response.status_code = 202
    elif stitch.state not in CONFIRMED:
        change.after = stitch_view(stitch, fabric)
        raise not_up(stitch)
    return stitch_view(stitch, fabric)


@router.post("/check", dependencies=[READS], responses=documented(Kind.UNKNOWN_HOST, Kind.UNKNOWN_VNET))
def check_stitch(apps: AppsOf, who: Who, body: StitchBody) -> CheckView:
    """Could this stitch be had now, on which path, and who would make room? Nothing is booked."""
    request = request_of(body, fabric_within(who, fabric_of(apps)), who)
    try:
        room = apps.ask(STITCHER, CheckStitch(request))
    except NotPossible as error:
        return CheckView(possible=False, reason=error.reason, field=error.field, remedy=error.remedy)
    return check_view(room)


@router.delete(
    "/{stitch_id}",
    dependencies=[CHANGES],
    responses={
        202: {"description": "It is being taken away", "model": StitchView},
        **GUARDED,
        **documented(Kind.UNKNOWN_STITCH, Kind.WRONG_STATE),
    },
)
def delete_stitch(
    apps: AppsOf,
    who: Who,
    stitch_id: StitchId,
    conditions: ConditionsOf,
    change: ChangeOf,
    response: Response,
) -> StitchView:
    """Take a stitch away. One that has ended stays as it is, so that asking twice does no harm."""
    stitch, fabric = one_stitch(apps, who, stitch_id)
    change.before = stitch_view(stitch, fabric)
    conditions.check(change.before, measured=MEASURED)
    if stitch.state not in ENDED:
        # The app answered just now: that it knows no such stitch means that the stitch has gone since.
        stitch = apps.ask(STITCHER, DeleteStitch(stitch_id), missing=unknown_stitch(stitch_id))
    if stitch.state not in ENDED:
        response.status_code = 202
    return stitch_view(stitch, fabric)


def all_stitches(apps: Apps) -> tuple[Stitch, ...]:
    """All stitches, the newest last."""
    return apps.ask(STITCHER, StitchesRequest())


def some_stitches(apps: Apps, numbers: frozenset[int], but: frozenset[State]) -> tuple[Stitch, ...]:
    """Those of these numbers, except those in such states."""
    return apps.ask(STITCHER, StitchesRequest(numbers, but))


def one_stitch(apps: Apps, who: Principal, stitch_id: int) -> tuple[Stitch, Fabric]:
    """A stitch that the caller sees, and the fabric it is in. Raises a 404 problem where there is none."""
    stitches = some_stitches(apps, frozenset({stitch_id}), frozenset())
    fabric = fabric_of(apps)
    for stitch in stitches:
        if stitch.id == stitch_id and sees_stitch(who, fabric, stitch):
            return stitch, fabric
    raise unknown_stitch(stitch_id)


def not_up(stitch: Stitch) -> Problem:
    """It was to be waited for, and did not come up."""
    location = f"/v1/stitches/{stitch.id}"
    return Problem(
        Kind.NOT_UP,
        f"stitch {stitch.id} is {stitch.state}: {stitch.reason or 'no reason was given'}",
        remedy=f"GET {location} follows it, as one that failed is tried again; DELETE it to give it up",
        headers={"Location": location},
    )


def unknown_stitch(stitch_id: int) -> Problem:
    """The problem that there is no such stitch."""
    return Problem(
        Kind.UNKNOWN_STITCH,
        f"there is no stitch {stitch_id}",
        field="stitch_id",
        remedy="GET /v1/stitches lists them",
    )
