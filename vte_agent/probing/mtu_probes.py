"""The probes by which one end of a tunnel finds how long the packets may be that it sends through it."""

from __future__ import annotations

import contextlib
import math
import secrets
from collections import OrderedDict

from vte_agent.probing.long_packets import HEADER_BYTES, LongPackets
from vte_agent.probing.mtu_wire import NUMBERS, BadMtuProbe, MtuProbe, decode, encode
from vte_agent.probing.path_mtu import PathMtu
from vte_agent.probing.sockets import LONGEST, MTU_PORT, Address, Received, open_socket, send

LEAST = {4: 576, 6: 1280}
"""What a device has to carry (RFC 791, 8200); less is not looked for."""

_MOST_PENDING = 16


class MtuProbes:
    """Of one tunnel, both roles; used by the prober's thread only, once it is made. Raises ProbeFailed.

    Sizes are those of packets inside the tunnel, as its device's MTU counts them. usable: the longest that gets
    through, as the last search has found it; None before the first is over.
    """

    def __init__(self, device: str, address: Address, peer_address: Address, far_link: bytes) -> None:
        self._header_bytes, self._least = HEADER_BYTES[address.version], LEAST[address.version]
        self.usable: int | None = None
        self.due_s = math.inf
        """When a packet wants to be sent."""
        self._is_alive = False
        self._most = 0
        self._path: PathMtu | None = None
        self._pending: OrderedDict[int, int] = OrderedDict()
        self.socket = open_socket(device, address, peer_address, MTU_PORT, MTU_PORT)
        try:
            self._long = LongPackets(device, (address, peer_address), MTU_PORT, far_link)
        except BaseException:
            self.socket.close()
            raise

    def close(self) -> None:
        """Close the sockets."""
        self.socket.close()
        self._long.close()

    @property
    def trouble(self) -> str:
        """What keeps packets of any use from getting through; "" where nothing does."""
        if self._path is None or not self._path.is_blocked:
            return ""
        return f"packets of {min(self._least, self._most)} bytes do not get through"

    def search(self, most: int, now_s: float) -> None:
        """Find out up to so many bytes; begins anew where that is another number than before."""
        most = min(most, LONGEST)
        if most != self._most:
            self._most, self._path = most, PathMtu(min(self._least, most), most)
            self._schedule(now_s, 0.0)

    def alive(self, is_alive: bool, now_s: float, rtt_s: float) -> None:
        """Whether the tunnel carries packets both ways; while it does not, nothing is learned of their length."""
        if is_alive and not self._is_alive and self._path is not None:
            self._path.resume(now_s)
        self._is_alive = is_alive
        self._schedule(now_s, rtt_s)

    def send(self, now_s: float, rtt_s: float) -> None:
        """Send what is due."""
        size = self._path.due(now_s, rtt_s) if self._path is not None else None
        if size is not None:
            number = secrets.randbelow(NUMBERS)
            self._pending[number] = size
            if len(self._pending) > _MOST_PENDING:
                self._pending.popitem(last=False)
            self._long.send(encode(MtuProbe(number, size - self._header_bytes)))
        self._schedule(now_s, rtt_s)

    def hear(self, received: Received, at_s: float) -> None:
        """A probe of the other end, which is answered, or an answer."""
        with contextlib.suppress(BadMtuProbe):
            said = decode(received.data)
            if not said.is_answer:
                send(self.socket, encode(MtuProbe(said.number, said.length, is_answer=True)))
            elif self._pending.pop(said.number, None) == said.length + self._header_bytes and self._path:
                self._path.answered(said.length + self._header_bytes, at_s)
                self._schedule(at_s, 0.0)

    def _schedule(self, now_s: float, rtt_s: float) -> None:
        path = self._path
        if path is None:
            return
        if path.proven is not None and not path.is_searching:
            self.usable = path.proven
        self.due_s = max(now_s, path.next_s(rtt_s)) if self._is_alive else math.inf
