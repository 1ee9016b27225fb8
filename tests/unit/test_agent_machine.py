"""What an agent says of its machine: the share of its memory that is gone, and what of it is the agent's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mininet_topos.waiting import wait_until
from ryu_apps.overlay.reports import Reports
from stitching.overlay.sites import NodeLoad
from vte_agent import machine as machine_module
from vte_agent.machine import Machine
from vte_agent.protocol.has import Has, HostReport

STAT = "cpu {busy} 0 0 {idle} 0 0 0 0 0 0\n"
MEMINFO = "MemTotal:  8000 kB\nMemFree:  100 kB\nMemAvailable:  2000 kB\n"
HUNGRY = "import sys; block = bytearray(64_000_000); print(flush=True); sys.stdin.read()"


def test_processors_and_memory_are_shares_of_the_whole_machine(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text(MEMINFO)
    (tmp_path / "stat").write_text(STAT.format(busy=1000, idle=1000))
    machine = Machine(tmp_path)
    (tmp_path / "stat").write_text(STAT.format(busy=1030, idle=1090))
    said = machine.report(0.002)
    assert said.cpu == pytest.approx(0.25) and said.memory == pytest.approx(0.75)
    assert said.timer_late_ms == 2.0


def test_it_is_looked_at_once_a_second_however_often_it_is_reported(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text(MEMINFO)
    machine = Machine(tmp_path)
    assert machine.report(0.0).memory == pytest.approx(0.75)
    (tmp_path / "meminfo").write_text(MEMINFO.replace("2000", "6000"))
    assert machine.report(0.0).memory == pytest.approx(0.75)
    wait_until(lambda: machine.report(0.0).memory == pytest.approx(0.25), 5.0, lambda: "it is not looked at again")


def test_what_cannot_be_read_is_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_module, "_LOOK_EVERY_S", 0.0)
    (tmp_path / "meminfo").write_text(MEMINFO)
    (tmp_path / "stat").write_text(STAT.format(busy=1000, idle=1000))
    machine = Machine(tmp_path)
    before = machine.report(0.0)
    for name in ("meminfo", "stat"):
        (tmp_path / name).unlink()
    assert machine.report(0.0) == before and before.memory
    assert Machine(tmp_path).report(0.0).cpu == 0.0


def test_what_the_agents_own_processes_take_is_counted_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_module, "_WEIGH_EVERY_S", 0.0)
    machine = Machine()
    alone_mb = machine.report(0.0).memory_mb
    with subprocess.Popen([sys.executable, "-c", HUNGRY], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout and child.stdout.readline()
        with_child_mb = machine.report(0.0).memory_mb
    assert alone_mb > 10 and with_child_mb - alone_mb > 60


def test_a_controller_takes_both_for_the_load_of_the_machine() -> None:
    reports = Reports()
    reports.has(2, Has(generation=1, host=HostReport(cpu=0.3, memory=0.9)), 0.0)
    assert reports.loads[2] == NodeLoad(0.3, 0.9)


@pytest.mark.parametrize(
    ("load", "worst"),
    [
        (NodeLoad(0.3, 0.7), 0.3),
        (NodeLoad(0.3, 0.9), 0.5),
        (NodeLoad(0.3, 1.0), 1.0),
        (NodeLoad(0.9, 0.9), 0.9),
        (NodeLoad(), 0.0),
    ],
)
def test_memory_is_load_only_when_little_is_left(load: NodeLoad, worst: float) -> None:
    assert load.worst == pytest.approx(worst)
