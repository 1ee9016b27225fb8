"""Polls the counters of every switch, spread evenly over each period, and publishes them as rates at its end."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

from os_ken.controller import ofp_event
from os_ken.controller.handler import DEAD_DISPATCHER, MAIN_DISPATCHER

from ryu_apps.app import App, Tick, handles
from ryu_apps.events import (
    NetworkChanged,
    Rates,
    RatesMeasured,
    RatesRequest,
    StitchesChanged,
    TelemetryStatus,
    TelemetryStatusRequest,
)
from ryu_apps.polling import polls
from ryu_apps.polling.counters import Tally
from ryu_apps.polling.polled import Ask, Datapath, PolledSwitch, rates_of
from ryu_apps.polling.polls import Question
from ryu_apps.polling.stitch_counts import StitchCounts
from ryu_apps.transactions import Asker, Transactions
from stitching.bandwidth import BandwidthShares
from stitching.kinds import entrances, senders
from stitching.network import Network
from stitching.stitch import Stitch

SLOTS = 50
POLL_SLOTS = 40
"""A period has SLOTS ticks. Switches are asked in the first POLL_SLOTS: the last of them has time to answer, and
what is done at the end of a period has a tick to itself."""

GIVE_UP_PERIODS = 5
"""A switch that owes an answer is not asked again for so long: one that is slow is not buried."""

SHORTEST_SHARE = 0.25
"""Readings closer together than this share of a period make no rate."""

_NOBODY = frozenset[int]()


class Telemetry(App):
    """Turns counters into Rates, one for each period of period_s.

    Every switch is asked for its ports; those with hosts for the segmentation rules, which count the demands;
    those where a stitch begins for the rules of stitches. A switch is asked at the same point of each period and
    its rates are between two answers: a period says what happened from about one point to the next. A switch
    that owes its answer is absent from the period, and tallied as late.

    Mbit/s are bytes on the ports, and bytes of Ethernet frames that met the rule for demands and stitches; drops
    are packets per second. Open vSwitch brings the counters of its rules up to date every 500 ms only
    (other_config:max-revalidator): with a period of 1 s a steady demand may seem to vary by half. Those of ports
    are live.
    """

    _EVENTS: ClassVar[list[type]] = [RatesMeasured]

    def __init__(
        self,
        *args: Any,
        period_s: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        if not period_s > 0:
            raise ValueError(f"period_s is {period_s} and must be above zero")
        self._period_s = period_s
        self._clock = clock
        self._wall_clock = wall_clock
        self._xids = Transactions(Asker.TELEMETRY)
        self._last_counts = Transactions(Asker.LAST_COUNTS)
        self._counts = StitchCounts()
        self._told: tuple[Stitch, ...] | None = None
        self._stitches = self._entrances = _NOBODY
        self._switches: dict[int, PolledSwitch] = {}
        self._slots: list[dict[int, PolledSwitch]] = [{} for _ in range(POLL_SLOTS)]
        self._network = Network()
        self._with_hosts = _NOBODY
        self._metered = _NOBODY
        self._sources: dict[int, dict[int, frozenset[str]]] = {}
        self._began_s = clock()
        self._beat = 0
        self._slot = 1
        self._tally = Tally()
        self._polled = self._answered = self._late = 0
        self._late_now = _NOBODY
        self._rates: Rates | None = None

    def start(self) -> None:
        """Start handling events and polling."""
        self._began_s = self._clock()
        super().start()
        self.every(self._period_s / SLOTS, "slot")

    # -- what the others tell and ask -----------------------------------------------------------------------

    @handles(NetworkChanged)
    def on_network(self, event: NetworkChanged) -> None:
        """Hosts may be on other switches, ports may have other speeds."""
        if event.network.hosts is not self._network.hosts:
            self._with_hosts = frozenset(host.dpid for host in event.network.hosts.values())
        self._network = event.network

    @handles(StitchesChanged)
    def on_stitches(self, event: StitchesChanged) -> None:
        """Others are to be counted, from the next tick or answer on: where many end, all are told each time."""
        self._told = event.stitches

    def _follow(self) -> None:
        """Stitches are counted where they begin: by the entrance rules of those who send."""
        stitches, self._told = self._told, None
        if stitches is None:
            return
        self._sources = {}
        shares = (stitch.path for stitch in stitches if isinstance(stitch.path, BandwidthShares))
        self._metered = frozenset(dpid for placed in shares for dpid in placed.dpids)
        self._stitches = frozenset(stitch.id for stitch in stitches)
        self._entrances = frozenset(dpid for stitch in stitches for dpid in entrances(stitch))
        for stitch in stitches:
            for dpid, macs in senders(stitch):
                self._sources.setdefault(dpid, {})[stitch.id] = macs

    @handles(RatesRequest)
    def on_rates_request(self, request: RatesRequest) -> None:
        """Answer what was measured last."""
        self.serve(request, lambda: self._rates)

    @handles(TelemetryStatusRequest)
    def on_status_request(self, request: TelemetryStatusRequest) -> None:
        """Answer how polling goes."""
        self.serve(request, self.status)

    def status(self) -> TelemetryStatus:
        """How polling went so far."""
        return TelemetryStatus(
            period_s=self._period_s,
            polled=self._polled,
            answered=self._answered,
            late=self._late,
            resets=self._tally.resets,
            absurd=self._tally.absurd,
            late_now=self._late_now,
        )

    @handles(ofp_event.EventOFPStateChange, states=(MAIN_DISPATCHER, DEAD_DISPATCHER))
    def on_state(self, event: Any) -> None:
        """A switch that came gets the slot with the fewest others."""
        datapath: Datapath = event.datapath
        known = self._switches.get(datapath.id)
        if event.state == MAIN_DISPATCHER:
            slot = min(range(POLL_SLOTS), key=lambda number: len(self._slots[number]))
            slot = slot if known is None else known.slot
            switch = PolledSwitch(datapath, slot, self._tally, SHORTEST_SHARE * self._period_s)
            self._switches[datapath.id] = self._slots[slot][datapath.id] = switch
        elif known is not None and known.datapath is datapath:
            del self._switches[datapath.id], self._slots[known.slot][datapath.id]

    # -- ask ------------------------------------------------------------------------------------------------

    @handles(Tick)
    def on_tick(self, _tick: Tick) -> None:
        """Do what is due by the clock: a tick may come late, or be left out."""
        self._follow()
        now_s = self._clock()
        if now_s - self._began_s >= 2 * self._period_s:
            self._skip(now_s)
        while now_s >= self._began_s + self._slot * self._period_s / SLOTS:
            if self._slot == SLOTS:
                self._end_period()
                self._began_s += self._period_s
                self._slot = 1
                continue
            if self._slot <= POLL_SLOTS:
                for switch in list(self._slots[self._slot - 1].values()):
                    self._poll(switch)
            self._slot += 1

    def _skip(self, now_s: float) -> None:
        """The process was held up: take the beat up where it is now, without asking for what was missed."""
        periods = int((now_s - self._began_s) / self._period_s)
        self.log.warning("periods_left_out=%d reason=held up", periods - 1)
        # The answers that came in belong to the last whole period, as far as they belong anywhere.
        self._began_s += (periods - 1) * self._period_s
        self._beat += periods - 1
        self._slot = SLOTS

    def _poll(self, switch: PolledSwitch) -> None:
        now_s = self._clock()
        if switch.asks:
            oldest_s = min(ask.asked_s for ask in switch.asks.values())
            if now_s - oldest_s < (GIVE_UP_PERIODS - 0.5) * self._period_s:
                return
        dpid = switch.datapath.id
        wanted = [Question.PORTS]
        if dpid in self._with_hosts:
            wanted.append(Question.DEMANDS)
        if dpid in self._entrances:
            wanted.append(Question.STITCHES)
        if dpid in self._metered:
            wanted.append(Question.METERS)
        asks = {next(self._xids): Ask(question, now_s) for question in wanted}
        if switch.datapath.send(b"".join(polls.request(ask.question, xid) for xid, ask in asks.items())):
            switch.asks = asks
            self._polled += 1

    # -- take in --------------------------------------------------------------------------------------------

    @handles(
        ofp_event.EventOFPPortStatsReply,
        ofp_event.EventOFPFlowStatsReply,
        ofp_event.EventOFPMeterStatsReply,
        states=(MAIN_DISPATCHER,),
    )
    def on_reply(self, event: Any) -> None:
        """Take in an answer, when it is one to a question of ours and complete."""
        message = event.msg
        if self._last_counts.owns(message.xid):
            # Asked by the stitcher, of a stitch that is taken out: nobody waits for the whole of it.
            self._counts.take(message.datapath.id, message.entries)
            return
        if not self._xids.owns(message.xid):
            return
        switch = self._switches.get(message.datapath.id)
        if switch is None or switch.datapath is not message.datapath:
            return
        answer = switch.answer(message)
        if answer is None:
            return
        self._follow()
        self._answered += not switch.asks
        dpid = switch.datapath.id
        if answer.ask.question is Question.STITCHES:
            self._counts.take(dpid, answer.body)
        switch.take(answer, self._sources.get(dpid, {}), self._network.switches.get(dpid, {}))

    # -- tell -----------------------------------------------------------------------------------------------

    def _end_period(self) -> None:
        ended_s = self._began_s + self._period_s
        late = frozenset(dpid for dpid, switch in self._switches.items() if switch.asks)
        self._late += len(late)
        if new := late - self._late_now:
            first = min(new)
            self.log.info("late=%d first=%016x period_s=%g", len(new), first, self._period_s)
        self._late_now = late
        # The end by the beat of the period, not by when the tick was handled: samples are evenly spaced.
        time_s = self._wall_clock() - (self._clock() - ended_s)
        self._beat += 1
        self._counts.keep(self._stitches, self._clock())
        rates = rates_of(time_s, self._period_s, self._switches, self._beat)
        self._rates = replace(rates, stitch_counts=self._counts.totals)
        for switch in self._switches.values():
            switch.forget_rates()
        self.publish(RatesMeasured(self._rates))
