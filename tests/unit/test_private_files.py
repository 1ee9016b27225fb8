"""A directory is one process's at a time, and nothing is left to be put right when that ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ryu_apps.starting.settings import StartError
from ryu_apps.starting.state_dir import alone
from vte_agent.private_files import held

HOLDS = """
import sys, time
from pathlib import Path
from vte_agent.private_files import held
with held(Path(sys.argv[1]), RuntimeError("taken")):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_directory_is_held_until_the_process_ends_however_it_ends(tmp_path: Path) -> None:
    words = [sys.executable, "-c", HOLDS, str(tmp_path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        with pytest.raises(ValueError, match="taken"), held(tmp_path, ValueError("taken")):
            raise AssertionError
        with pytest.raises(StartError, match=r"another controller uses .* its own with --state"), alone(tmp_path):
            raise AssertionError
        other.kill()
    with alone(tmp_path):
        assert (tmp_path / "lock").stat().st_mode & 0o777 == 0o600


def test_what_goes_wrong_while_it_is_held_is_told_as_it_is_and_ends_that(tmp_path: Path) -> None:
    with pytest.raises(BlockingIOError), held(tmp_path, ValueError("taken")):
        raise BlockingIOError
    with held(tmp_path, ValueError("taken")):
        pass
