"""Two sites are joined, looked at and cut by the commands that people type."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from mininet_topos.handles import LabError
from mininet_topos.namespaces import network_of
from mininet_topos.overlay.enclosure import Enclosure
from mininet_topos.overlay.underlay import ROUTER, Place, Underlay, Uplink
from tests.system.waiting import wait_until

MEETING = "198.19.0.1"
"""Where the controller is called, in the middle of the internet."""

AGENT_STATE = "agent"
SOURCES = Path(__file__).parents[3]


class Host:
    """A machine, and the commands that are typed there."""

    def __init__(self, enclosure: Enclosure, directory: Path, variables: dict[str, str]) -> None:
        self.enclosure = enclosure
        self.directory = directory
        self._environment = {**os.environ, "PYTHONPATH": str(SOURCES), "COLUMNS": "120", **variables}

    def lockstitch(self, *words: str, typed: str = "") -> str:
        return self._typed("ryu_apps", words, typed)

    def vte_agent(self, *words: str, typed: str = "") -> str:
        return self._typed("vte_agent", words, typed)

    def start(self, module: str, *words: str) -> subprocess.Popen[bytes]:
        with self.log(words[0]).open("ab") as log:
            return self.enclosure.start(
                [sys.executable, "-m", module, *words], output=log, environment=self._environment
            )

    def log(self, name: str) -> Path:
        return self.directory / f"{self.enclosure.name}-{name}.log"

    def _typed(self, module: str, words: tuple[str, ...], typed: str) -> str:
        done = subprocess.run(
            self.enclosure.enter([sys.executable, "-m", module, *words]),
            input=typed,
            capture_output=True,
            text=True,
            timeout=30,
            env=self._environment,
            check=False,
        )
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout


@pytest.fixture
def underlay() -> Iterator[Underlay]:
    with Underlay([Place(name, (Uplink("wan0", delay_ms=2.0),)) for name in ("ber", "muc")]) as underlay:
        underlay.at(ROUTER).run(["ip", "addr", "add", f"{MEETING}/32", "dev", "lo"])
        yield underlay


def site(underlay: Underlay, name: str, number: int, directory: Path) -> Host:
    enclosure = underlay.at(name)
    enclosure.run(["ip", "addr", "add", f"10.{number}.0.1/24", "dev", "lo"])
    enclosure.run(["sysctl", "-q", "-w", "net.ipv4.ip_forward=1"])
    variables = {"VTE_AGENT_STATE": str(directory / f"{name}-{AGENT_STATE}"), "VTE_AGENT_UPLINKS": "wan=wan0"}
    return Host(enclosure, directory, variables)


def pings(host: Host, source: str, destination: str) -> bool:
    try:
        host.enclosure.run(["ping", "-c1", "-W1", "-I", source, destination])
    except LabError:
        return False
    return True


def test_two_sites_are_joined_looked_at_and_cut_by_the_commands_people_type(
    underlay: Underlay, tmp_path: Path
) -> None:
    places = {"LOCKSTITCH_STATE": str(tmp_path / "state"), "LOCKSTITCH_SIGNER_STATE": str(tmp_path / "signer")}
    places |= {"LOCKSTITCH_OVERLAY_SIGNER": str(tmp_path / "signer" / "controller.sock")}
    middle = Host(underlay.at(ROUTER), tmp_path, places)
    ber, muc = site(underlay, "ber", 1, tmp_path), site(underlay, "muc", 2, tmp_path)
    logs = [middle.log("controller"), middle.log("signer"), ber.log("run"), muc.log("run")]
    try:
        _story(middle, ber, muc, tmp_path)
    except AssertionError as error:
        for log in logs:
            with contextlib.suppress(FileNotFoundError):
                error.add_note(f"{log.name}:\n" + "\n".join(log.read_text().splitlines()[-25:]))
        raise
    for log in logs:
        said = log.read_text()
        assert "Traceback" not in said, said
        assert "lockstitch-site-1." not in said, "a token is in a log"


def _story(middle: Host, ber: Host, muc: Host, directory: Path) -> None:
    controller = middle.start("ryu_apps", "controller", "--of-port", "0", "--trigger", "off",
                              "--overlay", f"{MEETING}:6690")  # fmt: skip
    wait_until(
        lambda: (directory / "state" / "ports").exists() or controller.poll() is not None, 20.0, "a controller"
    )
    # It runs on without a signer, and says so; then it finds one.
    reasons = json.loads(middle.lockstitch("health", "--json"))["reasons"]
    assert any("overlay: the signer does not answer" in one and "lockstitch signer run" in one for one in reasons)
    middle.start("ryu_apps", "signer", "run")
    wait_until((directory / "signer" / "operator.sock").exists, 10.0, "a signer")
    card = middle.lockstitch("overlay", "card")
    assert json.loads((directory / "state" / "overlay-card.json").read_text()) == json.loads(card)
    assert "signer token" in middle.lockstitch("signer", "trust", "--card", "-", typed=card)
    for number, host in enumerate((ber, muc), 1):
        name = host.enclosure.name
        token = middle.lockstitch("signer", "token", "--name", name, "--prefix", f"10.{number}.0.0/24")
        assert token.startswith("lockstitch-site-1.") and len(token.splitlines()) == 1
        assert f"{name} is member {number}" in host.vte_agent("enroll", "--name", name, typed=token)
        host.start("vte_agent", "run")
    wait_until(lambda: pings(ber, "10.1.0.1", "10.2.0.1"), 15.0, "a ping crosses")

    ports = dict(line.split("=") for line in (directory / "state" / "ports").read_text().split())
    bearer = {"Authorization": f"Bearer {(directory / 'state' / 'token').read_text().strip()}"}

    def tunnels() -> list[Any]:
        url = f"http://127.0.0.1:{ports['rest']}/v1/overlay/tunnels"
        with network_of(middle.enclosure.pid):
            answer = httpx.get(url, headers=bearer)
        found: list[Any] = answer.raise_for_status().json()
        return found

    wait_until(lambda: (found := tunnels()) and all(one["up"] for one in found), 10.0, lambda: f"{tunnels()}")
    assert " up " in middle.lockstitch("overlay", "tunnels")
    (way,) = json.loads(middle.lockstitch("overlay", "paths", "ber", "muc", "--json"))["choices"][0]["ways"]
    assert way["taken"] and way["sites"] == ["ber", "muc"]
    status = ber.vte_agent("status")
    assert " up " in status and "10.2.0.0/24" in status

    def planned() -> set[str]:
        return {change["do"] for change in json.loads(ber.vte_agent("plan", "--json"))["changes"]}

    wait_until(lambda: planned() == {"keep"}, 10.0, lambda: ber.vte_agent("plan"))
    assert "muc" in middle.lockstitch("signer", "members")

    middle.lockstitch("signer", "revoke", "muc")
    wait_until(lambda: not pings(ber, "10.1.0.1", "10.2.0.1"), 3.0, "nothing crosses any more")
    wait_until(lambda: not tunnels(), 10.0, lambda: f"no tunnel is left: {tunnels()}")
