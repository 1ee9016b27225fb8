"""The program that sends a flow (flow.py). It imports little, and starts soon where a machine is busy too."""

from __future__ import annotations

import contextlib
import socket
import struct
import sys
import time
from dataclasses import astuple, dataclass

from mininet_topos.punctual import become_punctual

EVERY_S = 0.005
PACKET = struct.Struct("!Id")
"""Its number, and when it was sent (wall clock)."""

_LONG_BYTES = 1200
_LONG = b"\0" * (_LONG_BYTES - PACKET.size)


@dataclass(frozen=True)
class Rate:
    """How much is sent in packets of 1,200 bytes: from so many Mbit/s evenly up to so many, within a time."""

    from_mbps: float
    to_mbps: float
    within_s: float = 0.0

    def at(self, since_s: float) -> float:
        """In Mbit/s, so long after the beginning."""
        share = min(1.0, since_s / self.within_s) if self.within_s else 1.0
        return self.from_mbps + share * (self.to_mbps - self.from_mbps)


def sending(source: str, target: str, port: int, rate: Rate | None = None, every_s: float = EVERY_S) -> list[str]:
    """The program that sends a flow, from one address to another, for ever."""
    words = [sys.executable, "-m", "mininet_topos.overlay.sender", source, target, str(port), str(every_s)]
    return words if rate is None else [*words, *(f"{part:g}" for part in astuple(rate))]


def main() -> None:
    """Send for ever: SOURCE TARGET PORT EVERY_S [FROM_MBPS TO_MBPS WITHIN_S]."""
    here, there, port, every, *figures = sys.argv[1:]
    every_s, rate = float(every), Rate(*map(float, figures)) if figures else None
    become_punctual()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as target:
        target.bind((here, 0))
        number, due, began_s = 0, 0.0, time.monotonic()
        due_s = began_s
        while True:
            due += 1.0 if rate is None else rate.at(due_s - began_s) * every_s * 1e6 / 8 / _LONG_BYTES
            while due >= 1.0:
                packet = PACKET.pack(number, time.time())
                # Where there is no way, that is to be seen in what came.
                with contextlib.suppress(OSError):
                    target.sendto(packet if rate is None else packet + _LONG, (there, int(port)))
                number += 1
                due -= 1.0
            due_s += every_s
            if rate is not None:
                # Who was held up sends less: what is late, all at once, would find no room on a line.
                due_s = max(due_s, time.monotonic() - every_s)
            time.sleep(max(0.0, due_s - time.monotonic()))


if __name__ == "__main__":
    main()
