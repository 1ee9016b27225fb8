"""Floods ARP requests from a host: python -m tests.system.storm PID MAC IP PER_S SECONDS."""

from __future__ import annotations

import socket
import sys
import time

from mininet_topos.namespaces import network_of
from tests.system.frames import arp_request


def main(pid: int, mac: str, ip: str, per_s: float, seconds: float) -> None:
    """Ask for a thousand addresses that nobody has, as evenly as the machine lets it; prints the rate."""
    with network_of(pid):
        nic = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    nic.bind(("eth0", 0))
    frames = [arp_request(mac, ip, f"10.9.{n >> 8}.{n & 255}") for n in range(1000)]
    began_s, sent = time.monotonic(), 0
    while (elapsed_s := time.monotonic() - began_s) < seconds:
        while sent < elapsed_s * per_s:
            nic.send(frames[sent % len(frames)])
            sent += 1
        time.sleep(0.001)
    print(f"{sent / (time.monotonic() - began_s):.0f} a second")  # noqa: T201


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3], float(sys.argv[4]), float(sys.argv[5]))
