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
    """Runs until closed. `pid` is its first process, as seen from outside. Needs root; raises LabError."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.pid = 0
        unshare, sleep = which("unshare"), which("sleep")
        if unshare is None or sleep is None:
            raise LabError("unshare is not installed: apt-get install util-linux")
        apart = ["--net", "--pid", "--mount", "--fork", "--mount-proc", "--kill-child"]
        self._outer = subprocess.Popen(
            [unshare, *apart, sleep, "infinity"],
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
        children = Path(f"/proc/{self._outer.pid}/task/{self._outer.pid}/children")
        give_up_s = time.monotonic() + _START_TIMEOUT_S
        while time.monotonic() < give_up_s:
            with contextlib.suppress(OSError):
                for word in children.read_text().split():
                    if Path(f"/proc/{word}/cmdline").read_bytes().startswith(program.encode() + b"\0"):
                        return int(word)
            if self._outer.poll() is not None:
                break
            time.sleep(0.002)
        raise LabError(f"namespaces for {self.name} could not be made; a lab needs root")

    def enter(self, argv: Sequence[str]) -> list[str]:
        """The command line that runs a program inside."""
        return [which("nsenter") or "nsenter", f"--target={self.pid}", "--net", "--pid", "--mount", "--", *argv]

    def run(self, argv: Sequence[str], *, stdin: str | None = None, timeout_s: float = 30.0) -> str:
        """Run a program inside to its end; returns what it wrote. Raises LabError when it fails."""
        done = subprocess.run(
            self.enter(argv),
            input=stdin,
            stdin=None if stdin is not None else subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
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
