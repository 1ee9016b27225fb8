"""IPsec tunnels of a node (see `Tunnels` in contract.py): IKEv2 and ESP by strongSwan's charon, in user space.

Each tunnel has an IKE_SA of its own, from its uplink's address, with a pre-shared key of its own; charon encrypts
what goes between two addresses, and that is the VXLAN of the tunnel's device (ipsec_plan.py). The end with the
lower address calls; the other one does when nothing has come for a while. An end that was refused calls again when
`read` or `connect` is asked next, so one of them has to be asked every second or so.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from vte_agent import nft
from vte_agent.protocol.transport import Transport
from vte_agent.protocol.wanted import Endpoint
from vte_agent.tunnels import ipsec_process
from vte_agent.tunnels.contract import LocalEnd, PeerEnd, Reading, TunnelFailed, TunnelSpec
from vte_agent.tunnels.devices import Devices, not_ours
from vte_agent.tunnels.ipsec_charon import Charon, Running
from vte_agent.tunnels.ipsec_links import IpsecLinks
from vte_agent.tunnels.ipsec_plan import KIND, Plan, inside_mtu, plan
from vte_agent.tunnels.ipsec_vici import Refused, Sa, Vici, ViciFailed

RUNTIME: Final = Path("/run/lockstitch")

TAKE_OVER_S: Final = 2.0
"""The end that is to be called calls itself when it has not been called for so long."""

_FIRST_PAUSE_S, _LAST_PAUSE_S = 0.1, 4.0
_SECRET_BYTES = 32
_PROPOSALS = ["aes128gcm16-prfsha256-x25519", "aes256gcm16-prfsha384-x25519"]
_ESP_PROPOSALS = ["aes128gcm16-x25519", "aes256gcm16-x25519"]
_DEFAULT_IKE_PORT = 4500


@dataclass
class _Line:
    """A tunnel whose other end is known. quiet_s: since when there has been no SA."""

    peer: PeerEnd
    first: bool
    quiet_s: float
    called_s: float = float("-inf")
    pause_s: float = _FIRST_PAUSE_S

    def may_call(self, now_s: float) -> bool:
        if self.peer.endpoint is None or now_s - self.called_s < self.pause_s:
            return False
        return self.first or now_s - self.quiet_s >= TAKE_OVER_S


class IpsecTunnels:
    """All IPsec tunnels of this network namespace.

    directory: charon's socket is there, and nobody else's. None: one in RUNTIME that the namespace has of its own.
    """

    transport = Transport.IPSEC

    def __init__(
        self,
        directory: Path | None = None,
        devices: Devices | None = None,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take what an earlier run left. now_s: a clock that only goes on."""
        self._missing = ipsec_process.missing() or nft.missing()
        self._devices = devices if devices is not None else Devices()
        self._links = IpsecLinks()
        self._charon, self._now_s = Charon(directory or _directory()), now_s
        self._running: Running | None = None
        self._vici: Vici | None = None
        # Which charon each tunnel was made with: another one does not know it.
        self._made: dict[str, int] = {}
        self._lines: dict[str, _Line] = {}

    def missing(self) -> str:
        """As it was when the agent started."""
        return self._missing

    def carrier(self) -> str:
        """Always the same: what the kernel has of it is not asked for."""
        return "in user space (strongSwan with kernel-libipsec); the kernel's ESP is not used"

    def found(self) -> Collection[str]:
        """The devices of ours that are there."""
        return set(self._links.cables())

    def create(self, spec: TunnelSpec) -> LocalEnd:
        """Make this end, or take over the one that is there. Raises TunnelFailed."""
        if self._missing:
            raise TunnelFailed(self._missing)
        ours = plan(spec)
        link = self._devices.get(spec.device)
        if link is not None and not (link.kind == KIND and link.is_for(spec)):
            raise not_ours(link, spec)
        cable = self._links.cables().get(spec.device)
        if cable is not None and (cable.near, cable.far, cable.vni) != (str(ours.near), str(ours.far), ours.vni):
            # Half-made, or made when the tunnel had other addresses.
            self.delete(spec.device)
            cable = None
        try:
            running = self._start()
            if cable is None:
                self._links.add(spec, ours)
            self._complete(spec, ours, running)
        except TunnelFailed:
            if cable is None:
                with contextlib.suppress(TunnelFailed):
                    self.delete(spec.device)
            raise
        self._made[spec.device] = running.pid
        return LocalEnd(running.port, None)

    def connect(self, spec: TunnelSpec, peer: PeerEnd) -> None:
        """Say who the other end is. Asked again without an SA, it calls again. Raises TunnelFailed."""
        _check_secret(peer.secret)
        ours = plan(spec)
        if spec.device not in self._links.cables():
            raise TunnelFailed(f"there is no device {spec.device}: make the tunnel again")
        running, vici = self._ask()
        before = self._lines.get(spec.device)
        again = before is not None and before.peer == peer and self._made.get(spec.device) == running.pid
        if not again:
            connection = _connection(spec, ours, running.port, peer.endpoint)
            vici.load(spec.device, peer.secret, (ours.near_id, ours.far_id), connection)
            if before is not None and before.peer.secret != peer.secret:
                vici.terminate(spec.device)
            self._lines[spec.device] = _Line(peer, ours.first, self._now_s())
            self._made[spec.device] = running.pid
        self._tend(vici, vici.sas())

    def set_mtu(self, spec: TunnelSpec, mtu: int) -> None:
        """Change the device's MTU in place, to what travels whole at most. Raises TunnelFailed."""
        self._devices.set_mtu(spec, self._whole(spec, mtu))
        # What was known of IPv6 went with it where there was too little room for that.
        if (link := self._devices.get(spec.device)) is not None:
            self._links.know(spec, plan(spec), link.index)

    def far_link(self, spec: TunnelSpec) -> bytes:
        """The address that the other end's VXLAN device has. Raises TunnelFailed."""
        return bytes.fromhex(plan(spec).far_mac.replace(":", ""))

    def read(self) -> Mapping[str, Reading]:
        """All tunnels that are alive, by device."""
        cables = self._links.carried()
        if not cables:
            return {}
        try:
            running, vici = self._ask()
            sas, loaded = vici.sas(), vici.loaded()
            self._tend(vici, sas)
        except TunnelFailed:
            self._hang_up()
            return {}
        self._links.keep_guard(list(cables.values()), running.tun)
        newest = {sa.tunnel: sa for sa in sorted(sas, key=lambda one: one.number) if sa.established}
        readings = {}
        for device, cable in cables.items():
            if self._made.get(device, running.pid if device in loaded else 0) != running.pid or not cable.link.up:
                continue
            sa = newest.get(device)
            line = self._lines.get(device)
            endpoint = sa.endpoint if sa else line.peer.endpoint if line else None
            readings[device] = Reading(sa.made_s if sa else None, cable.received_bytes, cable.sent_bytes, endpoint)
        return readings

    def delete(self, device: str) -> None:
        """Take a tunnel away with all that belongs to it; charon ends with the last. Raises TunnelFailed."""
        cables = dict(self._links.cables())
        cable = cables.pop(device, None)
        self._lines.pop(device, None)
        self._made.pop(device, None)
        if cable is None:
            return
        running = None
        # One that does not answer has nothing to forget.
        with contextlib.suppress(TunnelFailed):
            running, vici = self._ask()
            vici.unload(device)
            vici.terminate(device)
        if not cables:
            self._end()
        self._links.remove(cable, list(cables.values()))
        if not cables or running is not None:
            self._links.guard(list(cables.values()), running.tun if running is not None else "")

    def keep_only(self, devices: Collection[str]) -> None:
        """None has a key of its own: both ends have what they prove themselves by from their identities."""

    def close(self) -> None:
        """Let go of sockets; tunnels stay, and charon with them."""
        try:
            if not self._links.cables():
                self._end()
        finally:
            self._hang_up()
            self._links.close()
            self._devices.close()

    def _complete(self, spec: TunnelSpec, ours: Plan, running: Running) -> None:
        """Alias, addresses, MTU and the guard of a device that is there, as far as it lacks them."""
        link = self._devices.get(spec.device)
        if link is None:
            raise TunnelFailed(f"device {spec.device} went away; make the tunnel again")
        # What is on the way in must be told apart before the device is up.
        self._links.guard(list(self._links.cables().values()), running.tun)
        self._links.lead(spec, ours)
        whole = TunnelSpec(**{**vars(spec), "mtu": self._whole(spec, spec.mtu)})
        self._devices.set_up(whole)
        self._links.know(spec, ours, link.index)

    def _whole(self, spec: TunnelSpec, mtu: int) -> int:
        """Longer packets would travel in pieces, of which each may be lost."""
        return min(mtu, inside_mtu(self._links.uplink_mtu(spec.local) or 0xFFFF, spec.local.version))

    def _start(self) -> Running:
        """A charon that answers."""
        with contextlib.suppress(ViciFailed):
            running, vici = self._ask()
            vici.version()
            return running
        # There is none, or it hangs.
        self._end()
        self._running = self._charon.start()
        self._vici = Vici(self._running.connection)
        self._vici.version()
        return self._running

    def _ask(self) -> tuple[Running, Vici]:
        """The charon that runs, whoever started it. Raises ViciFailed where there is none."""
        if self._running is None or self._vici is None or self._vici.closed:
            self._running = self._charon.find()
            if self._running is None:
                raise ViciFailed("charon does not run: make its tunnels again")
            self._vici = Vici(self._running.connection)
        return self._running, self._vici

    def _end(self) -> None:
        self._hang_up()
        self._charon.end()
        self._lines.clear()

    def _hang_up(self) -> None:
        if self._vici is not None:
            self._vici.close()
        self._vici = self._running = None
        self._charon.reap()

    def _tend(self, vici: Vici, sas: Collection[Sa]) -> None:
        """Call where it is this end's turn; of calls that crossed one is enough."""
        now_s = self._now_s()
        for device, line in self._lines.items():
            there = [sa for sa in sas if sa.tunnel == device]
            up = [sa for sa in there if sa.established]
            if up:
                line.quiet_s, line.pause_s = now_s, _FIRST_PAUSE_S
                surplus = [sa for sa in there if sa.ours and sa.state == "CONNECTING"]
            else:
                # It went to where the other end was before.
                surplus = [sa for sa in there if sa.ours and sa.endpoint != line.peer.endpoint]
            for sa in surplus:
                vici.terminate(device, sa.number)
            if len(there) == len(surplus) and line.may_call(now_s):
                line.called_s, line.pause_s = now_s, min(_LAST_PAUSE_S, 2 * line.pause_s)
                # Refused is what is not loaded; it is when the tunnel is connected again.
                with contextlib.suppress(Refused):
                    vici.initiate(device)


def _directory() -> Path:
    return RUNTIME / f"ipsec-{Path('/proc/thread-self/ns/net').stat().st_ino}"


def _connection(spec: TunnelSpec, ours: Plan, port: int, endpoint: Endpoint | None) -> dict[str, Any]:
    """The other end as charon has to know it. It may call from anywhere: the secret says that it is it."""
    child = {
        "mode": "tunnel",
        "local_ts": [f"{ours.near}/32"],
        "remote_ts": [f"{ours.far}/32"],
        "esp_proposals": _ESP_PROPOSALS,
        "rekey_time": "3600",
        "dpd_action": "restart" if endpoint and ours.first else "clear",
        "start_action": "none",
        "close_action": "none",
    }
    return {
        "version": "2",
        "local_addrs": [str(spec.local)],
        "remote_addrs": [*([str(endpoint.address)] if endpoint else []), "%any"],
        "remote_port": str(endpoint.port if endpoint else _DEFAULT_IKE_PORT),
        "local_port": str(port),
        "proposals": _PROPOSALS,
        "mobike": "no",
        "encap": "yes",
        "dpd_delay": "1s",
        "keyingtries": "0" if ours.first else "1",
        "rekey_time": "14400",
        "unique": "replace",
        "local": {"auth": "psk", "id": f"fqdn:{ours.near_id}"},
        "remote": {"auth": "psk", "id": f"fqdn:{ours.far_id}"},
        "children": {spec.device: child},
    }


def _check_secret(secret: bytes) -> None:
    if len(secret) != _SECRET_BYTES:
        raise TunnelFailed(f"the secret of a tunnel is {_SECRET_BYTES} bytes")
    if not any(secret):
        raise TunnelFailed("the secret of a tunnel must not be all zero")
