"""What one switch was asked in this period, how far its counters had come, and the rates that follow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from ryu_apps.events import Pair, Rates
from ryu_apps.polling import polls
from ryu_apps.polling.counters import CounterTable, Tally
from ryu_apps.polling.polls import REPLY_MORE, DemandKey, Question
from stitching.network import Port, PortId

ABSURD_SPEEDS = 10
"""A port that counts more than so many times its speed counts wrong."""

_MBPS = 8e-6
_OF_RULES = (Question.DEMANDS, Question.STITCHES)


class Datapath(Protocol):
    """The connection of a switch, as far as it is used here."""

    id: int

    def send(self, data: bytes) -> bool:
        """Send messages; whether the connection took them."""


@dataclass(slots=True)
class Ask:
    """A question that waits for its answer, which may come in parts."""

    question: Question
    asked_s: float
    parts: list[Any] = field(default_factory=list)


@dataclass(slots=True)
class Answer:
    """A question with all parts of its answer."""

    ask: Ask
    body: list[Any]
    received_s: float


class PolledSwitch:
    """A connected switch; slot is the one of the period in which it is asked, asks are by transaction."""

    def __init__(self, datapath: Datapath, slot: int, tally: Tally, min_interval_s: float) -> None:
        self.datapath = datapath
        self.slot = slot
        self.asks: dict[int, Ask] = {}
        self._port_tx, self._port_rx, self._port_drops = (
            CounterTable[int](tally, min_interval_s=min_interval_s) for _ in range(3)
        )
        self._demands = CounterTable[DemandKey](tally, min_interval_s=min_interval_s, starts_at_zero=True)
        self._stitches = CounterTable[int](tally, min_interval_s=min_interval_s, starts_at_zero=True)
        self._limits: tuple[Mapping[int, Port], dict[int, float]] = ({}, {})
        self.forget_rates()

    def forget_rates(self) -> None:
        """A new period begins."""
        self.tx_per_s: Mapping[int, float] = {}
        self.rx_per_s: Mapping[int, float] = {}
        self.drops_per_s: Mapping[int, float] = {}
        self.demand_per_s: Mapping[Pair, float] = {}
        self.stitch_per_s: Mapping[int, float] = {}
        self.meter_packets: Mapping[int, int] = {}

    def answer(self, message: Any) -> Answer | None:
        """What a reply answers; None where nothing was asked, or parts are still to come."""
        ask = self.asks.get(message.xid)
        if ask is None:
            return None
        body = message.entries if ask.question in _OF_RULES else message.body
        if message.flags & REPLY_MORE or ask.parts:
            ask.parts += body
            if message.flags & REPLY_MORE:
                return None
            body = ask.parts
        del self.asks[message.xid]
        return Answer(ask, body, message.received_s)

    def take(self, answer: Answer, sources: Mapping[int, frozenset[str]], ports: Mapping[int, Port]) -> None:
        """Make rates of an answer.

        sources are, by stitch, the MACs that enter it here; ports are those of the switch.
        """
        question, body = answer.ask.question, answer.body
        asked_s, received_s = answer.ask.asked_s, answer.received_s
        if question is Question.PORTS:
            self._take_ports(body, asked_s, received_s, self._most_per_s(ports))
        elif question is Question.DEMANDS:
            readings = list(polls.demand_readings(body))
            rates = self._demands.take(readings, asked_s=asked_s, received_s=received_s)
            unknown = (reading.key for reading in readings if reading.key not in rates)
            self.demand_per_s = polls.demand_rates(rates, unknown)
        elif question is Question.METERS:
            self.meter_packets = polls.meter_counts(body)
        else:
            self.stitch_per_s = self._stitches.take(
                polls.stitch_readings(body, sources), asked_s=asked_s, received_s=received_s
            )

    def _take_ports(
        self, body: Iterable[Any], asked_s: float, received_s: float, limits: Mapping[int, float]
    ) -> None:
        tx, rx, drops = polls.port_readings(body)
        self.tx_per_s = self._port_tx.take(tx, asked_s=asked_s, received_s=received_s, limits=limits)
        self.rx_per_s = self._port_rx.take(rx, asked_s=asked_s, received_s=received_s, limits=limits)
        self.drops_per_s = self._port_drops.take(drops, asked_s=asked_s, received_s=received_s)

    def _most_per_s(self, ports: Mapping[int, Port]) -> Mapping[int, float]:
        """The most that is believed of each port whose speed is known, in bytes per second."""
        if ports is not self._limits[0]:
            speeds = ((port.port_no, port.speed_mbps) for port in ports.values())
            self._limits = ports, {no: ABSURD_SPEEDS * mbps / _MBPS for no, mbps in speeds if mbps is not None}
        return self._limits[1]


def rates_of(time_s: float, period_s: float, switches: Mapping[int, PolledSwitch], beat: int) -> Rates:
    """The rates of a period, from what its switches answered in it."""
    tx: dict[PortId, float] = {}
    rx: dict[PortId, float] = {}
    drops: dict[PortId, float] = {}
    demands: dict[Pair, float] = {}
    stitches: dict[int, float] = {}
    meters: dict[tuple[int, int], int] = {}
    for dpid, switch in switches.items():
        for port_no, rate in switch.tx_per_s.items():
            tx[dpid, port_no] = rate * _MBPS
        for port_no, rate in switch.rx_per_s.items():
            rx[dpid, port_no] = rate * _MBPS
        for port_no, rate in switch.drops_per_s.items():
            drops[dpid, port_no] = rate
        for pair, rate in switch.demand_per_s.items():
            # While a host moves, it has sent from two switches.
            demands[pair] = demands.get(pair, 0.0) + rate * _MBPS
        for stitch_id, rate in switch.stitch_per_s.items():
            # One that has several switches where packets enter is counted at all of them.
            stitches[stitch_id] = stitches.get(stitch_id, 0.0) + rate * _MBPS
        meters.update({(dpid, number): packets for number, packets in switch.meter_packets.items()})
    return Rates(time_s, period_s, tx, rx, drops, demands, stitches, meters, beat)
