"""When an end that has no handshake yet calls again.

WireGuard by itself calls once in five seconds. A call to an end that has not been told of the caller yet is lost
without any fault of the network. So the end that calls first calls again soon, the other only when that was in
vain, and pauses grow beyond any round trip.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from vte_agent.tunnels.contract import PeerEnd
from vte_agent.tunnels.wireguard_state import calls_first

FIRST_PAUSES_S: Final = (0.25, 0.5, 1.0, 2.0, 4.0)
SECOND_PAUSES_S: Final = (1.0, 2.0, 4.0)


@dataclass
class _Calling:
    peer: PeerEnd
    key: bytes
    pauses_s: Iterator[float]
    next_s: float | None


@dataclass
class Calls:
    """The ends that call, by device. Times are of a monotonic clock."""

    _calling: dict[str, _Calling] = field(default_factory=dict)

    def told(self, device: str, own: bytes, key: bytes, peer: PeerEnd, now_s: float) -> None:
        """An end was told its peer, and called. The same peer again changes nothing."""
        there = self._calling.get(device)
        if there is not None and there.peer == peer:
            return
        pauses_s = iter(FIRST_PAUSES_S if calls_first(own, key) else SECOND_PAUSES_S)
        self._calling[device] = _Calling(peer, key, pauses_s, now_s + next(pauses_s))

    def due(self, device: str, now_s: float) -> tuple[PeerEnd, bytes] | None:
        """Whom an end without a handshake has to call now; None while it has not to."""
        calling = self._calling.get(device)
        if calling is None or calling.next_s is None or now_s < calling.next_s:
            return None
        pause_s = next(calling.pauses_s, None)
        calling.next_s = None if pause_s is None else now_s + pause_s
        return calling.peer, calling.key

    def over(self, device: str) -> None:
        """It has its handshake, or is gone."""
        self._calling.pop(device, None)
