"""A controller that cannot start says so in one line."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.controller import START_S, RunningController, controller_command, running_controller


@pytest.fixture(scope="module")
def controller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningController]:
    with running_controller(tmp_path_factory.mktemp("start") / "state") as controller:
        yield controller


def complaint(command: list[str]) -> str:
    """What a controller that does not start says on its way out, without the lines of its log."""
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=START_S, check=False
    )
    said = done.stdout + done.stderr
    assert done.returncode == 1, said
    assert "Traceback" not in said
    lines = [line for line in said.splitlines() if " level=INFO " not in line]
    assert len(lines) == 1, said
    return lines[0]


def test_a_second_controller_on_the_same_state_is_refused(controller: RunningController) -> None:
    said = complaint(controller_command(controller.state))
    assert said.startswith("error: another controller uses") and str(controller.state) in said
    assert controller.get("/health")["status"] == "ok", "the first one goes on"


def test_a_port_for_switches_that_is_taken_is_named(controller: RunningController, tmp_path: Path) -> None:
    said = complaint(controller_command(tmp_path / "state", controller.of_port))
    assert said.startswith("error: ") and str(controller.of_port) in said and "--of-port" in said


def test_a_port_for_rest_that_is_taken_is_named(controller: RunningController, tmp_path: Path) -> None:
    port = str(controller.api.base_url.port)
    said = complaint([*controller_command(tmp_path / "state"), "--rest-port", port])
    assert said.startswith("error: ") and port in said and "--rest-port" in said


def test_the_token_is_for_its_owner_alone(controller: RunningController) -> None:
    for name in ("token", "probe.key"):
        assert (controller.state / name).stat().st_mode & 0o777 == 0o600
