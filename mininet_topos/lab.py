"""A running lab: Open vSwitch bridges in userspace, hosts in namespaces, emulated links between the bridges."""

from __future__ import annotations

import contextlib
import random
import re
import subprocess
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Literal, Self

from mininet_topos import devices, ownership
from mininet_topos.emulator import Emulator, LinkSpec, RelayStats
from mininet_topos.ending import terminate_as_exit
from mininet_topos.handles import HostHandle, LabError, LinkHandle
from mininet_topos.mininet_parts import CLI, LabMininet, setLogLevel
from mininet_topos.namespaces import network_of
from mininet_topos.ovs import LabUnavailable, OvsError, ensure_ovs, require_lab, run, vsctl, which
from mininet_topos.topology import LabTopology
from mininet_topos.wiring import FabricLink, HostLink, check_prefix, free_prefix, wire

_PREFIX_LENGTH = 16
_GONE_TIMEOUT_S = 5.0
_ADDRESS = re.compile(r"[\w.\-\[\]:]+:\d{1,5}")

FailMode = Literal["secure", "standalone"]

__all__ = ["FailMode", "HostHandle", "Lab", "LabError", "LabUnavailable", "LinkHandle"]


class Lab:
    """A lab while its `with` block runs; everything it made is removed when the block ends, however it ends.

    `controller` is "HOST:PORT" or None; `fail_mode="standalone"` makes the bridges learning switches (on a
    topology without cycles). Raises LabUnavailable, LabError, OvsError or RelayFailed on entry, with nothing
    left behind.
    """

    def __init__(
        self,
        topology: LabTopology,
        *,
        controller: str | None = "127.0.0.1:6653",
        prefix: str | None = None,
        fail_mode: FailMode = "secure",
        seed: int = 0,
    ) -> None:
        self.topology = topology
        self.prefix = "" if prefix is None else check_prefix(prefix)
        self._controller = None if controller is None else _check_address(controller)
        self._fail_mode = fail_mode
        self._seed = seed
        # Port numbers do not depend on the prefix: a topology that cannot be wired is refused here already.
        self._wiring = wire(topology, self.prefix or "lab")
        self._cleanup = contextlib.ExitStack()
        self._emulator: Emulator | None = None
        self._net: Any = None
        self._hosts: dict[str, HostHandle] = {}

    def __enter__(self) -> Self:
        require_lab()
        ensure_ovs()
        self._cleanup.enter_context(terminate_as_exit())
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Remove everything; more than once is fine."""
        self._cleanup.close()

    def _start(self) -> None:
        ownership.sweep()
        taken = devices.names()
        self.prefix = self.prefix or free_prefix(taken, random.SystemRandom())
        if clash := ownership.devices_of(self.prefix):
            raise LabError(f"prefix {self.prefix!r} is in use (device {clash[0]}); choose another or leave it out")
        self._wiring = wiring = wire(self.topology, self.prefix)
        self._cleanup.callback(ownership.release_fast_counters)
        ownership.take_fast_counters()
        self._cleanup.callback(self._remove_devices)
        self._emulator = Emulator([_spec(part) for part in wiring.fabric], self._seed)
        self._cleanup.callback(self._emulator.close)
        self._net = LabMininet()
        self._cleanup.callback(self._stop_mininet)
        self._cleanup.callback(ownership.remove_bridges, tuple(wiring.bridges.values()))
        self._build(wiring.hosts, wiring.fabric)
        self._check_ports()
        self.set_controller(self._controller)

    def _build(self, host_links: Sequence[HostLink], fabric: Sequence[FabricLink]) -> None:
        stamp = ownership.external_ids(self.prefix)
        bridges = {}
        for node in self.topology.nodes:
            bridges[node.dpid] = self._net.addSwitch(
                self._wiring.bridges[node.name],
                dpid=f"{node.dpid:x}",
                failMode=self._fail_mode,
                external_ids=stamp,
            )
        shells = {part.host.name: self._net.addHost(part.host.name, ip=None) for part in host_links}
        _make_veths([(part, shells[part.host.name].pid) for part in host_links])
        for part in host_links:
            host, shell = part.host, shells[part.host.name]
            _set_up_host(part, shell.pid)
            address = f"{host.ip}/{_PREFIX_LENGTH}"
            self._net.addLink(
                *(shell, bridges[host.dpid]),
                port2=part.port_no,
                intfName1="eth0",
                intfName2=part.device,
                addr1=host.mac,
                addr2=None,
                params1={"ip": address},
            )
            self._hosts[host.name] = HostHandle(
                host.name, shell.pid, host.ip, host.mac, host.node, host.dpid, part.port_no, part.device
            )
        for link in fabric:
            self._net.addLink(
                *(bridges[link.a_dpid], bridges[link.b_dpid]),
                port1=link.a_port,
                port2=link.b_port,
                intfName1=link.a_device,
                intfName2=link.b_device,
                addr1=None,
                addr2=None,
            )
        self._net.start()

    def _check_ports(self) -> None:
        """Mininet does not look at what ovs-vsctl answered."""
        wanted = {part.device: part.port_no for part in self._wiring.hosts}
        for link in self._wiring.fabric:
            wanted |= {link.a_device: link.a_port, link.b_device: link.b_port}
        missing = set(self._wiring.bridges.values()) - set(vsctl("list-br").split())
        if missing:
            raise LabError(f"Open vSwitch did not create bridge {min(missing)}; see ovs-vswitchd.log")
        text = vsctl("--no-headings", "--format=csv", "--data=bare", "--columns=name,ofport", "list", "Interface")
        actual = dict(line.split(",", 1) for line in text.splitlines())
        for device, port_no in wanted.items():
            if actual.get(device) != str(port_no):
                raise LabError(f"{device} got port {actual.get(device)!r}, not {port_no}; see ovs-vswitchd.log")

    def _stop_mininet(self) -> None:
        self._net.forget_links()
        self._net.stop()

    def _remove_devices(self) -> None:
        ownership.remove_devices(self.prefix)
        # The kernel takes namespaces apart in the background; a device may show for a moment longer.
        give_up_s = time.monotonic() + _GONE_TIMEOUT_S
        while ownership.devices_of(self.prefix) and time.monotonic() < give_up_s:
            time.sleep(0.01)

    def set_controller(self, address: str | None) -> None:
        """Point every bridge at the controller "HOST:PORT", out of band; None takes it away.

        Raises OvsError.
        """
        words: list[str] = []
        patience: list[str] = []
        for bridge in self._wiring.bridges.values():
            words += ["--", "del-controller", bridge]
            if address is not None:
                words += ["--", "set-controller", bridge, f"tcp:{_check_address(address)}"]
                words += ["--", "set", "Controller", bridge, "connection_mode=out-of-band"]
                patience += ["--", "set", "Controller", bridge, "max_backoff=1000"]
        vsctl(*words)
        if patience:
            # Open vSwitch heeds this on a controller that it knows already, and not on one that is new.
            vsctl(*patience)
        self._controller = address

    @property
    def emulator(self) -> Emulator:
        """The link emulator; raises LabError when the lab does not run."""
        if self._emulator is None:
            raise LabError("the lab does not run; use it in a with block")
        return self._emulator

    def hosts(self) -> tuple[HostHandle, ...]:
        """All hosts, in topology order."""
        return tuple(self._hosts.values())

    def host(self, name: str) -> HostHandle:
        """Return the host of that name, or the first host behind the router of that name; raises LabError."""
        if name in self._hosts:
            return self._hosts[name]
        for host in self._hosts.values():
            if host.node == name:
                return host
        raise LabError(f"no host {name!r} in the lab; it has {', '.join(sorted(self._hosts))}")

    def bridge(self, node: str) -> str:
        """Return the name of a router's bridge; raises LabError."""
        if node not in self._wiring.bridges:
            raise LabError(f"no router {node!r} in the lab; it has {', '.join(self._wiring.bridges)}")
        return self._wiring.bridges[node]

    def link(self, a: str, b: str) -> LinkHandle:
        """Return the link between two routers, its statistics seen from `a`; raises LabError."""
        for number, part in enumerate(self._wiring.fabric):
            if {part.link.a, part.link.b} == {a, b}:
                return LinkHandle(part.link, number, part.link.a != a, self.emulator)
        raise LabError(f"no link between {a!r} and {b!r} in the lab")

    def port_no(self, switch: str, neighbour: str) -> int:
        """Return the port of a router towards a neighbouring one or one of its hosts. Raises LabError."""
        for part in self._wiring.fabric:
            if (part.link.a, part.link.b) == (switch, neighbour):
                return part.a_port
            if (part.link.b, part.link.a) == (switch, neighbour):
                return part.b_port
        for host in self._wiring.hosts:
            if (host.host.node, host.host.name) == (switch, neighbour):
                return host.port_no
        raise LabError(f"{switch!r} has no port towards {neighbour!r}")

    def capacities(self) -> list[dict[str, int | float]]:
        """Return src_dpid, src_port, dst_dpid, dst_port, capacity_mbps of both directions of every fabric link."""
        directions = []
        for part in self._wiring.fabric:
            ends = ((part.a_dpid, part.a_port), (part.b_dpid, part.b_port))
            for (src_dpid, src_port), (dst_dpid, dst_port) in (ends, ends[::-1]):
                directions.append(
                    {
                        "src_dpid": src_dpid,
                        "src_port": src_port,
                        "dst_dpid": dst_dpid,
                        "dst_port": dst_port,
                        "capacity_mbps": part.link.rate_mbps,
                    }
                )
        return directions

    def stats(self) -> RelayStats:
        """Counters of all links, in topology order, read at one moment."""
        return self.emulator.stats()

    def run_in(self, host: str, argv: Sequence[str], timeout_s: float = 30.0) -> subprocess.CompletedProcess[str]:
        """Run a program inside a host; raises subprocess.TimeoutExpired."""
        prefix = [which("mnexec") or "mnexec", "-a", str(self.host(host).pid)]
        return subprocess.run(
            [*prefix, *argv],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def ping(self, a: str, b: str, count: int = 1, deadline_s: float = 5.0) -> bool:
        """Whether `count` pings from host a to host b are answered in time (more are sent until they are)."""
        argv = [
            "ping",
            "-n",
            "-q",
            "-i",
            "0.2",
            "-c",
            str(count),
            "-w",
            str(max(1, round(deadline_s))),
            self.host(b).ip,
        ]
        return self.run_in(a, argv, deadline_s + 5).returncode == 0

    def cli(self) -> None:
        """Hand the terminal to Mininet's own command line until `exit`."""
        # At the level that keeps the rest of Mininet quiet its command line says nothing either.
        setLogLevel("output")
        try:
            CLI(self._net)
        finally:
            setLogLevel("error")


def _spec(part: FabricLink) -> LinkSpec:
    link = part.link
    return LinkSpec(part.a_device, part.b_device, link.rate_mbps, link.delay_ms, link.loss, link.queue_ms)


def _check_address(address: str) -> str:
    if not _ADDRESS.fullmatch(address) or not 0 < int(address.rpartition(":")[2]) < 65536:
        raise LabError(f"controller {address!r} is no address; give HOST:PORT, as 127.0.0.1:6653")
    return address


def _make_veths(parts: Sequence[tuple[HostLink, int]]) -> None:
    """Create all host cables in one `ip` process: the far end is born as eth0 inside the host."""
    lines = [
        f"link add name {part.device} type veth peer name eth0 address {part.host.mac} netns {pid}\n"
        for part, pid in parts
    ]
    try:
        run(["ip", "-batch", "-"], stdin="".join(lines))
    except OvsError as error:
        raise LabError(f"the host cables could not be made: {error}") from error


def _set_up_host(part: HostLink, pid: int) -> None:
    devices.disable_ipv6(part.device)
    devices.set_up(part.device, arp=False)
    with network_of(pid):
        devices.disable_ipv6("eth0")
        devices.disable_tx_checksum_offload("eth0")
        devices.set_address("eth0", part.host.ip, _PREFIX_LENGTH)
        devices.set_up("eth0")
        devices.set_up("lo")
