"""What a database calls a port is a name of a device or nothing: it is written into commands that run as root."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ryu_apps.ovsdb import classes
from ryu_apps.ovsdb.classes import NoClasses
from stitching.queues import DscpClass

HERE = Path("/proc/self/ns/net")


class Tc:
    """Stands for tc and notes what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def run(self, words: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        self.lines += [" ".join(words), *(options["input"] or "").splitlines()]
        return subprocess.CompletedProcess(words, 0, "", "")


def told(device: str) -> list[str]:
    """What tc is told for a device of this name."""
    tc = Tc()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(subprocess, "run", tc.run)
        patched.setattr(shutil, "which", lambda name, **_: name)
        classes.has_filters(HERE, device)
        classes.set_filters(HERE, device, (DscpClass(46, 2),), (1, 2))
    return tc.lines


@given(st.text(alphabet="a0-_.@ \t\n\"'#\\/:;é\x00", max_size=16))
def test_a_name_that_is_no_device_reaches_no_command(device: str) -> None:
    if set(device) & set(" \t\n\"'#\\/:;\x00é") or not 0 < len(device) < 16:
        with pytest.raises(NoClasses, match="device"):
            told(device)
    else:
        lines = told(device)
        assert lines and all(f" dev {device}" in line for line in lines if " dev " in line)


@pytest.mark.parametrize("device", ["s1-eth1", "tap.100", "veth@x", "_"])
def test_names_of_devices_are_taken(device: str) -> None:
    assert told(device)


def test_more_commands_in_a_name_are_refused() -> None:
    with pytest.raises(NoClasses, match="device"):
        told("s1-eth1\nqdisc del dev eth0 root")


def test_what_tc_says_may_be_any_bytes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tc = tmp_path / "tc"
    tc.write_text("#!/bin/sh\nprintf 'what \\377 is\\n' >&2\nexit 1\n")
    tc.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(NoClasses, match="what"):
        classes.set_filters(HERE, "s1-eth1", (), (1,))
