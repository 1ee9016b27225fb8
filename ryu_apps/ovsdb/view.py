"""What an OVSDB server says of its bridges, as values that any thread may read."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from stitching.queues import MARK, QosRows, Settings


def _nothing() -> Settings:
    return MappingProxyType({})


@dataclass(frozen=True)
class QosView:
    """The QoS a port has, with all its queues."""

    uuid: str
    rows: QosRows
    ours: bool


@dataclass(frozen=True)
class PortView:
    """A port of one interface, by the rows it is made of."""

    uuid: str
    interface_uuid: str
    name: str
    port_no: int
    bfd: Settings = field(default_factory=_nothing)
    bfd_status: Settings = field(default_factory=_nothing)
    external_ids: Settings = field(default_factory=_nothing)
    kind: str = ""
    qos: QosView | None = None


@dataclass(frozen=True)
class BridgeView:
    """A bridge and those of its ports that have an OpenFlow number."""

    dpid: int
    name: str
    datapath_type: str
    ports: Mapping[int, PortView] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True)
class View:
    """All bridges of a server. Two may have the same dpid: nothing keeps them from it."""

    bridges: tuple[BridgeView, ...] = ()
    stray: tuple[str, ...] = ()
    """QoS rows of ours that no port has any more: its port was deleted, and nothing else collects them."""
    stray_queues: tuple[str, ...] = ()
    """Queue rows of ours that no QoS has any more: somebody has deleted it."""


def snapshot(tables: Mapping[str, Any]) -> View:
    """Read the tables of an Idl (`idl.tables`) into a View."""
    bridges = []
    for row in list(tables["Bridge"].rows.values()):
        dpid = _dpid(row)
        if dpid is not None:
            bridges.append(BridgeView(dpid, row.name, row.datapath_type or "system", _ports(row)))
    all_qos = list(tables["QoS"].rows.values())
    used = {qos.uuid for port in list(tables["Port"].rows.values()) for qos in port.qos}
    filled = {queue.uuid for qos in all_qos for queue in qos.queues.values()}
    return View(tuple(bridges), _stray(all_qos, used), _stray(list(tables["Queue"].rows.values()), filled))


def _stray(rows: Iterable[Any], used: Container[Any]) -> tuple[str, ...]:
    return tuple(str(row.uuid) for row in rows if MARK in row.external_ids and row.uuid not in used)


def _dpid(row: Any) -> int | None:
    try:
        return int(row.datapath_id[0], 16)
    except (IndexError, ValueError):
        return None  # the switch daemon has not taken the bridge up yet


def _ports(bridge: Any) -> Mapping[int, PortView]:
    ports = {}
    for row in bridge.ports:
        # A bond has several interfaces, and each of those its own OpenFlow port: BFD and queues are left to it.
        if len(row.interfaces) != 1:
            continue
        interface = row.interfaces[0]
        number = interface.ofport[0] if interface.ofport else -1
        if number > 0:
            ports[number] = PortView(
                uuid=str(row.uuid),
                interface_uuid=str(interface.uuid),
                name=interface.name,
                port_no=number,
                bfd=MappingProxyType(dict(interface.bfd)),
                bfd_status=MappingProxyType(dict(interface.bfd_status)),
                external_ids=MappingProxyType(dict(interface.external_ids)),
                kind=interface.type,
                qos=_qos(row.qos[0]) if row.qos else None,
            )
    return MappingProxyType(ports)


def _qos(row: Any) -> QosView:
    queues = {number: MappingProxyType(dict(queue.other_config)) for number, queue in row.queues.items()}
    rows = QosRows(MappingProxyType(dict(row.other_config)), MappingProxyType(queues), row.type)
    return QosView(str(row.uuid), rows, MARK in row.external_ids)


def _map(key: str | dict[str, Any] = "string", value: str | dict[str, Any] = "string") -> dict[str, Any]:
    return {"type": {"key": key, "value": value, "min": 0, "max": "unlimited"}}


def _set(key: str | dict[str, Any], most: int | str = "unlimited", least: int = 0) -> dict[str, Any]:
    return {"type": {"key": key, "min": least, "max": most}}


def _reference(table: str) -> dict[str, Any]:
    return {"type": "uuid", "refTable": table}


# Only these columns are asked for: the counters of an Interface alone would be most of all traffic.
_COLUMNS: dict[str, dict[str, Any]] = {
    "Bridge": {
        "name": {"type": "string"},
        "datapath_id": _set("string", 1),
        "datapath_type": {"type": "string"},
        "ports": _set(_reference("Port")),
    },
    "Port": {
        "name": {"type": "string"},
        "interfaces": _set(_reference("Interface"), least=1),
        "qos": _set(_reference("QoS"), 1),
    },
    "Interface": {
        "name": {"type": "string"},
        "type": {"type": "string"},
        "ofport": _set("integer", 1),
        "bfd": _map(),
        "bfd_status": _map(),
        "external_ids": _map(),
    },
    "QoS": {
        "type": {"type": "string"},
        "queues": _map("integer", _reference("Queue")),
        "other_config": _map(),
        "external_ids": _map(),
    },
    "Queue": {"other_config": _map(), "external_ids": _map()},
}
SCHEMA: dict[str, Any] = {
    "name": "Open_vSwitch",
    "version": "8.0.0",
    "tables": {
        name: {"columns": columns, "isRoot": name in ("QoS", "Queue")} for name, columns in _COLUMNS.items()
    },
}
"""The part of the Open_vSwitch schema that is read and written."""
