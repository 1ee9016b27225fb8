"""Whose a bridge is: every lab stamps its bridges, so that what a dead one left behind is found and removed.

Devices need no stamp: the link ends vanish with the relay process, the host ends with the hosts' namespaces.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mininet_topos import devices
from mininet_topos.ovs import answers, run, vsctl

_LAB, _OWNER = "lockstitch-lab", "lockstitch-owner"
_SAVED = "lockstitch-max-revalidator"
_UNSET = "unset"
_FAST_MS = 100


@dataclass(frozen=True)
class LabBridge:
    """A bridge of a lab: the lab's prefix and the process that owns it, as "PID:START"."""

    name: str
    prefix: str
    owner: str


def stamp(pid: int) -> str:
    """Name a process so that a later one with the same pid is not taken for it; "" when it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    # The command, second field, may hold blanks and brackets; after it come state (field 3) and the start
    # time (field 22).
    state, *fields = text.rpartition(")")[2].split()
    return "" if state in ("Z", "X") else f"{pid}:{fields[18]}"


def external_ids(prefix: str) -> str:
    """The words of an ovs-vsctl `set Bridge` that stamp a bridge as this process's."""
    # Mininet hands this to a shell; ovs-vsctl wants the colon in quotes.
    return f"external_ids:{_LAB}={prefix} 'external_ids:{_OWNER}=\"{stamp(os.getpid())}\"'"


def lab_bridges() -> tuple[LabBridge, ...]:
    """All bridges of labs on this machine, dead or alive; raises OvsError."""
    rows = json.loads(vsctl("--format=json", "--columns=name,external_ids", "list", "Bridge"))["data"]
    found = []
    for name, (_, pairs) in rows:
        ids = dict(pairs)
        if _LAB in ids and _OWNER in ids:
            found.append(LabBridge(name, ids[_LAB], ids[_OWNER]))
    return tuple(found)


def is_alive(owner: str) -> bool:
    """Whether the process of a stamp still runs."""
    pid = owner.partition(":")[0]
    return pid.isdigit() and stamp(int(pid)) == owner


def sweep() -> tuple[str, ...]:
    """Remove the bridges and devices of labs whose owner is dead; return their prefixes.

    Other labs are not touched.
    """
    if not answers():
        return ()
    dead = [bridge for bridge in lab_bridges() if not is_alive(bridge.owner)]
    remove_bridges(bridge.name for bridge in dead)
    prefixes = tuple(sorted({bridge.prefix for bridge in dead}))
    for prefix in prefixes:
        remove_devices(prefix)
    if dead:
        release_fast_counters()
    return prefixes


def remove_bridges(names: Iterable[str]) -> None:
    """Delete bridges in one transaction; those that are gone are no error."""
    words = [word for name in names for word in ("--", "--if-exists", "del-br", name)]
    if words:
        vsctl(*words)


def devices_of(prefix: str) -> tuple[str, ...]:
    """The devices in this namespace that a lab with the prefix created."""
    ours = re.compile(re.escape(prefix) + r"s\d+(-eth\d+)?")
    return tuple(sorted(name for name in devices.names() if ours.fullmatch(name)))


def remove_devices(prefix: str) -> None:
    """Delete what is left of a lab's devices. One that goes by itself meanwhile is no error."""
    left = devices_of(prefix)
    if left:
        run(["ip", "-force", "-batch", "-"], stdin="".join(f"link del {name}\n" for name in left), check=False)


def take_fast_counters() -> None:
    """Let OVS refresh flow counters every 100 ms instead of 500; what was set before is kept in the database."""
    saved = vsctl("--if-exists", "get", "Open_vSwitch", ".", f"external_ids:{_SAVED}").strip()
    if saved:
        return
    before = vsctl("--if-exists", "get", "Open_vSwitch", ".", "other_config:max-revalidator").strip().strip('"')
    vsctl(
        *("--", "set", "Open_vSwitch", ".", f"external_ids:{_SAVED}={before or _UNSET}"),
        *("--", "set", "Open_vSwitch", ".", f"other_config:max-revalidator={_FAST_MS}"),
    )


def release_fast_counters() -> None:
    """Put the counters' refresh back as it was once the last lab is gone."""
    before = vsctl("--if-exists", "get", "Open_vSwitch", ".", f"external_ids:{_SAVED}").strip().strip('"')
    if not before or lab_bridges():
        return
    restore = (
        ("--", "remove", "Open_vSwitch", ".", "other_config", "max-revalidator")
        if before == _UNSET
        else ("--", "set", "Open_vSwitch", ".", f"other_config:max-revalidator={before}")
    )
    vsctl(*restore, "--", "remove", "Open_vSwitch", ".", "external_ids", _SAVED)
