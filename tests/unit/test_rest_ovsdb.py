"""Where the database of a switch is can be told while the controller runs, and health says where it is missing."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from ryu_apps.rest.advice import advice
from stitching.stitch import Protection
from tests.unit.test_cli import Lockstitch, lockstitch, served
from tests.unit.test_guarantees import between, on, wire
from tests.unit.test_rest_fake import Caller, FakeController, api_of, problem

__all__ = ["lockstitch", "served"]

ONE = "0000000000000001"
PATH = f"/v1/switches/{ONE}/ovsdb"
SERVER = "tcp:10.0.0.1:6640"


@pytest.fixture
def controller() -> FakeController:
    return FakeController()


@pytest.fixture
def call(controller: FakeController) -> Caller:
    return Caller(api_of(controller))


def test_a_server_is_named_shown_and_forgotten(call: Caller, controller: FakeController) -> None:
    assert call("GET", PATH).json() == {"dpid": ONE, "remote": None, "answered_by": None}
    assert call("PUT", PATH, json={"remote": SERVER}).json()["remote"] == SERVER
    assert controller.ovsdb == {1: SERVER} and call("GET", PATH).json()["answered_by"] == SERVER
    assert call("DELETE", PATH).status_code == 204 and not controller.ovsdb
    assert call("DELETE", PATH).status_code == 204, "once more does no harm"


@pytest.mark.parametrize("remote", ["10.0.0.1:6640", "tcp:10.0.0.1", "unix:db.sock", "tcp:10.0.0.1:70000", ""])
def test_what_is_no_server_is_refused_with_what_is_one(call: Caller, remote: str) -> None:
    content = problem(call("PUT", PATH, json={"remote": remote}), 422)
    assert not remote or (content["field"] == "remote" and "unix:/PATH/TO/db.sock" in content["detail"])


def test_other_fields_and_other_switches_are_refused(call: Caller) -> None:
    problem(call("PUT", PATH, json={"remote": SERVER, "certificate": "x"}), 422)
    problem(call("PUT", "/v1/switches/1/ovsdb", json={"remote": SERVER}), 422)


def test_the_command_names_shows_and_forgets(lockstitch: Lockstitch) -> None:
    assert SERVER in lockstitch("switch", "ovsdb", "1", SERVER)
    assert json.loads(lockstitch("switch", "ovsdb", "0x1", "--json")) == {
        "dpid": ONE,
        "remote": SERVER,
        "answered_by": SERVER,
    }
    assert "none" in lockstitch("switch", "ovsdb", "1", "--forget")
    assert "is no OVSDB server" in lockstitch("switch", "ovsdb", "1", "nowhere", code=1)
    lockstitch("switch", "ovsdb", "1", SERVER, "--forget", code=2)


def test_health_names_the_stitches_that_need_a_database_and_the_remedy(call: Caller) -> None:
    status = FakeController()._ovsdb_status()
    _, key = wire()
    plain, guaranteed = on(key, 1, 1.0), between(key, 5)
    protected = replace(plain, id=2, request=replace(plain.request, protection=Protection.LINK))
    assert advice([plain], status) == []
    (line,) = advice([plain, protected, guaranteed], status)
    assert "stitches 2, 5 are" in line and f"switches {ONE}, " in line and "lockstitch switch ovsdb" in line
    assert advice([protected, guaranteed], replace(status, switches={1: SERVER})) == []
    assert call("GET", "/v1/health").json()["advice"] == []
