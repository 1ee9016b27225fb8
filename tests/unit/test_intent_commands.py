"""`lockstitch intent`: what it shows, and the exit codes that scripts go by."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stitching.stitch import State
from tests.unit.test_cli import Lockstitch, served
from tests.unit.test_rest_fake import FakeController, red_and_blue

__all__ = ["served"]

VIDEO = """
intents:
  - name: video
    latency:
      between: [h1, h2]
      app: tcp/443
      bandwidth: 2 Mbit/s
"""


@pytest.fixture
def lockstitch(served: Lockstitch) -> Lockstitch:
    served.controller = FakeController(vnets=red_and_blue())
    return served


@pytest.fixture
def video(tmp_path: Path) -> str:
    file = tmp_path / "video.yaml"
    file.write_text(VIDEO)
    return str(file)


def test_a_plan_shows_what_comes_and_has_exit_codes_for_scripts(lockstitch: Lockstitch, video: str) -> None:
    shown = lockstitch("intent", "plan", video)
    assert "+ video: stitch h1 <-> h2, 2 Mbit/s, tcp/443" in shown
    assert "+ 1 to make, ~ 0 to change, - 0 to take away, 0 stay" in shown
    lockstitch("intent", "plan", video, "--detailed-exitcode", code=3)
    lockstitch("intent", "plan", "/no/such/file", code=2)


def test_applying_needs_a_yes(lockstitch: Lockstitch, video: str) -> None:
    assert "give --yes" in lockstitch("intent", "apply", video, code=2)
    assert lockstitch.controller.stitches == {}


def test_intents_are_applied_listed_shown_rolled_back_and_deleted(
    lockstitch: Lockstitch, video: str, tmp_path: Path
) -> None:
    lockstitch.controller.after_create = [State.UP] * 3
    shown = lockstitch("intent", "apply", video, "--yes")
    assert "satisfied" in shown and "stitch 1 (up)" in shown
    lockstitch("intent", "plan", video, "--detailed-exitcode")
    assert "0 to make" in lockstitch("intent", "apply", video, "--yes")
    assert "satisfied" in lockstitch("intent", "list", "--only", "satisfied")
    assert json.loads(lockstitch("intent", "list", "--json"))["intents"][0]["name"] == "video"
    assert "2 Mbit/s" in lockstitch("intent", "show", "video")
    nothing = tmp_path / "nothing.yaml"
    nothing.write_text("intents: []")
    assert "- video: stitch 1" in lockstitch("intent", "apply", str(nothing), "--yes", "--atomic")
    versions = lockstitch("intent", "versions")
    assert versions.count("done") == 2
    lockstitch.controller.stitches.clear()
    lockstitch.controller.after_create = [State.UP] * 9
    assert "+ video" in lockstitch("intent", "rollback", "1", "--yes")
    assert "- video" in lockstitch("intent", "delete", "video")
    assert "there is no intent 'video'" in lockstitch("intent", "show", "video", code=1)


def test_what_contradicts_itself_is_exit_code_1_and_one_line(lockstitch: Lockstitch, tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text("intents:\n- {name: a, apart: [red, blue]}\n- {name: b, reach: {from: red, to: blue}}\n")
    said = lockstitch("intent", "plan", str(file), code=1)
    assert said.startswith("error: 'a' and 'b': ") and said.count("\n") == 1
    file.write_text("intents: &a [*a]")
    assert "anchors" in lockstitch("intent", "apply", str(file), "--yes", code=1)


def test_what_could_not_be_had_is_exit_code_1(lockstitch: Lockstitch, video: str) -> None:
    lockstitch("stitch", "create", "h1", "h2", "--bandwidth", "1", "--app", "tcp/443")
    assert "cannot be had" in lockstitch("intent", "plan", video, code=1)
    assert "violated" in lockstitch("intent", "apply", video, "--yes", code=1)
