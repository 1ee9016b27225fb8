"""Which packets go to which HTB class of a port's device.

The userspace datapath ignores set_queue, but what it sends passes the device's own queueing discipline. A filter
on the DSCP there puts packets into the classes that Open vSwitch made. It is set with tc, in the namespace where
the switch daemon of a local server lives; what is set there cannot be set from another host.

The classes get short queues with it. The daemon sends everything by one socket, whose buffer holds about 90
packets: with HTB's own queues of 1,000 a flood of best effort fills that buffer, and what was guaranteed is
refused before it reaches its class (measured: 0.65 of 5 Mbit/s got through; with 40 places a queue 4.9).
"""

from __future__ import annotations

import os
import shutil
import socket
import struct
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

from stitching.match import ETH_LLDP, ETH_PROBE
from stitching.queues import CONTROL, DscpClass, class_minor

_PROBES = (f"{ETH_LLDP:#06x}", f"{ETH_PROBE:#06x}")
_PRIORITY = {"ip": 0x4C53, "ipv6": 0x4C54, _PROBES[0]: 0x4C55, _PROBES[1]: 0x4C56}
"""Of our filters, by protocol: everything else on the device is somebody else's."""

_BFD_TO, _BFD_PORT = "169.254.1.0", 3784

_PLACES = 80
"""Packets that wait on one device, of all classes: fewer than the socket of the switch daemon may have waiting."""

_LEAST_PLACES = 8
_TIMEOUT_S = 5.0
_PEER = struct.Struct("3i")


class NoClasses(RuntimeError):
    """The filters of a device cannot be set, or its classes not read; the message says why."""


def namespace_of(path: str) -> Path:
    """The network namespace of the server behind a unix socket, where its switch daemon is taken to be too."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
            asking.settimeout(_TIMEOUT_S)
            asking.connect(path)
            pid, _, _ = _PEER.unpack(asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
    except OSError as error:
        raise NoClasses(f"the OVSDB server at {path} cannot be asked ({error.strerror or error})") from error
    if pid <= 0:
        raise NoClasses("the OVSDB server runs in another container; filters can be set only from within")
    return Path(f"/proc/{pid}/ns/net")


def set_filters(namespace: Path, device: str, classes: Iterable[DscpClass], minors: Sequence[int] = ()) -> None:
    """Put packets into classes by DSCP, IPv4 and IPv6 alike, in place of what was set before; raises NoClasses.

    minors are all classes of the device, which get short queues; without them the filters are only taken off.
    """
    _tc(namespace, ["-force", "-batch", "-"], "".join(f"{line}\n" for line in _removals(device)), check=False)
    if minors:
        lines = [*_control(device), *_additions(device, tuple(classes)), *_short_queues(device, minors)]
        _tc(namespace, ["-batch", "-"], "".join(f"{line}\n" for line in lines))


def has_filters(namespace: Path, device: str) -> int:
    """How many filters of ours a device has: they go when Open vSwitch makes its classes anew."""
    found = 0
    for protocol, priority in _PRIORITY.items():
        words = ["filter", "show", "dev", device, "parent", "1:", "protocol", protocol, "prio", str(priority)]
        found += _tc(namespace, words, check=False).count("flowid ")
    return found


def filters_of(classes: Sequence[DscpClass]) -> int:
    """How many filters a device has that set_filters was called for."""
    return len(tuple(_control(""))) + len(tuple(_additions("", classes)))


def _removals(device: str) -> Iterable[str]:
    for protocol, priority in _PRIORITY.items():
        yield f"filter del dev {device} parent 1: protocol {protocol} prio {priority}"


def _control(device: str) -> Iterable[str]:
    """BFD as Open vSwitch sends it, and probes of links and stitches."""
    start, to = f"filter add dev {device} parent 1: protocol", f"flowid 1:{class_minor(CONTROL):x}"
    bfd = f"match ip dst {_BFD_TO}/32 match ip protocol 17 0xff match ip dport {_BFD_PORT} 0xffff"
    yield f"{start} ip prio {_PRIORITY['ip']} u32 {bfd} {to}"
    for protocol in _PROBES:
        yield f"{start} {protocol} prio {_PRIORITY[protocol]} u32 match u32 0 0 {to}"


def _additions(device: str, classes: Sequence[DscpClass]) -> Iterable[str]:
    for one in classes:
        start = f"filter add dev {device} parent 1: protocol"
        to = f"flowid 1:{one.minor:x}"
        tos = one.dscp << 2
        yield f"{start} ip prio {_PRIORITY['ip']} u32 match u8 {tos:#04x} 0xfc at 1 {to}"
        # The traffic class of IPv6 lies across the first two bytes.
        yield f"{start} ipv6 prio {_PRIORITY['ipv6']} u32 match u16 {tos << 4:#06x} 0x0fc0 at 0 {to}"


def _short_queues(device: str, minors: Sequence[int]) -> Iterable[str]:
    places = max(_LEAST_PLACES, _PLACES // max(1, len(minors)))
    for minor in minors:
        yield f"qdisc replace dev {device} parent 1:{minor:x} pfifo limit {places}"


def _tc(namespace: Path, words: Sequence[str], stdin: str | None = None, *, check: bool = True) -> str:
    program, enter = _program("tc", "iproute2"), []
    try:
        if namespace.stat().st_ino != Path("/proc/self/ns/net").stat().st_ino:
            enter = [_program("nsenter", "util-linux"), f"--net={namespace}"]
        done = subprocess.run(
            [*enter, program, *words],
            input=stdin,
            stdin=None if stdin is not None else subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NoClasses(f"tc cannot be run where the port lives ({error})") from error
    if check and done.returncode:
        said = " ".join((done.stderr or done.stdout).split())[:200]
        raise NoClasses(f"tc failed: {said or f'exit code {done.returncode}'}")
    return done.stdout


def _program(name: str, package: str) -> str:
    found = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"]))
    if found is None:
        raise NoClasses(f"{name} is not installed: apt-get install {package}")
    return found
