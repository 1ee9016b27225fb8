"""Two userspace bridges on a private Open vSwitch in a network namespace of its own, with a host on each.

Between the bridges run emulated links. Nothing of it meets the machine's own Open vSwitch or devices; when the
`with` block ends, or this process dies, the namespaces go and take the devices with them.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from mininet_topos import devices
from mininet_topos.emulator import Emulator, LinkSpec
from mininet_topos.namespaces import network_of
from mininet_topos.ovs import run, which
from mininet_topos.private_ovs import PrivateOvs, private_ovs

HOST_PORT = 1
"""The port of each bridge that leads to its host; the links follow from 2 on."""

_PREFIX_LENGTH = 24


@dataclass(frozen=True)
class TwinHost:
    """A host: the process that holds its namespace, and its addresses."""

    pid: int
    ip: str
    mac: str


@dataclass(frozen=True)
class TwinBridges:
    """The bridges tw1 and tw2 (dpids 1 and 2), the hosts on their ports 1, and links[i] on port 2 + i of both."""

    ovs: PrivateOvs
    pid: int
    hosts: tuple[TwinHost, TwinHost]
    emulator: Emulator

    def cut(self, link: int, *, silent: bool) -> None:
        """Break a link: silently, or with the carrier of both ends lost."""
        self.emulator.ask({"op": "cut", "link": link, "silent": silent})

    def restore(self, link: int) -> None:
        """Mend a link."""
        self.emulator.ask({"op": "restore", "link": link})

    def bridge(self, dpid: int) -> str:
        """The name of a bridge."""
        return f"tw{dpid}"

    def device(self, dpid: int, port_no: int) -> str:
        """The device behind a port."""
        return f"tw{dpid}-{port_no}"

    def interface(self, dpid: int, port_no: int, column: str) -> str:
        """A column of the Interface behind a port, as ovs-vsctl writes it; raises OvsError."""
        return self.ovs.vsctl("get", "Interface", self.device(dpid, port_no), column).strip()

    def protected(self, sessions: int, interval_ms: int) -> bool:
        """Whether so many BFD sessions are up at that interval; raises OvsError.

        A session that has just come up goes on at a packet a second until both ends have agreed on less.
        """
        control = str(self.ovs.directory / "ovs-vswitchd.ctl")
        # Not from the database, which is a second behind.
        shown = run(["ovs-appctl", "-t", control, "bfd/show"], self.ovs.environment)
        words = (
            *(f"{end} Session State: up" for end in ("Local", "Remote")),
            *(f"{way} Interval: Approx {interval_ms}ms" for way in ("RX", "TX")),
        )
        return all(shown.count(word) == sessions for word in words)


@contextmanager
def twin_bridges(links: int = 2, rate_mbps: float | None = None, delay_ms: float = 0.1) -> Iterator[TwinBridges]:
    """Bring them up with that many links between them; raises LabUnavailable, OvsError, RelayFailed."""
    with contextlib.ExitStack() as stack:
        pid = stack.enter_context(namespace())
        hosts = tuple(
            TwinHost(stack.enter_context(namespace()), f"10.77.0.{dpid}", f"02:77:00:00:00:0{dpid}")
            for dpid in (1, 2)
        )
        # What is started here stays in the namespace it was started in.
        with network_of(pid):
            devices.set_up("lo")
            ovs = stack.enter_context(private_ovs(dummy=False))
            specs = [LinkSpec(f"tw1-{2 + n}", f"tw2-{2 + n}", rate_mbps, delay_ms) for n in range(links)]
            emulator = Emulator(specs)
            stack.callback(emulator.close)
            for dpid, host in zip((1, 2), hosts, strict=True):
                _plug_in(f"tw{dpid}-{HOST_PORT}", host)
        ovs.vsctl(*_bridges(links))
        yield TwinBridges(ovs, pid, (hosts[0], hosts[1]), emulator)


@contextmanager
def namespace() -> Iterator[int]:
    """A network namespace that lasts as long as the block, or this process; gives the pid that holds it."""
    holder = subprocess.Popen(
        # It ends at the end of its input, which comes with the end of this process at the latest.
        [which("mnexec") or "mnexec", "-n", "sh", "-c", "echo; exec cat"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdin is not None and holder.stdout is not None
    try:
        holder.stdout.readline()  # it is inside by now
        yield holder.pid
    finally:
        holder.stdin.close()
        holder.wait()
        holder.stdout.close()


def _plug_in(device: str, host: TwinHost) -> None:
    """Make the cable of a host; acts in the namespace of the bridges."""
    run(
        ["ip", "-batch", "-"],
        stdin=f"link add name {device} type veth peer name eth0 address {host.mac} netns {host.pid}\n",
    )
    devices.disable_ipv6(device)
    devices.set_up(device, arp=False)
    with network_of(host.pid):
        devices.disable_tx_checksum_offload("eth0")
        devices.set_address("eth0", host.ip, _PREFIX_LENGTH)
        devices.set_up("eth0")
        devices.set_up("lo")


def _bridges(links: int) -> list[str]:
    words = []
    for dpid in (1, 2):
        words += [
            *("--", "add-br", f"tw{dpid}", "--", "set", "Bridge", f"tw{dpid}", "datapath_type=netdev"),
            *("fail_mode=secure", f"other_config:datapath-id={dpid:016x}"),
            *("protocols=OpenFlow13,OpenFlow14", "other_config:disable-in-band=true"),
        ]
        for port_no in range(HOST_PORT, HOST_PORT + links + 1):
            words += ["--", "add-port", f"tw{dpid}", f"tw{dpid}-{port_no}"]
            words += ["--", "set", "Interface", f"tw{dpid}-{port_no}", f"ofport_request={port_no}"]
    return words
