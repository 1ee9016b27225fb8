"""Changes to a database touch only rows that are as they were seen, and only what is ours."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ryu_apps.ovsdb.changes import BFD_MARK, Change, DropQos, DropQueue, SetBfd, SetQos, bfd_settings, carry_out
from ryu_apps.ovsdb.remotes import BadRemote, check_remote, socket_path
from ryu_apps.ovsdb.view import SCHEMA, snapshot
from stitching.queues import BEST_EFFORT, CONTROL, MARK, PortQueues, Queue, rows

WANTED = PortQueues(10.0, (Queue(1, 5.0), Queue(2, 1.0)))


class Row(SimpleNamespace):
    """A row as the library's, in memory."""

    def __init__(self, **columns: Any) -> None:
        super().__init__(uuid=uuid4(), deleted=False, verified=[], **columns)

    def __hash__(self) -> int:  # type: ignore[override]  # rows are keys, by their uuid
        return hash(self.uuid)

    def verify(self, column: str) -> None:
        self.verified.append(column)

    def setkey(self, column: str, key: str, value: str) -> None:
        setattr(self, column, {**getattr(self, column), key: value})

    def delkey(self, column: str, key: str) -> None:
        setattr(self, column, {k: v for k, v in getattr(self, column).items() if k != key})

    def delete(self) -> None:
        self.deleted = True


class Database:
    """Tables as the library's Idl has them; as its own Transaction it inserts at once."""

    def __init__(self) -> None:
        self.tables = {name: SimpleNamespace(name=name, rows={}) for name in SCHEMA["tables"]}
        self.idl = self

    def add(self, table: str, **columns: Any) -> Row:
        row = Row(**columns)
        self.tables[table].rows[row.uuid] = row
        return row

    def insert(self, table: Any) -> Row:
        return self.add(table.name, other_config={}, external_ids={}, queues={}, type="")

    def obey(self, *changes: Change) -> None:
        for change in changes:
            carry_out(change, self, self)

    def left(self, table: str) -> list[Row]:
        return [row for row in self.tables[table].rows.values() if not row.deleted]


def interface(database: Database, **columns: Any) -> Row:
    given = {
        "bfd": {},
        "bfd_status": {},
        "external_ids": {"other": "1"},
        "name": "s1-eth2",
        "type": "",
        "ofport": [2],
    }
    return database.add("Interface", **{**given, **columns})


def port(database: Database, *qos: Row) -> Row:
    return database.add("Port", name="s1-eth2", interfaces=[interface(database)], qos=list(qos))


def test_bfd_is_set_with_its_mark_and_taken_off_with_it() -> None:
    database = Database()
    row = interface(database)
    database.obey(SetBfd(str(row.uuid), 20, {}))
    assert row.bfd == bfd_settings(20) and row.external_ids == {"other": "1", BFD_MARK: "20"}
    assert row.verified == ["bfd"]
    database.obey(SetBfd(str(row.uuid), None, bfd_settings(20)))
    assert row.bfd == {} and row.external_ids == {"other": "1"}


def test_bfd_that_changed_since_it_was_seen_is_left_alone() -> None:
    database = Database()
    row = interface(database, bfd={"enable": "true"})
    database.obey(SetBfd(str(row.uuid), 20, {}), SetBfd(str(UUID(int=7)), 20, {}))
    assert row.bfd == {"enable": "true"} and BFD_MARK not in row.external_ids


def test_a_qos_is_made_changed_in_place_and_removed_with_its_queues() -> None:
    database = Database()
    where = port(database)
    database.obey(SetQos(str(where.uuid), rows(WANTED)))
    (qos,) = database.left("QoS")
    assert (
        where.qos == [qos]
        and qos.external_ids == {MARK: "qos"}
        and set(qos.queues) == {BEST_EFFORT, 1, 2, CONTROL}
    )
    kept = qos.queues[1]
    database.obey(SetQos(str(where.uuid), rows(PortQueues(10.0, (Queue(1, 6.0),)))))
    assert database.left("QoS") == [qos] and qos.queues[1] is kept
    assert kept.other_config["min-rate"] == "6000000"
    assert len(database.left("Queue")) == 3
    database.obey(SetQos(str(where.uuid), None))
    assert where.qos == [] and not database.left("QoS") and not database.left("Queue")


def test_somebody_elses_qos_is_neither_changed_nor_removed() -> None:
    database = Database()
    qos = database.add("QoS", type="linux-htb", other_config={}, external_ids={}, queues={})
    where = port(database, qos)
    database.obey(SetQos(str(where.uuid), rows(WANTED)), SetQos(str(where.uuid), None))
    assert where.qos == [qos] and not qos.deleted and not database.left("Queue")


def test_a_queue_that_comes_later_is_made_with_its_settings() -> None:
    database = Database()
    where = port(database)
    database.obey(SetQos(str(where.uuid), rows(PortQueues(10.0, ()))))
    database.obey(SetQos(str(where.uuid), rows(WANTED)))
    (qos,) = database.left("QoS")
    assert qos.queues[1].other_config["min-rate"] == "5000000" and len(database.left("Queue")) == 4


def test_what_a_deleted_port_leaves_is_swept_away_and_what_is_used_or_of_others_stays() -> None:
    database = Database()
    gone, there = port(database), port(database)
    database.obey(SetQos(str(gone.uuid), rows(WANTED)), SetQos(str(there.uuid), rows(WANTED)))
    foreign = database.add("QoS", type="linux-htb", other_config={}, external_ids={}, queues={})
    (left,) = gone.qos
    del database.tables["Port"].rows[gone.uuid]
    assert snapshot(database.tables).stray == (str(left.uuid),)
    database.obey(*(DropQos(str(qos.uuid)) for qos in (left, *there.qos, foreign)))
    assert database.left("QoS") == [*there.qos, foreign] and len(database.left("Queue")) == 4


def test_queues_whose_qos_somebody_has_deleted_are_swept_away() -> None:
    database = Database()
    there = port(database)
    database.obey(SetQos(str(there.uuid), rows(WANTED)))
    used = database.left("Queue")
    left = database.add("Queue", other_config={}, external_ids={MARK: "queue"})
    foreign = database.add("Queue", other_config={}, external_ids={})
    assert snapshot(database.tables).stray_queues == (str(left.uuid),)
    database.obey(*(DropQueue(str(queue.uuid)) for queue in (left, foreign, *used)))
    assert database.left("Queue") == [*used, foreign]


def test_a_view_has_the_ports_of_bridges_that_have_numbers() -> None:
    database = Database()
    good = port(database)
    new = database.add("Port", name="new", interfaces=[interface(database, ofport=[])], qos=[])
    bond = database.add("Port", name="bond", interfaces=[interface(database), interface(database)], qos=[])
    database.add("Bridge", name="s1", datapath_id=["000000000000000a"], datapath_type="", ports=[good, new, bond])
    database.add("Bridge", name="young", datapath_id=[], datapath_type="netdev", ports=[])
    view = snapshot(database.tables)
    assert [(one.dpid, one.datapath_type, list(one.ports)) for one in view.bridges] == [(10, "system", [2])]


@pytest.mark.parametrize(
    "good", ["unix:/var/run/openvswitch/db.sock", "tcp:10.0.0.1:6640", "ssl:[2001:db8::1]:6640", "tcp:host-1.x:1"]
)
def test_a_server_is_written_as_the_library_takes_it(good: str) -> None:
    assert check_remote(f" {good} ") == good
    assert (socket_path(good) is None) == (not good.startswith("unix:"))


@pytest.mark.parametrize(
    "bad",
    ["", "db.sock", "unix:db.sock", "tcp:10.0.0.1", "tcp:a:0", "tcp:a:65536", "http://a:1", "tcp:a:1,tcp:b:2"],
)
def test_a_bad_server_is_refused_with_the_way_to_write_one(bad: str) -> None:
    with pytest.raises(BadRemote, match="tcp:HOST:PORT"):
        check_remote(bad)


@given(st.text())
def test_any_text_is_a_server_or_refused(text: str) -> None:
    with contextlib.suppress(BadRemote):
        assert check_remote(text) == text.strip()
