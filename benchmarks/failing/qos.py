"""What a meter lets through of a capped flow, and what a queue keeps for one that was promised a rate."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from typing import Any

from benchmarks.support.figure import Better, Figure, MeasurementFailed
from mininet_topos.ovs import which
from mininet_topos.twin_bridges import HOST_PORT, TwinBridges, twin_bridges
from ryu_apps.ovsdb import classes
from stitching.enforcement import burst_kbit
from stitching.queues import PortQueues, Queue, class_minor, queue_classes, rows

AREA = "failover"
_LINK = 2
_CAP_MBPS = 10
_SECONDS = 8
_DSCP = 46
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
    """Mbit/s received of 5 that are guaranteed on a port of 10 that is flooded with 20 of best effort."""
    wanted = PortQueues(10.0, (Queue(1, 5.0, dscp=_DSCP),))
    with twin_bridges(links=1) as tw:
        _wire(tw)
        _set_queues(tw, wanted)
        _, received = _iperf(
            tw,
            ("-u", "-b", "20M", "-l", str(_PAYLOAD)),
            ("-u", "-b", "6M", "-l", str(_PAYLOAD), "-S", str(_DSCP << 2)),
        )
    yield Figure("queue_guarantee", AREA, received * _FRAME / _PAYLOAD, "Mbit/s", Better.MORE, 4.75)


def _wire(tw: TwinBridges, first: str = "") -> None:
    """Let the hosts talk; `first` is an action that what the first host sends meets before it leaves."""
    for dpid, before in ((1, first), (2, "")):
        there = f"in_port={HOST_PORT},actions={before}output:{_LINK}"
        tw.ovs.ofctl("add-flow", tw.bridge(dpid), there)
        tw.ovs.ofctl("add-flow", tw.bridge(dpid), f"in_port={_LINK},actions=output:{HOST_PORT}")


def _set_queues(tw: TwinBridges, wanted: PortQueues) -> None:
    made = rows(wanted)
    device = tw.device(1, _LINK)
    words = ["--", "set", "Port", device, "qos=@qos", "--", "--id=@qos", "create", "QoS", f"type={made.kind}"]
    words += [f"other-config:{key}={value}" for key, value in made.other_config.items()]
    words += [f"queues:{number}=@q{number}" for number in made.queues]
    for number, settings in made.queues.items():
        words += ["--", f"--id=@q{number}", "create", "Queue"]
        words += [f"other-config:{key}={value}" for key, value in settings.items()]
    tw.ovs.vsctl(*words)
    minors = [class_minor(number) for number in made.queues]
    namespace = classes.namespace_of(str(tw.ovs.directory / "db.sock"))
    classes.set_filters(namespace, device, queue_classes(wanted.queues), minors)


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
