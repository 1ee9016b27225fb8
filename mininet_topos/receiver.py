"""The receiving half of the traffic player: one process, a UDP socket in every host, each arrival noted.

Run as `python -m mininet_topos.receiver` by the player, see `player.py` for the talk between them.
"""

from __future__ import annotations

import select
import socket
import time
from array import array
from collections.abc import Sequence

from mininet_topos.namespaces import network_of
from mininet_topos.punctual import become_punctual
from mininet_topos.sender import PACKET, WARM_UP
from mininet_topos.worker import Line, line_to_parent

_BUFFER_BYTES = 8 * 1024 * 1024
_SO_RCVBUFFORCE = 33
_HANDFUL = 64
_WARM_UP_BYTES = WARM_UP.to_bytes(4, "big")


def open_hosts(pids: Sequence[int], port: int) -> list[socket.socket]:
    """Bind a UDP socket in the namespace of every pid."""
    sockets = []
    for pid in pids:
        with network_of(pid):
            opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        opened.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER_BYTES)
        opened.setblocking(False)
        opened.bind(("", port))
        sockets.append(opened)
    return sockets


class Log:
    """What arrived: the packets' headers as sent, the times (ns, monotonic), and which flows were seen at all."""

    def __init__(self) -> None:
        self.headers = bytearray()
        self.arrived_ns: array[int] = array("q")
        self.seen: set[int] = set()

    def take(self, sockets: Sequence[socket.socket]) -> None:
        """Note a handful of packets from each socket that has some."""
        size, clock_ns = PACKET.size, time.monotonic_ns
        for ready in sockets:
            try:
                for _ in range(_HANDFUL):
                    header = ready.recv(size)  # the rest of the datagram is dropped by the kernel
                    now = clock_ns()
                    if len(header) < size:
                        continue
                    if header[4:8] == _WARM_UP_BYTES:
                        self.seen.add(int.from_bytes(header[:4], "big"))
                        continue
                    self.headers += header
                    self.arrived_ns.append(now)
            except BlockingIOError:
                continue


def serve(line: Line, sockets: Sequence[socket.socket]) -> None:
    """Receive until told to drain: then until nothing came for `quiet_s`, at most `most_s`; send the log."""
    log = Log()
    epoll = select.epoll()
    by_fd = {opened.fileno(): opened for opened in sockets}
    for fd in by_fd:
        epoll.register(fd, select.EPOLLIN)
    epoll.register(line, select.EPOLLIN)
    reported, quiet_s, give_up_s, last_s = 0, float("inf"), float("inf"), time.monotonic()
    while True:
        ready = epoll.poll(0.05)
        fds = [fd for fd, _ in ready if fd in by_fd]
        now_s = time.monotonic()
        if fds:
            last_s = now_s
            log.take([by_fd[fd] for fd in fds])
        if len(fds) < len(ready):
            heard = line.receive(0.0)
            if heard is not None:
                quiet_s, give_up_s, last_s = heard[0]["quiet_s"], now_s + heard[0]["most_s"], now_s
        if len(log.seen) > reported:
            reported = len(log.seen)
            line.send({"seen": reported})
        if now_s - last_s > quiet_s or now_s > give_up_s:
            break
    line.send(
        {"cpu_s": time.process_time(), "packets": len(log.arrived_ns)},
        bytes(log.headers) + log.arrived_ns.tobytes(),
    )


def main() -> int:
    """Serve one player."""
    line = line_to_parent()
    try:
        heard = line.receive()
        if heard is None:
            return 1
        sockets = open_hosts(heard[0]["pids"], heard[0]["port"])
        become_punctual()
        line.send({"ready": True})
        serve(line, sockets)
        line.receive()
    except EOFError:
        return 0
    except OSError as error:
        line.send({"error": str(error)})
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
