"""Whatever ends a lab, nothing of it stays; labs beside it are left alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mininet_topos import ownership
from mininet_topos.lab import Lab, LabError
from mininet_topos.ovs import vsctl
from mininet_topos.topology import line
from tests.system.conftest import eventually

# A shell that runs the tests in the background has its children ignore Ctrl-C.
OWNER = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from mininet_topos.lab import Lab
from mininet_topos.topology import line
with Lab(line(2), controller=None) as lab:
    print(lab.prefix, lab.emulator.pid, *(host.pid for host in lab.hosts()), flush=True)
    sys.stdin.read()
"""


def bridges(prefix: str) -> list[str]:
    return [bridge.name for bridge in ownership.lab_bridges() if bridge.prefix == prefix]


def runs(pid: int) -> bool:
    return bool(ownership.stamp(pid))


@contextmanager
def lab_in_a_process() -> Iterator[tuple[subprocess.Popen[str], str, list[int]]]:
    with subprocess.Popen(
        [sys.executable, "-c", OWNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        prefix, *pids = process.stdout.readline().split()
        try:
            yield process, prefix, [int(pid) for pid in pids]
        finally:
            process.kill()


def assert_gone(prefix: str, pids: list[int]) -> None:
    assert bridges(prefix) == []
    assert ownership.devices_of(prefix) == ()
    assert eventually(lambda: not any(runs(pid) for pid in pids))


def test_nothing_is_left_after_the_block() -> None:
    with Lab(line(2), controller=None) as lab:
        prefix, pids = lab.prefix, [lab.emulator.pid, *(host.pid for host in lab.hosts())]
        assert len(bridges(prefix)) == 2 and len(ownership.devices_of(prefix)) == 6 and all(map(runs, pids))
    assert_gone(prefix, pids)
    lab.stop()


def test_nothing_is_left_after_an_exception() -> None:
    lab = Lab(line(2), controller=None)

    def fail_inside() -> None:
        with lab:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_inside()
    assert lab.prefix
    assert_gone(lab.prefix, [])


def test_nothing_is_left_when_the_start_fails_half_way(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_lab: Lab) -> None:
        raise LabError("half way")

    monkeypatch.setattr(Lab, "_check_ports", fail)
    lab = Lab(line(2), controller=None)
    with pytest.raises(LabError, match="half way"):
        lab.__enter__()
    assert lab.prefix
    assert_gone(lab.prefix, [])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_nothing_is_left_after_a_signal(number: signal.Signals) -> None:
    with lab_in_a_process() as (process, prefix, pids):
        assert len(bridges(prefix)) == 2
        process.send_signal(number)
        assert process.wait(timeout=20) != 0
        assert_gone(prefix, pids)


def test_a_killed_lab_is_swept_away_and_the_one_beside_it_is_not() -> None:
    with Lab(line(2), controller=None, fail_mode="standalone") as beside:
        with lab_in_a_process() as (process, prefix, pids):
            process.kill()
            process.wait(timeout=20)
            # Its helpers notice by themselves, and take the devices with them.
            assert eventually(lambda: not any(runs(pid) for pid in pids))
            ownership.sweep()
            assert eventually(lambda: not ownership.devices_of(prefix))
            assert_gone(prefix, pids)
        assert len(bridges(beside.prefix)) == 2 and beside.ping("hs1", "hs2", deadline_s=10)


def test_two_labs_of_the_same_topology_run_side_by_side() -> None:
    with (
        Lab(line(2), controller=None, fail_mode="standalone") as one,
        Lab(line(2), controller=None, fail_mode="standalone") as other,
    ):
        one.link("s1", "s2").cut()
        assert other.ping("hs1", "hs2", deadline_s=10) and not one.ping("hs1", "hs2", deadline_s=1)


def test_a_prefix_in_use_is_refused() -> None:
    with Lab(line(2), controller=None) as lab, pytest.raises(LabError, match="in use"):
        Lab(line(2), controller=None, prefix=lab.prefix).__enter__()


def test_the_counters_refresh_is_put_back_when_the_last_lab_goes() -> None:
    def setting() -> str:
        return vsctl("--if-exists", "get", "Open_vSwitch", ".", "other_config:max-revalidator").strip()

    ownership.sweep()
    if ownership.lab_bridges():
        pytest.skip("another lab runs on this machine and keeps its setting; run the test when it has ended")
    before = setting()
    with Lab(line(1), controller=None):
        with Lab(line(1), controller=None):
            assert setting() == '"100"'
        assert setting() == '"100"'
    assert setting() == before


def test_a_stamp_tells_a_process_from_a_later_one_with_its_pid() -> None:
    own = ownership.stamp(os.getpid())
    assert ownership.is_alive(own)
    assert (
        not ownership.is_alive(f"{os.getpid()}:1") and not ownership.is_alive("") and not ownership.is_alive("x:y")
    )
    assert not Path("/proc/4194305").exists() and not ownership.is_alive("4194305:1")
