"""A switch is found in the databases by its dpid and its ports, so nobody else's bridge is ever touched."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import pytest

from ryu_apps.ovsdb import connection as module
from ryu_apps.ovsdb.changes import SetQos
from ryu_apps.ovsdb.connection import Heard
from ryu_apps.ovsdb.remotes import BadRemote
from ryu_apps.ovsdb.servers import Servers
from ryu_apps.ovsdb.view import BridgeView, PortView, View
from stitching.network import Port

ONE, OTHER = "unix:/one", "tcp:other:6640"


class FakeConnection:
    """Takes changes and does nothing."""

    made: list[FakeConnection]

    def __init__(self, remote: str, _tell: Any, _ssl: Any) -> None:
        self.remote, self.changes, self.running = remote, list[Any](), False
        self.made.append(self)

    def start(self) -> None:
        self.running = True

    def stop(self) -> None:
        self.running = False

    def submit(self, changes: list[Any]) -> None:
        self.changes += changes


@pytest.fixture(autouse=True)
def connections(monkeypatch: pytest.MonkeyPatch) -> list[FakeConnection]:
    FakeConnection.made = []
    monkeypatch.setattr(module, "Connection", FakeConnection)
    return FakeConnection.made


def bridge(dpid: int, *names: str) -> BridgeView:
    ports = {no: PortView(f"p{name}", f"i{name}", name, no) for no, name in enumerate(names, 1)}
    return BridgeView(dpid, f"br{dpid}", "netdev", MappingProxyType(ports))


def ports(*names: str) -> dict[int, Port]:
    return {no: Port(no, name, "02:00:00:00:00:01", up=True) for no, name in enumerate(names, 1)}


def servers(*remotes: str) -> Servers:
    made = Servers(lambda _: None)
    made.use(remotes)
    return made


def test_a_bridge_that_only_shares_the_dpid_is_not_ours() -> None:
    known = servers(ONE)
    known.heard(Heard(ONE, View((bridge(1, "lab1s1-eth1"), bridge(1, "lab2s1-eth1")))))
    assert not known.ports, "no switch is connected"
    known.connected({1: ports("lab2s1-eth1")})
    assert [port.name for port in known.ports.values()] == ["lab2s1-eth1"]
    known.connected({1: ports("lab3s1-eth1")})
    assert not known.ports and known.bridge(1) is None


def test_changes_go_to_the_server_that_knows_the_switch(connections: list[FakeConnection]) -> None:
    known = servers(ONE, OTHER)
    known.heard(Heard(ONE, View((bridge(1, "a"),))))
    known.heard(Heard(OTHER, View((bridge(2, "b"),))))
    known.connected({1: ports("a"), 2: ports("b")})
    change = SetQos("pb", None)
    known.submit({(2, 1): change, (9, 9): change})
    assert [one.changes for one in connections] == [[], [change]]


def test_a_server_that_went_takes_its_ports_along_and_is_told_of_once() -> None:
    known = servers(ONE)
    known.connected({1: ports("a")})
    view = View((bridge(1, "a"),))
    assert known.heard(Heard(ONE, view)) and not known.heard(Heard(ONE, view))
    assert known.ports
    assert known.heard(Heard(ONE, None)) and not known.ports
    assert dict(known.answering()) == {ONE: False}


def test_other_servers_can_be_given_later(connections: list[FakeConnection]) -> None:
    known = servers(ONE)
    assert known.use((OTHER,)) == 1 and known.use((OTHER,)) == 0
    assert [(one.remote, one.running) for one in connections] == [(ONE, False), (OTHER, True)]
    assert not known.heard(Heard(ONE, View())), "its last words"
    with pytest.raises(BadRemote):
        known.use(("nowhere",))
    with pytest.raises(BadRemote, match="--ovsdb-key"):
        known.use(("ssl:a:6640",))
    assert dict(known.answering()) == {OTHER: False}, "what was refused changed nothing"
