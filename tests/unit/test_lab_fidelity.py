"""A run that the machine was too busy for is told from one that counts, and is not compared with others."""

from __future__ import annotations

import os
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from mininet_topos import cli
from mininet_topos.demo import RUNS, RunResult, doubts
from mininet_topos.emulator import DirectionStats, LinkStats, RelayStats
from mininet_topos.fidelity import Fidelity, judged
from mininet_topos.machine import MachineUse, MachineWatch
from mininet_topos.play_result import DelayMs, PlayResult

QUIET = Fidelity(0.0001, 12.0, 0.0006, 0.0, MachineUse(2, 0.4, 0.0))
NOTHING = DirectionStats(0, 0, 0, 0, 0, 0, 0, 0.0, 0)


def traffic(sent: int, lost: int) -> PlayResult:
    return PlayResult(
        duration_s=75.0,
        sent=sent,
        received=sent - lost,
        lost=lost,
        lost_share=lost / sent,
        lost_bytes_share=lost / sent,
        delay_ms=DelayMs(12.0, 40.0, 60.0),
        out_of_order=0,
        duplicates=0,
        refused=0,
        late_share=QUIET.late_share,
        held_up_ms=QUIET.held_up_ms,
        flows=(),
        seconds=(),
        cpu_s=30.0,
    )


def links(*directions: DirectionStats) -> RelayStats:
    return RelayStats(0.0, 0.0, 0.0, (LinkStats(*directions),))


def run(lost_share: float, fidelity: Fidelity = QUIET) -> RunResult:
    return RunResult(lost_share, 0, 1000, DelayMs(12.0, 40.0, 60.0), 1.0, 3, 9, [2.0], 4, fidelity, [])


def shown(runs: dict[str, RunResult]) -> str:
    console = Console(file=StringIO(), width=100)
    cli._show(console, runs)
    assert isinstance(console.file, StringIO)
    return " ".join(console.file.getvalue().split())


def test_what_links_drop_is_explained_and_what_is_lost_elsewhere_is_not() -> None:
    before = links(replace(NOTHING, frames=500, dropped_queue=5), NOTHING)
    dropped = replace(NOTHING, frames=10_500, dropped_queue=25, late_frames=30)
    after = links(dropped, replace(NOTHING, dropped_loss=4, dropped_cut=3, dropped_device=2))
    found = judged(traffic(1000, 29), before, after, QUIET.machine)
    assert (found.unexplained_share, found.late_frames_share) == (0.0, 0.003)
    assert not found.doubts()
    lost = judged(traffic(1000, 60), before, after, QUIET.machine)
    assert lost.doubts() == ["3.10% of the traffic was lost, but not on links"]


@pytest.mark.parametrize(
    ("worse", "said"),
    [
        (replace(QUIET, late_share=0.02), "2.0% of the packets left over 5 ms late"),
        (replace(QUIET, held_up_ms=812.0), "the sender was held up for 812 ms"),
        (replace(QUIET, late_frames_share=0.05), "5.0% of the frames came out of links over 1 ms late"),
        (replace(QUIET, machine=MachineUse(2, 1.1, 0.0)), "other programs took 1.1 of 2 processors"),
        (replace(QUIET, machine=MachineUse(2, 0.4, 0.5)), "other programs took 0.9 of 2 processors"),
    ],
)
def test_a_busy_machine_is_named_in_place_of_a_comparison(worse: Fidelity, said: str) -> None:
    runs = dict(zip(RUNS, (run(0.0025), run(0.0003, worse), run(0.0)), strict=True))
    assert doubts(runs) == [f"reactive: {said}"]
    text = shown(runs)
    assert "This does not count" in text and said in text and "less than" not in text


def test_on_a_quiet_machine_the_runs_are_compared() -> None:
    runs = dict(zip(RUNS, (run(0.0025), run(0.0003), run(0.0)), strict=True))
    text = shown(runs)
    assert "does not count" not in text and "100% less than shortest paths" in text


def processes(proc: Path, machine: str, **ticks: int) -> None:
    """A /proc with a machine and processes `name_parent`, some of whose ticks are those of ended children."""
    proc.mkdir(exist_ok=True)
    (proc / "stat").write_text(f"cpu  {machine} 0 0\ncpu0 1 2 3\n")
    for number, (name, used) in enumerate(ticks.items(), start=100):
        directory = proc / str(number)
        directory.mkdir(exist_ok=True)
        parent = int(name.rpartition("_")[2])
        counts = f"{used // 4} {used // 4} {used // 4} {used - 3 * (used // 4)}"
        (directory / "stat").write_text(f"{number} (a (b) c) S {parent} 1 1 0 -1 0 0 0 0 0 {counts} 20 0\n")


def test_what_the_machine_did_for_others_is_what_no_process_of_ours_did(tmp_path: Path) -> None:
    proc = tmp_path / "proc"
    processes(proc, "1000 0 1000 9000 0 0 0 100", own_1=400, child_100=200, other_1=700)
    watch = MachineWatch((100,), proc)
    processes(proc, "1600 0 1400 9500 0 70 70 150", own_1=600, child_100=600, other_1=1000)
    used = watch.use(10.0)
    tick = os.sysconf("SC_CLK_TCK")
    assert (used.others, used.stolen) == (400 / tick / 10.0, 50 / tick / 10.0)


def test_a_process_that_ends_meanwhile_is_no_fault() -> None:
    assert MachineWatch((1,)).use(1.0).processors >= 1
