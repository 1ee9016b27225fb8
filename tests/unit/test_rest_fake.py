"""A controller without apps: answers every question the API may ask, and fails as `ryu_apps.app.ask` fails."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI

from forecasting import Forecast
from pathing import Resources
from ryu_apps.app import Request, ask
from ryu_apps.events import (
    ChangeStitch,
    CheckStitch,
    CreateStitch,
    CreateStitches,
    DeleteStitch,
    DeleteVnet,
    ExplainRequest,
    ForecastStatus,
    ForecastStatusRequest,
    InstallerStatus,
    InstallerStatusRequest,
    NetworkChanged,
    NetworkRequest,
    NotReconciled,
    Outlook,
    OutlookRequest,
    OvsdbStatus,
    OvsdbStatusRequest,
    PolicyRequest,
    PolicyVersionsRequest,
    PutPolicy,
    PutVnet,
    Rates,
    RatesRequest,
    RecentLoadsRequest,
    Reconcile,
    Reconciled,
    RecorderStatus,
    RecorderStatusRequest,
    ReservationsRequest,
    SetCapacities,
    SetEncrypted,
    SetSwitchOvsdb,
    StitchChanged,
    StitchesChanged,
    StitchesRequest,
    UnsavedRequest,
    VnetsChanged,
    VnetsRequest,
)
from ryu_apps.events.overlay import (
    ClassesRequest,
    DeleteClass,
    DeleteRule,
    ExplainBetweenSites,
    OrderKeys,
    OverlayAnswer,
    OverlayRequest,
    PutClass,
    PutRule,
    RulesRequest,
    SetUplinkTerms,
)
from ryu_apps.ofctl.app import AskSwitch, ChangeSwitch, ConnectedSwitches
from ryu_apps.overlay.defined import Defined
from ryu_apps.ovsdb.remotes import check_remote
from ryu_apps.policing import Policing
from ryu_apps.rest.api import create_api
from ryu_apps.rest.apps import DAY_PREDICTOR, SITE_OVERLAY, ApiSettings
from ryu_apps.store import StateStore
from stitching.admission import Admission
from stitching.changing import as_asked, refuse_change
from stitching.difference import Difference
from stitching.displacing import Room
from stitching.kinds import links_to_reserve, place, refuse, rivals
from stitching.match import L3Match, Match
from stitching.network import Host, Link, LinkKey, Network, Port, PortId
from stitching.overlay.explaining import SiteExplanation
from stitching.plan import NotPossible, Situation
from stitching.policy.document import NO_POLICY
from stitching.policy.reading import read_policy
from stitching.promises import LinkPromises, promises
from stitching.routes import default_routes
from stitching.rules import PORT_IN_PORT, Failover, FlowRule, Meter, Output, ToGroup
from stitching.stitch import ENDED, BadTransition, State, Stitch, StitchRequest, VmRequest
from stitching.vnet import Directory, Member, VNet
from tests.unit import fake_intender
from tests.unit.fake_intender import HandIntender
from tests.unit.fake_switches import Switches

TOKEN = "a-token-that-only-the-tests-know"  # noqa: S105  # it opens nothing
NOW_S = 1_790_000_000.0
MACS = [f"02:00:00:00:00:0{number}" for number in range(1, 5)]


def fabric() -> Network:
    """Three switches in a row and a fourth that is away; h1 and h2 at the ends, h3 beside h1, h4 elsewhere."""
    keys: list[LinkKey] = [(1, 10, 2, 10), (2, 10, 1, 10), (2, 11, 3, 10), (3, 10, 2, 11), (3, 12, 4, 12)]
    links = {key: Link(key, 10.0, 1.5, 1.6, 0.1) for key in keys}
    links[3, 12, 4, 12] = Link((3, 12, 4, 12))
    places = zip(MACS, ((1, 1), (3, 1), (1, 2), (2, 1)), strict=True)
    hosts = {mac: Host(mac, *port, frozenset({f"10.0.0.{n}"})) for n, (mac, port) in enumerate(places, 1)}
    ports = {
        1: Port(1, "eth1", "02:aa:00:00:00:01", up=True),
        10: Port(10, "eth10", "02:aa:00:00:00:0a", up=False),
    }
    return Network(dict.fromkeys((1, 2, 3), ports), links, hosts)


def outlook() -> Outlook:
    """Two links and a demand, three steps of 5 s: quantiles from 1 to 12 Mbit/s, one of them not a number."""
    quantiles = np.linspace(1.0, 12.0, 18).reshape(2, 3, 3)
    links = Forecast(("a", "b"), 5.0, (0.1, 0.5, 0.9), quantiles[:, :, 1], quantiles, np.zeros(2, np.bool_))
    mean = np.array([[1.0, np.nan, 3.0]])
    demands = Forecast(("d",), 5.0, (0.1, 0.5, 0.9), mean, quantiles[:1], np.zeros(1, np.bool_))
    keys: tuple[LinkKey, ...] = ((1, 10, 2, 10), (3, 12, 4, 12))
    return Outlook(NOW_S, keys, links, ((MACS[0], MACS[1]),), demands, samples=42)


def day_outlook() -> Outlook:
    """The same links and demand over a day of 288 steps; the mean of the first link at a step is its number."""
    rising = np.arange(1.0, 289.0)
    quantiles = np.repeat(np.stack([rising, rising + 1000.0])[:, :, None], 3, axis=2) + np.array([-1.0, 0.0, 1.0])
    links = Forecast(("a", "b"), 300.0, (0.1, 0.5, 0.9), quantiles[:, :, 1], quantiles, np.zeros(2, np.bool_))
    demands = Forecast(("d",), 300.0, (0.1, 0.5, 0.9), quantiles[:1, :, 1], quantiles[:1], np.zeros(1, np.bool_))
    return replace(outlook(), links=links, demands=demands, samples=4000)


@dataclass
class FakeController:
    """Stands for all apps. `broken`: what asking an app raises; `after_create`: what the newest stitch becomes."""

    network: Network = field(default_factory=fabric)
    vnets: dict[str, VNet] = field(default_factory=dict)
    rates: Rates | None = None
    outlook: Outlook | None = None
    day_outlook: Outlook | None = None
    stitches: dict[int, Stitch] = field(default_factory=dict)
    forecasts: ForecastStatus = field(
        default_factory=lambda: ForecastStatus({0.5: 0.51, 0.8: 0.78, 0.95: 0.94}, 120, {}, 0)
    )
    day_forecasts: ForecastStatus = field(default_factory=lambda: ForecastStatus({}, 0, {}, 0))
    gives_way: tuple[int, ...] = ()
    unsaved: int = 0
    recorder: RecorderStatus = field(default_factory=RecorderStatus)
    status: InstallerStatus = field(
        default_factory=lambda: InstallerStatus(7, 2, 5, 0, frozenset({1, 2, 3}), {1: Difference()})
    )
    broken: dict[str, Exception] = field(default_factory=dict)
    after_create: list[State] = field(default_factory=list)
    asked: list[Request[Any]] = field(default_factory=list)
    switches: Switches = field(default_factory=Switches)
    ovsdb: dict[int, str] = field(default_factory=dict)
    overlay: OverlayAnswer | None = None
    between: Callable[[ExplainBetweenSites], SiteExplanation | None] = lambda _: None

    def __post_init__(self) -> None:
        self._ids = itertools.count(1)
        self._resources: Resources[LinkKey] = Resources(dict.fromkeys(self.network.links, 10.0))
        self._answers: dict[type, Callable[[Any], Any]] = {
            NetworkRequest: lambda _: self.network,
            SetCapacities: lambda r: sum(link.source in r.capacity_mbps for link in self.network.links.values()),
            SetEncrypted: lambda r: self._mark(r.encrypted),
            VnetsRequest: lambda _: tuple(self.vnets.values()),
            PutVnet: lambda r: self._put(r.vnet),
            DeleteVnet: lambda r: self.vnets.pop(r.name, None) is not None,
            RatesRequest: lambda _: self.rates,
            OutlookRequest: lambda _: self.outlook,
            ForecastStatusRequest: lambda _: self.forecasts,
            RecentLoadsRequest: lambda request: np.full((len(request.links), request.samples), 2.5),
            StitchesRequest: lambda _: self._step(),
            UnsavedRequest: lambda _: self.unsaved,
            ReservationsRequest: lambda _: self._reservations(),
            RecorderStatusRequest: lambda _: self.recorder,
            CreateStitch: lambda r: self._create(r.request),
            CreateStitches: lambda r: [self._try(request) for request in r.requests],
            CheckStitch: lambda r: Room(self._plan(r.request), tuple(self.stitches[i] for i in self.gives_way)),
            DeleteStitch: lambda r: self._delete(r.stitch_id),
            InstallerStatusRequest: lambda _: self.status,
            ChangeStitch: self._change,
            **dict.fromkeys(fake_intender.ASKED, self._intend),
            **dict.fromkeys((PolicyRequest, PolicyVersionsRequest, PutPolicy, ExplainRequest), self._police),
            **dict.fromkeys((ConnectedSwitches, AskSwitch, ChangeSwitch), self.switches),
            Reconcile: self._reconcile,
            OvsdbStatusRequest: lambda _: self._ovsdb_status(),
            SetSwitchOvsdb: self._set_ovsdb,
            OverlayRequest: lambda _: self.overlay,
            ExplainBetweenSites: lambda r: self.between(r),
            ClassesRequest: lambda _: self.defined.classes,
            PutClass: lambda r: self.defined.put_class(r.order, r.matches, r.wants),
            DeleteClass: lambda r: self.defined.delete_class(r.name),
            RulesRequest: lambda _: self.defined.rules,
            PutRule: lambda r: self.defined.put_rule(r.rule),
            DeleteRule: lambda r: self.defined.delete_rule(r.name),
            OrderKeys: lambda _: self.defined.order_keys(),
            SetUplinkTerms: lambda r: self.defined.put_terms(r.terms),
        }

    def _ovsdb_status(self) -> OvsdbStatus:
        nothing: frozenset[Any] = frozenset()
        return OvsdbStatus({}, nothing, nothing, {}, nothing, {}, dict(self.ovsdb), dict(self.ovsdb), 0, "")

    def _set_ovsdb(self, request: SetSwitchOvsdb) -> str | None:
        before = self.ovsdb.pop(request.dpid, None)
        if request.remote is not None:
            self.ovsdb[request.dpid] = check_remote(request.remote)
        return before

    # Made when asked for, as each has a store: most tests need neither.
    @cached_property
    def intender(self) -> HandIntender:
        return HandIntender(lambda name, request: self.ask(name, request, 1.0), NOW_S)

    def _intend(self, request: Any) -> Any:
        """The app itself answers, told what it would have heard of the others."""
        newest = self.ask("Policing", PolicyRequest(), 1.0)
        policy = read_policy(json.loads(newest.document)) if newest is not None else NO_POLICY
        self.intender.told(self.network, tuple(self.vnets.values()), policy)
        return self.intender.answer(request)

    def _change(self, asked: ChangeStitch) -> Stitch:
        stitch = self.stitches.get(asked.stitch_id)
        if stitch is None:
            raise LookupError(f"there is no stitch {asked.stitch_id}")
        if asked.before is not None and as_asked(stitch.request) != asked.before:
            raise StitchChanged("somebody was faster")
        if stitch.state in (State.TERMINATING, State.ADJUSTING):
            raise BadTransition(f"stitch {stitch.id} is {stitch.state}; it can be changed when it is up")
        refuse(asked.request)
        refuse_change(stitch.request, asked.request)
        path = place(asked.request, self._situation, stitch.path)
        return self.add(replace(stitch, request=asked.request, path=path))

    @cached_property
    def defined(self) -> Defined:
        return Defined(StateStore("sqlite://"))

    @cached_property
    def policing(self) -> Policing:
        return Policing(store=StateStore("sqlite://"), clock=lambda: NOW_S)

    def _police(self, request: Any) -> Any:
        """The app itself answers, told what it would have heard of the others."""
        self.policing.on_vnets(VnetsChanged(tuple(self.vnets.values())))
        self.policing.on_network(NetworkChanged(self.network))
        self.policing.on_stitches(StitchesChanged(tuple(self.stitches.values())))
        handlers: dict[type, Callable[[Any], None]] = {
            PolicyRequest: self.policing.on_policy,
            PolicyVersionsRequest: self.policing.on_versions,
            PutPolicy: self.policing.on_put,
            ExplainRequest: self.policing.on_explain,
        }
        handlers[type(request)](request)
        return request.future.result(0)

    def ask(self, name: str, request: Request[Any], timeout_s: float, /) -> Any:
        assert timeout_s > 0
        self.asked.append(request)
        if name in self.broken:
            raise self.broken[name]
        if name == DAY_PREDICTOR and isinstance(request, OutlookRequest):
            return self.day_outlook
        if name == DAY_PREDICTOR and isinstance(request, ForecastStatusRequest):
            return self.day_forecasts
        if name == SITE_OVERLAY and self.overlay is None:
            raise LookupError(f"no app {name!r} is running")
        return self._answers[type(request)](request)

    def add(self, stitch: Stitch) -> Stitch:
        self.stitches[stitch.id] = stitch
        return stitch

    def _reconcile(self, request: Reconcile) -> Reconciled:
        if request.dpid not in (1, 2, 3):
            raise NotReconciled(f"switch {request.dpid:016x}: it is not connected")
        rule = FlowRule(0, 9, Match(eth_type=0x0800, l3=L3Match(ip_dst="10.0.0.0/8")))
        wrong = FlowRule(2, 9, Match(in_port=1), (ToGroup(65538), Output(PORT_IN_PORT)), 3, 7, 19456)
        difference = Difference((rule,), (wrong,), (Failover((1, 2)), Meter(19456, 10, 5)))
        taken = request.remove_guests and not request.dry_run
        abandoned, removed = ({}, {0xE1: 4}) if taken else ({0xE1: 4}, {})
        counts = 40, 3, 2, 1
        return Reconciled(request.dpid, request.dry_run, difference, *counts, abandoned=abandoned, removed=removed)

    def _put(self, vnet: VNet) -> bool:
        Directory.of([*(v for v in self.vnets.values() if v.name != vnet.name), vnet])
        new = vnet.name not in self.vnets
        self.vnets[vnet.name] = vnet
        return new

    def _plan(self, request: StitchRequest) -> Any:
        refuse(request)
        for stitch in rivals(request, (s for s in self.stitches.values() if s.state not in ENDED)):
            raise NotPossible("destination", f"stitch {stitch.id} joins these hosts already", "delete it first")
        return place(request, self._situation)

    @property
    def _situation(self) -> Situation:
        directory = Directory.of(self.vnets.values())
        now = Situation(self.network, directory, self._resources, {})
        return replace(now, routes=lambda: default_routes(self.network, directory))

    def _create(self, request: StitchRequest) -> Stitch:
        path = self._plan(request)
        stitch = Stitch(next(self._ids), request, State.ESTABLISHING, NOW_S, NOW_S, path=path)
        if keys := links_to_reserve(request, path):
            self._resources.reserve(stitch.id, keys, request.bandwidth_mbps)
        return self.add(stitch)

    def _reservations(self) -> tuple[LinkPromises, ...]:
        admission = Admission()
        admission.resources = self._resources
        return promises(admission, self.network)

    def _mark(self, marks: Mapping[PortId, bool]) -> int:
        on = {port for port, encrypted in marks.items() if encrypted}
        self.network = replace(self.network, encrypted_ports=(self.network.encrypted_ports - marks.keys()) | on)
        return sum(link.source in marks for link in self.network.links.values())

    def _try(self, request: VmRequest) -> Stitch | Exception:
        try:
            return self._create(request)
        except NotPossible as error:
            return error

    def _delete(self, stitch_id: int) -> Stitch:
        if stitch_id not in self.stitches:
            raise LookupError(f"there is no stitch {stitch_id}")
        return self.add(self.stitches[stitch_id].to(State.TERMINATING, NOW_S + 1))

    def _step(self) -> tuple[Stitch, ...]:
        """All stitches; each time, the newest moves on to the next of `after_create`."""
        answer = tuple(self.stitches.values())
        if self.after_create and self.stitches:
            newest = self.stitches[max(self.stitches)]
            self.add(replace(newest, state=self.after_create.pop(0), reason="as the test wants"))
        return answer


def api_of(controller: FakeController, settings: ApiSettings | None = None, **more: Any) -> FastAPI:
    settings = settings or ApiSettings(clock=lambda: NOW_S + 60)
    return create_api(controller.ask, token=TOKEN, started_s=NOW_S, settings=settings, **more)


@dataclass
class Caller:
    """Calls an API in this process, with a token unless other headers are given."""

    api: FastAPI
    token: str = TOKEN

    def __call__(self, method: str, path: str, **kwargs: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.token}", **kwargs.pop("headers", {})}

        async def go() -> httpx.Response:
            transport = httpx.ASGITransport(self.api, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                return await client.request(method, path, headers=headers, **kwargs)

        return asyncio.run(go())


def caller_as(call: Caller, role: str, *scope: str, **more: Any) -> Caller:
    """The same API, called with a new token of this role and scope."""
    body = {"name": f"{role} {'-'.join(scope)}".strip(), "role": role, **more}
    made = call("POST", "/v1/tokens", json={**body, "scope": list(scope)} if scope else body)
    assert made.status_code == 201, made.text
    return Caller(call.api, made.json()["token"])


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    """The problem that an answer carries, after a look at what every problem has."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    content: dict[str, Any] = answer.json()
    assert content["status"] == status
    assert {"type", "title", "detail"} <= content.keys()
    assert "Traceback" not in answer.text
    assert TOKEN not in answer.text
    return content


def red_and_blue() -> dict[str, VNet]:
    """Two virtual networks: h1 to h3 in red by MAC, h4 in blue by subnet."""
    members = tuple(Member(mac, f"h{number}") for number, mac in enumerate(MACS[:3], 1))
    return {"red": VNet("red", members), "blue": VNet("blue", (), ("10.0.0.4/32",))}


def a_difference() -> Difference:
    return Difference(missing=(FlowRule(0, 1, Match()),))


def test_the_fake_fails_as_the_real_one_where_no_such_app_runs() -> None:
    with pytest.raises(LookupError) as real:
        ask("Discovery", NetworkRequest(), 0.1)
    assert type(real.value) is LookupError
