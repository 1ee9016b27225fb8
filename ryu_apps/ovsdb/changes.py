"""What is changed in a database: each a value that is carried out only if its row is still as it was seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from stitching.queues import MARK, QosRows, Settings

BFD_MARK = f"{MARK}:bfd"
"""The key in an Interface's external_ids that says its BFD is of our making, and with which interval in ms."""


def bfd_settings(interval_ms: int) -> dict[str, str]:
    """The bfd column of an interface whose sessions send and expect a packet each interval_ms."""
    return {"enable": "true", "min_rx": str(interval_ms), "min_tx": str(interval_ms)}


@dataclass(frozen=True)
class SetBfd:
    """Turn BFD on with this interval, or off (None); `seen` is what the bfd column said when that was decided."""

    interface_uuid: str
    interval_ms: int | None
    seen: Settings

    @property
    def row(self) -> str:
        """The row that it is about."""
        return self.interface_uuid


@dataclass(frozen=True)
class SetQos:
    """Give a port these rows, or take ours away (None)."""

    port_uuid: str
    rows: QosRows | None

    @property
    def row(self) -> str:
        """The row that it is about."""
        return self.port_uuid


@dataclass(frozen=True)
class DropQos:
    """Delete a QoS of ours with its queues, if still no port has it."""

    qos_uuid: str

    @property
    def row(self) -> str:
        """The row that it is about."""
        return self.qos_uuid


@dataclass(frozen=True)
class DropQueue:
    """Delete a queue of ours, if still no QoS has it."""

    queue_uuid: str

    @property
    def row(self) -> str:
        """The row that it is about."""
        return self.queue_uuid


Change = SetBfd | SetQos | DropQos | DropQueue


def carry_out(change: Change, idl: Any, transaction: Any) -> None:
    """Put one change into a transaction. What somebody else has touched meanwhile is left alone."""
    if isinstance(change, SetBfd):
        row = idl.tables["Interface"].rows.get(UUID(change.interface_uuid))
        if row is not None:
            _set_bfd(change, row)
        return
    if isinstance(change, DropQos):
        qos = idl.tables["QoS"].rows.get(UUID(change.qos_uuid))
        used = any(qos in port.qos for port in idl.tables["Port"].rows.values())
        if qos is not None and MARK in qos.external_ids and not used:
            _drop(qos)
        return
    if isinstance(change, DropQueue):
        queue = idl.tables["Queue"].rows.get(UUID(change.queue_uuid))
        used = any(queue in one.queues.values() for one in idl.tables["QoS"].rows.values())
        if queue is not None and MARK in queue.external_ids and not used:
            queue.delete()
        return
    row = idl.tables["Port"].rows.get(UUID(change.port_uuid))
    if row is not None:
        _set_qos(change.rows, row, transaction)


def _set_bfd(change: SetBfd, row: Any) -> None:
    if dict(row.bfd) != dict(change.seen):
        return
    row.verify("bfd")
    if change.interval_ms is None:
        row.bfd = {}
        row.delkey("external_ids", BFD_MARK)
    else:
        row.bfd = bfd_settings(change.interval_ms)
        row.setkey("external_ids", BFD_MARK, str(change.interval_ms))


def _set_qos(wanted: QosRows | None, port: Any, transaction: Any) -> None:
    old = port.qos[0] if port.qos else None
    if old is not None and MARK not in old.external_ids:
        return
    port.verify("qos")
    if wanted is None:
        port.qos = []
        if old is not None:
            _drop(old)
        return
    qos = old if old is not None else transaction.insert(transaction.idl.tables["QoS"])
    if old is None:
        qos.external_ids = {MARK: "qos"}
        port.qos = [qos]
    qos.type = wanted.kind
    qos.other_config = dict(wanted.other_config)
    # Rows that stay are changed in place: their classes keep what waits in them, and their counters.
    before = dict(old.queues) if old is not None else {}
    queues = {}
    for number, settings in wanted.queues.items():
        queue = before.pop(number, None)
        if queue is None:
            queue = transaction.insert(transaction.idl.tables["Queue"])
            queue.external_ids = {MARK: "queue"}
            queue.other_config = dict(settings)
        elif dict(queue.other_config) != dict(settings):
            queue.other_config = dict(settings)
        queues[number] = queue
    qos.queues = queues
    for queue in before.values():
        if MARK in queue.external_ids:
            queue.delete()


def _drop(qos: Any) -> None:
    """Delete a QoS of ours and its queues: they are roots of the database, nothing else collects them."""
    queues = list(qos.queues.values())
    qos.delete()
    for queue in queues:
        if MARK in queue.external_ids:
            queue.delete()
