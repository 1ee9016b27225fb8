"""The site's Open vSwitch, by `ovs-vsctl`: which bridge there is, and the ports of ours in it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vte_agent import programs
from vte_agent.bridging.difference import Place, Plug

DATABASE = "unix:/var/run/openvswitch/db.sock"

_MARK = "lockstitch-link"
_SOCKET = "unix:"
_TIMEOUT_S = 1
_LAST_PORT = 0xFEFF


class BridgeFailed(RuntimeError):
    """The bridge could not be read or changed; the message says why and what to do."""


class NoBridge(BridgeFailed):
    """Open vSwitch is there and has no such bridge."""


@dataclass(frozen=True)
class BridgeNow:
    """The bridge as it is. plugs: its ports that are ours, by device."""

    name: str
    dpid: int
    plugs: Mapping[str, Plug]


def missing() -> str:
    """Why there is no Open vSwitch here, and the remedy; "" where its tools are there."""
    return (
        ""
        if programs.find("ovs-vsctl")
        else "ovs-vsctl is not installed: run 'apt-get install openvswitch-switch'"
    )


def read(place: Place) -> BridgeNow:
    """The bridge now. Raises BridgeFailed."""
    said = _vsctl(
        place,
        *("--format=json", "--", "--columns=name,ofport,error,external_ids", "list", "Interface"),
        *("--", "get", "Bridge", place.bridge, "datapath_id", "--", "list-ports", place.bridge),
    )
    try:
        return parsed(place.bridge, said)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise BridgeFailed("ovs-vsctl answered something that is not understood") from error


def parsed(bridge: str, said: str) -> BridgeNow:
    """What ovs-vsctl says of a bridge. Raises ValueError, KeyError, IndexError, TypeError, AttributeError."""
    table, dpid, *ports = said.splitlines()
    of_bridge = {port.strip() for port in ports}
    names = json.loads(table)["headings"]
    rows = (dict(zip(names, row, strict=True)) for row in json.loads(table)["data"])
    plugs = {
        row["name"]: Plug(row["name"], mark, _number(row["ofport"]), _text(row["error"]))
        for row in rows
        if row["name"] in of_bridge and (mark := dict(row["external_ids"][1]).get(_MARK)) is not None
    }
    return BridgeNow(bridge, int(json.loads(dpid), 16), plugs)


def left(database: str) -> tuple[str, ...]:
    """Ports of ours in whichever bridge: a machine that was started anew has them, and not their devices.

    None where there is no Open vSwitch. Raises BridgeFailed.
    """
    if missing() or (database.startswith(_SOCKET) and not Path(database.removeprefix(_SOCKET)).exists()):
        return ()
    said = _vsctl(Place("", database), "--format=json", "--columns=name,external_ids", "list", "Interface")
    try:
        return tuple(name for name, (_, about) in json.loads(said)["data"] if _MARK in dict(about))
    except (ValueError, KeyError, TypeError) as error:
        raise BridgeFailed("ovs-vsctl answered something that is not understood") from error


def plug_in(place: Place, device: str, name: str) -> None:
    """Make a device a port of the bridge, also where it is one that went wrong. Raises BridgeFailed."""
    _vsctl(
        place,
        *("--no-wait", "--if-exists", "del-port", device, "--", "add-port", place.bridge, device),
        *("--", "set", "Interface", device, f"external_ids:{_MARK}={name}"),
    )


def pull_out(place: Place, device: str) -> None:
    """Take a port away, whichever bridge it is in. Raises BridgeFailed."""
    _vsctl(place, "--no-wait", "--if-exists", "del-port", device)


def _vsctl(place: Place, *words: str) -> str:
    program = programs.find("ovs-vsctl")
    if program is None:
        raise BridgeFailed(missing())
    command: Sequence[str] = [program, f"--db={place.database}", f"--timeout={_TIMEOUT_S}", *words]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=2 * _TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BridgeFailed(f"ovs-vsctl could not be run: {error}") from error
    if done.returncode == 0:
        return done.stdout
    said = " ".join(done.stderr.split())[:200] or f"ovs-vsctl did not answer within {_TIMEOUT_S} s"
    if "no row" in said and "Bridge" in said:
        raise NoBridge(f"there is no bridge {place.bridge}: make it, or run the agent with another --bridge")
    raise BridgeFailed(f"{said}. Does Open vSwitch run here, and is its database at {place.database}?")


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) and 0 < value <= _LAST_PORT else None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
