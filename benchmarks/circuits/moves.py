"""Moves of a stitch from one path to another, under a flow: how many of its packets are lost."""

from __future__ import annotations

import time
from collections.abc import Iterator

from benchmarks.circuits.ladder import CAPACITY_MBPS, Ladder, ladder
from benchmarks.failing.stream import Stream
from benchmarks.support.controller_process import wait_until
from benchmarks.support.figure import Better, Figure, note

_MOVES = 100
_TOO_LITTLE_MBPS = 0.01
_WITHIN_S = 10.0
_ARRIVES_S = 1.0


def moves() -> Iterator[Figure]:
    """Packets of a 1 ms flow lost in 100 moves; each is made because a link of the path can no longer carry it."""
    with ladder() as made:
        (number,) = made.make(1)
        with Stream(made.lab.host("he1"), made.lab.host("he2")) as stream:
            for _ in range(_MOVES):
                _move(made, number)
            stream.rest()
            time.sleep(_ARRIVES_S)
            sent, arrived = stream.sent, stream.arrived
        note(f"moves={_MOVES} sent={sent} arrived={arrived}")
        yield Figure("lost_in_100_moves", "stitches", sent - arrived, "packets", Better.LESS, 0)


def _move(made: Ladder, number: int) -> None:
    stitch = made.running.get(f"/v1/stitches/{number}")
    first, second = stitch["path"][0], stitch["path"][1]
    ends = [(first["dpid"], first["out_port"]), (second["dpid"], second["in_port"])]
    _carry(made, ends, _TOO_LITTLE_MBPS)

    def moved() -> bool:
        now = made.running.get(f"/v1/stitches/{number}")
        return bool(now["state"] == "up" and now["path"][1]["dpid"] != second["dpid"])

    wait_until(moved, _WITHIN_S, "the stitch did not move", every_s=0.02)
    _carry(made, ends, CAPACITY_MBPS)


def _carry(made: Ladder, ends: list[tuple[str, int]], mbps: float) -> None:
    made.running.put(
        "/v1/links/capacities", [{"dpid": dpid, "port": port, "capacity_mbps": mbps} for dpid, port in ends]
    )
