"""What is wanted survives restarts, kill -9, and files that are not what they should be."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ryu_apps.store import HistoryStore, SeriesKind, StateStore, StoreError
from ryu_apps.store.codec import BadRecord, dump, load
from ryu_apps.store.state import LAST_STITCH_ID
from stitching.network import Host, Link, LinkKey, Network
from stitching.stitch import Hop, State, Stitch, StitchPath, StitchRequest
from stitching.vnet import Member, VNet

MAC_A, MAC_B = "02:00:00:00:00:0a", "02:00:00:00:00:0b"
HIGH_DPID = (1 << 64) - 2
PATH = StitchPath((Hop(1, 1, 2), Hop(HIGH_DPID, 3, 4)), ((1, 2, HIGH_DPID, 3),), None)
STITCH = Stitch(
    1,
    StitchRequest(MAC_A, MAC_B, 5.0, 20.0, both_ways=False, origin="trigger", relieves=(1, 2, 3, 4)),
    State.UP,
    created_s=100.0,
    changed_s=101.5,
    epoch=3,
    path=PATH,
    up_s=101.5,
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "lockstitch.db"


@pytest.fixture
def store(file: Path) -> Iterator[StateStore]:
    opened = open_store(file)
    yield opened
    opened.close()


def open_store(file: Path) -> StateStore:
    return StateStore(f"sqlite:///{file}")


def change(file: Path, statement: str, *values: Any) -> None:
    connection = sqlite3.connect(file)
    with connection:
        connection.execute(statement, values)
    connection.close()


# what is kept --------------------------------------------------------------------------------------------


def test_everything_is_there_after_a_restart(file: Path) -> None:
    network = fabric()
    vnets = VNet("blue"), VNet("red", (Member(MAC_A, "h1"),), ("10.0.0.0/24",))
    first = open_store(file)
    for vnet in vnets:
        first.save_vnet(vnet)
    first.save_capacities({(1, 2): 10.0, (HIGH_DPID, 3): 2.5})
    first.save_network(network)
    first.save_stitches([STITCH])
    first.close()
    second = open_store(file)
    assert second.vnets() == vnets
    assert second.capacities() == {(1, 2): 10.0, (HIGH_DPID, 3): 2.5}
    assert second.stitches() == (STITCH,)
    assert second.network() == network
    second.close()


def fabric() -> Network:
    keys: list[LinkKey] = [(1, 2, HIGH_DPID, 3), (HIGH_DPID, 3, 1, 2)]
    return Network(
        links={keys[0]: Link(keys[0], 10.0, 1.25), keys[1]: Link(keys[1])},
        hosts={
            MAC_A: Host(MAC_A, 1, 1, frozenset({"10.0.0.1", "fe80::1"})),
            MAC_B: Host(MAC_B, HIGH_DPID, 1),
        },
    )


def test_a_new_store_is_empty(store: StateStore) -> None:
    assert (store.vnets(), store.stitches(), store.capacities(), store.network()) == ((), (), {}, None)


def test_a_vnet_and_a_stitch_are_replaced_by_the_next_of_their_name(store: StateStore) -> None:
    store.save_vnet(VNet("red"))
    store.save_vnet(VNet("red", subnets=("10.0.0.0/8",)))
    store.save_stitches([STITCH])
    store.save_stitches([replace(STITCH, state=State.DOWN, reason="cut")])
    assert store.vnets() == (VNet("red", subnets=("10.0.0.0/8",)),)
    assert [(stitch.state, stitch.reason) for stitch in store.stitches()] == [(State.DOWN, "cut")]


def test_a_deleted_vnet_is_gone_and_deleting_it_again_is_nothing(store: StateStore) -> None:
    store.save_vnet(VNet("red"))
    store.delete_vnet("red")
    store.delete_vnet("red")
    assert store.vnets() == ()


def test_capacities_that_are_not_named_stay(store: StateStore) -> None:
    store.save_capacities({(1, 1): 1.0, (1, 2): 2.0})
    store.save_capacities({(1, 2): 20.0})
    assert store.capacities() == {(1, 1): 1.0, (1, 2): 20.0}


def test_the_fabric_is_kept_as_it_is_now(store: StateStore, file: Path) -> None:
    network = fabric()
    store.save_network(network)
    moved = replace(network.hosts[MAC_A], dpid=7)
    smaller = Network(links=dict(list(network.links.items())[:1]), hosts={MAC_A: moved})
    store.save_network(smaller)
    assert store.network() == smaller
    again = open_store(file)
    again.save_network(network)
    assert again.network() == network
    again.close()


def test_the_live_delay_is_not_kept(store: StateStore) -> None:
    key = (1, 2, 3, 4)
    store.save_network(Network(links={key: Link(key, 10.0, 1.0, measured_ms=1.1, spread_ms=0.1)}))
    network = store.network()
    assert network is not None
    assert network.links[key] == Link(key, 10.0, 1.0)


def test_an_unchanged_fabric_is_not_written_again(store: StateStore, file: Path) -> None:
    store.save_network(fabric())
    blocker = sqlite3.connect(file, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    store.save_network(fabric())
    blocker.close()


def test_stitches_that_ended_long_ago_are_forgotten(store: StateStore) -> None:
    for number, (state, changed_s) in enumerate(
        [(State.TERMINATED, 10.0), (State.REJECTED, 10.0), (State.TERMINATED, 30.0), (State.FAILED, 10.0)], 1
    ):
        store.save_stitches([replace(STITCH, id=number, state=state, changed_s=changed_s)])
    store.forget_stitches(20.0)
    assert [stitch.id for stitch in store.stitches()] == [3, 4]


# stitch ids ----------------------------------------------------------------------------------------------


def test_no_stitch_id_is_given_out_twice_also_not_after_a_restart(file: Path) -> None:
    first = open_store(file)
    ids = [*first.next_stitch_ids(3)]
    first.close()
    second = open_store(file)
    ids += [*second.next_stitch_ids(1), *second.next_stitch_ids(1)]
    second.close()
    assert ids == [1, 2, 3, 4, 5]


def test_nor_to_two_threads(store: StateStore) -> None:
    ids: list[int] = []
    threads = [
        threading.Thread(target=lambda: ids.extend(n for _ in range(10) for n in store.next_stitch_ids(1)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sorted(ids) == list(range(1, 41))


def test_ids_end_where_the_cookie_ends(store: StateStore, file: Path) -> None:
    store.next_stitch_ids(1)
    change(file, "UPDATE lockstitch_meta SET value = ? WHERE name = 'next_stitch_id'", LAST_STITCH_ID)
    assert store.next_stitch_ids(1)[0] == LAST_STITCH_ID
    with pytest.raises(StoreError, match="used up"):
        store.next_stitch_ids(1)


# files that are not what they should be -----------------------------------------------------------------


def test_a_newer_file_is_refused_and_left_alone(file: Path) -> None:
    open_store(file).close()
    change(file, "UPDATE lockstitch_meta SET value = 99 WHERE name = 'schema_version'")
    with pytest.raises(StoreError, match=r"lockstitch\.db was written by a newer Lockstitch \(schema 99.*install"):
        open_store(file)


def test_a_database_of_something_else_is_refused_and_left_alone(file: Path) -> None:
    change(file, "CREATE TABLE songs (title TEXT)")
    with pytest.raises(StoreError, match=r"lockstitch\.db is a database of something else.*'songs'.*--state"):
        open_store(file)
    connection = sqlite3.connect(file)
    assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("songs",)]
    connection.close()


def test_a_file_that_is_no_database_is_refused_and_left_alone(file: Path) -> None:
    file.write_bytes(b"dear diary " * 1000)
    with pytest.raises(StoreError, match=r"lockstitch\.db: file is not a database; it is something else: move"):
        open_store(file)
    assert file.read_bytes().startswith(b"dear diary")


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"nowhere/lockstitch\.db: unable to open.*see that its directory exists"):
        open_store(tmp_path / "nowhere" / "lockstitch.db")


def test_a_url_that_is_none_is_named() -> None:
    with pytest.raises(StoreError, match=r"cannot open the store 'lockstitch\.db'"):
        StateStore("lockstitch.db")


def test_an_unknown_field_of_a_stored_stitch_is_named(store: StateStore, file: Path) -> None:
    store.save_stitches([STITCH])
    change(file, "UPDATE stitches SET body = replace(body, '\"epoch\"', '\"colour\"')")
    with pytest.raises(StoreError, match=r"lockstitch\.db has a record.*unknown field 'colour'"):
        store.stitches()


def test_a_write_that_cannot_be_done_says_why_and_leaves_what_was_there(store: StateStore, file: Path) -> None:
    store.save_vnet(VNet("red"))
    change(
        file,
        "CREATE TRIGGER full BEFORE INSERT ON vnets BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END",
    )
    with pytest.raises(StoreError, match=r"cannot save a virtual network in .*disk is full; free some space"):
        store.save_vnet(VNet("red", subnets=("10.0.0.0/8",)))
    assert store.vnets() == (VNet("red"),)


def test_the_file_is_for_its_owner_only(store: StateStore, file: Path) -> None:
    store.save_vnet(VNet("red"))
    assert {path.stat().st_mode & 0o777 for path in file.parent.iterdir()} == {0o600}


# kill -9 -------------------------------------------------------------------------------------------------

WRITER = """
import sys
from ryu_apps.events import Rates
from ryu_apps.store import HistoryStore, StateStore
from stitching.stitch import State, Stitch, StitchRequest
state, history = StateStore(sys.argv[1]), HistoryStore(sys.argv[1], batch_s=0.0)
while True:
    (number,) = state.next_stitch_ids(1)
    history.record(Rates(1e9 + number * 7, 1.0, {(1, port): float(number) for port in range(200)}))
    request = StitchRequest("02:00:00:00:00:0a", "02:00:00:00:00:0b", float(number))
    state.save_stitches([Stitch(number, request, State.UP, 0.0, 0.0)])
    # The history is killed in mid-write as well, but not before it has written anything.
    if number % 8 or history.flush():
        print(number, flush=True)
"""


def test_what_was_acknowledged_survives_kill_9(file: Path) -> None:
    url = f"sqlite:///{file}"
    acknowledged: list[int] = []
    for goal in (20, 60):
        with subprocess.Popen([sys.executable, "-c", WRITER, url], stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            for line in writer.stdout:
                acknowledged.append(int(line))
                if len(acknowledged) >= goal:
                    writer.send_signal(signal.SIGKILL)
        assert writer.returncode == -signal.SIGKILL
    state, history = StateStore(url), HistoryStore(url)
    stitches = state.stitches()
    assert len(set(acknowledged)) == len(acknowledged) >= 60
    assert {stitch.id for stitch in stitches} >= set(acknowledged)
    assert all(stitch.request.bandwidth_mbps == stitch.id for stitch in stitches)
    assert state.next_stitch_ids(1)[0] > max(acknowledged)
    times, _, values = history.read_panel(SeriesKind.PORT, 1e9, 7.0)
    written = ~np.isnan(values[0])
    assert written.any()
    # Of a period there is all or nothing.
    assert (np.isnan(values) == np.isnan(values[0])).all()
    np.testing.assert_array_equal(values[0, written], (times[written] - 1e9) / 7)
    history.close()
    state.close()
    connection = sqlite3.connect(file)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    connection.close()


# records -------------------------------------------------------------------------------------------------

number = st.integers(0, (1 << 64) - 1)
finite = st.floats(allow_nan=False, allow_infinity=False)
stitches = st.builds(
    Stitch,
    id=st.integers(1, LAST_STITCH_ID),
    request=st.builds(
        StitchRequest,
        source_mac=st.text(),
        target_mac=st.text(),
        bandwidth_mbps=finite,
        max_latency_ms=st.none() | finite,
        both_ways=st.booleans(),
        origin=st.text(),
        relieves=st.none() | st.tuples(number, number, number, number),
    ),
    state=st.sampled_from(State),
    created_s=finite,
    changed_s=finite,
    path=st.none()
    | st.builds(
        StitchPath,
        hops=st.lists(st.builds(Hop, dpid=number, in_port=number, out_port=number)).map(tuple),
        links=st.lists(st.tuples(number, number, number, number)).map(tuple),
        latency_ms=st.none() | finite,
    ),
    reason=st.none() | st.text(),
)


@given(stitch=stitches)
def test_every_stitch_comes_back_as_it_was(stitch: Stitch) -> None:
    assert load(Stitch, dump(stitch)) == stitch


def test_a_field_that_is_younger_than_the_record_takes_its_default() -> None:
    request = load(StitchRequest, '{"source_mac": "a", "target_mac": "b", "bandwidth_mbps": 1}')
    assert request == StitchRequest("a", "b", 1.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "where an object is expected"),
        ('{"dpid": 1, "in_port": 2}', "has no field 'out_port'"),
        ('{"dpid": 1, "in_port": 2, "out_port": 3, "hop": 4}', "unknown field 'hop'"),
        ('{"dpid": 1, "in_port": 2, "out_port": "3"}', r"Hop\.out_port is '3' where a int is expected"),
        ('{"dpid": 1, "in_port": 2, "out_port": true}', r"Hop\.out_port is True"),
    ],
)
def test_a_record_that_is_not_what_its_type_says_is_refused(text: str, message: str) -> None:
    with pytest.raises(BadRecord, match=message):
        load(Hop, text)


def test_a_number_that_json_does_not_have_is_not_written() -> None:
    with pytest.raises(ValueError, match="JSON"):
        dump(replace(STITCH, created_s=float("nan")))
