"""How long a UDP flow over a fast-failover group is silent when a link dies, with nobody to tell the switch."""

from __future__ import annotations

import contextlib
import functools
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

from benchmarks.failing.stream import Stream
from benchmarks.support.figure import Better, Figure, MeasurementFailed, note
from mininet_topos.twin_bridges import HOST_PORT, TwinBridges, twin_bridges

AREA = "failover"
DEFAULT_MS, OTHER_MS = 20, (15, 10)
RUNS = 20
OTHER_RUNS = 5
_TARGET_MS = 80.0
_FIRST, _SECOND = 2, 3
_WATCH_S = 1.0
"""How long is looked on after a cut: longer than anything that counts."""

_STEADY_S = 20.0
_READY_S = 20.0


def failover() -> Iterator[Figure]:
    """Milliseconds of silence of a flow of 1,000 packets a second, p50 and p95 of 20 cuts of each kind."""
    with _protected(DEFAULT_MS) as (tw, stream):
        for kind, silent in (("carrier_loss", False), ("silent_cut", True)):
            silences = _cuts(tw, stream, DEFAULT_MS, RUNS, silent=silent)
            note(f"failover {kind} bfd_ms={DEFAULT_MS} ms={' '.join(f'{one:.0f}' for one in silences)}")
            yield Figure(f"failover_{kind}_p50", AREA, _share(silences, 0.5), "ms", Better.LESS)
            yield Figure(f"failover_{kind}_p95", AREA, _share(silences, 0.95), "ms", Better.LESS, _TARGET_MS)


def false_alarms() -> Iterator[Figure]:
    """Sessions that went down in 20 s though nothing was cut, with every core busy, and the silences then."""
    for interval_ms in (DEFAULT_MS, *OTHER_MS):
        with _protected(interval_ms) as (tw, stream), _busy():
            before = _flaps(tw)
            time.sleep(_STEADY_S)
            name = f"bfd_{interval_ms}ms_false_alarms"
            yield Figure(name, AREA, _flaps(tw) - before, "downs", Better.LESS)
            silences = _cuts(tw, stream, interval_ms, OTHER_RUNS, silent=True)
            yield Figure(f"bfd_{interval_ms}ms_silent_cut_p50", AREA, _share(silences, 0.5), "ms", Better.LESS)


@contextlib.contextmanager
def _protected(interval_ms: int) -> Iterator[tuple[TwinBridges, Stream]]:
    """Two bridges whose hosts talk by a group that prefers the first link while it lives."""
    with twin_bridges() as tw:
        buckets = f"bucket=watch_port:{_FIRST},output:{_FIRST},bucket=watch_port:{_SECOND},output:{_SECOND}"
        for dpid in (1, 2):
            bridge = tw.bridge(dpid)
            tw.ovs.ofctl("add-group", bridge, f"group_id=1,type=ff,{buckets}")
            tw.ovs.ofctl("add-flow", bridge, f"priority=10,in_port={HOST_PORT},actions=group:1")
            tw.ovs.ofctl("add-flow", bridge, f"priority=5,actions=output:{HOST_PORT}")
            for port_no in (_FIRST, _SECOND):
                settings = ("bfd:enable=true", f"bfd:min_tx={interval_ms}", f"bfd:min_rx={interval_ms}")
                tw.ovs.vsctl("set", "Interface", tw.device(dpid, port_no), *settings)
        _wait(lambda: tw.protected(4, interval_ms), "BFD does not come up")
        with Stream(*tw.hosts) as stream:
            _wait(lambda: stream.arrived > 0, "no packet gets through")
            yield tw, stream


def _cuts(tw: TwinBridges, stream: Stream, interval_ms: int, runs: int, *, silent: bool) -> list[float]:
    """Cut and mend the link in use; the silences, shortest first."""
    silences = []
    for _ in range(runs):
        _wait(lambda: tw.protected(4, interval_ms), "BFD does not come up again")
        arrived = stream.arrived
        _wait(functools.partial(_grew, stream, arrived + 300), "the flow does not come back")
        cut_s = time.monotonic()
        tw.cut(0, silent=silent)
        time.sleep(_WATCH_S)
        silences.append(stream.silence_ms(cut_s - 0.01, time.monotonic()))
        tw.restore(0)
    return sorted(silences)


def _grew(stream: Stream, packets: int) -> bool:
    return stream.arrived > packets


def _share(ordered: list[float], share: float) -> float:
    """The value that this share of them does not exceed."""
    return ordered[max(0, -(-len(ordered) * round(100 * share) // 100) - 1)]


def _flaps(tw: TwinBridges) -> int:
    ports = [(dpid, port_no) for dpid in (1, 2) for port_no in (_FIRST, _SECOND)]
    return sum(int(tw.interface(*port, "bfd_status:flap_count").strip('"')) for port in ports)


@contextlib.contextmanager
def _busy() -> Iterator[None]:
    """Keep two cores busy with programs like any other."""
    hogs = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2)]
    try:
        yield
    finally:
        for hog in hogs:
            hog.kill()
            hog.wait()


def _wait(condition: Callable[[], bool], otherwise: str) -> None:
    give_up_s = time.monotonic() + _READY_S
    while not condition():
        if time.monotonic() > give_up_s:
            raise MeasurementFailed(f"{otherwise} within {_READY_S:g} s")
        time.sleep(0.02)
