"""A machine of its own, as far as a site needs one: network, processes and mounts apart from everybody else's.

When its first process ends the kernel ends all the others and takes the devices away: nothing can be left behind.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mininet_topos.handles import LabError
from mininet_topos.ovs import OvsError, run, which

_START_TIMEOUT_S = 10.0
_END_TIMEOUT_S = 10.0


class Enclosure:
    """Runs until closed, and no longer than the thread that made it.

    `pid` is its first process, as seen from outside. Needs root; raises LabError.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.pid = 0
        setpriv, unshare, sleep = which("setpriv"), which("unshare"), which("sleep")
        if setpriv is None or unshare is None or sleep is None:
            raise LabError("unshare or setpriv is not installed: apt-get install util-linux")
        apart = ["--net", "--pid", "--mount", "--fork", "--mount-proc", "--kill-child"]
        self._outer = subprocess.Popen(
            # Whatever ends this program ends the enclosure: a signal may come before there is anybody to close it.
            [setpriv, "--pdeathsig", "KILL", unshare, *apart, sleep, "infinity"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            self.pid = self._first_process(sleep)
            self.run(["ip", "link", "set", "lo", "up"])
        except BaseException:
            self.close()
            raise

    def _first_process(self, program: str) -> int:
        """The child of unshare, once it is what it will be: only then is everything apart."""
        give_up_s = time.monotonic() + _START_TIMEOUT_S
        while time.monotonic() < give_up_s:
            for pid in self._children():
                with contextlib.suppress(OSError):
                    if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(program.encode() + b"\0"):
                        return pid
            if self._outer.poll() is not None:
                break
            time.sleep(0.002)
        raise LabError(f"namespaces for {self.name} could not be made; a lab needs root")

    def _children(self) -> list[int]:
        """What unshare has started."""
        try:
            words = Path(f"/proc/{self._outer.pid}/task/{self._outer.pid}/children").read_text()
        except OSError:
            return []
        return [int(word) for word in words.split()]

    def enter(self, argv: Sequence[str]) -> list[str]:
        """The command line that runs a program inside."""
        return [which("nsenter") or "nsenter", f"--target={self.pid}", "--net", "--pid", "--mount", "--", *argv]

    def run(self, argv: Sequence[str], *, stdin: str | None = None, timeout_s: float = 30.0) -> str:
        """Run a program inside to its end; returns what it wrote. Raises LabError when it fails."""
        try:
            done = subprocess.run(
                self.enter(argv),
                input=stdin,
                stdin=None if stdin is not None else subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise LabError(f"{self.name}: {' '.join(argv[:6])} did not end within {timeout_s:g} s") from error
        if done.returncode:
            said = " ".join((done.stderr or done.stdout).split())[:300]
            raise LabError(f"{self.name}: {' '.join(argv[:6])} failed ({done.returncode}): {said}")
        return done.stdout

    def start(
        self,
        argv: Sequence[str],
        *,
        output: Any = subprocess.DEVNULL,
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start a program inside; it ends with the enclosure at the latest."""
        return subprocess.Popen(
            self.enter(argv),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )

    def close(self) -> None:
        """End all that runs inside; more than once is fine."""
        if self._outer.poll() is None and self.pid:
            # With its first process a process namespace ends; unshare waits for that.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._outer.wait(_END_TIMEOUT_S)
        if self._outer.poll() is None:
            # It may be about to start the first process, which ends with it only from a moment later on.
            self._outer.send_signal(signal.SIGSTOP)
            for pid in self._children():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._outer.kill()
            self._outer.wait()


def cable(one: Enclosure, device: str, other: Enclosure, other_device: str) -> None:
    """Join two enclosures by a cable with an end in each. Raises LabError."""
    ends = (
        ["name", device, "netns", str(one.pid), "type", "veth"],
        ["peer", "name", other_device, "netns", str(other.pid)],
    )
    try:
        run(["ip", "link", "add", *ends[0], *ends[1]])
    except OvsError as error:
        raise LabError(f"{one.name} and {other.name} could not be joined: {error}") from error
