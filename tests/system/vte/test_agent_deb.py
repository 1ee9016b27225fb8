"""The agent's Debian package is built of what is here, and runs by Debian's own Python with nothing else there."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

from tests.unit.test_imports import ROOT

BUILT_WITHIN_S, SAID_WITHIN_S = 300.0, 30.0
LIBRARIES = "/usr/lib/vte-agent"


def test_the_package_is_built_and_what_is_in_it_runs(tmp_path: Path) -> None:
    checkout, there = tmp_path / "checkout", tmp_path / "there"
    copy_of_what_is_here(checkout)
    built = run(["sh", "scripts/deb.sh"], BUILT_WITHIN_S, cwd=checkout)
    assert built.returncode == 0, built.stderr
    (package,) = (checkout / "dist").glob("vte-agent_*.deb")
    run(["dpkg-deb", "-x", f"{package}", f"{there}"], SAID_WITHIN_S).check_returncode()
    launcher = there / "usr/bin/vte-agent"
    # It lies elsewhere, as this machine is to stay as it is.
    launcher.write_text(launcher.read_text().replace(LIBRARIES, f"{there}{LIBRARIES}"))
    state = ["--state", f"{tmp_path / 'state'}"]
    said = run([f"{launcher}", "doctor", "--uplink", "wan=lo", "--json", *state], SAID_WITHIN_S)
    findings = {one["what"]: one["is_well"] for one in json.loads(said.stdout)}
    assert not findings["membership"] and findings["transport wireguard"], said.stderr
    refused = run([f"{launcher}", "run", "--uplink", "wan=lo", *state], SAID_WITHIN_S)
    assert refused.returncode == 1 and "run vte-agent enroll first" in refused.stderr


def copy_of_what_is_here(to: Path) -> None:
    """All that belongs to the project, with what is not committed yet."""
    listed = run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], SAID_WITHIN_S, cwd=ROOT)
    listed.check_returncode()
    for name in filter(None, listed.stdout.split("\0")):
        if (source := ROOT / name).exists():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, to / name, follow_symlinks=False)


def run(words: list[str], within_s: float, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """As from a shell that knows of no virtual environment."""
    unknown = {"VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME"}
    environment = {name: value for name, value in os.environ.items() if name not in unknown}
    return subprocess.run(
        words, cwd=cwd, env=environment, capture_output=True, text=True, timeout=within_s, check=False
    )
