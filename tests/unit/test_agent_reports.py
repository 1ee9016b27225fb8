"""A report has room for all that a site may have, and a controller reads no longer one."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from pydantic import ValidationError

from stitching.overlay.mesh import MeshPolicy
from vte_agent.hands import Snapshot
from vte_agent.identity import Identity
from vte_agent.protocol import has as sizes
from vte_agent.protocol.filters import RuleCount
from vte_agent.protocol.frames import FROM_AGENT, MOST_FROM_AGENT, BadFrame, decode, encode
from vte_agent.protocol.has import Has, LinkReport, Quality, RouteReport, TunnelReport, TunnelState, Uplink
from vte_agent.protocol.members import Member
from vte_agent.protocol.transport import Transport
from vte_agent.reporting import Reporter

OWN = Identity(Ed25519PrivateKey.generate(), X25519PrivateKey.generate())


def a_tunnel(number: int) -> TunnelReport:
    name = f"t1000-{number}-0123456789-v12"
    return TunnelReport(
        name=name,
        state=TunnelState.UP,
        why="loses 5% or more on the way there",
        key=OWN.sign_tunnel_key(1000, name, OWN.public_identity),
        port=51820,
        mtu=1440,
        handshake_age_s=100 / 3,
        quality=Quality(rtt_ms=100 / 3, jitter_ms=10 / 3, loss_out=1 / 3, loss_in=1 / 3),
        received_bytes=10**15,
        sent_bytes=10**15,
    )


def a_route(number: int) -> RouteReport:
    return RouteReport(
        prefixes=(IPv4Network((0x0A000000 + (number << 8), 24)),),
        class_name=f"class-with-a-name-{number % 17}",
        tunnel="t1000-1001-0123456789-v12",
        why="t1000-1002-0123456789-v12 loses 5% or more on the way there",
        moves=1000,
    )


EACH: dict[str, tuple[int, Callable[[int], Any]]] = {
    "transports": (len(Transport), lambda number: list(Transport)[number % 2]),
    "uplinks": (sizes.MOST_UPLINKS, lambda number: Uplink(name=f"wan{number}", address=IPv4Address(number + 1))),
    "tunnels": (sizes.MOST_TUNNELS, a_tunnel),
    "routes": (sizes.MOST_ROUTES, a_route),
    "problems": (sizes.MOST_PROBLEMS, lambda number: f"{number}" * 60),
    "filters": (sizes.MOST_COUNTS, lambda n: RuleCount(rule=f"shops to books {n}", allow=True, packets=10**12)),
    "links": (sizes.MOST_LINKS, lambda number: LinkReport(name=f"l{number}", port=number + 1)),
}


def test_a_hub_of_a_thousand_sites_has_room_while_all_its_keys_are_replaced() -> None:
    at_once = 1000 * MeshPolicy().lines_per_pair * len(("old", "new"))
    assert at_once <= sizes.MOST_TUNNELS


def test_the_longest_report_is_read() -> None:
    all_of: dict[str, Any] = {what: tuple(map(make, range(most))) for what, (most, make) in EACH.items()}
    full = Has(generation=1, **all_of)
    text = encode(full)
    # With room for longer names, and for more to be said of what does not work.
    assert len(text) < 0.85 * MOST_FROM_AGENT
    assert decode(text, FROM_AGENT) == full


@pytest.mark.parametrize("what", EACH)
def test_one_with_more_of_anything_is_not(what: str) -> None:
    most, make = EACH[what]
    first: dict[str, Any] = {what: (make(0),)}
    one = Has(generation=1, **first).model_dump(mode="json")[what][0]
    for many, is_read in ((most, True), (most + 1, False)):
        text = json.dumps({"type": "Has", "body": {"generation": 1, what: [one] * many}})
        if is_read:
            decode(text, FROM_AGENT)
        else:
            with pytest.raises(BadFrame, match=what):
                decode(text, FROM_AGENT)


@pytest.mark.parametrize(
    "text",
    [
        '{"type": "Has", "body": [' + "{}," * (1 << 20) + "{}]}",
        '{"type": "Has", "body": {' + ",".join(f'"{n}":0' for n in range(390_000)) + "}}",
        '{"type": "Has", "body": {"generation": 1, "problems": [' + "0," * 390_000 + "0]}}",
        '{"type": "Moved", "body": {"at_s": 1, "prefix": "' + "x" * (4 << 20) + '"}}',
    ],
    ids=["objects", "unknown fields", "problems", "prefix"],
)
def test_what_is_nothing_but_long_takes_little_memory_to_refuse(text: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(BadFrame) as caught:
            decode(text, FROM_AGENT)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 64 << 20 and len(str(caught.value)) < 300


def test_an_agent_says_no_more_than_is_read_and_says_so() -> None:
    member = Member(
        serial=1000, name="hub", identity=OWN.public_identity, pairing=OWN.public_pairing, not_after=2_000
    )
    most = sizes.MOST_ROUTES
    routes = tuple(map(a_route, range(most + 5)))
    has = Reporter(OWN, member).has(Snapshot(), routes, (), ("something else",))
    assert has.routes == routes[:most]
    assert has.problems == (f"of {most + 5} routes only {most} are reported", "something else")
    assert decode(encode(has), FROM_AGENT) == has


def test_routes_that_are_reported_together_count_one_by_one() -> None:
    member = Member(
        serial=1000, name="hub", identity=OWN.public_identity, pairing=OWN.public_pairing, not_after=2_000
    )
    most = sizes.MOST_ROUTES
    alone, *rest = map(a_route, range(most + 5))
    together = a_route(0).model_copy(update={"prefixes": tuple(one.prefixes[0] for one in rest)})
    has = Reporter(OWN, member).has(Snapshot(), (alone, together), ())
    assert has.routes == (alone, together.model_copy(update={"prefixes": together.prefixes[: most - 1]}))
    assert has.problems == (f"of {most + 5} routes only {most} are reported",)
    with pytest.raises(ValidationError, match=f"more than {most} routes"):
        Has(generation=1, routes=(alone, alone, has.routes[1]))
