"""A policy that forbids what a stitch carries: how soon none of its packets arrive any more."""

from __future__ import annotations

import time
from collections.abc import Iterator

from benchmarks.circuits.ladder import Ladder, ladder
from benchmarks.failing.stream import Stream
from benchmarks.support.controller_process import wait_until
from benchmarks.support.figure import Better, Figure, note

_ROUNDS = 20
_TARGET_MS = 1000.0
_WITHIN_S = 20.0
_SETTLED_S = 0.5
_NOTHING: dict[str, list[object]] = {"rules": []}


def policy_change() -> Iterator[Figure]:
    """Milliseconds from the request that changes the policy to the last packet of a 1 ms flow; p95 of 20."""
    with ladder() as made:
        took = sorted(_stopped_ms(made) for _ in range(_ROUNDS))
    note("policy_change ms=" + " ".join(f"{ms:.0f}" for ms in took))
    yield Figure.worst("policy_change_to_stop_p95_ms", "stitches", took, "ms", Better.LESS, target=_TARGET_MS)


def _stopped_ms(made: Ladder) -> float:
    (number,) = made.make(1)
    ends = made.ends(0)
    over = {"name": "over", "from": {"host": ends.source_mac}, "to": {"host": ends.target_mac}, "action": "deny"}
    with Stream(made.lab.host("he1"), made.lab.host("he2")) as stream:
        wait_until(lambda: stream.arrived > 100, _WITHIN_S, "the flow did not arrive", every_s=0.01)
        asked_s = time.monotonic()
        made.running.put("/v1/policy", {"rules": [over]})
        wait_until(
            lambda: time.monotonic() - stream.last_arrived_s > _SETTLED_S, _WITHIN_S, "the flow did not stop"
        )
        stopped_ms = 1e3 * (stream.last_arrived_s - asked_s)
    wait_until(
        lambda: made.running.get(f"/v1/stitches/{number}")["state"] == "terminated",
        _WITHIN_S,
        "the stitch that is forbidden was not terminated",
    )
    made.running.put("/v1/policy", _NOTHING)
    return max(0.0, stopped_ms)
