"""The agent's Debian package: what it brings is what the agent imports, and its service starts who was let in."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.unit.test_imports import ROOT, imports
from vte_agent import membership
from vte_agent.cli import STATE

UNIT = ROOT / "vte_agent" / "systemd" / "vte-agent.service"
SIGNER_UNIT = ROOT / "ryu_apps" / "overlay" / "signing" / "systemd" / "lockstitch-signer.service"


def required(field: str) -> set[str]:
    """The names of the distributions in a field of setup.cfg."""
    known = configparser.ConfigParser()
    known.read(ROOT / "setup.cfg")
    return {re.split(r"[<>=]", line)[0] for line in known["options"][field].split()}


def test_the_agent_imports_what_its_package_brings_and_nothing_else() -> None:
    imported = {module.split(".")[0] for _, module in imports("vte_agent")}
    foreign = imported - {"vte_agent"} - sys.stdlib_module_names
    owners = packages_distributions()
    assert {owner for module in foreign for owner in owners[module]} == required("agent_requires")


def test_who_installs_all_has_what_the_agent_needs_too() -> None:
    assert required("agent_requires") < required("install_requires")


def test_the_service_of_the_package_starts_only_who_was_let_in() -> None:
    packaged = ROOT / "debian" / "vte-agent.service"
    assert packaged.resolve() == UNIT
    lines = packaged.read_text().splitlines()
    assert f"ConditionPathExists={STATE / membership.FILE}" in lines
    assert f"StateDirectory={STATE.name}" in lines


def test_purging_the_package_removes_the_agents_keys() -> None:
    assert f"rm -rf {STATE}\n" in (ROOT / "debian" / "vte-agent.postrm").read_text()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
@pytest.mark.parametrize("unit", [UNIT, SIGNER_UNIT], ids=lambda unit: unit.stem)
def test_systemd_finds_nothing_wrong_with_a_unit(unit: Path, tmp_path: Path) -> None:
    # What it starts is not installed here.
    there = tmp_path / unit.name
    there.write_text(re.sub(r"(?m)^ExecStart=\S+", f"ExecStart={sys.executable}", unit.read_text()))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(there)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0 and unit.name not in done.stderr, done.stderr
