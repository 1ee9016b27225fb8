"""The queues of all ports: from what is wanted to rows, filters and counters, and to who enforces what."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Container, Iterator, Mapping
from types import MappingProxyType

from ryu_apps.ovsdb.changes import SetQos
from ryu_apps.ovsdb.counting import QueueCounts, QueueId
from ryu_apps.ovsdb.dressing import Dresser
from ryu_apps.ovsdb.queueing import QueueKeeper, queue_facts
from ryu_apps.ovsdb.servers import Servers
from ryu_apps.ovsdb.submitted import Submitted
from stitching.enforcement import Choice, Facts, Promise, QueueFacts, choose
from stitching.network import PortId
from stitching.queues import PortQueues, Queue

_HURRY_S = 1.0
"""How long after a change the classes are looked for often: until filters are set the port is not as wanted."""


_SLICE_S = 0.05
"""After so long the app hears what else there is, and goes on with the other ports then: on a busy machine one run
of tc was seen to take 0.3 s, and what BFD says must not wait for thirty ports of that."""

_NOT_BY_LABEL = "queues by label are filled for the userspace datapath only, and this switch has another"


class PortQueuing:
    """Keeps the queues of ports. `enforced` is what holds each; `left_alone` are ports with other people's QoS."""

    def __init__(self, servers: Servers, log: logging.Logger, clock: Callable[[], float]) -> None:
        self.enforced: Mapping[QueueId, Choice] = MappingProxyType({})
        self.left_alone: frozenset[PortId] = frozenset()
        self._servers = servers
        self._log = log
        self._clock = clock
        self._keeper = QueueKeeper()
        self._dresser = Dresser(clock)
        self._submitted = Submitted(clock)
        self._counts = QueueCounts()
        self._hurry_until_s = -math.inf
        self._slice_until_s = math.inf
        self._is_unfinished = False

    @property
    def switches(self) -> frozenset[int]:
        """Where queues are wanted."""
        return frozenset(port_id[0] for port_id in self._keeper.wanted)

    @property
    def is_urgent(self) -> bool:
        """Whether a change was just made and its filters are to be set, or there was no time for all ports."""
        return self._is_unfinished or (self._dresser.is_waiting and self._clock() < self._hurry_until_s)

    def want(self, owner: str, ports: Mapping[PortId, PortQueues]) -> None:
        """From now on this is what an owner wants."""
        self._keeper.want(owner, ports)

    def moved(self, remote: str) -> None:
        """A server came or went."""
        self._dresser.forget(remote)
        # What had not been carried out is forgotten with the connection.
        self._submitted.forget()

    def counted(self, port_id: PortId, number: int, sent_bytes: int) -> None:
        """The switch says what has left through a queue."""
        wanted = self._keeper.wanted.get(port_id)
        if wanted is not None and any(queue.number == number for queue in wanted.queues):
            self._counts.read((port_id, number), sent_bytes)

    def flowed(self, stitch_mbps: Mapping[int, float]) -> None:
        """A period is over in which stitches carried this."""
        self._counts.flowed(
            {
                (port_id, queue.number): sum(stitch_mbps.get(stitch_id, 0.0) for stitch_id in queue.stitch_ids)
                for port_id, wanted in self._keeper.wanted.items()
                for queue in wanted.queues
            }
        )

    def facts(self, port_id: PortId, *, has_dscp: bool = True) -> QueueFacts:
        """What is known of queues on a port."""
        known = self._servers.bridge(port_id[0])
        if known is None:
            return queue_facts(None, None, "")
        remote, bridge = known
        why = self._dresser.failures.get(port_id, "") if has_dscp else "the queue has no DSCP to filter by"
        return queue_facts(bridge, self._servers.ports.get(port_id), why or self._dresser.unfilterable(remote))

    def keep(self) -> None:
        """Change what is not as wanted, as far as one goes in a moment: `is_urgent` says that there is more."""
        self._slice_until_s = self._clock() + _SLICE_S
        self._is_unfinished = False
        while self._change():
            pass

    def _is_over(self) -> bool:
        if self._clock() >= self._slice_until_s:
            self._is_unfinished = True
        return self._is_unfinished

    def _change(self) -> bool:
        """One round; returns whether filters were set, after which the rows may be what they shall be."""
        self._submitted.keep(self._servers.ports)
        filtered = dict(self._filtered())
        undressed = frozenset(port for port in filtered if not self._dresser.is_dressed(port))
        by_label_alone = (
            port
            for port, queues in self._keeper.wanted.items()
            if all(queue.flows and queue.dscp is None for queue in queues.queues)
        )
        step = self._keeper.step(
            self._servers.changeable, undressed, frozenset(by_label_alone) - filtered.keys(), self._submitted
        )
        self.left_alone = step.left_alone
        self._submit(step.changes)
        self._dresser.keep(self._keeper.wanted)
        return self._dress(filtered, step.changes)

    def _submit(self, changes: Mapping[PortId, SetQos]) -> None:
        """Have all of them carried out, one transaction for each server."""
        ready: dict[PortId, SetQos] = {}
        for port_id, change in changes.items():
            known = self._servers.bridge(port_id[0])
            if known is not None:
                port = self._servers.ports[port_id]
                self._dresser.undress(port_id, known[0], port, self._keeper.wanted.get(port_id))
            ready[port_id] = change
            self._counts.restart(port_id)
            queues = len(change.rows.queues) if change.rows is not None else 0
            self._log.info("event=queues_set dpid=%016x port_no=%d queues=%d", *port_id, queues)
            if self._is_over():
                break
        if ready:
            self._submitted.add(ready, self._servers.ports)
            self._servers.submit(ready)
            self._hurry_until_s = self._clock() + _HURRY_S

    def _dress(self, filtered: Mapping[PortId, str], changing: Container[PortId]) -> bool:
        """Set filters where classes are as wanted; returns whether any were."""
        news = False
        for port_id in sorted(filtered, key=self._dresser.turn):
            if self._is_over():
                break
            if port_id in changing or port_id in self._submitted:
                continue
            port, wanted = self._servers.ports[port_id], self._keeper.wanted[port_id]
            if self._dresser.dress(port_id, filtered[port_id], port, wanted):
                self._log.info("event=filters_set dpid=%016x port_no=%d", *port_id)
                news = True
        return news and not self._is_unfinished

    def _filtered(self) -> Iterator[tuple[PortId, str]]:
        """The wanted ports whose queues are filled by filters, with their servers."""
        for port_id in self._keeper.wanted:
            known = self._servers.bridge(port_id[0])
            port = self._servers.ports.get(port_id)
            if known is None or port is None:
                continue
            remote, bridge = known
            facts = queue_facts(bridge, port, self._dresser.unfilterable(remote))
            if facts.settable and not facts.obeyed and facts.filterable:
                yield port_id, remote

    def judge(self) -> bool:
        """Find out what enforces each queue; returns whether that is not what it was."""
        enforced = {
            (port_id, queue.number): self._judge(port_id, queue)
            for port_id, wanted in self._keeper.wanted.items()
            for queue in wanted.queues
        }
        self._counts.keep(enforced.keys())
        changed = enforced != self.enforced
        self.enforced = MappingProxyType(enforced)
        return changed

    def _judge(self, port_id: PortId, queue: Queue) -> Choice:
        facts = self.facts(port_id, has_dscp=queue.is_sorted)
        port = self._servers.ports.get(port_id)
        if facts.settable and facts.obeyed and queue.flows:
            facts = QueueFacts(facts.obeyed, False, reason=_NOT_BY_LABEL)
        elif facts.settable and port is not None:
            if port.qos is None or port.qos.rows != self._keeper.rows[port_id]:
                why = self._dresser.failures.get(port_id, "") if queue.is_sorted else ""
                if refused := self._servers.why_refused(port_id[0]):
                    why = f"its OVSDB server refuses the change: {refused}"
                facts = QueueFacts(facts.obeyed, False, reason=why or "the queue is being set")
            elif not facts.obeyed and facts.filterable and not self._dresser.is_dressed(port_id):
                facts = QueueFacts(facts.obeyed, True, False, "the filter is being set")
        return choose(
            Promise.GUARANTEE, Facts(queues=facts, counted=self._counts.verdict((port_id, queue.number)))
        )
