"""Finds links by the probes that arrive, and drops them when probes are missed or a port is gone."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable

from ryu_apps.discovering.links import MISSED, LinkTable
from ryu_apps.discovering.log_lines import LogLines
from ryu_apps.discovering.ports import Ports
from ryu_apps.discovering.probes import CLOCK_TOLERANCE_S, Probe, ProbeSigner
from ryu_apps.discovering.sighting import Sightings
from ryu_apps.discovering.telling import Teller
from stitching.network import LinkKey, PortId, port_name

LATENCY_WAIT_S = 0.2
"""New latencies come one link at a time, one probing period long; nobody needs to hear of each alone."""


class Linker:
    """Keeps the table of links by what happens to probes and ports."""

    def __init__(
        self,
        table: LinkTable,
        ports: Ports,
        signer: ProbeSigner,
        sightings: Sightings,
        teller: Teller,
        lines: LogLines,
        counts: Counter[str],
        clock: Callable[[], float],
        interval_s: float,
    ) -> None:
        self._table = table
        self._ports = ports
        self._signer = signer
        self._sightings = sightings
        self._teller = teller
        self._lines = lines
        self._counts = counts
        self._clock = clock
        self._interval_s = interval_s

    def probe(self, target: PortId, frame: bytes, received_s: float) -> None:
        """What says that it is a probe came in here."""
        probe = self._signer.read(frame)
        if probe is None or not probe.is_fresh(received_s, MISSED * self._interval_s):
            self._counts["probes_refused"] += 1
            what, text = "not_ours" if probe is None else "stale", "dpid=%016x port_no=%d reason=%s"
            self._lines.tell(logging.WARNING, "probe_refused", text, *target, what, per_s=1)
            return
        self._counts["probes_arrived"] += 1
        source, sender_port = probe.port, self._ports.up.get(probe.port)
        # A probe that left before its port last went down must not bring the link back.
        if (
            target not in self._ports.up
            or sender_port is None
            or probe.sent_s < sender_port.since_s - CLOCK_TOLERANCE_S
        ):
            return
        if source[0] == target[0]:
            self._loop(source, target)
            return
        arrival = self._table.arrived(source, target, probe.sent_s)
        if arrival is None:
            return
        self._gone(arrival.gone, "recabled")
        if arrival.is_new:
            self._added(arrival.key)
        self._measure(probe, arrival.key, received_s)

    def close(self, port_id: PortId, reason: str) -> None:
        """A port carries nothing any more, so no link leads over it."""
        self._ports.close(port_id)
        self._gone(self._table.remove_port(port_id), reason)

    def dead(self, port_id: PortId) -> None:
        """BFD says that a link is dead: it goes at once; a probe that is sent from now on can bring it back."""
        for key in self._table.remove_port(port_id):
            for end in (key[:2], key[2:]):
                if end in self._ports.up:
                    self._ports.up[end].since_s = self._clock()
            self._gone([key], "bfd_down")

    def overdue(self, now_s: float) -> list[LinkKey]:
        """The links that missed too many probes."""
        return self._table.overdue(now_s, self._ports.lag_s)

    def drop(self, keys: Iterable[LinkKey]) -> None:
        """These links missed too many probes."""
        for key in keys:
            self._table.remove(key)
            self._gone([key], "probes_missed")

    def _measure(self, probe: Probe, key: LinkKey, received_s: float) -> None:
        rtts = (self._ports.switches[dpid].datapath.rtt_s for dpid in (key[0], key[2]))
        if self._table.measured(key, received_s - probe.sent_s, *rtts):
            latency_ms = self._table.links[key].latency_ms
            self._lines.tell(logging.INFO, "link_latency", "link=%s latency_ms=%.3f", _shown(key), latency_ms)
            self._teller.changed(LATENCY_WAIT_S)

    def _added(self, key: LinkKey) -> None:
        self._lines.tell(logging.INFO, "link_up", "link=%s", _shown(key))
        for port_id in (key[:2], key[2:]):
            self._sightings.forget(port_id, "fabric_port")
        # The way back is all but certain and need not wait for its turn.
        self._ports.probe_again(key[2:])
        self._ports.send_due()
        self._teller.changed()

    def _gone(self, keys: Iterable[LinkKey], reason: str) -> None:
        for key in keys:
            self._lines.tell(logging.WARNING, "link_down", "link=%s reason=%s", _shown(key), reason)
            self._ports.probe_again(key[:2])
            self._ports.keep_quiet(key[:2], key[2:])
            self._teller.changed(at_once=True)

    def _loop(self, source: PortId, target: PortId) -> None:
        self._counts["loops"] += 1
        text = "dpid=%016x port_no=%d returned_at=%d"
        self._lines.tell(logging.WARNING, "loop", text, *source, target[1], per_s=0.1)
        self._ports.keep_quiet(source, target)


def _shown(key: LinkKey) -> str:
    """A link in a log line: source dpid and port, destination dpid and port."""
    return f"{port_name(key[:2])}->{port_name(key[2:])}"
