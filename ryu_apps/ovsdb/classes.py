"""Which packets go to which HTB class of a port's device.

The userspace datapath ignores set_queue, but what it sends passes the device's own queueing discipline. A filter
there, on the label or the DSCP of a packet, puts it into one of the classes that Open vSwitch made. It is set with
tc, in the namespace where the switch daemon of a local server lives; it cannot be set from another host.

The classes get short queues with it. The daemon sends everything by one socket, whose buffer holds about 90
packets: with HTB's own queues of 1,000 a flood of best effort fills that buffer, and what was guaranteed is
refused before it reaches its class (measured: 0.65 of 5 Mbit/s got through; with 40 places a queue 4.9).
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import struct
import subprocess
from collections.abc import Iterable, Sequence, Set
from pathlib import Path

from ryu_apps.ovsdb.label_filters import bytecode, inside, program
from stitching.match import ETH_LLDP, ETH_PROBE
from stitching.queues import CONTROL, DscpClass, LabelClass, class_minor

_PROBES = (f"{ETH_LLDP:#06x}", f"{ETH_PROBE:#06x}")
_TAGGED = "802.1Q"
_CONTROL_AT = {"ip": 0x4C53, _PROBES[0]: 0x4C55, _PROBES[1]: 0x4C56, _TAGGED: 0x4C52}
_CLASSES_AT = {"ip": 0x4C58, "ipv6": 0x4C54, _TAGGED: 0x4C57}
"""The priorities of our filters, by protocol: everything else on the device is somebody else's."""

_BFD_TO, _BFD_PORT = "169.254.1.0", 3784

_PLACES = 80
"""Packets that wait on one device, of all classes: fewer than the socket of the switch daemon may have waiting."""

_LEAST_PLACES = 8
_TIMEOUT_S = 5.0
_PEER = struct.Struct("3i")
_DEVICE = re.compile(r"[A-Za-z0-9_.@+=%~,-]{1,15}")


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


def set_filters(
    namespace: Path, device: str, classes: Iterable[DscpClass | LabelClass], minors: Sequence[int] = ()
) -> None:
    """Put packets into classes by label, and by DSCP in IPv4 and IPv6 alike, in place of what was set before.

    Raises NoClasses.

    minors are all classes of the device, which get short queues; without them the filters are only taken off.
    What keeps links alive is never without its filters, and nothing is touched before all classes are there.
    """
    _check_device(device)
    if minors:
        _batch(namespace, _short_queues(device, minors))
    has_control = bool(minors) and _count(namespace, device, set(_CONTROL_AT.values())) == len(_CONTROL_AT)
    going = [*_CLASSES_AT.items(), *(() if has_control else _CONTROL_AT.items())]
    deletions = (f"filter del dev {device} parent 1: protocol {name} prio {priority}" for name, priority in going)
    _batch(namespace, deletions, force=True)
    if minors:
        _batch(namespace, [*(() if has_control else _control(device)), *_additions(device, tuple(classes))])


def has_filters(namespace: Path, device: str) -> int:
    """How many filters of ours a device has: they go when Open vSwitch makes its classes anew.

    Raises NoClasses.
    """
    _check_device(device)
    return _count(namespace, device, {*_CONTROL_AT.values(), *_CLASSES_AT.values()})


def _check_device(name: str) -> None:
    """A database may call a port anything: what is no device must not become a part of a command."""
    if _DEVICE.fullmatch(name) is None:
        raise NoClasses(f"{name!r} is no name of a device that filters can be set on")


def _count(namespace: Path, device: str, priorities: Set[int]) -> int:
    shown = _tc(namespace, ["filter", "show", "dev", device, "parent", "1:"], check=False)
    ours = {str(priority) for priority in priorities}
    # filter protocol ip pref 19539 u32 chain 0 fh 800::800 order 2048 key ht 800 bkt 0 *flowid 1:2 ...
    lines = (line.split() for line in shown.splitlines() if "flowid " in line)
    return sum("pref" in words and words[words.index("pref") + 1] in ours for words in lines)


def filters_of(classes: Sequence[DscpClass | LabelClass]) -> int:
    """How many filters a device has that set_filters was called for."""
    return len(tuple(_control(""))) + len(tuple(_additions("", classes)))


def _control(device: str) -> Iterable[str]:
    """BFD as Open vSwitch sends it, and probes of links and stitches."""
    start, to = f"filter add dev {device} parent 1: protocol", f"flowid 1:{class_minor(CONTROL):x}"
    bfd = f"match ip dst {_BFD_TO}/32 match ip protocol 17 0xff match ip dport {_BFD_PORT} 0xffff"
    yield f"{start} ip prio {_CONTROL_AT['ip']} u32 {bfd} {to}"
    for protocol in _PROBES:
        yield f"{start} {protocol} prio {_CONTROL_AT[protocol]} u32 match u32 0 0 {to}"
    # On its way a probe has the label of its stitch. It must not wait behind what that sends beyond its promise.
    probes = bytecode(inside(ETH_PROBE))
    yield f'{start} {_TAGGED} prio {_CONTROL_AT[_TAGGED]} bpf bytecode "{probes}" {to}'


def _additions(device: str, classes: Sequence[DscpClass | LabelClass]) -> Iterable[str]:
    for one in classes:
        start = f"filter add dev {device} parent 1: protocol"
        to = f"flowid 1:{one.minor:x}"
        if isinstance(one, LabelClass):
            label = bytecode(program(one.flow))
            yield f'{start} {_TAGGED} prio {_CLASSES_AT[_TAGGED]} bpf bytecode "{label}" {to}'
            continue
        tos = one.dscp << 2
        yield f"{start} ip prio {_CLASSES_AT['ip']} u32 match u8 {tos:#04x} 0xfc at 1 {to}"
        # The traffic class of IPv6 lies across the first two bytes.
        yield f"{start} ipv6 prio {_CLASSES_AT['ipv6']} u32 match u16 {tos << 4:#06x} 0x0fc0 at 0 {to}"


def _short_queues(device: str, minors: Sequence[int]) -> Iterable[str]:
    places = max(_LEAST_PLACES, _PLACES // max(1, len(minors)))
    for minor in minors:
        yield f"qdisc replace dev {device} parent 1:{minor:x} pfifo limit {places}"


def _batch(namespace: Path, lines: Iterable[str], *, force: bool = False) -> None:
    """Run many commands as one; with force also those behind one that fails, and nobody is told."""
    words = ["-force", "-batch", "-"] if force else ["-batch", "-"]
    _tc(namespace, words, "".join(f"{line}\n" for line in lines), check=not force)


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
            errors="replace",
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
