"""Stitches: made, asked about, listed and taken away."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Path, Query, Response
from fastapi.concurrency import run_in_threadpool

from ryu_apps.events import CheckStitch, CreateStitch, DeleteStitch, StitchesRequest
from ryu_apps.rest.apps import STITCHER, Apps, AppsOf
from ryu_apps.rest.bodies import StitchBody
from ryu_apps.rest.fabric import Fabric, fabric_of, link_ref_view, path_view
from ryu_apps.rest.problems import Kind, Problem, documented
from ryu_apps.rest.views import CheckView, StitchView, moment
from stitching.plan import NotPossible
from stitching.stitch import ENDED, State, Stitch, StitchRequest

router = APIRouter(prefix="/stitches", tags=["stitches"])

StitchId = Annotated[int, Path(ge=1, le=0xFFFFFFFF)]

_ON_THE_WAY = frozenset({State.REQUESTED, State.ESTABLISHING, State.ADJUSTING})
_FIRST_POLL_S = 0.005
_LAST_POLL_S = 0.02


@router.get("")
def get_stitches(apps: AppsOf, state: Annotated[list[State] | None, Query()] = None) -> list[StitchView]:
    """All stitches, the newest last; with ?state= (may be repeated) those in that state."""
    stitches = sorted(apps.ask(STITCHER, StitchesRequest()), key=lambda stitch: stitch.id)
    fabric = fabric_of(apps)
    return [_view(stitch, fabric) for stitch in stitches if state is None or stitch.state in state]


@router.get("/{stitch_id}", responses=documented(Kind.UNKNOWN_STITCH))
def get_stitch(apps: AppsOf, stitch_id: StitchId) -> StitchView:
    """One stitch."""
    return _view(_one(apps, stitch_id), fabric_of(apps))


@router.post(
    "",
    status_code=201,
    responses={
        **documented(Kind.UNKNOWN_HOST, Kind.NOT_POSSIBLE),
        201: {"headers": {"Location": {"schema": {"type": "string"}, "description": "Where the stitch is"}}},
    },
)
async def post_stitch(
    apps: AppsOf,
    body: StitchBody,
    response: Response,
    wait_s: Annotated[float, Query(ge=0, le=30, allow_inf_nan=False)] = 0.0,
) -> StitchView:
    """Make a stitch. Answers once it is admitted; with wait_s, once it is up or has failed, or after that time."""
    # Everything the answer needs is asked first: no error may follow once the stitch exists.
    fabric = await run_in_threadpool(fabric_of, apps)
    request = _request(body, fabric)
    stitch = await run_in_threadpool(apps.ask, STITCHER, CreateStitch(request))
    response.headers["Location"] = f"/v1/stitches/{stitch.id}"
    return _view(await _settled(apps, stitch, wait_s), fabric)


@router.post("/check", responses=documented(Kind.UNKNOWN_HOST))
def check_stitch(apps: AppsOf, body: StitchBody) -> CheckView:
    """Could this stitch be had now, and on which path? Nothing is booked."""
    request = _request(body, fabric_of(apps))
    try:
        path = apps.ask(STITCHER, CheckStitch(request))
    except NotPossible as error:
        return CheckView(possible=False, reason=error.reason, field=error.field, remedy=error.remedy)
    return CheckView(possible=True, path=path_view(path), latency_ms=path.latency_ms)


@router.delete(
    "/{stitch_id}",
    responses={
        202: {"description": "It is being taken away", "model": StitchView},
        **documented(Kind.UNKNOWN_STITCH, Kind.WRONG_STATE),
    },
)
def delete_stitch(apps: AppsOf, stitch_id: StitchId, response: Response) -> StitchView:
    """Take a stitch away. One that has ended stays as it is, so that asking twice does no harm."""
    stitch = _one(apps, stitch_id)
    fabric = fabric_of(apps)
    if stitch.state not in ENDED:
        # The app answered just now: that it knows no such stitch means that the stitch has gone since.
        stitch = apps.ask(STITCHER, DeleteStitch(stitch_id), missing=_unknown(stitch_id))
    if stitch.state not in ENDED:
        response.status_code = 202
    return _view(stitch, fabric)


async def _settled(apps: Apps, stitch: Stitch, wait_s: float) -> Stitch:
    """The stitch once it is on the way no more, or as it was last seen when the time is over."""
    loop = asyncio.get_running_loop()
    deadline_s = loop.time() + wait_s
    poll_s = _FIRST_POLL_S
    while stitch.state in _ON_THE_WAY and loop.time() < deadline_s:
        await asyncio.sleep(min(poll_s, max(0.0, deadline_s - loop.time())))
        poll_s = min(2 * poll_s, _LAST_POLL_S)
        try:
            stitches = await run_in_threadpool(apps.ask, STITCHER, StitchesRequest())
        except Problem:
            # The stitch exists: its caller is told so, as far as it got, and not that something was late.
            continue
        stitch = next((known for known in stitches if known.id == stitch.id), stitch)
    return stitch


def _request(body: StitchBody, fabric: Fabric) -> StitchRequest:
    return StitchRequest(
        source_mac=fabric.find(body.source, "source").mac,
        target_mac=fabric.find(body.destination, "destination").mac,
        bandwidth_mbps=body.bandwidth_mbps,
        max_latency_ms=body.max_latency_ms,
    )


def _one(apps: Apps, stitch_id: int) -> Stitch:
    for stitch in apps.ask(STITCHER, StitchesRequest()):
        if stitch.id == stitch_id:
            return stitch
    raise _unknown(stitch_id)


def _unknown(stitch_id: int) -> Problem:
    return Problem(
        Kind.UNKNOWN_STITCH,
        f"there is no stitch {stitch_id}",
        field="stitch_id",
        remedy="GET /v1/stitches lists them",
    )


def _view(stitch: Stitch, fabric: Fabric) -> StitchView:
    request = stitch.request
    return StitchView(
        id=stitch.id,
        state=stitch.state,
        reason=stitch.reason,
        source=fabric.member(request.source_mac),
        destination=fabric.member(request.target_mac),
        bandwidth_mbps=request.bandwidth_mbps,
        max_latency_ms=request.max_latency_ms,
        origin=request.origin,
        both_ways=request.both_ways,
        relieves=link_ref_view(request.relieves) if request.relieves else None,
        path=path_view(stitch.path) if stitch.path else None,
        latency_ms=stitch.path.latency_ms if stitch.path else None,
        probe_ms=stitch.probe_ms,
        load_mbps=fabric.rates.stitch_mbps.get(stitch.id) if fabric.rates else None,
        created=moment(stitch.created_s),
        changed=moment(stitch.changed_s),
        up_since=moment(stitch.up_s) if stitch.up_s is not None else None,
    )
