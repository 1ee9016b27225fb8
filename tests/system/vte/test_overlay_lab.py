"""`lockstitch lab overlay`: its command line, and that nothing of it stays, whatever ends it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.support import proc
from mininet_topos.overlay.lab import overlay_lab
from mininet_topos.overlay.story import REVOKED_MOST_MS, instance_killed, revoked, star
from tests.system.waiting import wait_until


class Running:
    """The command, and what it has said."""

    def __init__(self, process: subprocess.Popen[bytes], said: Path) -> None:
        self.process = process
        self._said = said

    def said(self) -> str:
        return self._said.read_text(errors="replace")

    def type(self, line: str) -> None:
        assert self.process.stdin
        self.process.stdin.write(f"{line}\n".encode())
        self.process.stdin.flush()

    def expect(self, word: str, within_s: float = 180.0) -> None:
        wait_until(lambda: word in self.said() or self.process.poll() is not None, within_s, self.said)
        assert word in self.said(), self.said()


@contextmanager
def lab_overlay(tmp_path: Path, *options: str) -> Iterator[Running]:
    """The lab in a process of its own; after the body it has to be gone with all that it made."""
    # Names of sockets may not be long, and those of pytest are.
    files = Path(tempfile.mkdtemp(prefix="lab-"))
    said = tmp_path / "said"
    # A shell that runs the tests in the background has its children ignore Ctrl-C.
    starting = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    starting += "import sys; sys.argv[0] = 'lockstitch'; from ryu_apps.cli import main; main()"
    with said.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-c", starting, "lab", "overlay", *options],
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=out,
            env={**os.environ, "TMPDIR": str(files), "PYTHONUNBUFFERED": "1"},
        )
    assert process.stdin
    started: proc.Stamps = {}
    try:
        running = Running(process, said)
        yield running
        started = proc.descendants(process.pid)
        assert len(started) > 5, running.said()
        process.send_signal(signal.SIGTERM)
        process.wait(30)
        wait_until(lambda: not left(started), 10, lambda: f"processes are left: {left(started)}")
        assert list(files.iterdir()) == []
    finally:
        process.kill()
        process.stdin.close()
        process.wait()
        shutil.rmtree(files)
        proc.end_left(started, 0)


def command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return "has just ended"


def left(started: proc.Stamps) -> list[str]:
    """Those that still run, by their command lines."""
    return [f"{pid} {command(pid)}" for pid in proc.alive(started)]


def test_programs_run_at_its_places_lines_are_cut_and_mended_and_sigterm_leaves_nothing(tmp_path: Path) -> None:
    with lab_overlay(tmp_path, "--stay") as lab:
        lab.expect("overlay>")
        # At once: whoever reads the prompt may.
        lab.type("ber1 ping -c1 -W2 10.2.0.10")
        lab.expect("1 packets transmitted", 20)
        assert "1 received" in lab.said()
        lab.type("cut ber fibre")
        # By the other uplink, without asking anybody.
        give_up_s = time.monotonic() + 15
        while "bytes from 10.3.0.10" not in lab.said():
            asked = lab.said().count("10.3.0.10 ping statistics")
            lab.type("ber1 ping -c1 -W1 10.3.0.10")
            wait_until(lambda n=asked: lab.said().count("10.3.0.10 ping statistics") > n, 20, lab.said)  # type: ignore[misc]
            assert time.monotonic() < give_up_s, lab.said()
        lab.type("mend ber fibre")
        lab.type("lockstitch overlay tunnels")
        lab.expect("vie")
        lab.type("cut ber")
        lab.expect("give a place and its uplink")
        lab.type("cut ber dsl")
        lab.expect("no uplink 'dsl' of 'ber'")
        lab.type("paris1 ping")
        lab.expect("no host, place or command 'paris1'")


def test_a_star_is_built_a_compute_instance_killed_and_a_site_put_out_and_nobody_else_notices() -> None:
    """The quick ones of its acts; all of them, with what depends on the machine, are in `make demo`."""
    with overlay_lab() as lab:
        seen = {one.what: one.value for act in (star, instance_killed, revoked) for one in act(lab)}
        assert lab.world.ear.heard() == 0
    assert seen["hosts that do not reach each other"] == 0
    assert seen["longest silence of a 5 ms flow, either way"] < 1000
    assert seen["packets lost between ber and muc"] == 0
    assert seen["its last packet at any peer after"] < REVOKED_MOST_MS


def test_what_is_being_built_is_taken_away_too(tmp_path: Path) -> None:
    with lab_overlay(tmp_path) as lab:
        wait_until(lambda: len(proc.descendants(lab.process.pid)) > 8, 30, lab.said)
