"""The description is the truth of a controller at work too: real apps, real switches, answers over real HTTP."""

from __future__ import annotations

import importlib
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.system.bridges import ENDS, bridges_with_hosts
from tests.system.controller import RunningController

schemathesis: Any = pytest.importorskip("schemathesis")
checks: Any = importlib.import_module("schemathesis.checks")
requests: Any = importlib.import_module("requests")
Mode: Any = importlib.import_module("schemathesis.generation.modes").GenerationMode
checks.load_all_checks()
WANTED = {
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
}
CHECKS = [check for check in checks.CHECKS.get_all() if check.__name__ in WANTED]
assert len(CHECKS) == len(WANTED)

ENDLESS = "/v1/events"

AREAS = ("/v1/stitches", "/v1/policy", "/v1/intents", "/v1/vnets", "/v1/overlay", "/v1/", "/v1.0/", "/stats/")
"""An operation is of the first area in whose paths its own is."""

METHODS = ("post", "put", "patch", "get", "delete")
"""What is made is there to be read, and taken away last."""

ONE = "0000000000000001"
VM = {**ENDS, "bandwidth_mbps": 1.0}
WEB = {**VM, "application": {"protocol": "tcp", "destination_port": 80}}
RATE = {"rate": {"from": "default", "to": "default", "cap": "20 Mbit/s"}}
RULE = {"dpid": 1, "priority": 7, "match": {"in_port": 9}, "actions": [{"type": "OUTPUT", "port": 2}]}
GROUP = {"dpid": 1, "group_id": 3, "type": "ALL", "buckets": [{"actions": [{"type": "OUTPUT", "port": 1}]}]}
METER = {"dpid": 1, "meter_id": 3, "flags": ["KBPS"], "bands": [{"type": "DROP", "rate": 1000}]}

BODIES: dict[str, Any] = {
    "/v1/stitches": VM,
    "/v1/stitches/batch": {"stitches": [WEB]},
    "/v1/stitches/check": VM,
    "/v1/stitches/{stitch_id}": {"bandwidth_mbps": 2.0, "labels": {"a": "b"}},
    "/v1/policy": {"rules": [{"name": "web", "from": "any", "to": "any", "protocol": "tcp", "action": "allow"}]},
    "/v1/intents": {"intents": [{"name": "red", **RATE}]},
    "/v1/intents/plan": {"intents": [{"name": "red", **RATE}]},
    "/v1/intents/{name}": RATE,
    "/v1/vnets": {"name": "red", "hosts": [{"name": "h1", "mac": "02:00:00:00:aa:01", "labels": ["web"]}]},
    "/v1/vnets/{name}": {"subnets": ["10.9.0.0/16"]},
    "/v1/links/capacities": [{"dpid": ONE, "port": 3, "capacity_mbps": 10.0}],
    "/v1/links/encryption": [{"dpid": ONE, "port": 3, "encrypted": True}],
    "/v1/switches/{dpid}/ovsdb": {"remote": "unix:/nowhere/db.sock"},
    "/v1/overlay/classes/{name}": {"order": 1, "matches": [{"protocol": "udp", "ports": "5060"}]},
    "/v1/overlay/rules/{name}": {
        "one": {"name": "ber"},
        "other": {"label": "zone=lab"},
        "say": "must",
        "mtu": 1300,
    },
    "/v1/overlay/sites/{name}/uplinks/{uplink}": {"capacity_mbps": 50.0, "price": 0.1},
    "/v1/tokens": {"name": "ci", "role": "operator", "scope": ["red"]},
    "/stats/flow/{dpid}": {"table_id": 0},
    "/stats/aggregateflow/{dpid}": {"table_id": 0},
    "/stats/experimenter/{dpid}": {},
    "/stats/portdesc/modify": {"dpid": 1, "port_no": 2, "config": 0, "mask": 1},
    **{f"/stats/flowentry/{how}": RULE for how in ("add", "modify", "modify_strict", "delete", "delete_strict")},
    **{f"/stats/groupentry/{how}": GROUP for how in ("add", "modify")},
    "/stats/groupentry/delete": {"dpid": 1, "group_id": 3},
    **{f"/stats/meterentry/{how}": METER for how in ("add", "modify", "delete")},
}
"""What can be had here."""

QUERIES: dict[str, dict[str, Any]] = {
    "/v1/explain": {"src": ENDS["source"], "dst": ENDS["destination"], "proto": "tcp", "port": 80},
    "/v1/stitches": {"limit": 5},
}

NOT_HERE = re.compile(
    # No forecast yet, no sites, no id that is known, nothing that OpenFlow 1.3 has, nothing that was made.
    "/v1/forecasts|/v1/overlay/(sites/.*|paths)|/v1/tokens/.*|/stats/(queuedesc|experimenter)/.*"
    "|/stats/(queue|queueconfig|group|groupdesc|meter|meterconfig)/{dpid}/.*"
)
"""Operations that have no answer of success here."""

LARGE = "/stats/tablefeatures/{dpid}"
"""All features of all tables of a switch are 12 MB."""


@dataclass(frozen=True)
class Live:
    """A controller with switches, hosts and an overlay, and its description as it serves it."""

    controller: RunningController
    schema: Any
    session: Any

    def operations(self, area: str) -> list[Any]:
        """Those of an area, except the one without an end."""
        found = [operation.ok() for operation in self.schema.get_all_operations()]
        mine = [one for one in found if _area(one.path) == area and one.path != ENDLESS]
        return sorted(mine, key=lambda one: METHODS.index(one.method))

    def send(self, case: Any) -> Any:
        """The answer, which has to be as described."""
        return case.call_and_validate(session=self.session, checks=CHECKS)


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    directory = tmp_path_factory.mktemp("live")
    signer = str(directory / "signer.sock")
    overlay = ("--overlay", f"127.0.0.1:{_free_port()}", "--overlay-signer", signer)
    with bridges_with_hosts(Path(directory / "state"), *overlay) as running, requests.Session() as session:
        api = running.controller.api
        session.trust_env = False
        session.headers["Authorization"] = api.headers["Authorization"]
        url = str(api.base_url).rstrip("/") + "/v1/openapi.json"
        schema = schemathesis.openapi.from_url(url, headers=dict(session.headers))
        yield Live(running.controller, schema, session)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def _area(path: str) -> str:
    return next(area for area in AREAS if path.startswith(area))


def possible(operation: Any) -> Any:
    """The request for what can be had here."""
    place = {
        "dpid": "1" if operation.path.startswith("/stats/") else ONE,
        "port": "1",
        "stitch_id": 1,
        "name": "red",
    }
    names = re.findall(r"{(\w+)}", operation.path)
    return operation.Case(
        path_parameters={name: place.get(name, "3") for name in names},
        query=QUERIES.get(operation.path, {}) if operation.method == "get" else {},
        **({"body": BODIES[operation.path]} if operation.body else {}),
        media_type="application/json",
    )


@st.composite
def generated(draw: st.DrawFn, operation: Any) -> Any:
    """A request that the description allows, or does not; in some, most of it is what can be had here."""
    has_input = bool(operation.body or operation.path_parameters)
    modes = (Mode.POSITIVE, Mode.NEGATIVE) if has_input else (Mode.POSITIVE,)
    case = draw(st.one_of([operation.as_strategy(mode) for mode in modes]))
    real = possible(operation)
    for part, possibly in ((case.path_parameters, real.path_parameters), (case.body, real.body)):
        if isinstance(part, dict) and isinstance(possibly, dict) and draw(st.booleans()):
            kept = draw(st.sets(st.sampled_from(sorted(part)), max_size=2)) if part else set()
            as_drawn = {name: part[name] for name in kept}
            part.clear()
            part.update(possibly, **as_drawn)
    return case


@pytest.mark.parametrize("area", AREAS)
def test_every_answer_of_a_controller_at_work_is_one_that_it_describes(live: Live, area: str) -> None:
    operations = live.operations(area)
    assert operations
    for operation in operations:
        answer = live.send(possible(operation))
        assert answer.status_code < 300 or NOT_HERE.fullmatch(operation.path), answer.text

        @given(case=generated(operation))
        @settings(max_examples=1 if operation.path == LARGE else 8)
        def sends(case: Any) -> None:
            live.send(case)

        sends()
    assert live.controller.get("/health")["installer"]["switches_ready"] == 2


def test_the_stream_of_events_is_as_described(live: Live) -> None:
    described = live.schema.raw_schema["paths"][ENDLESS]["get"]["responses"]
    with live.controller.api.stream("GET", ENDLESS) as answer:
        assert str(answer.status_code) in described
        assert answer.headers["content-type"].split(";")[0] in described["200"]["content"]
        put = live.controller.api.put("/v1/links/capacities", json=BODIES["/v1/links/capacities"])
        assert put.status_code == 200
        assert next(answer.iter_lines())
    refused = live.controller.api.get(ENDLESS, headers={"Last-Event-ID": "x" * 101})
    assert refused.status_code == 422 and refused.headers["content-type"] in described["422"]["content"]
