"""Which queues each port shall have, and what is known about who obeys them."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from ryu_apps.ovsdb.changes import SetQos
from ryu_apps.ovsdb.view import BridgeView, PortView
from stitching.enforcement import QueueFacts
from stitching.network import PortId
from stitching.queues import PortQueues, QosRows, open_rows, rows

USERSPACE = "netdev"

_DEVICES = frozenset({"", "system"})
"""Interface types whose packets pass a queueing discipline of the kernel, in either datapath."""


@dataclass(frozen=True)
class QueueStep:
    """What to change now, and the ports that are left alone because their QoS is somebody else's."""

    changes: Mapping[PortId, SetQos] = field(default_factory=lambda: MappingProxyType({}))
    left_alone: frozenset[PortId] = frozenset()


class QueueKeeper:
    """What all owners want, and the way there from what the ports have."""

    def __init__(self) -> None:
        self._by_owner: dict[str, Mapping[PortId, PortQueues]] = {}
        self.wanted: Mapping[PortId, PortQueues] = MappingProxyType({})
        """The queues of each port: a port that two owners name is the first one's, by name."""
        self.rows: Mapping[PortId, QosRows] = MappingProxyType({})
        """The rows that make them."""

    def want(self, owner: str, ports: Mapping[PortId, PortQueues]) -> None:
        """From now on this is what an owner wants."""
        self._by_owner[owner] = dict(ports)
        merged: dict[PortId, PortQueues] = {}
        for name in sorted(self._by_owner, reverse=True):
            merged.update(self._by_owner[name])
        self.rows = MappingProxyType(
            {
                port_id: self.rows[port_id] if self.wanted.get(port_id) == queues else rows(queues)
                for port_id, queues in merged.items()
            }
        )
        self.wanted = MappingProxyType(merged)

    def step(
        self,
        ports: Mapping[PortId, PortView],
        undressed: Container[PortId] = (),
        useless: Container[PortId] = (),
        submitted: Container[PortId] = (),
    ) -> QueueStep:
        """What to change. Before anybody has wanted anything, what is there from before a restart stays.

        `undressed` are ports whose filters are still to be set: their queues hold nothing back yet, or BFD would
        be lost among everything else meanwhile. `useless` are ports where nothing would ever lead to a queue;
        `submitted` are those whose last change has not been seen to be carried out.
        """
        if not self._by_owner:
            return QueueStep()
        changes, left_alone = {}, set()
        for port_id, port in ports.items():
            if port_id in submitted:
                continue
            wanted = self.wanted.get(port_id)
            if wanted is None or port_id in useless:
                if port.qos is not None and port.qos.ours:
                    changes[port_id] = SetQos(port.uuid, None)
            elif port.qos is not None and not port.qos.ours:
                left_alone.add(port_id)
            elif port.kind in _DEVICES:
                target = self._target(port_id, port, wanted, undressed)
                if port.qos is None or port.qos.rows != target:
                    changes[port_id] = SetQos(port.uuid, target)
        return QueueStep(MappingProxyType(changes), frozenset(left_alone))

    def _target(
        self, port_id: PortId, port: PortView, wanted: PortQueues, undressed: Container[PortId]
    ) -> QosRows:
        """What a port shall have next: as long as filters are missing where nothing held back, that stays so."""
        if port_id in undressed:
            opened = open_rows(wanted)
            if port.qos is None or port.qos.rows == opened:
                return opened
        return self.rows[port_id]


def queue_facts(bridge: BridgeView | None, port: PortView | None, unfilterable: str) -> QueueFacts:
    """What is known of the queues of a port; `unfilterable` says why no filter can be set there, "" if it can."""
    if bridge is None:
        return QueueFacts(settable=False, reason="no OVSDB server given knows this switch, so no queue can be set")
    obeyed = bridge.datapath_type != USERSPACE
    if port is None:
        return QueueFacts(obeyed, False, reason="its OVSDB server knows no such port, so no queue can be set")
    if port.kind not in _DEVICES:
        return QueueFacts(obeyed, False, reason=f"an interface of type {port.kind!r} has no queues")
    if port.qos is not None and not port.qos.ours:
        return QueueFacts(obeyed, False, reason="somebody else's QoS is on the port, which is left alone")
    return QueueFacts(obeyed, True, not unfilterable, unfilterable)
