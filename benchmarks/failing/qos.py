"""What a meter lets through of a capped flow, and what a queue keeps for one that was promised a rate."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.support.controller_process import RunningController, controller
from benchmarks.support.figure import Better, Figure, MeasurementFailed
from mininet_topos.namespaces import network_of
from mininet_topos.ovs import run, which
from mininet_topos.twin_bridges import TwinBridges, twin_bridges

AREA = "failover"
_LINK = 2
_CAP_MBPS = 10
_SECONDS = 4
_SPLIT_S = 10
_CAP_RUNS, _GUARANTEE_RUNS = 3, 5
_DSCP = 46
_PROMISED_MBPS, _LINK_MBPS = 5.0, 10.0
_BFD_MS = 100
_PATIENCE_S = 20.0
_FRAME, _PAYLOAD = 1242, 1200


def meter_cap() -> Iterator[Figure]:
    """The share of a stitch's cap of 10 Mbit/s that TCP reaches, and how far UDP is off it, in per cent."""
    with _controlled() as (tw, running):
        members = [{"name": f"h{number}", "mac": host.mac} for number, host in enumerate(tw.hosts, 1)]
        running.put("/v1/vnets/red", {"hosts": members})
        wanted = {"kind": "bandwidth", "source": "red", "destination": "red", "cap_mbps": _CAP_MBPS}
        running.post("/v1/stitches", wanted, wait="up")
        # The cap is split by who sends: it has to be seen first. Then the burst is used up.
        flood = ("-u", "-b", f"{2 * _CAP_MBPS}M", "-l", str(_PAYLOAD))
        _iperf(tw, flood, seconds=_SPLIT_S)
        tcp = [_iperf(tw, ())[0] for _ in range(_CAP_RUNS)]
        udp = [_iperf(tw, flood)[0] * _FRAME / _PAYLOAD for _ in range(_CAP_RUNS)]
    shares = [100 * mbps / _CAP_MBPS for mbps in tcp]
    yield Figure.over("meter_cap_tcp", AREA, shares, "%", Better.MORE, target=90.0)
    off = [100 * abs(mbps - _CAP_MBPS) / _CAP_MBPS for mbps in udp]
    yield Figure.over("meter_cap_udp_off", AREA, off, "%", Better.LESS, target=5.0)


def queue_guarantee() -> Iterator[Figure]:
    """Mbit/s received of 5 that a stitch is promised on a link of 10 that is flooded with 20 of best effort."""
    with _guarded() as (tw, running):
        stitch = running.post("/v1/stitches", _promise(tw), wait="up")
        _wait(lambda: _enforced(running, stitch["id"]) == "queue", "the stitch has no queue")
        received = [_promised_mbps(tw) for _ in range(_GUARANTEE_RUNS)]
        _wait(lambda: _enforced(running, stitch["id"]) == "queue", "its queue counts nothing")
    yield Figure.over("queue_guarantee", AREA, received, "Mbit/s", Better.MORE, target=4.75)


def _promised_mbps(tw: TwinBridges) -> float:
    _, received = _iperf(
        tw,
        ("-u", "-b", "20M", "-l", str(_PAYLOAD)),
        ("-u", "-b", "6M", "-l", str(_PAYLOAD), "-S", str(_DSCP << 2)),
    )
    return received * _FRAME / _PAYLOAD


def _promise(tw: TwinBridges) -> dict[str, Any]:
    """What is asked of the controller: a path with a rate for one application of the first host."""
    source, target = (host.ip for host in tw.hosts)
    return {"source": source, "destination": target, "bandwidth_mbps": _PROMISED_MBPS,
            "application": {"dscp": _DSCP}}  # fmt: skip


def _enforced(running: RunningController, stitch_id: int) -> str:
    return str(running.get(f"/v1/stitches/{stitch_id}")["enforced"])


@contextmanager
def _controlled(*options: str) -> Iterator[tuple[TwinBridges, RunningController]]:
    """Two switches, whose controller knows both hosts; {database} in an option is that of the switches."""
    with contextlib.ExitStack() as stack:
        tw = stack.enter_context(twin_bridges(links=1))
        state = stack.enter_context(tempfile.TemporaryDirectory(prefix="lockstitch-rates-"))
        # Their namespace has a loopback of its own: the controller has to be in it, and whoever asks it.
        stack.enter_context(network_of(tw.pid))
        given = tuple(option.format(database=tw.ovs.database) for option in options)
        running = stack.enter_context(controller(Path(state), trigger="off", options=given))
        for dpid in (1, 2):
            tw.ovs.vsctl("set-controller", tw.bridge(dpid), f"tcp:127.0.0.1:{running.of_port}")
        _wait(lambda: len(running.get("/v1/topology")["links"]) == 2, "the link was not found")
        for host in tw.hosts:
            # A host is known from its first packet on.
            run(["mnexec", "-a", str(host.pid), "ping", "-c1", "-W1", "10.77.0.9"], check=False)
        _wait(lambda: len(running.get("/v1/hosts")) == 2, "the hosts were not seen")
        yield tw, running


@contextmanager
def _guarded() -> Iterator[tuple[TwinBridges, RunningController]]:
    """The same, whose controller has the database and knows what the link carries."""
    with _controlled("--ovsdb", "{database}", "--bfd-ms", str(_BFD_MS)) as (tw, running):
        ports = [{"dpid": f"{dpid:016x}", "port": _LINK, "capacity_mbps": _LINK_MBPS} for dpid in (1, 2)]
        running.put("/v1/links/capacities", ports)
        yield tw, running


def _wait(condition: Callable[[], bool], otherwise: str) -> None:
    deadline_s = time.monotonic() + _PATIENCE_S
    while not condition():
        if time.monotonic() > deadline_s:
            raise MeasurementFailed(f"{otherwise} within {_PATIENCE_S:g} s")
        time.sleep(0.05)


def _iperf(tw: TwinBridges, *flows: tuple[str, ...], seconds: int = _SECONDS) -> list[float]:
    """Payload in Mbit/s that each flow's receiver got, all at once; raises MeasurementFailed."""
    if shutil.which("iperf3") is None:
        raise MeasurementFailed("iperf3 is not installed: apt-get install iperf3")
    enter = [which("mnexec") or "mnexec", "-a"]
    source, target = tw.hosts
    servers = [
        subprocess.Popen(
            [*enter, str(target.pid), "iperf3", "-s", "-1", "-p", str(5201 + number)], stdout=subprocess.DEVNULL
        )
        for number in range(len(flows))
    ]
    try:
        time.sleep(0.5)
        clients = [
            subprocess.Popen(
                [*enter, str(source.pid), "iperf3", "-c", target.ip, "-p", str(5201 + number), "-J",
                 "-t", str(seconds), *flow],
                stdout=subprocess.PIPE,
            )
            for number, flow in enumerate(flows)
        ]  # fmt: skip
        return [_received(client.communicate(timeout=60)[0]) for client in clients]
    except subprocess.TimeoutExpired as error:
        raise MeasurementFailed("iperf3 does not end") from error
    finally:
        for server in servers:
            server.terminate()
            server.wait()


def _received(text: bytes) -> float:
    report: dict[str, Any] = json.loads(text)
    if "error" in report:
        raise MeasurementFailed(f"iperf3: {report['error']}")
    end = report["end"]
    if "lost_percent" in end.get("sum", {}):
        return float(end["sum"]["bits_per_second"] * (1 - end["sum"]["lost_percent"] / 100) / 1e6)
    return float(end["sum_received"]["bits_per_second"] / 1e6)
