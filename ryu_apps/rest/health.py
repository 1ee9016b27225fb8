"""Is every part of the controller doing its work?"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from typing import TypeVar

from fastapi import APIRouter
from fastapi.concurrency import run_in_threadpool

from ryu_apps.app import Request
from ryu_apps.events import (
    ForecastStatus,
    ForecastStatusRequest,
    InstallerStatus,
    InstallerStatusRequest,
    NetworkRequest,
    Outlook,
    OutlookRequest,
    OvsdbStatusRequest,
    Rates,
    RatesRequest,
    RecorderStatus,
    RecorderStatusRequest,
    StitchesRequest,
    UnsavedRequest,
    VnetsRequest,
)
from ryu_apps.events.overlay import OverlayAnswer, OverlayRequest
from ryu_apps.guests.share import Share
from ryu_apps.rest.access.roles import Role, needs
from ryu_apps.rest.advice import advice
from ryu_apps.rest.apps import (
    DAY_PREDICTOR,
    DISCOVERY,
    FORWARDING,
    INSTALLER,
    OVSDB,
    PREDICTOR,
    RECORDER,
    SITE_OVERLAY,
    STITCHER,
    TELEMETRY,
    Apps,
    AppsOf,
)
from ryu_apps.rest.problems import Problem
from ryu_apps.rest.views import HealthView, InstallerView
from stitching.difference import Difference
from stitching.network import Network, node_name
from stitching.stitch import State, Stitch

Answer = TypeVar("Answer")

router = APIRouter(tags=["health"])

STALE_PERIODS = 5
"""So many polling periods without a sample, and something is wrong."""

_FAILURES = 2
"""The first is made good at once by another process."""

_NAMED = 5


@dataclass(frozen=True, slots=True)
class _Probe:
    """Asks apps, and keeps a reason for each that does not answer."""

    apps: Apps
    reasons: list[str] = field(default_factory=list)

    async def ask(self, name: str, request: Request[Answer]) -> Answer | None:
        """The answer, or None with a reason. No fault of an app may hide how the others are."""
        try:
            return await run_in_threadpool(self.apps.ask, name, request)
        except Problem as problem:
            self.reasons.append(problem.view.detail)
        except Exception as error:  # noqa: BLE001  # a fault inside the app is what this page is for
            self.reasons.append(f"{name} fails to answer ({type(error).__name__}); its log says why")
        return None

    async def of_overlay(self) -> OverlayAnswer | None:
        """How sites are joined; None without a reason where none are to be."""
        return await self.ask(SITE_OVERLAY, OverlayRequest()) if self.apps.settings.overlay else None

    async def of_day(self, request: Request[Answer]) -> Answer | None:
        """The answer of who looks a day ahead; None without a reason where nobody does."""
        return await self.ask(DAY_PREDICTOR, request) if self.apps.settings.day_ahead else None


@router.get("/health", dependencies=[needs(Role.VIEWER)])
async def get_health(apps: AppsOf) -> HealthView:
    """Whether every part does its work. The status is 200 either way: the question was answered."""
    probe = _Probe(apps)
    network, _, rates, outlook, stitches, status = await asyncio.gather(
        probe.ask(DISCOVERY, NetworkRequest()),
        probe.ask(FORWARDING, VnetsRequest()),
        probe.ask(TELEMETRY, RatesRequest()),
        probe.ask(PREDICTOR, OutlookRequest()),
        probe.ask(STITCHER, StitchesRequest()),
        probe.ask(INSTALLER, InstallerStatusRequest()),
    )
    unsaved, recorder, forecasts, day_outlook, day, ovsdb = await asyncio.gather(
        probe.ask(STITCHER, UnsavedRequest()),
        probe.ask(RECORDER, RecorderStatusRequest()),
        probe.ask(PREDICTOR, ForecastStatusRequest()),
        probe.of_day(OutlookRequest()),
        probe.of_day(ForecastStatusRequest()),
        probe.ask(OVSDB, OvsdbStatusRequest()),
    )
    overlay = await probe.of_overlay()
    now_s = apps.settings.clock()
    uptime_s = max(0.0, now_s - apps.started_s)
    age_s = max(0.0, now_s - rates.time_s) if rates is not None else None
    reasons = [
        *probe.reasons,
        *_of_network(network),
        *_of_samples(network, rates, age_s, uptime_s, apps.settings.period_s),
        *_of_installer(network, status),
        *_of_stitches(stitches or ()),
        *_of_outlook("forecast", "periods", outlook, forecasts),
        *_of_outlook("outlook over a day", "steps", day_outlook, day),
        *_of_stores(unsaved or 0, recorder or RecorderStatus()),
        *_of_overlay(overlay),
        *apps.settings.complaints(),
    ]
    depths = apps.settings.queue_depths
    return HealthView(
        status="degraded" if reasons else "ok",
        reasons=reasons,
        advice=advice(stitches or (), ovsdb) if ovsdb is not None else [],
        version=version(),
        uptime_s=uptime_s,
        switches_connected=len(network.switches) if network is not None else None,
        samples_age_s=age_s,
        stitches=dict(Counter(stitch.state.value for stitch in stitches)) if stitches is not None else None,
        installer=_installer(status) if status is not None else None,
        queue_depths=dict(depths()) if depths is not None else None,
    )


def version() -> str:
    """The version of this installation."""
    try:
        return metadata.version("lockstitch")
    except metadata.PackageNotFoundError:
        return "unknown"


def _of_network(network: Network | None) -> list[str]:
    away = [dpid for dpid in network.dpids if dpid not in network.switches] if network is not None else []
    return [f"switches known but not connected: {_names(away)}"] if away else []


def _of_samples(
    network: Network | None, rates: Rates | None, age_s: float | None, uptime_s: float, period_s: float
) -> list[str]:
    if network is None or not network.switches:
        return []
    limit_s = STALE_PERIODS * period_s
    if rates is None:
        return ["no samples yet although switches are connected"] if uptime_s > limit_s else []
    assert age_s is not None  # there are rates
    return [f"the newest samples are {age_s:.0f} s old"] if age_s > limit_s else []


def _of_installer(network: Network | None, status: InstallerStatus | None) -> list[str]:
    if status is None:
        return []
    reasons = []
    waiting = sorted(set(network.switches) - status.ready) if network is not None else []
    if waiting:
        reasons.append(f"switches whose rules have not been read yet: {_names(waiting)}")
    if differing := sorted(dpid for dpid, difference in status.differences.items() if difference):
        said = [f"{node_name(dpid)} ({_counts(status.differences[dpid])})" for dpid in differing]
        more = f" and {len(said) - _NAMED} more" if len(said) > _NAMED else ""
        reasons.append(f"switches whose rules are not what they should be: {', '.join(said[:_NAMED])}{more}")
    if status.abandoned:
        said = [f"{node_name(dpid)} ({_left(status.abandoned[dpid])})" for dpid in sorted(status.abandoned)]
        more = f" and {len(said) - _NAMED} more" if len(said) > _NAMED else ""
        reasons.append(
            f"rules of hosted apps that do not run are on switches: {', '.join(said[:_NAMED])}{more}; host the "
            "apps again (lockstitch controller --app), or lockstitch reconcile --remove-guests takes them out"
        )
    return reasons


def _left(abandoned: Mapping[int, int]) -> str:
    """How many rules apps have left, and in which tables."""
    return ", ".join(
        f"{count} in tables {Share.of_owner(owner).tables}" for owner, count in sorted(abandoned.items())
    )


def _counts(difference: Difference) -> str:
    """How many entries differ in which way; excess are those under our cookie that nobody of ours wants."""
    counts = {name: len(getattr(difference, name)) for name in ("missing", "wrong", "excess")}
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count)


def _of_stitches(stitches: Iterable[Stitch]) -> list[str]:
    """Stitches that do not do what was asked of them, each with its reason."""
    wrong = [stitch for stitch in stitches if stitch.state in (State.DEGRADED, State.DOWN, State.FAILED)]
    shown = [f"stitch {stitch.id} is {stitch.state}: {stitch.reason}" for stitch in wrong[:_NAMED]]
    return [*shown, f"{len(wrong) - _NAMED} more stitches are not up"] if len(wrong) > _NAMED else shown


def _of_outlook(name: str, steps: str, outlook: Outlook | None, status: ForecastStatus | None) -> list[str]:
    reasons = []
    if outlook is not None and outlook.left_out:
        reasons.append(
            f"{outlook.left_out} demands are not in the {name}: only the {len(outlook.pairs)} largest are"
        )
    if status is None:
        return reasons
    if status.failures >= _FAILURES:
        reasons.append(
            f"the {name} failed {status.failures} times in a row, all is said to stay as it is; the log says why"
        )
    elif status.waited >= STALE_PERIODS:
        reasons.append(f"the newest {name} is {status.waited} {steps} old: its process is too slow, or hangs")
    if status.fit_failures:
        reasons.append(
            f"the newest fit of the {name} is overdue: {status.fit_failures} in a row failed; the log says why"
        )
    return reasons


def _of_stores(unsaved: int, recorder: RecorderStatus) -> list[str]:
    """What the disk does not take. It is done all the same, and would be forgotten with the next start."""
    reasons = []
    if unsaved:
        reasons.append(f"{unsaved} stitches could not be stored as they are; the log says why")
    if recorder.fabric_unsaved:
        reasons.append("the fabric could not be stored; the log says why")
    if recorder.history_failing:
        reasons.append(
            f"the history is not written, {recorder.history_dropped} periods are lost; the log says why"
        )
    return reasons


def _of_overlay(overlay: OverlayAnswer | None) -> list[str]:
    """What keeps the overlay from its work, and sites from theirs."""
    if overlay is None:
        return []
    reasons = [f"overlay: {problem}" for problem in overlay.problems]
    away = sorted(site.name for serial, site in overlay.sites.items() if serial not in overlay.connected)
    if away:
        more = f" and {len(away) - _NAMED} more" if len(away) > _NAMED else ""
        reasons.append(f"overlay: sites that are not connected: {', '.join(away[:_NAMED])}{more}")
    said = [
        f"overlay: site {site.name}: {problem}"
        for serial, site in overlay.sites.items()
        if serial in overlay.connected and serial in overlay.said
        for problem in overlay.said[serial].problems
    ]
    rest = [f"overlay: {len(said) - _NAMED} more problems of sites"] if len(said) > _NAMED else []
    return [*reasons, *said[:_NAMED], *rest]


def _installer(status: InstallerStatus) -> InstallerView:
    return InstallerView(
        rules_added=status.rules_added,
        rules_removed=status.rules_removed,
        rules_kept=status.rules_kept,
        errors=status.errors,
        switches_ready=len(status.ready),
        switches_differing=[node_name(d) for d in sorted(status.differences) if status.differences[d]],
    )


def _names(dpids: list[int]) -> str:
    more = f" and {len(dpids) - _NAMED} more" if len(dpids) > _NAMED else ""
    return ", ".join(node_name(dpid) for dpid in dpids[:_NAMED]) + more
