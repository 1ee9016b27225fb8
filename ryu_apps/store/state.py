"""What is wanted, and the fabric as last seen: written before it is acted on, whole or not at all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, Table, bindparam, delete, func, insert, select, update

from ryu_apps.store import schema
from ryu_apps.store.codec import BadRecord, dump, load
from ryu_apps.store.engine import Database
from ryu_apps.store.errors import StoreError
from stitching.network import Host, Link, LinkKey, Network, PortId, node_name
from stitching.policy.version import PolicyVersion
from stitching.stitch import ENDED, Stitch
from stitching.vnet import VNet

LAST_STITCH_ID = (1 << 32) - 1
"""What the cookie of a rule has room for."""

KEPT_POLICIES = 100
"""Versions of the policy before the newest."""

_Row = dict[str, Any]


class StateStore:
    """The state of one controller in one database, whose tables are made where there are none.

    Every call is one transaction. When a call that writes has returned, what it wrote survives the death of the
    process and, with SQLite, the loss of power. May be called from any thread. All calls raise StoreError.
    """

    def __init__(self, url: str) -> None:
        self._database = Database(url, durable=True)
        schema.prepare(self._database)
        self._lock = self._database.lock
        self._fabric: dict[Table, dict[tuple[Any, ...], _Row]] | None = None

    @property
    def database(self) -> Database:
        """The database, for other stores in the same file."""
        return self._database

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    # -- virtual networks -----------------------------------------------------------------------------------

    def vnets(self) -> tuple[VNet, ...]:
        """All virtual networks, by name."""
        with self._database.reading("read virtual networks") as connection:
            bodies = connection.scalars(select(schema.vnets.c.body).order_by(schema.vnets.c.name)).all()
        return tuple(self._load(VNet, body) for body in bodies)

    def save_vnet(self, vnet: VNet) -> None:
        """Keep a virtual network in place of the one of its name."""
        with self._lock, self._database.writing("save a virtual network") as connection:
            connection.execute(delete(schema.vnets).where(schema.vnets.c.name == vnet.name))
            connection.execute(insert(schema.vnets).values(name=vnet.name, body=dump(vnet)))

    def delete_vnet(self, name: str) -> None:
        """Forget a virtual network; nothing happens where there is none of this name."""
        with self._lock, self._database.writing("delete a virtual network") as connection:
            connection.execute(delete(schema.vnets).where(schema.vnets.c.name == name))

    # -- the policy -----------------------------------------------------------------------------------------

    def policy(self, version: int | None = None) -> PolicyVersion | None:
        """A version of the policy, the newest unless one is named; None where there is none."""
        table = schema.policies
        query = select(table.c.version, table.c.created_s, table.c.document).order_by(table.c.version.desc())
        if version is not None:
            query = query.where(table.c.version == version)
        with self._database.reading("read the policy") as connection:
            row = connection.execute(query.limit(1)).first()
        return None if row is None else PolicyVersion(*row)

    def policy_versions(self) -> tuple[PolicyVersion, ...]:
        """All versions of the policy, the newest first, without their documents."""
        table = schema.policies
        query = select(table.c.version, table.c.created_s).order_by(table.c.version.desc())
        with self._database.reading("read the versions of the policy") as connection:
            return tuple(PolicyVersion(*row) for row in connection.execute(query))

    def save_policy(self, created_s: float, document: str) -> PolicyVersion:
        """Keep a policy as the newest version; of those before, KEPT_POLICIES stay."""
        table = schema.policies
        with self._lock, self._database.writing("save the policy") as connection:
            version = (connection.scalar(select(func.max(table.c.version))) or 0) + 1
            connection.execute(insert(table).values(version=version, created_s=created_s, document=document))
            connection.execute(delete(table).where(table.c.version < version - KEPT_POLICIES))
        return PolicyVersion(version, created_s, document)

    # -- capacities -----------------------------------------------------------------------------------------

    def capacities(self) -> dict[PortId, float]:
        """What the operator said the links carry, in Mbit/s by source port."""
        table = schema.capacities
        with self._database.reading("read capacities") as connection:
            rows = connection.execute(select(table.c.dpid, table.c.port_no, table.c.capacity_mbps)).all()
        return {(int(dpid, 16), port_no): mbps for dpid, port_no, mbps in rows}

    def save_capacities(self, capacity_mbps: Mapping[PortId, float]) -> None:
        """Keep these too; ports that are not named keep what they have."""
        rows = [
            {"dpid": node_name(dpid), "port_no": port_no, "capacity_mbps": mbps}
            for (dpid, port_no), mbps in capacity_mbps.items()
        ]
        with self._lock, self._database.writing("save capacities") as connection:
            _replace(connection, schema.capacities, rows)

    def encrypted_ports(self) -> frozenset[PortId]:
        """The source ports of links that are marked as encrypted."""
        table = schema.encrypted_ports
        with self._database.reading("read which links are encrypted") as connection:
            rows = connection.execute(select(table.c.dpid, table.c.port_no)).all()
        return frozenset((int(dpid, 16), port_no) for dpid, port_no in rows)

    def save_encrypted(self, marks: Mapping[PortId, bool]) -> None:
        """Keep these marks, or take them out; ports that are not named keep what they have."""
        table = schema.encrypted_ports
        rows = {port: {"dpid": node_name(port[0]), "port_no": port[1]} for port in marks}
        with self._lock, self._database.writing("save which links are encrypted") as connection:
            _remove(connection, table, list(rows.values()))
            if marked := [rows[port] for port, encrypted in marks.items() if encrypted]:
                connection.execute(insert(table), marked)

    # -- OVSDB servers --------------------------------------------------------------------------------------

    def ovsdb(self) -> dict[int, str]:
        """The OVSDB server of each switch that somebody named one for."""
        table = schema.ovsdb
        with self._database.reading("read the OVSDB servers") as connection:
            rows = connection.execute(select(table.c.dpid, table.c.remote)).all()
        return {int(dpid, 16): remote for dpid, remote in rows}

    def save_ovsdb(self, dpid: int, remote: str | None) -> None:
        """Keep the server of this switch, or forget it."""
        row = {"dpid": node_name(dpid), "remote": remote or ""}
        with self._lock, self._database.writing("save an OVSDB server") as connection:
            if remote is None:
                _remove(connection, schema.ovsdb, [row])
            else:
                _replace(connection, schema.ovsdb, [row])

    def overlay(self) -> str | None:
        """The overlay as it was saved last; None where it never was."""
        with self._database.reading("read the overlay") as connection:
            body: str | None = connection.scalar(select(schema.overlay.c.body))
        return body

    def save_overlay(self, body: str) -> None:
        """Keep the overlay; it is on the disk when this returns."""
        with self._lock, self._database.writing("save the overlay") as connection:
            _replace(connection, schema.overlay, [{"id": 1, "body": body}])

    def overlay_settings(self, kind: str) -> dict[str, str]:
        """What people have said of the overlay, all of a kind, by name."""
        table = schema.overlay_settings
        with self._database.reading("read the settings of the overlay") as connection:
            rows = connection.execute(select(table).where(table.c.kind == kind)).all()
        return {row.name: row.body for row in rows}

    def save_overlay_setting(self, kind: str, name: str, body: str | None) -> None:
        """Keep one in place of the one of its name; None: forget that."""
        row = {"kind": kind, "name": name, "body": body or ""}
        with self._lock, self._database.writing("save a setting of the overlay") as connection:
            if body is None:
                _remove(connection, schema.overlay_settings, [row])
            else:
                _replace(connection, schema.overlay_settings, [row])

    # -- the fabric -----------------------------------------------------------------------------------------

    def network(self) -> Network | None:
        """The links (with the latency paths are computed on) and hosts as last saved; None where none were.

        Switches are not kept: which ones are connected, and their ports, they say themselves.
        """
        with self._database.reading("read the fabric") as connection:
            links = connection.execute(select(schema.links)).all()
            hosts = connection.execute(select(schema.hosts)).all()
        if not links and not hosts:
            return None
        found = {}
        for source, source_port, target, target_port, capacity_mbps, latency_ms in links:
            key: LinkKey = (int(source, 16), source_port, int(target, 16), target_port)
            found[key] = Link(key, capacity_mbps, latency_ms)
        seen = {
            mac: Host(mac, int(dpid, 16), port_no, frozenset(ips.split())) for mac, dpid, port_no, ips in hosts
        }
        return Network(links=found, hosts=seen)

    def save_network(self, network: Network) -> None:
        """Keep the links and hosts of this fabric and forget all others. Writes only what changed."""
        wanted = {
            schema.links: _by_key(schema.links, (_link_row(link) for link in network.links.values())),
            schema.hosts: _by_key(schema.hosts, (_host_row(host) for host in network.hosts.values())),
        }
        with self._lock:
            before = self._fabric if self._fabric is not None else self._stored_fabric()
            self._fabric = None  # for as long as it is not certain what the database has
            if wanted != before:
                with self._database.writing("save the fabric") as connection:
                    for table, rows in wanted.items():
                        _remove(connection, table, [r for key, r in before[table].items() if key not in rows])
                        changed = [row for key, row in rows.items() if before[table].get(key) != row]
                        _replace(connection, table, changed)
            self._fabric = wanted

    def _stored_fabric(self) -> dict[Table, dict[tuple[Any, ...], _Row]]:
        with self._database.reading("read the fabric") as connection:
            return {
                table: _by_key(table, (dict(row) for row in connection.execute(select(table)).mappings()))
                for table in (schema.links, schema.hosts)
            }

    # -- stitches -------------------------------------------------------------------------------------------

    def next_stitch_ids(self, count: int) -> range:
        """Ids from 1 to 2^32-1 that no stitch ever had, also not before a restart."""
        table = schema.meta
        with self._lock, self._database.writing("take stitch ids") as connection:
            known = connection.scalar(select(table.c.value).where(table.c.name == "next_stitch_id"))
            first = 1 if known is None else int(known)
            following = first + count
            if following - 1 > LAST_STITCH_ID:
                where = self._database.where
                raise StoreError(f"{where} has used up all {LAST_STITCH_ID} stitch ids; start with another file")
            if known is None:
                connection.execute(insert(table).values(name="next_stitch_id", value=following))
            else:
                connection.execute(update(table).where(table.c.name == "next_stitch_id").values(value=following))
        return range(first, following)

    def stitches(self) -> tuple[Stitch, ...]:
        """All stitches that were not forgotten, by id."""
        with self._database.reading("read stitches") as connection:
            bodies = connection.scalars(select(schema.stitches.c.body).order_by(schema.stitches.c.id)).all()
        return tuple(self._load(Stitch, body) for body in bodies)

    def save_stitches(self, stitches: Iterable[Stitch]) -> None:
        """Keep stitches in place of those of their ids: all of them, or none."""
        rows = [
            {
                "id": stitch.id,
                "state": stitch.state.value,
                "changed_s": stitch.changed_s,
                "body": dump(stitch),
            }
            for stitch in stitches
        ]
        with self._lock, self._database.writing("save stitches") as connection:
            _replace(connection, schema.stitches, rows)

    def forget_stitches(self, ended_before_s: float) -> None:
        """Forget the stitches that ended before a time, in seconds since the epoch."""
        table = schema.stitches
        ended = table.c.state.in_([state.value for state in ENDED])
        with self._lock, self._database.writing("forget stitches") as connection:
            connection.execute(delete(table).where(ended, table.c.changed_s < ended_before_s))

    def _load(self, cls: type[Any], body: str) -> Any:
        try:
            return load(cls, body)
        except BadRecord as error:
            where = self._database.where
            raise StoreError(f"{where} has a record that cannot be read: {error}; move the file away") from error


def _link_row(link: Link) -> _Row:
    return {
        "source_dpid": node_name(link.key[0]),
        "source_port": link.key[1],
        "target_dpid": node_name(link.key[2]),
        "target_port": link.key[3],
        "capacity_mbps": link.capacity_mbps,
        "latency_ms": link.latency_ms,
    }


def _host_row(host: Host) -> _Row:
    return {
        "mac": host.mac,
        "dpid": node_name(host.dpid),
        "port_no": host.port_no,
        "ips": " ".join(sorted(host.ips)),
    }


def _by_key(table: Table, rows: Any) -> dict[tuple[Any, ...], _Row]:
    names = [column.name for column in table.primary_key]
    return {tuple(row[name] for name in names): row for row in rows}


def _remove(connection: Connection, table: Table, rows: list[_Row]) -> None:
    if not rows:
        return
    names = [column.name for column in table.primary_key]
    statement = delete(table).where(*(table.c[name] == bindparam(f"key_{name}") for name in names))
    connection.execute(statement, [{f"key_{name}": row[name] for name in names} for row in rows])


def _replace(connection: Connection, table: Table, rows: list[_Row]) -> None:
    """Delete and insert: every database can, and no upsert is written the same in two of them."""
    if rows:
        _remove(connection, table, rows)
        connection.execute(insert(table), rows)
