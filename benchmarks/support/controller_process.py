"""A controller in a process of its own, as its users run it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from benchmarks.support import proc
from benchmarks.support.figure import MeasurementFailed, note

_START_S = 60.0
_STOP_S = 15.0
_ORPHANS_S = 5.0
_LOG_LINES = 5


@dataclass(frozen=True)
class RunningController:
    """A controller that runs, the port it awaits switches on and a client of its API."""

    process: subprocess.Popen[bytes]
    of_port: int
    api: httpx.Client

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    def get(self, path: str, **query: str | float) -> Any:
        """The answer to a GET; raises MeasurementFailed."""
        return self._answer("GET", path, params=query)

    def post(self, path: str, body: Any, **query: str | float) -> Any:
        """The answer to a POST; raises MeasurementFailed."""
        return self._answer("POST", path, params=query, json=body)

    def put(self, path: str, body: Any) -> Any:
        """The answer to a PUT; raises MeasurementFailed."""
        return self._answer("PUT", path, json=body)

    def delete(self, path: str) -> Any:
        """The answer to a DELETE; raises MeasurementFailed."""
        return self._answer("DELETE", path)

    def switches_ready(self) -> int:
        """How many switches have their rules; 0 when the installer is too busy to say."""
        installer = self.get("/v1/health")["installer"]
        return int(installer["switches_ready"]) if installer is not None else 0

    def kill(self) -> None:
        """End it without any warning, as a crash would; what it started has to notice by itself."""
        children = proc.descendants(self.pid)
        self.process.kill()
        self.process.wait()
        _end_left(children)

    def _answer(self, method: str, path: str, **arguments: Any) -> Any:
        try:
            answer = self.api.request(method, path, **arguments)
        except httpx.HTTPError as error:
            raise MeasurementFailed(f"{method} {path}: {error!r}") from error
        if answer.is_error:
            raise MeasurementFailed(f"{method} {path}: {answer.status_code} {answer.text}")
        return answer.json()


@contextmanager
def controller(
    state: Path, *, of_port: int = 0, trigger: str = "predictive", options: Sequence[str] = ()
) -> Iterator[RunningController]:
    """Run a controller until the block ends. Raises MeasurementFailed with its last words."""
    (state / "ports").unlink(missing_ok=True)
    command = [sys.executable, "-m", "ryu_apps", "controller", "--state", str(state), "--of-port", str(of_port)]
    command += ["--rest-port", "0", "--trigger", trigger, *options]
    with (state / "log").open("ab") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        ports = _ports(process, state)
        token = (state / "token").read_text().strip()
        with httpx.Client(
            base_url=f"http://127.0.0.1:{ports['rest']}",
            headers={"Authorization": f"Bearer {token}"},
            timeout=30.0,
        ) as api:
            yield RunningController(process, ports["openflow"], api)
    finally:
        _end(process)


def wait_until(condition: Callable[[], bool], within_s: float, otherwise: str, every_s: float = 0.05) -> None:
    """Wait for a condition; raises MeasurementFailed with what is missing after within_s seconds."""
    deadline_s = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline_s:
            raise MeasurementFailed(f"{otherwise} within {within_s:g} s")
        time.sleep(every_s)


def _ports(process: subprocess.Popen[bytes], state: Path) -> dict[str, int]:
    deadline_s = time.monotonic() + _START_S
    path = state / "ports"
    while time.monotonic() < deadline_s and process.poll() is None:
        if path.exists():
            return {name: int(port) for name, port in (line.split("=") for line in path.read_text().split())}
        time.sleep(0.02)
    words = " | ".join((state / "log").read_text(errors="replace").splitlines()[-_LOG_LINES:])
    how = "ended at once" if process.poll() is not None else f"was not ready within {_START_S:g} s"
    raise MeasurementFailed(f"the controller {how}: {words}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a controller and whatever it started."""
    children = proc.descendants(process.pid)
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            note(f"the controller did not end within {_STOP_S:g} s of SIGTERM and was killed")
            process.kill()
            process.wait()
    _end_left(children)


def _end_left(children: proc.Stamps) -> None:
    if left := proc.end_left(children, _ORPHANS_S):
        note(f"the controller left {left} processes behind for {_ORPHANS_S:g} s; they were ended")
