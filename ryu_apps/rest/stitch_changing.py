"""PATCH /v1/stitches/{stitch_id}: other terms for a stitch that is there."""

from __future__ import annotations

from functools import partial

from fastapi import APIRouter, Response

from ryu_apps.events import ChangeStitch, StitchChanged
from ryu_apps.rest.access.audit import Change, ChangeOf
from ryu_apps.rest.access.roles import Principal, Who
from ryu_apps.rest.apps import STITCHER, Apps, AppsOf
from ryu_apps.rest.conditions import GUARDED, Conditions, ConditionsOf
from ryu_apps.rest.fabric import Fabric
from ryu_apps.rest.problems import Kind, Problem, documented
from ryu_apps.rest.scoping import check_priority
from ryu_apps.rest.stitch_changes import StitchChangeBody, changed
from ryu_apps.rest.stitch_views import StitchView, stitch_view
from ryu_apps.rest.stitches import (
    CHANGES,
    MEASURED,
    StitchId,
    not_up,
    one_stitch,
    some_stitches,
    unknown_stitch,
)
from ryu_apps.rest.wait_query import WaitOf
from ryu_apps.rest.waiting import CONFIRMED, ON_THE_WAY
from stitching.changing import as_asked
from stitching.decisions import ORIGIN as TRIGGER
from stitching.intents.wanted import key_of
from stitching.intents.world import is_ours
from stitching.stitch import ENDED, Stitch, StitchRequest

router = APIRouter(prefix="/stitches", tags=["stitches"])

_TRIES = 5
"""How often a change is put to what somebody else has changed meanwhile, where the caller did not say If-Match."""


@router.patch(
    "/{stitch_id}",
    dependencies=[CHANGES],
    responses={
        202: {"description": "It is on the way still", "model": StitchView},
        **GUARDED,
        **documented(Kind.UNKNOWN_STITCH, Kind.NOT_POSSIBLE, Kind.WRONG_STATE, Kind.NOT_YOURS, Kind.NOT_UP),
    },
)
async def patch_stitch(
    apps: AppsOf,
    who: Who,
    stitch_id: StitchId,
    body: StitchChangeBody,
    conditions: ConditionsOf,
    change: ChangeOf,
    response: Response,
    wait: WaitOf,
) -> StitchView:
    """Give a stitch other terms; what is refused leaves it as it was.

    Only what is promised changes where its links have that; else it moves to another path before it leaves the old
    one. With wait=up, 200 once a probe has crossed it, 202 where it is still on the way after wait_s (30 unless
    given), 409 where it went back to the terms it had, or failed. One that waits or failed is tried on its new
    terms at once.
    """
    changing = partial(_change, apps, who, stitch_id, body, conditions, change)
    stitch, fabric, wanted = await apps.ask_apart(changing)
    stitch = await apps.waiting.one_settled(partial(some_stitches, apps), stitch, wait.within_s)
    change.after = stitch_view(stitch, fabric)
    if wait.up:
        if as_asked(stitch.request) != wanted:
            raise _went_back(stitch)
        if stitch.state in ON_THE_WAY:
            response.status_code = 202
        elif stitch.state not in CONFIRMED:
            raise not_up(stitch)
    return stitch_view(stitch, fabric)


def _change(
    apps: Apps, who: Principal, stitch_id: int, body: StitchChangeBody, conditions: Conditions, change: Change
) -> tuple[Stitch, Fabric, StitchRequest]:
    """The stitch as it was changed, and what is asked of it now. Two who change it one after the other both do."""
    for _ in range(_TRIES):
        stitch, fabric = one_stitch(apps, who, stitch_id)
        change.before = stitch_view(stitch, fabric)
        conditions.check(change.before, measured=MEASURED)
        _check_whose(stitch)
        wanted, had = changed(stitch, body), as_asked(stitch.request)
        if wanted == had:
            return stitch, fabric, wanted
        # Also where it has that priority already: more of anything may be at the cost of others.
        check_priority(who, wanted.priority)
        try:
            ask = ChangeStitch(stitch_id, wanted, had)
            return apps.ask(STITCHER, ask, missing=unknown_stitch(stitch_id)), fabric, wanted
        except StitchChanged:
            continue
    raise Problem(
        Kind.WRONG_STATE, f"stitch {stitch_id} is changed again and again", remedy="see who does, and try again"
    )


def _check_whose(stitch: Stitch) -> None:
    """Raise a problem for what somebody keeps as it is, or what is over."""
    number = stitch.id
    if stitch.state in ENDED:
        raise Problem(Kind.WRONG_STATE, f"stitch {number} is {stitch.state}", remedy="make another one")
    if is_ours(stitch):
        name = key_of(stitch.request)[0]
        raise Problem(
            Kind.NOT_YOURS,
            f"stitch {number} is kept as the intent {name!r} wants it",
            remedy=f"change the intent: PUT /v1/intents/{name}",
        )
    if stitch.request.origin == TRIGGER:
        raise Problem(
            Kind.NOT_YOURS,
            f"stitch {number} follows the forecast",
            remedy="ask for a stitch of your own between its hosts: it takes the place of this one",
        )


def _went_back(stitch: Stitch) -> Problem:
    why = stitch.reason or "no reason was given"
    return Problem(
        Kind.NOT_UP,
        f"stitch {stitch.id} went back to the terms it had: {why}",
        remedy=f"look at GET /v1/stitches/{stitch.id}, then try again",
    )
