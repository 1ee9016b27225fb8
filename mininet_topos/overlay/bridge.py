"""A place's own switch: an Open vSwitch inside its enclosure, with one bridge and hosts behind it."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from dataclasses import dataclass
from ipaddress import IPv4Interface
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from mininet_topos import devices
from mininet_topos.handles import HostHandle, LabError
from mininet_topos.namespaces import network_of
from mininet_topos.overlay.enclosure import Enclosure, cable
from mininet_topos.ovs import OvsError, run, start_database, start_switch

_END_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class BridgeHost:
    """A host on a port of a bridge. In its enclosure the device is `eth0`."""

    name: str
    enclosure: Enclosure
    address: IPv4Interface
    mac: str
    dpid: int
    port_no: int

    @property
    def ip(self) -> str:
        """Its address, without the length of its prefix."""
        return str(self.address.ip)

    @property
    def handle(self) -> HostHandle:
        """The host as other labs hold theirs."""
        place = self.enclosure.name, self.dpid, self.port_no, self.name
        return HostHandle(self.name, self.enclosure.pid, self.ip, self.mac, *place)


class SiteBridge:
    """Runs until it is closed, with all its hosts. The bridge has the userspace datapath.

    `controller` is "HOST:PORT" as the place reaches it. Needs root; raises LabError.
    """

    def __init__(
        self,
        place: Enclosure,
        dpid: int,
        controller: str | None = None,
        *,
        name: str = "br0",
        fail_mode: Literal["secure", "standalone"] = "secure",
    ) -> None:
        self.place, self.dpid, self.name = place, dpid, name
        self.hosts: dict[str, BridgeHost] = {}
        self.directory = Path(tempfile.mkdtemp(prefix="lockstitch-site-ovs-"))
        try:
            start_database(self.directory, self.directory / "conf.db", self.directory, enter=place.enter)
            start_switch(self.directory, self.directory, enter=place.enter)
            self.vsctl(
                *("add-br", name, "--", "set", "Bridge", name, "datapath_type=netdev", f"fail_mode={fail_mode}"),
                *("protocols=OpenFlow13", f"other_config:datapath-id={dpid:016x}"),
                "other_config:disable-in-band=true",
            )
            if controller is not None:
                self.call(controller)
        except OvsError as error:
            self.close()
            raise LabError(f"{place.name}: {error}") from error
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def database(self) -> str:
        """Where its OVSDB server is, as `vte-agent run --ovsdb` and `ovs-vsctl --db` take it."""
        return f"unix:{self.directory / 'db.sock'}"

    def vsctl(self, *words: str) -> str:
        """Run ovs-vsctl on it. Raises OvsError."""
        return run(["ovs-vsctl", f"--db={self.database}", "--timeout=30", *words], self._environment)

    def ofctl(self, command: str, *words: str) -> str:
        """Run `ovs-ofctl COMMAND BRIDGE ...` with OpenFlow 1.3. Raises OvsError."""
        target = f"unix:{self.directory / self.name}.mgmt"
        return run(["ovs-ofctl", "-O", "OpenFlow13", command, target, *words], self._environment)

    def call(self, controller: str) -> None:
        """Have the bridge call a controller, "HOST:PORT". Raises OvsError."""
        self.vsctl(
            *("set-controller", self.name, f"tcp:{controller}"),
            *("--", "set", "Controller", self.name, "connection_mode=out-of-band"),
        )
        # Open vSwitch heeds this on a controller that it knows already, and not on one that is new.
        self.vsctl("set", "Controller", self.name, "max_backoff=1000")

    def is_connected(self) -> bool:
        """Whether it has a controller and that answers."""
        return self.vsctl("--bare", "--columns=is_connected", "list", "Controller").strip() == "true"

    def ports(self) -> dict[str, int]:
        """The numbers of its ports by name, without the bridge's own."""
        text = self.vsctl(
            "--format=csv", "--no-headings", "--data=bare", "--columns=name,ofport", "list", "Interface"
        )
        numbers = dict(line.split(",", 1) for line in text.splitlines())
        return {name: int(number) for name, number in numbers.items() if number.isdigit() and name != self.name}

    def add_host(self, name: str, address: str, *, mac: str | None = None, mtu: int = 1500) -> BridgeHost:
        """Put a host with an address ("10.0.0.1/24") behind the bridge; its port is called like it.

        Without `mac` it has one made of the switch's number and its own, the same in every run.

        Raises LabError.
        """
        host = Enclosure(name)
        own = mac or "02:" + (self.dpid & 0xFFFF_FFFF).to_bytes(4).hex(":") + f":{len(self.hosts) + 1:02x}"
        try:
            cable(self.place, name, host, "eth0")
            with network_of(self.place.pid):
                devices.disable_ipv6(name)
                devices.set_up(name, arp=False)
            host.run(["ip", "link", "set", "eth0", "address", own])
            for enclosure, device in ((self.place, name), (host, "eth0")):
                enclosure.run(["ip", "link", "set", device, "mtu", str(mtu)])
            place = IPv4Interface(address)
            with network_of(host.pid):
                devices.disable_ipv6("eth0")
                devices.disable_tx_checksum_offload("eth0")
                devices.set_address("eth0", str(place.ip), place.network.prefixlen)
                devices.set_up("eth0")
            self.vsctl("add-port", self.name, name)
            made = BridgeHost(name, host, place, own, self.dpid, self.ports()[name])
        except (OSError, OvsError, KeyError) as error:
            host.close()
            raise LabError(f"{name} could not be put behind {self.name} of {self.place.name}: {error}") from error
        except BaseException:
            host.close()
            raise
        self.hosts[name] = made
        return made

    def close(self) -> None:
        """End its hosts and its daemons, and take its files away; more than once is fine."""
        for host in self.hosts.values():
            host.enclosure.close()
        # Without the cleanup it leaves its devices for the next one that is started.
        self._end("ovs-vswitchd", "--cleanup")
        self._end("ovsdb-server")
        shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def _environment(self) -> dict[str, str]:
        return {"OVS_RUNDIR": str(self.directory)}

    def _end(self, daemon: str, *options: str) -> None:
        pid_file = self.directory / f"{daemon}.pid"
        if not pid_file.exists():
            return
        with contextlib.suppress(OvsError):
            # Where the place is closed already nobody answers any more.
            run(["ovs-appctl", "--timeout=5", "-t", str(self.directory / f"{daemon}.ctl"), "exit", *options])
            give_up_s = time.monotonic() + _END_TIMEOUT_S
            # The last that a daemon does is to remove it.
            while pid_file.exists() and time.monotonic() < give_up_s:
                time.sleep(0.01)
