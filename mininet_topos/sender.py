"""The sending half of the traffic player: one process, a UDP socket per flow inside its host's namespace.

Run as `python -m mininet_topos.sender` by the player, see `player.py` for the talk between them.
"""

from __future__ import annotations

import io
import socket
import struct
import time
from array import array
from collections.abc import Sequence

import numpy as np

from mininet_topos.namespaces import network_of
from mininet_topos.punctual import become_punctual
from mininet_topos.schedule import PAYLOAD_MAX
from mininet_topos.worker import Line, line_to_parent

PACKET = struct.Struct("!IIq")
"""Flow, sequence number in the flow, CLOCK_MONOTONIC in ns at departure."""
WARM_UP = 0xFFFFFFFF
"""The sequence number of packets that only make the hosts known."""

_GRAIN_S = 0.0005
_LISTEN_EVERY_NS = 200_000_000
_CHUNK = 20_000


def open_flows(flows: Sequence[tuple[int, str]], port: int) -> list[socket.socket]:
    """Open a connected UDP socket for each (pid of the source host, address of the destination)."""
    sockets: dict[int, socket.socket] = {}
    by_pid: dict[int, list[int]] = {}
    for number, (pid, _) in enumerate(flows):
        by_pid.setdefault(pid, []).append(number)
    for pid, numbers in by_pid.items():
        with network_of(pid):
            for number in numbers:
                opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                opened.setblocking(False)
                opened.connect((flows[number][1], port))
                sockets[number] = opened
    return [sockets[number] for number in range(len(flows))]


def warm_up(sockets: Sequence[socket.socket]) -> None:
    """Send one marked packet on every flow, a few at a time."""
    for number, opened in enumerate(sockets):
        try:
            opened.send(PACKET.pack(number, WARM_UP, time.monotonic_ns()))
        except OSError:
            continue
        if number % 8 == 7:
            time.sleep(0.002)


def play(
    line: Line, sockets: Sequence[socket.socket], arrays: dict[str, np.ndarray], start_ns: int
) -> tuple[array[int], int]:
    """Send every packet at its time; return when each really left (ns, monotonic) and how many the kernel refused.

    A packet that is late is sent at once, so the amount stays right; the player reports the share that was
    late.
    """
    sends = [opened.send for opened in sockets]
    next_number = [0] * len(sockets)
    left_ns = array("q")
    buffer = bytearray(PAYLOAD_MAX)
    view = memoryview(buffer)
    views = [view[:size] for size in range(PAYLOAD_MAX + 1)]
    clock_ns, pack, refused, listen_ns = time.monotonic_ns, PACKET.pack_into, 0, 0
    for begin in range(0, len(arrays["time_s"]), _CHUNK):
        part = slice(begin, begin + _CHUNK)
        due_ns = ((arrays["time_s"][part] * 1e9).astype(np.int64) + start_ns).tolist()
        for due, flow, size in zip(
            due_ns, arrays["flow"][part].tolist(), arrays["payload"][part].tolist(), strict=True
        ):
            now = clock_ns()
            if due > now:
                # Sleeping at least a grain lets packets that are close together share one waking up.
                time.sleep(max((due - now) * 1e-9, _GRAIN_S))
                now = clock_ns()
            pack(buffer, 0, flow, next_number[flow], now)
            next_number[flow] += 1
            left_ns.append(now)
            try:
                sends[flow](views[size])
            except OSError:
                refused += 1
            if now > listen_ns:
                listen_ns = now + _LISTEN_EVERY_NS
                line.receive(0.0)  # raises EOFError when the player is gone
    return left_ns, refused


def main() -> int:
    """Serve one player."""
    line = line_to_parent()
    try:
        heard = line.receive()
        if heard is None:
            return 1
        setup, blob = heard
        sockets = open_flows([(int(pid), str(ip)) for pid, ip in setup["flows"]], setup["port"])
        with np.load(io.BytesIO(blob), allow_pickle=False) as data:
            arrays = {name: data[name] for name in ("time_s", "flow", "payload")}
        become_punctual()
        line.send({"ready": True})
        while (heard := line.receive()) is not None:
            if heard[0].get("warm"):
                warm_up(sockets)
                continue
            before_s = time.process_time()
            left_ns, refused = play(line, sockets, arrays, heard[0]["start_ns"])
            line.send({"refused": refused, "cpu_s": time.process_time() - before_s}, left_ns.tobytes())
    except EOFError:
        return 0
    except OSError as error:
        line.send({"error": str(error)})
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
