"""What WireGuard tunnels have in common, whoever runs them: a device each, with a key and a port of its own.

WireGuard's socket is bound to no address, so nothing in it keeps outer packets to one uplink. What does is the
firewall mark of the device (`TunnelSpec.mark`), which is on all its outer packets. For each uplink the node needs
a routing table with the default route of that uplink (its gateway and device, the uplink's address as `src`), and
two rules: `fwmark MARK/MASK lookup TABLE` for what leaves, and `from ADDRESS lookup TABLE` by which strict reverse
path filtering takes in what arrives there. The first packet then has the uplink's address as its source, and
WireGuard answers from the address that it was called at. Another end whose address changes is followed by itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Protocol

from vte_agent.protocol.base import public_text
from vte_agent.protocol.transport import Transport
from vte_agent.tunnels.contract import LocalEnd, PeerEnd, Reading, TunnelFailed, TunnelSpec
from vte_agent.tunnels.devices import Devices, Link, not_ours
from vte_agent.tunnels.own_keys import OwnKey, OwnKeys, is_free
from vte_agent.tunnels.wireguard_calls import Calls
from vte_agent.tunnels.wireguard_state import (
    DeviceState,
    PeerChange,
    change_for,
    check_peer,
    is_done,
    new_private_key,
)
from vte_agent.waiting import Rests

PORT_WITHIN_S = 2.0
FREE_WITHIN_S = 0.25
"""A process that is ending lets go of its port last."""


class Runner(Protocol):
    """Who runs WireGuard devices. All methods raise TunnelFailed."""

    kinds: Collection[str]
    """Of devices, as the kernel names them."""

    carrier: str
    """As `Tunnels` tell people."""

    def missing(self) -> str:
        """Why it cannot be had, and the remedy; "" where it can."""

    def found(self) -> Collection[str]:
        """The devices of ours that it runs in this network namespace, and what else is left of any."""

    def owns(self, link: Link, spec: TunnelSpec) -> bool:
        """Whether a device that is there is this tunnel's."""

    def add(self, spec: TunnelSpec) -> None:
        """Make a device, which is down. May leave a half-made one that `remove` takes away."""

    def adopt(self, spec: TunnelSpec) -> None:
        """See that a device which is there can be asked. Raises TunnelFailed when nobody runs it."""

    def state(self, device: str) -> DeviceState:
        """Ask a device."""

    def states(self, devices: Collection[str]) -> Mapping[str, DeviceState]:
        """Ask many; those that do not answer are not among them."""

    def set_own(self, device: str, private_key: bytes | None, mark: int, port: int = 0) -> None:
        """Give a device its private key (None: the one it has), its firewall mark, and its port (0: any)."""

    def set_peer(self, device: str, change: PeerChange) -> None:
        """Carry a change out."""

    def remove(self, device: str) -> None:
        """Take a device away with all that belongs to it, half-made or whole; nothing where there is none."""

    def close(self) -> None:
        """Let go of sockets."""


class WireGuardTunnels:
    """All WireGuard tunnels of this node (see `Tunnels` in contract.py)."""

    transport = Transport.WIREGUARD

    def __init__(
        self,
        runner: Runner,
        devices: Devices,
        keys: OwnKeys,
        *,
        besides: str = "",
        now_s: Callable[[], float] = time.time,
    ) -> None:
        """Take what an earlier run left.

        besides: what another runner lacks. now_s: the clock that handshakes are dated by, since 1970.
        """
        self._runner, self._devices, self._besides, self._now_s = runner, devices, besides, now_s
        self._keys = keys
        self._known = set(runner.found()) if not runner.missing() else set()
        self._calls = Calls()

    def missing(self) -> str:
        """Why there is no WireGuard on this node, and the remedy; "" where there is."""
        missing = self._runner.missing()
        return f"{self._besides}; {missing}" if missing and self._besides else missing

    def carrier(self) -> str:
        """What runs it, and why nothing else does."""
        return f"{self._runner.carrier}: {self._besides}" if self._besides else self._runner.carrier

    def found(self) -> Collection[str]:
        """The devices of ours that are there."""
        found = set(self._runner.found())
        self._known |= found
        return found

    def create(self, spec: TunnelSpec) -> LocalEnd:
        """Make this end, or take over the one that is there with its key and port. Raises TunnelFailed."""
        link = self._devices.get(spec.device)
        if link is not None:
            if link.kind not in self._runner.kinds or not self._runner.owns(link, spec):
                raise not_ours(link, spec)
            self._runner.adopt(spec)
            return self._complete(spec)
        try:
            self._runner.add(spec)
            return self._complete(spec)
        except TunnelFailed:
            self.delete(spec.device)
            raise

    def connect(self, spec: TunnelSpec, peer: PeerEnd) -> None:
        """Say who the other end is. Raises TunnelFailed.

        Said again it changes nothing that packets depend on, but the address that outer packets leave from is
        chosen anew. wireguard-go needs that after an uplink got another address.
        """
        device = spec.device
        state = self._runner.state(device)
        key = check_peer(state.public_key, peer)
        if state.public_key is None:
            raise TunnelFailed(f"device {device} has no key: make the tunnel again")
        self._runner.set_peer(device, change_for(state, peer, key, now_s=self._now_s(), again=False))
        self._calls.told(device, state.public_key, key, peer, time.monotonic())
        # A set may stop half-way: what counts is what the device says then.
        if not is_done(self._runner.state(device), peer, key):
            raise TunnelFailed(f"device {device} did not take its peer; connect it again, or make the tunnel anew")

    def set_mtu(self, spec: TunnelSpec, mtu: int) -> None:
        """Change the device's MTU in place. Raises TunnelFailed."""
        self._devices.set_mtu(spec, mtu)

    def far_link(self, spec: TunnelSpec) -> bytes:
        """None: what goes in is IP."""
        del spec
        return b""

    def read(self) -> Mapping[str, Reading]:
        """All tunnels that are alive, by device. Ends without a handshake call again when it is time."""
        now_s = self._now_s()
        states = self._runner.states(self._known)
        for device, state in states.items():
            self._call_again(device, state, now_s)
        return {device: state.reading(now_s) for device, state in states.items()}

    def _call_again(self, device: str, state: DeviceState, now_s: float) -> None:
        if state.reading(now_s).handshake_age_s is not None:
            self._calls.over(device)
        elif due := self._calls.due(device, time.monotonic()):
            # Who died meanwhile is not among the living the next time.
            with suppress(TunnelFailed):
                self._runner.set_peer(device, change_for(state, *due, now_s=now_s, again=True))

    def delete(self, device: str) -> None:
        """Take a tunnel away with all that belongs to it. Raises TunnelFailed."""
        self._runner.remove(device)
        self._known.discard(device)
        self._calls.over(device)

    def keep_only(self, devices: Collection[str]) -> None:
        """Forget the keys of all others."""
        self._keys.keep_only(devices)

    def close(self) -> None:
        """Let go of sockets; tunnels stay."""
        self._runner.close()
        self._devices.close()

    def _complete(self, spec: TunnelSpec) -> LocalEnd:
        """Key, mark, addresses and port of a device that is there, as far as it lacks them."""
        device, own = spec.device, None
        state = self._runner.state(device)
        if state.public_key is None:
            own = self._keys.of(device) or OwnKey(new_private_key())
            self._runner.set_own(device, own.private_key, spec.mark, _port_again(own.port))
        elif state.mark != spec.mark:
            self._runner.set_own(device, None, spec.mark)
        self._devices.set_up(spec)
        state = self._with_port(device)
        if state.public_key is None or state.mark != spec.mark:
            raise TunnelFailed(f"device {device} did not take its key and mark; make the tunnel again")
        if own is not None:
            self._keys.keep(device, replace(own, port=state.port))
        self._known.add(device)
        return LocalEnd(state.port, public_text(state.public_key))

    def _with_port(self, device: str) -> DeviceState:
        """The device once it listens, which it does soon after it is up."""
        rests = Rests(PORT_WITHIN_S)
        while True:
            state = self._runner.state(device)
            if state.port:
                return state
            if rests.is_over():
                raise TunnelFailed(f"device {device} is up but listens at no UDP port; is UDP forbidden here?")
            rests.rest()


def _port_again(port: int) -> int:
    """The port that a device had, or 0 where somebody else has it."""
    rests = Rests(FREE_WITHIN_S)
    while port and not is_free(port):
        if rests.is_over():
            return 0
        rests.rest()
    return port
