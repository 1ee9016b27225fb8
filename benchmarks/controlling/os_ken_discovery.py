"""The peer of discovery: os-ken's own, in a process of its own, on the same fabric."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from benchmarks.controlling.fabric import Edge
from benchmarks.support.figure import note
from mininet_topos.private_ovs import add_bridges, connect, private_ovs

NAME = "os-ken topology.switches"

_LIMIT_S = 60.0
_LISTENS_WITHIN_S = 20.0


def os_ken_discovery_s(n_switches: int, edges: Sequence[Edge], hub: str = "eventlet") -> float | None:
    """Seconds until os-ken knows every directed link; None, with a note, when it could not be measured.

    hub is how os-ken runs its threads: "eventlet", or "native", its default.
    """
    wanted = 2 * len(edges)
    port = _free_port()
    with private_ovs() as ovs, _running(port, hub) as counts:
        add_bridges(ovs, n_switches, edges)
        if not _listens(port):
            note(f"os-ken hub={hub} did not start within {_LISTENS_WITHIN_S:g} s")
            return None
        start_s = time.monotonic()
        connect(ovs, n_switches, f"127.0.0.1:{port}")
        if not counts.reached(wanted, start_s + _LIMIT_S):
            note(f"os-ken hub={hub} knew {counts.links} of {wanted} links after {_LIMIT_S:g} s")
            return None
        return counts.at_s - start_s


class _Counts:
    """The link counts that the program writes, and when the last one came."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.links = 0
        self.at_s = 0.0
        self._process = process
        self._news = threading.Condition()
        self._ended = False
        threading.Thread(target=self._read, name="os-ken", daemon=True).start()

    def reached(self, wanted: int, deadline_s: float) -> bool:
        """Wait until this many links are known, the deadline is there or the program has ended."""
        with self._news:
            self._news.wait_for(lambda: self._ended or self.links >= wanted, deadline_s - time.monotonic())
            return self.links >= wanted

    def _read(self) -> None:
        assert self._process.stdout is not None  # it was started with a pipe
        for line in self._process.stdout:
            with self._news:
                self.links, self.at_s = int(line), time.monotonic()
                self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()


@contextmanager
def _running(port: int, hub: str) -> Iterator[_Counts]:
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "benchmarks.controlling.os_ken_links", str(port)],
        env={**os.environ, "OSKEN_HUB_TYPE": hub},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        yield _Counts(process)
    finally:
        process.kill()
        process.wait()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def _listens(port: int) -> bool:
    deadline_s = time.monotonic() + _LISTENS_WITHIN_S
    while time.monotonic() < deadline_s:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return True
        time.sleep(0.1)
    return False
