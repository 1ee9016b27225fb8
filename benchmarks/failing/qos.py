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
from mininet_topos.twin_bridges import HOST_PORT, TwinBridges, twin_bridges
from stitching.enforcement import burst_kbit

AREA = "failover"
_LINK = 2
_CAP_MBPS = 10
_SECONDS = 8
_DSCP = 46
_PROMISED_MBPS, _LINK_MBPS = 5.0, 10.0
_BFD_MS = 100
_PATIENCE_S = 20.0
_FRAME, _PAYLOAD = 1242, 1200


def meter_cap() -> Iterator[Figure]:
    """The share of a cap of 10 Mbit/s that TCP reaches, and how far UDP is off it, in per cent."""
    with twin_bridges(links=1) as tw:
        band = f"band=type=drop,rate={1000 * _CAP_MBPS},burst_size={burst_kbit(_CAP_MBPS)}"
        tw.ovs.ofctl("add-meter", tw.bridge(1), f"meter=1,kbps,burst,stats,{band}")
        _wire(tw, "meter:1,")
        (tcp,) = _iperf(tw, ())
        (udp,) = _iperf(tw, ("-u", "-b", f"{2 * _CAP_MBPS}M", "-l", str(_PAYLOAD)))
    yield Figure("meter_cap_tcp", AREA, 100 * tcp / _CAP_MBPS, "%", Better.MORE, 90.0)
    off = abs(udp * _FRAME / _PAYLOAD - _CAP_MBPS) / _CAP_MBPS
    yield Figure("meter_cap_udp_off", AREA, 100 * off, "%", Better.LESS, 5.0)


def queue_guarantee() -> Iterator[Figure]:
    """Mbit/s received of 5 that a stitch is promised on a link of 10 that is flooded with 20 of best effort."""
    with _guarded() as (tw, running):
        stitch = running.post("/v1/stitches", _promise(tw), wait="up")
        _wait(lambda: _enforced(running, stitch["id"]) == "queue", "the stitch has no queue")
        _, received = _iperf(
            tw,
            ("-u", "-b", "20M", "-l", str(_PAYLOAD)),
            ("-u", "-b", "6M", "-l", str(_PAYLOAD), "-S", str(_DSCP << 2)),
        )
        _wait(lambda: _enforced(running, stitch["id"]) == "queue", "its queue counts nothing")
    yield Figure("queue_guarantee", AREA, received * _FRAME / _PAYLOAD, "Mbit/s", Better.MORE, 4.75)


def _promise(tw: TwinBridges) -> dict[str, Any]:
    """What is asked of the controller: a path with a rate for one application of the first host."""
    source, target = (host.ip for host in tw.hosts)
    return {"source": source, "destination": target, "bandwidth_mbps": _PROMISED_MBPS,
            "application": {"dscp": _DSCP}}  # fmt: skip


def _enforced(running: RunningController, stitch_id: int) -> str:
    return str(running.get(f"/v1/stitches/{stitch_id}")["enforced"])


@contextmanager
def _guarded() -> Iterator[tuple[TwinBridges, RunningController]]:
    """Two switches, whose controller has their database and knows both hosts and what the link carries."""
    with contextlib.ExitStack() as stack:
        tw = stack.enter_context(twin_bridges(links=1))
        state = stack.enter_context(tempfile.TemporaryDirectory(prefix="lockstitch-guarantee-"))
        # Their namespace has a loopback of its own: the controller has to be in it, and whoever asks it.
        stack.enter_context(network_of(tw.pid))
        options = ("--ovsdb", tw.ovs.database, "--bfd-ms", str(_BFD_MS))
        running = stack.enter_context(controller(Path(state), trigger="off", options=options))
        for dpid in (1, 2):
            tw.ovs.vsctl("set-controller", tw.bridge(dpid), f"tcp:127.0.0.1:{running.of_port}")
        _wait(lambda: len(running.get("/v1/topology")["links"]) == 2, "the link was not found")
        for host in tw.hosts:
            # A host is known from its first packet on.
            run(["mnexec", "-a", str(host.pid), "ping", "-c1", "-W1", "10.77.0.9"], check=False)
        _wait(lambda: len(running.get("/v1/hosts")) == 2, "the hosts were not seen")
        ports = [{"dpid": f"{dpid:016x}", "port": _LINK, "capacity_mbps": _LINK_MBPS} for dpid in (1, 2)]
        running.put("/v1/links/capacities", ports)
        yield tw, running


def _wait(condition: Callable[[], bool], otherwise: str) -> None:
    deadline_s = time.monotonic() + _PATIENCE_S
    while not condition():
        if time.monotonic() > deadline_s:
            raise MeasurementFailed(f"{otherwise} within {_PATIENCE_S:g} s")
        time.sleep(0.05)


def _wire(tw: TwinBridges, first: str = "") -> None:
    """Let the hosts talk; `first` is an action that what the first host sends meets before it leaves."""
    for dpid, before in ((1, first), (2, "")):
        there = f"in_port={HOST_PORT},actions={before}output:{_LINK}"
        tw.ovs.ofctl("add-flow", tw.bridge(dpid), there)
        tw.ovs.ofctl("add-flow", tw.bridge(dpid), f"in_port={_LINK},actions=output:{HOST_PORT}")


def _iperf(tw: TwinBridges, *flows: tuple[str, ...]) -> list[float]:
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
                 "-t", str(_SECONDS), *flow],
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
