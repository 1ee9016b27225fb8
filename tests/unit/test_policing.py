"""The app keeps versions, tells the others what holds and when that changes, and takes in nothing wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ryu_apps.app import Event, Tick
from ryu_apps.events import ExplainRequest, NetworkChanged, PolicyChanged, PutPolicy, VnetsChanged
from ryu_apps.policing import Policing
from ryu_apps.store import StateStore, StoreError
from stitching.match import TCP
from stitching.policy.decision import Flow
from stitching.policy.explaining import Explanation
from stitching.policy.faults import PolicyError
from stitching.vnet import Member, VNet
from tests.model.fabric import Fabric

NIGHT = "2026-11-21T22:00:00Z"
NIGHT_S = 1_795_298_400.0


class Bench(Policing):
    """The app on the test's own clock; what it tells is noted."""

    def __init__(self, store: StateStore, **more: Any) -> None:
        self.now_s = NIGHT_S - 10.0
        self.told: list[PolicyChanged] = []
        super().__init__(store=store, clock=lambda: self.now_s, **more)
        fabric = Fabric()
        fabric.join(1, 2)
        self.hosts = fabric.host(1), fabric.host(2)
        self.on_network(NetworkChanged(fabric.network))
        self.on_vnets(
            VnetsChanged((VNet("red", tuple(Member(h.mac, f"h{n}") for n, h in enumerate(self.hosts, 1))),))
        )

    def publish(self, occurred: Event) -> None:
        assert isinstance(occurred, PolicyChanged)
        self.told.append(occurred)

    def put(self, document: object, *, dry_run: bool = False) -> Any:
        request = PutPolicy(document, dry_run)
        self.on_put(request)
        return request.future.result(0)

    def explain(self) -> Explanation:
        request = ExplainRequest(self.hosts[0].mac, self.hosts[1].mac, Flow(TCP, 40000, 22))
        self.on_explain(request)
        return request.future.result(0)


@pytest.fixture
def store(tmp_path: Path) -> StateStore:
    return StateStore(f"sqlite:///{tmp_path / 'lockstitch.db'}")


def deny(**more: Any) -> dict[str, Any]:
    return {"rules": [{"name": "no ssh", "protocol": "tcp", "ports": 22, "action": "deny", **more}]}


def test_what_is_put_is_told_and_still_holds_after_a_restart(store: StateStore) -> None:
    bench = Bench(store)
    assert bench.put(deny()).version.version == 1
    assert [rule.name for rule in bench.told[-1].policy.rules] == ["no ssh"]
    assert not Bench(store).explain().arrives


def test_a_dry_run_is_neither_kept_nor_told(store: StateStore) -> None:
    bench = Bench(store)
    outcome = bench.put(deny(), dry_run=True)
    assert (outcome.version, outcome.changes.counts) == (None, {"changed": 2})
    assert (bench.told, store.policy()) == ([], None)


def test_the_others_are_told_when_a_time_window_begins_and_when_the_clock_is_set_back(store: StateStore) -> None:
    bench = Bench(store)
    bench.put(deny(times=[{"from": NIGHT}]))
    told = len(bench.told)
    bench.on_clock(Tick("clock"))
    assert (len(bench.told), bench.explain().arrives) == (told, True)
    bench.now_s = NIGHT_S
    bench.on_clock(Tick("clock"))
    assert (len(bench.told), bench.told[-1].time_s, bench.explain().arrives) == (told + 1, NIGHT_S, False)


def test_a_policy_that_makes_too_many_rules_is_refused_with_the_numbers(store: StateStore) -> None:
    bench = Bench(store, most_rules=20)
    scattered = [f"{port}-{port + 2}" for port in range(1001, 2001, 10)]
    with pytest.raises(PolicyError, match=r"would have \d+ rules of it \(now 1\), and may have 20"):
        bench.put(deny(ports=scattered, to={"host": "h2"}))
    assert store.policy() is None


def test_what_is_not_stored_does_not_hold(store: StateStore, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(store)

    def full(*_: object) -> None:
        raise StoreError("the disk is full")

    monkeypatch.setattr(store, "save_policy", full)
    with pytest.raises(StoreError):
        bench.put(deny())
    assert (bench.told, bench.explain().arrives) == ([], True)


def test_a_stored_policy_that_cannot_be_read_stops_the_start_rather_than_letting_everything_through(
    store: StateStore,
) -> None:
    store.save_policy(0.0, '{"rules": [{"name": "r", "action": "perhaps"}]}')
    with pytest.raises(StoreError, match="version 1 of the policy in the store cannot be read"):
        Bench(store)


def test_the_last_hundred_versions_are_kept(store: StateStore) -> None:
    for number in range(103):
        assert store.save_policy(float(number), "{}").version == number + 1
    assert [one.version for one in store.policy_versions()] == list(range(103, 2, -1))
    newest = store.policy()
    assert newest is not None and newest.version == 103
    assert store.policy(1) is None
