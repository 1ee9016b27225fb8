"""The newest forecast of every link and demand."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from fastapi import APIRouter, Query

from forecasting import Forecast
from ryu_apps.events import Alarm, ForecastStatusRequest, Outlook, OutlookRequest, RecentLoadsRequest
from ryu_apps.predicting.outcomes import INTERVALS
from ryu_apps.predicting.scope import Ahead
from ryu_apps.predicting.track_record import DEMANDS
from ryu_apps.rest.access.roles import Need, Principal, Role, Who, needs
from ryu_apps.rest.apps import DAY_PREDICTOR, PREDICTOR, AppsOf
from ryu_apps.rest.fabric import Fabric, fabric_of
from ryu_apps.rest.pages import LINKED, Page, PageOf
from ryu_apps.rest.problems import Kind, Problem, documented
from ryu_apps.rest.scoping import sees_host
from ryu_apps.rest.views import (
    AlarmView,
    CameTrueView,
    DemandForecastView,
    ForecastsView,
    LinkForecastView,
    QuantileView,
    moment,
)
from stitching.network import LinkKey, node_name

_RECENT = {Ahead.PERIODS: 60, Ahead.DAY: 288}
"""Steps of the past that go with the forecast of one link."""

_SHOWN_OF_A_DAY = 12
"""Of all links and demands every so manieth step of a day is given: all steps of hundreds would be megabytes."""

router = APIRouter(tags=["forecasts"])

Share = Annotated[float, Query(gt=0, le=10, allow_inf_nan=False)]
LinkName = Annotated[str, Query(pattern=r"^[0-9a-fA-F]{16}:[0-9]{1,10}$", description="dpid:port of its source.")]


@router.get(
    "/forecasts",
    dependencies=[needs(Role.VIEWER, scoped=True)],
    responses={**LINKED, **documented(Kind.UNKNOWN_LINK, Kind.FORBIDDEN)},
)
def get_forecasts(
    apps: AppsOf,
    who: Who,
    page: PageOf,
    threshold_share: Share | None = None,
    link: LinkName | None = None,
    ahead: Annotated[Ahead, Query(description="How far to look: a few periods, or a day.")] = Ahead.PERIODS,
) -> ForecastsView:
    """What each link and demand will carry, step by step, and how sure that is.

    With threshold_share, also how likely each link is above that share of its capacity. With link, that link
    alone with what it carried lately, and no demands. A day ahead has many steps: without link some are left out.
    A token with a scope is told of its own demands, and of no link. A page has `limit` links and demands
    together, the links first.
    """
    if link is not None and who.scope is not None:
        Need(Role.VIEWER).check(who)
    predictor = DAY_PREDICTOR if ahead is Ahead.DAY else PREDICTOR
    is_made = ahead is Ahead.PERIODS or apps.settings.day_ahead
    outlook = apps.ask(predictor, OutlookRequest()) if is_made else None
    if outlook is None:
        return ForecastsView(
            ready=False,
            made=None,
            age_s=None,
            step_s=None,
            steps=[],
            samples=0,
            threshold_share=threshold_share,
            came_true=[],
            alarms=[],
            outcomes=0,
            workers_lost=0,
            links=[],
            demands=[],
        )
    fabric = fabric_of(apps)
    rows = _rows(outlook, link) if who.scope is None else []
    mine = [
        row
        for row, pair in enumerate(outlook.pairs)
        if link is None and all(sees_host(who, fabric, mac) for mac in pair)
    ]
    rows, mine = _of_page(page, outlook, rows, mine)
    status = apps.ask(predictor, ForecastStatusRequest())
    apart = _SHOWN_OF_A_DAY if ahead is Ahead.DAY and link is None else 1
    steps = range(apart, outlook.links.horizon + 1, apart)
    views = _links(outlook, fabric, rows, threshold_share, steps)
    if link is not None:
        keys = tuple(outlook.link_keys[row] for row in rows)
        recent = apps.ask(predictor, RecentLoadsRequest(keys, _RECENT[ahead], outlook.time_s))
        for view, loads in zip(views, recent, strict=True):
            view.recent_mbps = _numbers(loads)
    return ForecastsView(
        ready=True,
        made=moment(outlook.time_s),
        age_s=max(0.0, apps.settings.clock() - outlook.time_s),
        step_s=outlook.links.step_s,
        steps=list(steps),
        samples=outlook.samples,
        threshold_share=threshold_share,
        came_true=[
            CameTrueView(interval=level, demands=status.demands.get(level), links=status.loads.get(level))
            for level in INTERVALS
        ],
        alarms=[
            AlarmView(time=moment(alarm.time_s), series=alarm.name, surprise_bits=round(alarm.bits, 1))
            for alarm in status.alarms
            if _sees_alarm(who, fabric, alarm)
        ],
        outcomes=status.demand_outcomes + status.load_outcomes,
        workers_lost=status.workers_lost,
        links=views,
        demands=_demands(outlook, fabric, steps, mine),
    )


def _of_page(page: Page, outlook: Outlook, links: list[int], demands: list[int]) -> tuple[list[int], list[int]]:
    """Which of these rows of links and of demands are on a page: by name, as the next forecast has others."""

    def key(item: tuple[bool, int]) -> tuple[int, str, str]:
        is_demand, row = item
        if is_demand:
            return 1, *outlook.pairs[row]
        dpid, port_no, *_ = outlook.link_keys[row]
        return 0, node_name(dpid), f"{port_no:010d}"

    shown = page.of([*((False, row) for row in links), *((True, row) for row in demands)], key, int, str, str)
    return [row for is_demand, row in shown if not is_demand], [row for is_demand, row in shown if is_demand]


def _rows(outlook: Outlook, link: str | None) -> list[int]:
    """Which links of the forecast are asked for."""
    if link is None:
        return list(range(len(outlook.link_keys)))
    dpid, _, port_no = link.partition(":")
    source = (int(dpid, 16), int(port_no))
    rows = [row for row, key in enumerate(outlook.link_keys) if key[:2] == source]
    if not rows:
        raise Problem(
            Kind.UNKNOWN_LINK,
            f"no link that leaves by {link} is forecast",
            field="link",
            remedy="give src_dpid:src_port of a link of GET /v1/topology; a new one takes a few samples",
        )
    return rows


def _links(
    outlook: Outlook, fabric: Fabric, rows: Iterable[int], threshold_share: float | None, steps: Sequence[int]
) -> list[LinkForecastView]:
    forecast = outlook.links
    capacities = [_capacity_mbps(fabric, key) for key in outlook.link_keys]
    above = None
    if threshold_share is not None:
        above = forecast.prob_above([np.inf if c is None else threshold_share * c for c in capacities])
    views = []
    for row in rows:
        key, capacity_mbps = outlook.link_keys[row], capacities[row]
        views.append(
            LinkForecastView(
                **_series(forecast, row, steps),
                name=f"{node_name(key[0])}:{key[1]}",
                src_dpid=node_name(key[0]),
                src_port=key[1],
                dst_dpid=node_name(key[2]),
                dst_port=key[3],
                capacity_mbps=capacity_mbps,
                prob_above=(
                    _numbers(above[row, _places(steps)])
                    if above is not None and capacity_mbps is not None
                    else None
                ),
            )
        )
    return views


def _sees_alarm(who: Principal, fabric: Fabric, alarm: Alarm) -> bool:
    of_demand = alarm.kind == DEMANDS
    return who.scope is None or (of_demand and all(sees_host(who, fabric, mac) for mac in alarm.name.split(">")))


def _demands(
    outlook: Outlook, fabric: Fabric, steps: Sequence[int], rows: Iterable[int]
) -> list[DemandForecastView]:
    views = []
    for row in rows:
        source_mac, target_mac = outlook.pairs[row]
        source, destination = fabric.member(source_mac), fabric.member(target_mac)
        views.append(
            DemandForecastView(
                **_series(outlook.demands, row, steps),
                name=f"{source.name} > {destination.name}",
                source=source,
                destination=destination,
            )
        )
    return views


def _series(forecast: Forecast, row: int, steps: Sequence[int]) -> dict[str, Any]:
    places = _places(steps)
    quantiles = [
        QuantileView(level=level, mbps=_numbers(forecast.quantiles[row, places, column]))
        for column, level in enumerate(forecast.levels)
    ]
    return {
        "mean_mbps": _numbers(forecast.mean[row, places]),
        "quantiles": quantiles,
        "cold": bool(forecast.cold[row]),
    }


def _places(steps: Sequence[int]) -> npt.NDArray[np.intp]:
    """Where steps, counted from 1, are in the arrays of a forecast."""
    return np.array(steps, dtype=np.intp) - 1


def _capacity_mbps(fabric: Fabric, key: LinkKey) -> float | None:
    link = fabric.network.links.get(key)
    return link.capacity_mbps if link is not None else None


def _numbers(values: npt.NDArray[np.float64]) -> list[float | None]:
    """JSON has no NaN and no infinity; both mean that the value is not known."""
    return [round(float(value), 6) if np.isfinite(value) else None for value in values]
