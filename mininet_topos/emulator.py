"""The lab's side of the link emulator: starts the relay process and gives a handle for every link."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_ANSWER_TIMEOUT_S = 10.0


class RelayFailed(RuntimeError):
    """The link emulator refused a request or is gone."""


@dataclass(frozen=True)
class LinkSpec:
    """One link to emulate: the names of its two devices and its figures, alike in both directions."""

    device_a: str
    device_b: str
    rate_mbps: float | None
    delay_ms: float
    loss: float = 0.0
    queue_ms: float = 50.0


@dataclass(frozen=True)
class DirectionStats:
    """Counters of one direction since the start.

    `busy_s`: time spent sending; its growth per second is the utilisation.

    `frames` and `bytes` were taken onto the line; `late_frames` came out more than 1 ms after their time (a
    machine that is too slow).
    """

    frames: int
    bytes: int
    dropped_queue: int
    dropped_loss: int
    dropped_cut: int
    dropped_device: int
    late_frames: int
    busy_s: float
    waiting: int


@dataclass(frozen=True)
class LinkStats:
    """Both directions of a link."""

    a_to_b: DirectionStats
    b_to_a: DirectionStats


@dataclass(frozen=True)
class RelayStats:
    """All links in order, at `time_s` (monotonic clock); `cpu_s` is what the relay process has used."""

    time_s: float
    uptime_s: float
    cpu_s: float
    links: tuple[LinkStats, ...]


class Emulator:
    """The running relay process of a lab. Close it and the devices of all its links are gone."""

    def __init__(self, links: Sequence[LinkSpec], seed: int = 0) -> None:
        """Create the devices of all links; raises RelayFailed with the reason."""
        ours, theirs = socket.socketpair()
        ours.settimeout(_ANSWER_TIMEOUT_S)
        self._socket = ours
        self._reader = ours.makefile("rb")
        self._lock = threading.Lock()
        with theirs:
            # A session of its own: Ctrl-C in the terminal must reach the lab, which then takes the links down
            # in order.
            self._process = subprocess.Popen(
                [sys.executable, "-m", "mininet_topos.relay"],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                start_new_session=True,
            )
        configuration = {
            "seed": seed,
            "links": [
                {
                    "a": link.device_a,
                    "b": link.device_b,
                    "rate_mbps": link.rate_mbps,
                    "delay_ms": link.delay_ms,
                    "loss": link.loss,
                    "queue_ms": link.queue_ms,
                }
                for link in links
            ],
        }
        try:
            self.ask(configuration)
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        """The relay's process id."""
        return int(self._process.pid)

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Send one request and return the answer; raises RelayFailed. Any thread may."""
        with self._lock:
            try:
                self._socket.sendall(json.dumps(request).encode() + b"\n")
                line = self._reader.readline()
            except (OSError, ValueError) as error:
                raise RelayFailed(f"the link emulator does not answer: {error}; start the lab again") from error
        if not line:
            raise RelayFailed("the link emulator has ended; start the lab again")
        answer: dict[str, Any] = json.loads(line)
        if not answer["ok"]:
            raise RelayFailed(f"the link emulator refused: {answer['error']}")
        return answer

    def stats(self) -> RelayStats:
        """Counters of every link, read at one moment."""
        answer = self.ask({"op": "stats"})
        links = tuple(LinkStats(DirectionStats(**a), DirectionStats(**b)) for a, b in answer["links"])
        return RelayStats(answer["time_s"], answer["uptime_s"], answer["cpu_s"], links)

    def close(self) -> None:
        """End the process and wait for it; more than once is fine."""
        self._reader.close()
        self._socket.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def utilisation(before: RelayStats, after: RelayStats) -> tuple[tuple[float, float], ...]:
    """Share of the time between two readings that each link was sending, as (a to b, b to a), in link order.

    Above 1 for a moment when a queue builds up: a frame counts when it is taken onto the line.
    """
    elapsed_s = after.time_s - before.time_s
    if elapsed_s <= 0:
        raise ValueError("the second reading must be later than the first")
    return tuple(
        (
            (new.a_to_b.busy_s - old.a_to_b.busy_s) / elapsed_s,
            (new.b_to_a.busy_s - old.b_to_a.busy_s) / elapsed_s,
        )
        for old, new in zip(before.links, after.links, strict=True)
    )
