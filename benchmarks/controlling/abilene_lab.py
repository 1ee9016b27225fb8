"""Abilene with a controller that knows every link, capacity and host, ready for stitches."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import combinations
from pathlib import Path

from benchmarks.support.controller_process import RunningController, controller, wait_until
from benchmarks.support.figure import MeasurementFailed
from mininet_topos.abilene import abilene
from mininet_topos.lab import HostHandle, Lab

_WITHIN_S = 30.0

Pair = tuple[HostHandle, HostHandle]


@contextmanager
def abilene_lab() -> Iterator[tuple[RunningController, Lab, Path]]:
    """The lab and its controller, which makes no stitches by itself, and the controller's state directory."""
    with tempfile.TemporaryDirectory(prefix="lockstitch-bench-") as directory:
        state = Path(directory)
        with (
            controller(state, trigger="off") as running,
            Lab(abilene(), controller=f"127.0.0.1:{running.of_port}") as lab,
        ):
            _prepare(running, lab)
            yield running, lab, state


def host_pairs(lab: Lab, n_pairs: int, seed: int = 1) -> list[Pair]:
    """Different pairs of hosts, drawn with a seed."""
    return random.Random(seed).sample(list(combinations(lab.hosts(), 2)), n_pairs)


def stitch_body(pair: Pair, bandwidth_mbps: float) -> dict[str, str | float]:
    """What POST /v1/stitches takes for a pair."""
    return {"source": pair[0].mac, "destination": pair[1].mac, "bandwidth_mbps": bandwidth_mbps}


def _prepare(running: RunningController, lab: Lab) -> None:
    links = 2 * len(lab.topology.links)
    wait_until(lambda: len(running.get("/v1/topology")["links"]) == links, _WITHIN_S, "links were not all found")
    running.put("/v1/links/capacities", _capacities(lab))
    hosts = lab.hosts()
    for one, other in zip(hosts, (*hosts[1:], hosts[0]), strict=True):
        if not lab.ping(one.name, other.name):
            raise MeasurementFailed(f"{one.name} does not reach {other.name}")
    wait_until(
        lambda: len(running.get("/v1/topology")["hosts"]) == len(hosts), _WITHIN_S, "hosts were not all seen"
    )


def _capacities(lab: Lab) -> list[dict[str, str | int | float]]:
    return [
        {"dpid": f"{row['src_dpid']:016x}", "port": row["src_port"], "capacity_mbps": row["capacity_mbps"]}
        for row in lab.capacities()
    ]
