"""Sends probes across stitches and hears them come out: what says that a stitch carries, and how fast."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from typing import Any

from ryu_apps import wire
from ryu_apps.connections import Connections
from ryu_apps.events import ProbeArrived
from ryu_apps.polling.polls import stitch_request
from ryu_apps.stitches.due import DueLine
from ryu_apps.stitches.probe import StitchProbe, StitchProber
from ryu_apps.stitches.watch import Watch
from ryu_apps.transactions import Asker, Transactions
from stitching.kinds import ProbeWay, broadcast_probes, entrances, has_branches, probe_ways
from stitching.rules import PORT_CONTROLLER
from stitching.segment_watch import Flood
from stitching.stitch import Placement, Stitch, StitchRequest

_PORT_TABLE = 0xFFFFFFF9

WATCHING_PER_S = 500.0
PROVING_PER_S = 2000.0
"""Probes of stitches that carry, and of such as are to be proven: each costs some 100 microseconds."""


class Prover:
    """The switches that can take rules and probes now, and a watch over every stitch that has its rules."""

    def __init__(self, key: bytes, monotonic: Callable[[], float]) -> None:
        self._prober = StitchProber(key)
        self._monotonic = monotonic
        self._connections = Connections()
        self._ready: set[int] = set()
        self.watches: dict[int, Watch] = {}
        """Not to be changed but by what is called here."""
        self._line = DueLine()
        self._ways: dict[int, tuple[Placement, tuple[ProbeWay | Flood, ...]]] = {}
        self._counting = Transactions(Asker.LAST_COUNTS)
        self._spacing_s = {True: 0.0, False: 0.0}

    # -- switches -------------------------------------------------------------------------------------------

    def follow(self, event: Any) -> None:
        """A switch came, whose rules are not known yet, or it went."""
        if self._connections.follow(event):
            self._ready.discard(event.datapath.id)

    def ready(self, dpid: int) -> None:
        """A switch has its rules, unless it has gone again since."""
        if dpid in self._connections:
            self._ready.add(dpid)

    @property
    def ready_switches(self) -> frozenset[int]:
        """The switches that can take rules and probes now."""
        return frozenset(self._ready)

    def all_ready(self, dpids: Iterable[int]) -> bool:
        """Whether all of these can take rules and probes now."""
        return self._ready.issuperset(dpids)

    # -- stitches -------------------------------------------------------------------------------------------

    def watch(self, stitch: Stitch) -> None:
        """Prove a stitch from now on, anew if it was watched already."""
        ways = self._ways_of(stitch)
        floods = [(way.way, way.leaves) for way in ways if isinstance(way, Flood)]
        watch = self.watches[stitch.id] = Watch.over(
            len(ways) - len(floods),
            self._monotonic(),
            stitch.request.max_latency_ms,
            stitch.request.max_loss,
            floods=floods,
            branches=has_branches(stitch.request),
        )
        self._line.put(stitch.id, watch)

    def judge_by(self, stitch_id: int, terms: StitchRequest) -> None:
        """From now on these limits are those of a stitch that stays where it is."""
        watch = self.watches.get(stitch_id)
        if watch is not None:
            watch.judge_by(terms.max_latency_ms, terms.max_loss)

    def pace(self) -> None:
        """Spread the probes: however many stitches there are, the controller has other things to do."""
        ways = self._line.weights
        self._spacing_s = {True: ways[True] / WATCHING_PER_S, False: ways[False] / PROVING_PER_S}

    def due(self, now_s: float) -> Generator[int, None, None]:
        """The stitches whose watches are due, see DueLine.due."""
        return self._line.due(now_s)

    def count_last(self, stitch: Stitch | None) -> None:
        """Ask for the counters of a stitch before its rules go; the answer is for telemetry."""
        if stitch is None:
            return
        for dpid in sorted(entrances(stitch)):
            if dpid in self._connections:
                self._connections[dpid].send(stitch_request(stitch.id, next(self._counting)))

    def forget(self, stitch_id: int) -> None:
        """Prove a stitch no longer."""
        self._line.drop(stitch_id)
        self.watches.pop(stitch_id, None)
        self._ways.pop(stitch_id, None)

    def pardon(self) -> None:
        """The controller was held up: what has not come out may wait to be read."""
        now_s = self._monotonic()
        for watch in self.watches.values():
            watch.pardon(now_s)

    def send(self, stitch: Stitch, watch: Watch, heard_s: float) -> bool:
        """Send the probes that are due; answers whether the switches at both ends are there to take them.

        What came in until heard_s was looked at.
        """
        if stitch.path is None:
            # Nothing may be left to be proven here; one that is must not keep the others from their probes.
            self.forget(stitch.id)
            return False
        now_s = self._monotonic()
        if not watch.is_due(now_s):
            return True
        watch.spacing_s = self._spacing_s[watch.proven]
        ways = self._ways_of(stitch)
        away = [number for number, way in enumerate(ways) if not self.all_ready(way.ends)]
        # Parts of what carries may be away; before it is proven all of it has to be there.
        if away and not (watch.branches and watch.proven and len(away) < len(ways)):
            watch.skip(now_s)
            self._line.put(stitch.id, watch)
            return False
        for direction in watch.due(now_s, heard_s, away):
            probe = StitchProbe(stitch.id, stitch.epoch, direction, now_s)
            way = ways[direction]
            frame = self._prober.frame(probe, *way.pair, way.label)
            out = wire.packet_out(frame, in_port=PORT_CONTROLLER, out_ports=(_PORT_TABLE,))
            self._connections[way.enters].send(out)
        self._line.put(stitch.id, watch)
        return True

    def _ways_of(self, stitch: Stitch) -> tuple[ProbeWay | Flood, ...]:
        """Its probes, those between two hosts first, worked out once for where it lies."""
        known = self._ways.get(stitch.id)
        if known is not None and known[0] is stitch.path:
            return known[1]
        ways: tuple[ProbeWay | Flood, ...] = (*probe_ways(stitch), *broadcast_probes(stitch))
        if stitch.path is not None:
            self._ways[stitch.id] = stitch.path, ways
        return ways

    def read(self, arrived: ProbeArrived) -> StitchProbe | None:
        """The probe of ours that came in, None where it is none."""
        return self._prober.read(arrived.frame)

    def take(self, probe: StitchProbe, arrived: ProbeArrived, stitch: Stitch) -> Watch | None:
        """Take in a probe that came out; its watch, or None where it says nothing of the stitch as it is now."""
        watch = self.watches.get(stitch.id)
        if watch is None or stitch.path is None or stitch.epoch != probe.epoch:
            return None
        ways, here = self._ways_of(stitch), arrived.dpid
        if probe.direction >= len(ways) or here not in ways[probe.direction].comes_out:
            return None
        flight_s = arrived.received_s - probe.sent_s
        for end in (ways[probe.direction].enters, here):
            flight_s -= (self._connections[end].rtt_s or 0.0) / 2 if end in self._connections else 0.0
        was_proven = watch.proven
        watch.heard(probe.direction, max(0.0, flight_s) * 1e3, probe.sent_s, here)
        if watch.proven != was_proven:
            self._line.put(stitch.id, watch)
        return watch
