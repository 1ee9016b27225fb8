"""Many stitches in one request: each is made, or has a problem of its own."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, Field

from ryu_apps.events import CreateStitches
from ryu_apps.rest.access.audit import ChangeOf
from ryu_apps.rest.access.roles import Principal, Who
from ryu_apps.rest.apps import STITCHER, AppsOf
from ryu_apps.rest.bodies import Body
from ryu_apps.rest.fabric import Fabric, fabric_of
from ryu_apps.rest.failures import refusal
from ryu_apps.rest.problems import Problem, ProblemView
from ryu_apps.rest.scoping import fabric_within
from ryu_apps.rest.stitch_bodies import StitchBody
from ryu_apps.rest.stitch_requests import request_of
from ryu_apps.rest.stitch_views import StitchView, stitch_view
from ryu_apps.rest.stitches import CHANGES, some_stitches
from ryu_apps.rest.wait_query import WaitOf
from stitching.stitch import Stitch, StitchRequest

router = APIRouter(prefix="/stitches", tags=["stitches"])

MOST = 1_000
"""Stitches in one request: planning them takes a second or two, in which others wait."""


_RECORDED_WHOLE = 20
"""Batches of so many are in the audit as they were answered, too."""


class BatchBody(Body):
    """Stitches that are wanted, in the order in which they are to be tried."""

    stitches: Annotated[list[StitchBody], Field(min_length=1, max_length=MOST)]


class BatchItemView(BaseModel):
    """What became of one of them: the stitch, or what stood in its way."""

    stitch: StitchView | None = None
    problem: ProblemView | None = None


class BatchView(BaseModel):
    """What became of each, in the order asked for."""

    items: list[BatchItemView]


@router.post("/batch", dependencies=[CHANGES])
async def post_stitches(
    apps: AppsOf,
    who: Who,
    body: BatchBody,
    wait: WaitOf,
    change: ChangeOf,
) -> BatchView:
    """Make many stitches at once. They are stored together, which is much faster than one by one.

    Each of them is made or refused by itself; with wait=up, look at the state of each.
    """

    def create() -> tuple[list[Stitch | Exception], Fabric]:
        fabric = fabric_of(apps)
        visible = fabric_within(who, fabric)
        wanted = [_wanted(item, visible, who) for item in body.stitches]
        requests = tuple(item for item in wanted if not isinstance(item, Problem))
        made = iter(apps.ask(STITCHER, CreateStitches(requests))) if requests else iter(())
        return [item if isinstance(item, Problem) else next(made) for item in wanted], fabric

    made, fabric = await apps.ask_apart(create)
    begun = [stitch for stitch in made if isinstance(stitch, Stitch)]
    # On record however it goes on: whoever asked may be gone before all are settled.
    change.after = in_short = _in_short(made)
    settled = iter(await apps.waiting.settled(partial(some_stitches, apps), begun, wait.within_s))
    items = [
        BatchItemView(problem=refusal(item).view)
        if isinstance(item, Exception)
        else BatchItemView(stitch=stitch_view(next(settled), fabric))
        for item in made
    ]
    if len(items) <= _RECORDED_WHOLE:
        change.after = {**in_short, "items": items}
    return BatchView(items=items)


def _in_short(made: list[Stitch | Exception]) -> dict[str, list[int]]:
    """What the audit says of a batch of any size: the ids of what was made, and the places of what was refused."""
    return {
        "ids": [item.id for item in made if isinstance(item, Stitch)],
        "refused_at": [place for place, item in enumerate(made) if isinstance(item, Exception)],
    }


def _wanted(body: StitchBody, fabric: Fabric, who: Principal) -> StitchRequest | Problem:
    try:
        return request_of(body, fabric, who)
    except Problem as problem:
        return problem
