"""Network devices by ioctl: a lab has dozens, and one `ip` process for each would be most of its start time.

Every function acts in the network namespace of the calling thread. All raise OSError with the device's name.
"""

from __future__ import annotations

import array
import fcntl
import os
import socket
import struct
from pathlib import Path

_SIOCGIFFLAGS, _SIOCSIFFLAGS = 0x8913, 0x8914
_SIOCSIFADDR, _SIOCSIFNETMASK = 0x8916, 0x891C
_SIOCETHTOOL = 0x8946
_ETHTOOL_STXCSUM = 0x17
_IFF_UP, _IFF_NOARP = 0x1, 0x80
_TUNSETIFF = 0x400454CA
_TUNSETCARRIER = 0x400454E2
_IFF_TAP, _IFF_NO_PI = 0x0002, 0x1000

NAME_MAX = 15
"""The longest interface name Linux takes."""


def _ioctl(name: str, request: int, payload: bytes) -> bytes:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        try:
            return fcntl.ioctl(handle, request, struct.pack("16s24s", name.encode(), payload))
        except OSError as error:
            raise OSError(error.errno, f"{name}: {error.strerror}") from error


def set_up(name: str, *, arp: bool = True) -> None:
    """Set the device up; with `arp=False` the kernel never answers ARP on it (a switch port is not a host)."""
    flags = struct.unpack_from("16xH", _ioctl(name, _SIOCGIFFLAGS, b""))[0]
    wanted = flags | _IFF_UP | (0 if arp else _IFF_NOARP)
    _ioctl(name, _SIOCSIFFLAGS, struct.pack("H", wanted))


def set_address(name: str, ip: str, prefix_length: int) -> None:
    """Give the device an IPv4 address."""
    mask = (0xFFFFFFFF << (32 - prefix_length)) & 0xFFFFFFFF
    for request, raw in ((_SIOCSIFADDR, socket.inet_aton(ip)), (_SIOCSIFNETMASK, struct.pack("!I", mask))):
        _ioctl(name, request, struct.pack("HH4s", socket.AF_INET, 0, raw))


def disable_ipv6(name: str) -> None:
    """Keep the kernel from sending router solicitations and MLD reports on the device."""
    switch = Path("/proc/sys/net/ipv6/conf") / name / "disable_ipv6"
    if switch.exists():
        switch.write_text("1")


def disable_tx_checksum_offload(name: str) -> None:
    """As `ethtool -K NAME tx off`: userspace OVS would forward the unfinished checksums.

    Segmentation offload depends on it and goes off with it, so no frame is longer than the MTU.
    """
    value = array.array("B", struct.pack("II", _ETHTOOL_STXCSUM, 0))
    _ioctl(name, _SIOCETHTOOL, struct.pack("Q", value.buffer_info()[0]))


def open_tap(name: str) -> int:
    """Create a TAP device and return its non-blocking descriptor; the device is gone when that is closed."""
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.ioctl(fd, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TAP | _IFF_NO_PI))
        disable_ipv6(name)
        set_up(name, arp=False)
    except OSError as error:
        os.close(fd)
        raise OSError(error.errno, f"{name}: {error.strerror}") from error
    return fd


def set_tap_carrier(fd: int, *, on: bool) -> None:
    """Plug the cable of a TAP device in or pull it out, as the switch sees it."""
    fcntl.ioctl(fd, _TUNSETCARRIER, struct.pack("i", int(on)))


def names() -> frozenset[str]:
    """The devices of this network namespace."""
    return frozenset(name for _, name in socket.if_nameindex())
