"""The scale lab: a private Open vSwitch with a thousand real OpenFlow bridges and no devices.

With `--enable-dummy=override` every bridge is a real one to its controller (its own connection, tables,
groups, counters) and links are patch ports inside the process.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mininet_topos.ovs import require_programs, run, start_database, start_switch
from mininet_topos.ownership import stamp

_CHUNK = 800
"""Commands per transaction: one of 10,000 commands would be longer than the kernel lets an argument list be.
"""


@dataclass(frozen=True)
class PrivateOvs:
    """The running pair of daemons and where their sockets are."""

    directory: Path
    database_pid: int
    switch_pid: int

    @property
    def environment(self) -> dict[str, str]:
        """What ovs-ofctl, ovs-appctl and ovs-vsctl need in their environment to talk to this pair."""
        return {"OVS_RUNDIR": str(self.directory), "OVS_DBDIR": str(self.directory)}

    @property
    def database(self) -> str:
        """The `--db` of ovs-vsctl."""
        return f"unix:{self.directory / 'db.sock'}"

    def vsctl(self, *arguments: str) -> str:
        """Run ovs-vsctl on this pair; raises OvsError."""
        return run(["ovs-vsctl", f"--db={self.database}", "--timeout=120", *arguments], self.environment)

    def ofctl(self, command: str, bridge: str, *arguments: str) -> str:
        """Run `ovs-ofctl COMMAND BRIDGE ...` with OpenFlow 1.3 over the bridge's own socket; raises OvsError."""
        target = f"unix:{self.directory / bridge}.mgmt"
        return run(["ovs-ofctl", "-O", "OpenFlow13", command, target, *arguments], self.environment)

    def connected(self) -> int:
        """How many bridges have a controller that they are connected to."""
        text = self.vsctl("--no-headings", "--format=csv", "--columns=is_connected", "list", "Controller")
        return text.split().count("true")


@dataclass(frozen=True)
class PatchLink:
    """A link between two bridges, by dpid and OpenFlow port number."""

    a_dpid: int
    a_port: int
    b_dpid: int
    b_port: int


@contextmanager
def private_ovs(directory: Path | None = None, *, dummy: bool = True) -> Iterator[PrivateOvs]:
    """Run a private ovsdb-server and ovs-vswitchd; both are ended and all their files removed on exit.

    `directory` must not exist yet (default: a new one in the temporary directory). Raises LabUnavailable or
    OvsError.
    """
    require_programs(("ovs-vsctl", "ovs-vswitchd", "ovsdb-server", "ovsdb-tool"))
    if directory is None:
        directory = Path(tempfile.mkdtemp(prefix="lockstitch-ovs-"))
    else:
        directory.mkdir(parents=True)
    try:
        start_database(directory, directory / "conf.db", directory)
        if dummy:
            start_switch(directory, directory, "--enable-dummy=override", niceness=0)
        else:
            start_switch(directory, directory)
        yield PrivateOvs(directory, _pid(directory, "ovsdb-server"), _pid(directory, "ovs-vswitchd"))
    finally:
        for daemon in ("ovs-vswitchd", "ovsdb-server"):
            _end(directory, daemon)
        shutil.rmtree(directory, ignore_errors=True)


def bridge_name(dpid: int) -> str:
    """The bridge of a dpid in the scale lab."""
    return f"br{dpid}"


def add_bridges(
    ovs: PrivateOvs,
    n_bridges: int,
    edges: Sequence[tuple[int, int]],
    *,
    controller: str | None = None,
    host_ports: int = 0,
    inactivity_probe_ms: int = 15_000,
    max_backoff_ms: int = 1_000,
) -> tuple[PatchLink, ...]:
    """Create bridges with dpids 1..n_bridges and a patch link for every edge (pairs of dpids); return the links.

    Ports are numbered from 1: `host_ports` dummy ports first, then the links in order. With `controller`
    ("127.0.0.1:6653") every bridge connects to it, out of band, OpenFlow 1.3, fail mode secure. Raises
    OvsError.
    """
    used = dict.fromkeys(range(1, n_bridges + 1), host_ports)
    links = []
    for a, b in edges:
        used[a] += 1
        used[b] += 1
        links.append(PatchLink(a, used[a], b, used[b]))
    commands = [c for dpid in used for c in _bridge_commands(dpid, host_ports)]
    for link in links:
        near, far = f"p{link.a_dpid}-{link.a_port}", f"p{link.b_dpid}-{link.b_port}"
        commands.append(_patch(bridge_name(link.a_dpid), near, far, link.a_port))
        commands.append(_patch(bridge_name(link.b_dpid), far, near, link.b_port))
    _transact(ovs, commands)
    if controller is not None:
        connect(ovs, n_bridges, controller, inactivity_probe_ms, max_backoff_ms)
    return tuple(links)


def connect(
    ovs: PrivateOvs,
    n_bridges: int,
    controller: str,
    inactivity_probe_ms: int = 15_000,
    max_backoff_ms: int = 1_000,
) -> None:
    """Point the bridges 1..n_bridges at a controller, "HOST:PORT"; raises OvsError."""
    _transact(
        ovs,
        [
            [
                *("--", f"--id=@c{dpid}", "create", "Controller", f'target="tcp:{controller}"'),
                *("connection_mode=out-of-band", f"inactivity_probe={inactivity_probe_ms}"),
                f"max_backoff={max_backoff_ms}",
                *("--", "set", "Bridge", bridge_name(dpid), f"controller=[@c{dpid}]"),
            ]
            for dpid in range(1, n_bridges + 1)
        ],
    )


def _bridge_commands(dpid: int, host_ports: int) -> list[list[str]]:
    name = bridge_name(dpid)
    commands = [
        [
            *("--", "add-br", name, "--", "set", "Bridge", name, "datapath_type=dummy", "fail_mode=secure"),
            *("protocols=OpenFlow13", f"other_config:datapath-id={dpid:016x}"),
            # A MAC of its own: dummy bridges otherwise draw theirs, which makes a run differ from the next.
            *("other_config:disable-in-band=true", f'other_config:hwaddr="{_mac(dpid)}"'),
        ]
    ]
    for port in range(1, host_ports + 1):
        interface = f"h{dpid}-{port}"
        commands.append(
            [
                *("--", "add-port", name, interface),
                *("--", "set", "Interface", interface, "type=dummy", f"ofport_request={port}"),
            ]
        )
    return commands


def _mac(dpid: int) -> str:
    return ":".join(f"{byte:02x}" for byte in b"\x02\x01" + dpid.to_bytes(4, "big"))


def _patch(bridge: str, port: str, peer: str, number: int) -> list[str]:
    return [
        *("--", "add-port", bridge, port, "--", "set", "Interface", port, "type=patch"),
        *(f"options:peer={peer}", f"ofport_request={number}"),
    ]


def _transact(ovs: PrivateOvs, commands: Sequence[Sequence[str]]) -> None:
    for start in range(0, len(commands), _CHUNK):
        chunk = commands[start : start + _CHUNK]
        # Only the last one waits for the switch daemon: it works through all of them at once.
        wait = () if start + _CHUNK >= len(commands) else ("--no-wait",)
        ovs.vsctl(*wait, *(word for command in chunk for word in command))


def _pid(directory: Path, daemon: str) -> int:
    return int((directory / f"{daemon}.pid").read_text())


def _end(directory: Path, daemon: str) -> None:
    """End a daemon by its own pid file and wait until it is gone."""
    try:
        pid = _pid(directory, daemon)
    except (OSError, ValueError):
        return
    for number, patience_s in ((signal.SIGTERM, 1.0), (signal.SIGKILL, 5.0)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        give_up_s = time.monotonic() + patience_s
        while time.monotonic() < give_up_s:
            if not stamp(pid):
                return
            time.sleep(0.01)
