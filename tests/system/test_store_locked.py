"""A store that another program holds locked: changes are refused with the reason, and the network goes on."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest

from stitching import cookie
from tests.system.bridges import ENDS, HOSTS, Bridges, bridges_with_hosts
from tests.system.waiting import wait_until

BODY = {**ENDS, "bandwidth_mbps": 1.0}
NOT_LONGER_S = 3.0
"""So long nobody waits for an answer while the store is locked."""

LOCKED_S = 6.0
"""Longer than a stitch without probes stays up."""


@pytest.fixture(scope="module")
def switches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridges]:
    with bridges_with_hosts(tmp_path_factory.mktemp("locked") / "state") as running:
        yield running


@contextmanager
def locked(switches: Bridges) -> Iterator[None]:
    """Another program has the database for itself, as one that vacuums or copies it does."""
    with closing(sqlite3.connect(switches.controller.state / "lockstitch.db", isolation_level=None)) as other:
        other.execute("PRAGMA busy_timeout=5000")
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.execute("ROLLBACK")


def timed(switches: Bridges, method: str, path: str, status: int, body: Any = None) -> Any:
    """What is answered, with this status, and in good time."""
    began_s = time.monotonic()
    answer = switches.controller.api.request(method, path, json=body)
    took_s = time.monotonic() - began_s
    assert answer.status_code == status, answer.text
    assert took_s < NOT_LONGER_S, f"{method} {path} took {took_s:.1f} s"
    return answer.json()


def test_nothing_is_begun_that_cannot_be_stored_and_what_carries_goes_on(switches: Bridges) -> None:
    stitch = switches.controller.create_stitch(ENDS["source"], ENDS["destination"])["id"]
    path = f"/v1/stitches/{stitch}"
    only = f"{cookie.OURS | stitch:#x}/{cookie.STITCH_MASK:#x}"
    rules = [switches.rules(dpid, only) for dpid in HOSTS]
    assert all(rules)
    with locked(switches):
        began_s = time.monotonic()
        while time.monotonic() - began_s < LOCKED_S:
            for method, where, body in (
                ("DELETE", path, None),
                ("PUT", "/v1/vnets/red", {"hosts": []}),
                ("PATCH", path, {"bandwidth_mbps": 2.0}),
            ):
                said = timed(switches, method, where, 503, body)
                assert "database is locked" in said["detail"] and "nothing was changed" in said["detail"]
                assert "stop whatever else has it open" in said["detail"]
            assert timed(switches, "GET", path, 200)["state"] == "up"
            health = timed(switches, "GET", "/v1/health", 200)
            assert not any("did not answer" in reason for reason in health["reasons"]), health["reasons"]
        assert [switches.rules(dpid, only) for dpid in HOSTS] == rules
    switches.controller.delete_stitch(stitch)


def test_what_happens_meanwhile_happens_and_is_stored_when_the_lock_is_gone(switches: Bridges) -> None:
    controller = switches.controller
    stitch = controller.create_stitch(ENDS["source"], ENDS["destination"])["id"]
    with locked(switches):
        switches.ovs.vsctl("set", "Interface", "p1-3", "options:peer=nobody")
        down = wait_until(lambda: failed(switches, stitch), 10.0, lambda: controller.stitch(stitch))
        assert down["path"] is None and down["reason"]
        wait_until(
            lambda: "could not be stored" in str(controller.get("/health")["reasons"]),
            5.0,
            lambda: controller.get("/health")["reasons"],
        )
    switches.ovs.vsctl("set", "Interface", "p1-3", "options:peer=p2-3")
    wait_until(lambda: controller.stitch(stitch)["state"] == "up", 15.0, lambda: controller.stitch(stitch))
    wait_until(
        lambda: "could not be stored" not in str(controller.get("/health")["reasons"]), 5.0, "all is stored again"
    )
    controller.delete_stitch(stitch)


def failed(switches: Bridges, stitch: int) -> dict[str, Any] | None:
    found = switches.controller.stitch(stitch)
    return found if found["state"] == "failed" else None
