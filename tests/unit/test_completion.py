"""Shells complete commands, options and their values once they have read what --show-completion prints."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
{source}
COMP_WORDS=({words})
COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
_lockstitch_completion lockstitch
echo "${{COMPREPLY[@]}}"
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home directory with a `lockstitch` in bin that is this source tree."""
    command = tmp_path / "bin" / "lockstitch"
    command.parent.mkdir()
    start = "import sys; sys.argv[0] = 'lockstitch'; from ryu_apps.cli import main; main()"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "{start}" "$@"\n')
    command.chmod(0o755)
    return tmp_path


def bash(home: Path, script: str) -> str:
    shell = shutil.which("bash")
    if shell is None:
        pytest.skip("there is no bash")
    root = str(Path(__file__).parents[2])
    path = f"{home / 'bin'}:{os.environ['PATH']}"
    environment = {"HOME": str(home), "PATH": path, "PYTHONPATH": root, "TERM": "dumb", "SHELL": shell}
    # Which shell it runs in is looked up among its parents: those of a test may be any.
    environment["_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION"] = "1"
    command = [shell, "--norc", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment, check=True)
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("lockstitch reserv", "reservations"),
        ("lockstitch stitch ch", "change check"),
        ("lockstitch stitch list --only te", "terminated terminating"),
        ("lockstitch stitch change 1 --without max", "max-latency max-loss"),
    ],
)
def test_bash_completes(home: Path, words: str, completed: str) -> None:
    script = SCRIPT.format(source="source <(lockstitch --show-completion bash)", words=words)
    assert sorted(bash(home, script).split()) == sorted(completed.split())


def test_what_was_installed_is_read_by_the_next_shell(home: Path) -> None:
    bash(home, "lockstitch --install-completion bash")
    script = SCRIPT.format(source=f"source {home}/.bashrc", words="lockstitch inte")
    assert bash(home, script) == "intent"
