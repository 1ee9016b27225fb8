"""WireGuard in user space: a wireguard-go process for each device, driven over its UAPI socket."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import struct
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final

from vte_agent import programs
from vte_agent.tunnels import daemons, uapi
from vte_agent.tunnels import wireguard_process as process
from vte_agent.tunnels.contract import TunnelFailed, TunnelSpec
from vte_agent.tunnels.devices import PREFIX, Devices, Link, is_our_name
from vte_agent.tunnels.wireguard_state import DeviceState, PeerChange
from vte_agent.waiting import Rests

ANSWER_WITHIN_S: Final = 1.0
START_WITHIN_S: Final = 5.0
_STARTING_S = 5.0
"""A socket that nobody listens at is left over once it is older than this."""

_TUN = Path("/dev/net/tun")
_TUNSETIFF = 0x400454CA
_IFF_TUN = 0x0001
_CHUNK = 65_536


def userspace_missing() -> str:
    """Why wireguard-go cannot run here, and the remedy, found by making a TUN device; "" where it can."""
    if programs.find(process.PROGRAM) is None:
        return f"{process.PROGRAM} is not installed: run 'apt-get install {process.PROGRAM}'"
    try:
        tun = os.open(_TUN, os.O_RDWR | os.O_CLOEXEC)
        try:
            name = f"{PREFIX}try{secrets.token_hex(4)}".encode()
            fcntl.ioctl(tun, _TUNSETIFF, struct.pack("16sH22x", name, _IFF_TUN))
        finally:
            os.close(tun)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
            return f"there is no {_TUN}: run 'modprobe tun', or give the container the device {_TUN}"
        if error.errno in (errno.EPERM, errno.EACCES):
            return "making TUN devices is forbidden here: run the agent as root or with CAP_NET_ADMIN"
        return f"making a TUN device failed: {error.strerror}"
    return ""


class _Connection:
    """A connection to the socket of a device that a wireguard-go of ours runs. Raises OSError, BadAnswer."""

    def __init__(self, device: str) -> None:
        self._socket = process.dial(device)
        self.pid = process.behind(self._socket)
        tunnel = process.tunnel_of(self.pid, device)
        if tunnel is None:
            self._socket.close()
            if daemons.is_ending(self.pid):
                raise ProcessLookupError(self.pid, "it is ending")
            raise TunnelFailed(f"what answers at {process.socket_of(device)} is no wireguard-go of this agent's")
        self.tunnel = tunnel

    def send(self, request: bytes) -> None:
        self._socket.settimeout(ANSWER_WITHIN_S)
        self._socket.sendall(request)

    def receive(self, give_up_s: float) -> bytes:
        answer = bytearray()
        while not uapi.is_whole(answer):
            # What has come already is read even when the time is over.
            self._socket.settimeout(max(1e-6, give_up_s - time.monotonic()))
            part = self._socket.recv(_CHUNK)
            if not part:
                raise ConnectionResetError(errno.ECONNRESET, "it ended")
            answer += part
        return bytes(answer)

    def close(self) -> None:
        self._socket.close()


class GoRunner:
    """WireGuard devices that wireguard-go runs (see `Runner`)."""

    kinds: Collection[str] = frozenset({"tun"})
    carrier = "in user space (wireguard-go)"

    def __init__(self, devices: Devices) -> None:
        self._devices = devices
        self._missing = userspace_missing()
        self._connections: dict[str, _Connection] = {}
        self._children: dict[str, daemons.Started] = {}

    def missing(self) -> str:
        """As it was when the agent started."""
        return self._missing

    def found(self) -> Collection[str]:
        """Devices with our alias or of a process of ours, and names of which only the socket is left."""
        links = {name: link for name, link in self._devices.links().items() if link.kind in self.kinds}
        found = {name for name, link in links.items() if link.is_ours() or self._tunnel(name)}
        return found | {name for name in _sockets() if name not in links and _is_left_over(name)}

    def owns(self, link: Link, spec: TunnelSpec) -> bool:
        """By its alias; one without has a process that says so."""
        return link.is_for(spec) if link.alias else self._tunnel(link.name) == spec.name

    def add(self, spec: TunnelSpec) -> None:
        """Start a process and wait until it can be asked."""
        device = spec.device
        child = self._children[device] = process.start(device, spec.name)
        rests = Rests(START_WITHIN_S)
        while not self._answers(device):
            if daemons.reap(child.pid):
                raise TunnelFailed(f"wireguard-go ended at once for device {device}: {process.said(child)}")
            if rests.is_over():
                raise TunnelFailed(f"wireguard-go does not answer for device {device}: {process.said(child)}")
            rests.rest()

    def adopt(self, spec: TunnelSpec) -> None:
        """A device that nobody runs any more is made anew."""
        if not self._answers(spec.device):
            self.remove(spec.device)
            self.add(spec)

    def state(self, device: str) -> DeviceState:
        """Ask a device."""
        try:
            return uapi.device_state(self._ask(device, uapi.GET))
        except uapi.BadAnswer as error:
            self._hang_up(device)
            raise TunnelFailed(f"wireguard-go of device {device}: {error}") from None

    def states(self, devices: Collection[str]) -> Mapping[str, DeviceState]:
        """Ask all at once, so that many which hang take no longer than one."""
        asked = [device for device in devices if self._is_asked(device)]
        give_up_s = time.monotonic() + ANSWER_WITHIN_S
        found = {}
        for device in asked:
            try:
                found[device] = uapi.device_state(self._connections[device].receive(give_up_s))
            except (OSError, uapi.BadAnswer):
                self._hang_up(device)
        return found

    def set_own(self, device: str, private_key: bytes | None, mark: int, port: int = 0) -> None:
        """Any port is one that wireguard-go chooses."""
        self._set(device, uapi.set_own(private_key, mark, port))

    def set_peer(self, device: str, change: PeerChange) -> None:
        """All in one request."""
        self._set(device, uapi.set_peer(change))

    def remove(self, device: str) -> None:
        """End the process, by which its device goes; take away what is left if it could not clean up."""
        if not device.startswith(PREFIX):
            return
        pid = self._pid(device)
        self._hang_up(device)
        if pid is not None:
            process.end(pid, device)
        child = self._children.pop(device, None)
        if child is not None:
            process.end(child.pid, device)
            daemons.reap(child.pid)
            os.close(child.log)
        self._devices.delete(device)
        if _is_refusing(device):
            process.socket_of(device).unlink(missing_ok=True)

    def close(self) -> None:
        """Hang up; the processes go on."""
        for device in list(self._connections):
            self._hang_up(device)
        for child in self._children.values():
            os.close(child.log)
        self._children.clear()

    def _tunnel(self, device: str) -> str | None:
        if not is_our_name(device):
            return None
        pid = self._pid(device)
        return None if pid is None else process.tunnel_of(pid, device)

    def _pid(self, device: str) -> int | None:
        try:
            return self._connection(device).pid
        except ProcessLookupError as ending:
            return ending.errno
        except (OSError, TunnelFailed):
            return process.search(device) if self._devices.get(device) else None

    def _connection(self, device: str) -> _Connection:
        if device not in self._connections:
            self._connections[device] = _Connection(device)
        return self._connections[device]

    def _answers(self, device: str) -> bool:
        try:
            self._connection(device)
        except (FileNotFoundError, ConnectionRefusedError, ProcessLookupError):
            return False
        except OSError as error:
            raise TunnelFailed(f"cannot reach wireguard-go of device {device}: {error.strerror}") from None
        return True

    def _ask(self, device: str, request: bytes) -> bytes:
        """One request and its answer; a connection that had ended meanwhile is made once more."""
        try:
            fresh = device not in self._connections
            try:
                self._connection(device).send(request)
                return self._connection(device).receive(time.monotonic() + ANSWER_WITHIN_S)
            except (BrokenPipeError, ConnectionResetError):
                self._hang_up(device)
                if fresh:
                    raise
            self._connection(device).send(request)
            return self._connection(device).receive(time.monotonic() + ANSWER_WITHIN_S)
        except OSError as error:
            self._hang_up(device)
            why = "it does not answer" if isinstance(error, TimeoutError) else error.strerror
            raise TunnelFailed(
                f"cannot ask wireguard-go of device {device}: {why}; make the tunnel again"
            ) from None

    def _set(self, device: str, request: bytes) -> None:
        try:
            code = uapi.set_errno(self._ask(device, request))
        except uapi.BadAnswer as error:
            self._hang_up(device)
            raise TunnelFailed(f"wireguard-go of device {device}: {error}") from None
        if code:
            raise TunnelFailed(f"wireguard-go refuses what device {device} should be: {os.strerror(abs(code))}")

    def _is_asked(self, device: str) -> bool:
        try:
            self._connection(device).send(uapi.GET)
        except (OSError, TunnelFailed):
            self._hang_up(device)
            return False
        return True

    def _hang_up(self, device: str) -> None:
        """Close the connection; a process of ours that has ended is not left as a zombie."""
        connection = self._connections.pop(device, None)
        if connection is not None:
            connection.close()
        child = self._children.get(device)
        if child is not None and daemons.reap(child.pid):
            os.close(child.log)
            del self._children[device]


def _sockets() -> list[str]:
    """Names of ours that there are sockets of."""
    with contextlib.suppress(OSError):
        return [path.stem for path in process.SOCKETS.glob(f"{PREFIX}*.sock") if is_our_name(path.stem)]
    return []


def _is_left_over(device: str) -> bool:
    try:
        age_s = time.time() - process.socket_of(device).lstat().st_ctime
    except OSError:
        return False
    return age_s > _STARTING_S and _is_refusing(device)


def _is_refusing(device: str) -> bool:
    """Whether there is a socket of this name and nobody listens at it."""
    if not is_our_name(device):
        return False
    try:
        process.dial(device).close()
    except ConnectionRefusedError:
        return True
    except (OSError, TunnelFailed):
        return False
    return False
