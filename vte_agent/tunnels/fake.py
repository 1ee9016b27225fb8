"""Tunnels in memory, for tests: a network of nodes whose tunnels join each other as WireGuard's do.

Nothing runs by itself: whoever asks has what follows from the clock and from what was said and done before. All is
found by a look-up or two, so that a thousand nodes cost what one does, a thousand times.
"""

from __future__ import annotations

import hashlib
import itertools
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from vte_agent.protocol.base import public_bytes, public_text
from vte_agent.protocol.transport import Transport
from vte_agent.protocol.wanted import Endpoint
from vte_agent.tunnels.contract import Address, LocalEnd, PeerEnd, Reading, TunnelFailed, TunnelSpec
from vte_agent.tunnels.wireguard_state import SESSION_S, check_peer

_FIRST_PORT, _PORTS = 20_000, 40_000
_REKEY_S = 120.0


@dataclass(eq=False)
class FakeDevice:
    """One end. outer: where its packets come from. heard_at: where it sends to, once it was spoken to."""

    spec: TunnelSpec
    public_key: bytes
    outer: Endpoint
    mtu: int
    peer: PeerEnd | None = None
    heard_at: Endpoint | None = None
    shaken_at_s: float | None = None
    received_bytes: int = 0
    sent_bytes: int = 0

    @property
    def target(self) -> Endpoint | None:
        """Where its packets go."""
        return self.heard_at or (self.peer.endpoint if self.peer else None)


class FakeNetwork:
    """What lies between nodes, and their devices, which outlive the `FakeTunnels` that made them."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self.now_s = now_s
        self._nodes: dict[str, dict[str, FakeDevice]] = {}
        self._by_key: dict[bytes, FakeDevice] = {}
        self._cut: set[tuple[Address, Address]] = set()
        self._made = itertools.count()

    def node(self, name: str) -> FakeTunnels:
        """The tunnels of a node; called again it is the node's next run, which finds what the last one left."""
        return FakeTunnels(self, self._nodes.setdefault(name, {}))

    def device(self, node: str, device: str) -> FakeDevice:
        """A device as it is. Raises KeyError when there is none."""
        return self._nodes[node][device]

    def cut(self, source: Address, target: Address) -> None:
        """From now on no outer packet from one address comes to the other."""
        self._cut.add((source, target))

    def mend(self, source: Address, target: Address) -> None:
        """Outer packets get through again."""
        self._cut.discard((source, target))

    def kill(self, node: str, device: str) -> None:
        """What runs a device dies, and the device goes with it."""
        self.remove(self._nodes[node], device)

    def roam(self, node: str, device: str, outer: Endpoint) -> None:
        """From now on a device's packets come from there, as when a NAT forgets; a keepalive says so at once."""
        end = self._nodes[node][device]
        end.outer = outer
        other = self.joined(end)
        if other is not None and self._gets_through(end, other):
            other.heard_at = outer

    def passes(self, node: str, device: str, size: int = 0) -> bool:
        """Send a packet of some bytes into a device: whether it comes out at the other end."""
        end = self._nodes[node].get(device)
        other = None if end is None else self.joined(end)
        if end is None or other is None or size > end.mtu:
            return False
        end.sent_bytes += size
        if not self._gets_through(end, other):
            return False
        other.received_bytes += size
        other.heard_at = end.outer
        return True

    def make(self, devices: dict[str, FakeDevice], spec: TunnelSpec) -> FakeDevice:
        """A new device of a node."""
        number = next(self._made)
        key = hashlib.blake2s(number.to_bytes(8)).digest()
        outer = Endpoint(address=spec.local, port=_FIRST_PORT + number % _PORTS)
        device = devices[spec.device] = self._by_key[key] = FakeDevice(spec, key, outer, spec.mtu)
        return device

    def remove(self, devices: dict[str, FakeDevice], device: str) -> None:
        """Take a device of a node away, if it is there."""
        gone = devices.pop(device, None)
        if gone is not None:
            del self._by_key[gone.public_key]

    def joined(self, end: FakeDevice) -> FakeDevice | None:
        """The other end, if the two have keys with each other that hold; they make new ones when it is time."""
        other = self._matching(end)
        if other is None:
            return None
        now_s = self.now_s()
        shaken_at_s = [one.shaken_at_s for one in (end, other) if one.shaken_at_s is not None]
        age_s = now_s - min(shaken_at_s) if len(shaken_at_s) == 2 else float("inf")
        if age_s >= _REKEY_S and self._can_shake(end, other):
            for one, far in ((end, other), (other, end)):
                one.shaken_at_s, one.heard_at = now_s, far.outer
            return other
        return other if age_s < SESSION_S else None

    def _matching(self, end: FakeDevice) -> FakeDevice | None:
        if end.peer is None or end.peer.public_key is None:
            return None
        other = self._by_key.get(public_bytes(end.peer.public_key))
        if other is None or other.peer is None or other.peer.secret != end.peer.secret:
            return None
        return other if other.peer.public_key == public_text(end.public_key) else None

    def _can_shake(self, end: FakeDevice, other: FakeDevice) -> bool:
        """Either may call; the answer goes to where the call came from."""
        ways = ((end.outer.address, other.outer.address), (other.outer.address, end.outer.address))
        return not self._cut.intersection(ways) and (end.target == other.outer or other.target == end.outer)

    def _gets_through(self, end: FakeDevice, other: FakeDevice) -> bool:
        return end.target == other.outer and (end.outer.address, other.outer.address) not in self._cut


class FakeTunnels:
    """The tunnels of a simulated node (see `Tunnels` in contract.py)."""

    transport = Transport.WIREGUARD

    def __init__(self, network: FakeNetwork, devices: dict[str, FakeDevice], lacks: str = "") -> None:
        """What `missing` says is in `lacks`; then nothing can be made."""
        self._network, self._devices, self.lacks = network, devices, lacks

    def missing(self) -> str:
        """What the test says that is missing."""
        return self.lacks

    def carrier(self) -> str:
        """Nothing does."""
        return "in memory"

    def found(self) -> Collection[str]:
        """The devices that are there."""
        return set(self._devices)

    def create(self, spec: TunnelSpec) -> LocalEnd:
        """Make an end, or take over the one there is."""
        if self.lacks:
            raise TunnelFailed(self.lacks)
        device = self._devices.get(spec.device)
        if device is not None and device.spec.name != spec.name:
            raise TunnelFailed(f"device {spec.device} is not of tunnel {spec.name}; it is left alone")
        if device is None:
            device = self._network.make(self._devices, spec)
        device.mtu = min(device.mtu, spec.mtu)
        return LocalEnd(device.outer.port, public_text(device.public_key))

    def connect(self, spec: TunnelSpec, peer: PeerEnd) -> None:
        """Say who the other end is; one that is known already goes on as it was."""
        device = self._there(spec)
        check_peer(device.public_key, peer)
        if device.peer is None or (device.peer.public_key, device.peer.secret) != (peer.public_key, peer.secret):
            device.heard_at = device.shaken_at_s = None
        device.peer = peer
        self._network.joined(device)

    def set_mtu(self, spec: TunnelSpec, mtu: int) -> None:
        """Change an MTU in place."""
        self._there(spec).mtu = mtu

    def far_link(self, spec: TunnelSpec) -> bytes:
        """None."""
        del spec
        return b""

    def read(self) -> Mapping[str, Reading]:
        """All devices that are there."""
        now_s, readings = self._network.now_s(), {}
        for name, device in self._devices.items():
            self._network.joined(device)
            age_s = None if device.shaken_at_s is None else now_s - device.shaken_at_s
            readings[name] = Reading(age_s, device.received_bytes, device.sent_bytes, device.target)
        return readings

    def delete(self, device: str) -> None:
        """Take a device away."""
        self._network.remove(self._devices, device)

    def keep_only(self, devices: Collection[str]) -> None:
        """No key is kept."""

    def close(self) -> None:
        """Nothing is held."""

    def _there(self, spec: TunnelSpec) -> FakeDevice:
        device = self._devices.get(spec.device)
        if device is None:
            raise TunnelFailed(f"there is no device {spec.device}: make the tunnel again")
        return device
