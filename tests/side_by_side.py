"""How `make test` shares the tests out between two processes of pytest-xdist.

Most system tests share the machine's Open vSwitch and its devices, so one process has them all, in their order.
They wait more than they compute. The other process has the tests of overlays: one of five sites keeps two cores
busy, and of two at a time the tunnels would die for want of a processor. Then come the system tests that share
nothing, and the tests that only compute, a file at a time, which let everything else go before.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

SYSTEM = "tests/system"
OVERLAY = f"{SYSTEM}/vte"

ALONE = tuple(
    f"{SYSTEM}/test_{name}.py"
    for name in (
        *("guests", "two_controllers", "ryu_paths", "reconcile", "store_locked", "full_tables", "rest_live"),
        *("wire_echo", "bundles", "lab_scale", "controller_start", "ray_executor"),
    )
)
"""System tests whose switches are in daemons of their own, or that have none; what takes longest comes first."""

_NICENESS = 10


class SideBySide(LoadScopeScheduling):  # type: ignore[misc]  # xdist ships no types
    """What is handed out at a time: the system tests that share a machine, those of overlays, another file."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        if file.startswith(OVERLAY):
            return OVERLAY
        return SYSTEM if _is_system(file) and file not in ALONE else file

    def _assign_work_unit(self, node: WorkerController) -> None:
        first = next((scope for scope in (OVERLAY, SYSTEM, *ALONE) if scope in self.workqueue), None)
        if first is not None:
            self.workqueue.move_to_end(first, last=False)
        super()._assign_work_unit(node)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> SideBySide:
    return SideBySide(config, log)


def pytest_runtest_setup(item: pytest.Item) -> None:
    # After its first test that only computes a process gets no system test any more.
    if not _is_system(item.nodeid) and os.getpriority(os.PRIO_PROCESS, 0) < _NICENESS:
        os.setpriority(os.PRIO_PROCESS, 0, _NICENESS)


def _is_system(nodeid: str) -> bool:
    return Path(nodeid.partition("::")[0]).is_relative_to(SYSTEM)
