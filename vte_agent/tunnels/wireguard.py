"""WireGuard tunnels of a node: by the kernel where it can, else by wireguard-go."""

from __future__ import annotations

from pathlib import Path

from vte_agent.tunnels.devices import Devices
from vte_agent.tunnels.own_keys import OwnKeys
from vte_agent.tunnels.wireguard_base import WireGuardTunnels
from vte_agent.tunnels.wireguard_go import GoRunner
from vte_agent.tunnels.wireguard_kernel import KernelRunner


def wireguard_tunnels(keys: Path | None = None) -> WireGuardTunnels:
    """What this node has; where it has neither, `missing()` names what either lacks, with the remedy.

    keys: the directory where those of devices are kept; None: nowhere.
    Devices that an earlier run had wireguard-go make stay with it: the kernel has its turn once there are none.
    """
    devices = Devices()
    kernel, userspace = KernelRunner(devices), GoRunner(devices)
    if not kernel.missing() and (userspace.missing() or not userspace.found()):
        return WireGuardTunnels(kernel, devices, OwnKeys(keys))
    return WireGuardTunnels(userspace, devices, OwnKeys(keys), besides=kernel.missing())
