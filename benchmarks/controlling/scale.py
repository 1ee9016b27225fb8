"""Large fabrics of real bridges: how soon they are discovered, and what it costs to watch them."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from benchmarks.controlling.fabric import Edge, connected_graph
from benchmarks.controlling.os_ken_discovery import NAME, os_ken_discovery_s
from benchmarks.support import proc
from benchmarks.support.controller_process import RunningController, controller, wait_until
from benchmarks.support.figure import Better, Figure, MeasurementFailed, note
from mininet_topos.private_ovs import PrivateOvs, add_bridges, connect, private_ovs

_ROUNDS = 5
_DISCOVERY_S = 3.0
_DISCOVERY_LIMIT_S = 120.0
_READY_LIMIT_S = 60.0
_LOOK_EVERY_S = 0.05
_REST = 2.0
"""Time between two looks, as a multiple of what a look takes."""
_SETTLE_S = 10.0
_WATCH_S = 30.0
_POLL_LOOKS = 5


def scale_200() -> Iterator[Figure]:
    """200 switches and 300 links: discovered by turns with os-ken, each time from nothing, and watched."""
    edges = connected_graph(200, 300)
    yield from _discovery_200(edges)
    with _scale_lab(200, edges) as (ovs, running):
        _discover(ovs, running, 200, 600)
        yield from _watched(running, 200, 600)


def scale_1000() -> Iterator[Figure]:
    """1,000 switches and 1,500 links, polled each second."""
    with _scale_lab(1000, connected_graph(1000, 1500)) as (ovs, running):
        took_s = _discover(ovs, running, 1000, 3000)
        yield Figure("discovery_1000_switches", "controller", took_s, "s", Better.LESS)
        yield from _watched(running, 1000, 3000, cpu_target=1.0, rss_target=200.0)


def _discovery_200(edges: Sequence[Edge]) -> Iterator[Figure]:
    """Medians of a few rounds: whose probe finds its neighbour not there yet is chance, and costs a period."""
    ours_s, peers_s = [], []
    for _ in range(_ROUNDS):
        peers_s.append(os_ken_discovery_s(200, edges))
        with _scale_lab(200, edges) as (ovs, running):
            ours_s.append(_discover(ovs, running, 200, 2 * len(edges)))
    native_s = os_ken_discovery_s(200, edges, "native")
    note(f"discovery ours_s={_seconds(ours_s)} eventlet_s={_seconds(peers_s)} native_s={_seconds([native_s])}")
    ended_s = [took_s for took_s in peers_s if took_s is not None]
    eventlet_s = median(ended_s) if len(ended_s) == _ROUNDS else None
    for name, hub, peer_s in (("", "eventlet", eventlet_s), ("_default_hub", "native", native_s)):
        yield Figure(
            f"discovery_200_switches{name}",
            "controller",
            median(ours_s),
            "s",
            Better.LESS,
            _DISCOVERY_S,
            f"{NAME}, {hub} hub",
            peer_s,
        )


@contextmanager
def _scale_lab(n: int, edges: Sequence[Edge]) -> Iterator[tuple[PrivateOvs, RunningController]]:
    """Bridges that know of no controller yet, and a controller with nothing in its store."""
    with (
        tempfile.TemporaryDirectory(prefix="lockstitch-bench-") as state,
        private_ovs() as ovs,
        controller(Path(state)) as running,
    ):
        add_bridges(ovs, n, edges)
        yield ovs, running


def _discover(ovs: PrivateOvs, running: RunningController, n: int, n_links: int) -> float:
    """Seconds from the bridges being given their controller's address until the API shows every link."""
    with ThreadPoolExecutor(1) as background:
        start_s = time.monotonic()
        connecting = background.submit(connect, ovs, n, f"127.0.0.1:{running.of_port}")
        while (known := _links(running)) < n_links:
            if time.monotonic() - start_s > _DISCOVERY_LIMIT_S:
                raise MeasurementFailed(f"{known} of {n_links} links were found in {_DISCOVERY_LIMIT_S:g} s")
        took_s = time.monotonic() - start_s
        connecting.result()
    if known > n_links:
        raise MeasurementFailed(f"{known} links were found where there are {n_links}")
    return took_s


def _links(running: RunningController) -> int:
    """How many links the API shows now; 0 when it is too busy to say. Looking must not be the work measured."""
    start_s = time.monotonic()
    try:
        known = len(running.get("/v1/topology")["links"])
    except MeasurementFailed as error:
        note(str(error))
        known = 0
    if not known:
        time.sleep(_LOOK_EVERY_S)
    time.sleep(_REST * (time.monotonic() - start_s))
    return known


def _watched(
    running: RunningController,
    n: int,
    n_links: int,
    cpu_target: float | None = None,
    rss_target: float | None = None,
) -> Iterator[Figure]:
    """What it costs to watch a fabric that changes no more."""
    wait_until(lambda: running.switches_ready() == n, _READY_LIMIT_S, f"not all {n} switches were ready", 0.5)
    time.sleep(_SETTLE_S)
    cpu_cores, rss_mb = _watch(running.pid, n)
    _check_polled(running, n, n_links)
    yield Figure(f"controller_cpu_{n}", "controller", cpu_cores, "cores", Better.LESS, cpu_target)
    yield Figure(f"controller_rss_{n}", "controller", rss_mb, "MB", Better.LESS, rss_target)


def _watch(pid: int, n: int) -> tuple[float, float]:
    """Cores that the controller itself uses in steady state, and its memory in MB at the end."""
    children = proc.descendants(pid)
    before_s = {process: proc.cpu_s(process) for process in (pid, *children)}
    start_s = time.monotonic()
    time.sleep(_WATCH_S)
    elapsed_s = time.monotonic() - start_s
    after_s = {process: proc.cpu_s(process) for process in (pid, *proc.descendants(pid))}
    cores = {process: (after_s[process] - before_s.get(process, 0.0)) / elapsed_s for process in after_s}
    for process in list(cores)[1:]:
        note(f"switches={n} child={process} cores={cores[process]:.3f} rss_mb={proc.rss_mb(process):.0f}")
    return cores[pid], proc.rss_mb(pid)


def _check_polled(running: RunningController, n: int, n_links: int) -> None:
    """Work that was not done costs nothing: see that ports really are polled each second."""
    ages_s, shares = [], []
    for _ in range(_POLL_LOOKS):
        health = running.get("/v1/health")
        ages_s.append(health["samples_age_s"])
        links = running.get("/v1/topology")["links"]
        shares.append(sum(link["load_mbps"] is not None for link in links) / n_links)
        time.sleep(1.0)
    polled_share = sum(shares) / len(shares)
    oldest_s = max((age_s for age_s in ages_s if age_s is not None), default=None)
    note(f"switches={n} polled_share={polled_share:.4f} oldest_samples_s={oldest_s} health={health['reasons']}")
    if oldest_s is None or not polled_share:
        raise MeasurementFailed(f"no port of {n} switches was polled, so the controller's cost says nothing")


def _seconds(times_s: Sequence[float | None]) -> str:
    return ",".join("never" if took_s is None else f"{took_s:.2f}" for took_s in times_s)
