"""`vte-agent plan`, `doctor` and `unit` look at a node and change nothing; `clean` takes away what was left."""

from __future__ import annotations

import asyncio
import json
import resource
import subprocess
import sys
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from vte_agent import cli
from vte_agent.believing import GUARDED_FILE, HIGHEST_FILE, Believed, Standing
from vte_agent.bridging import openvswitch
from vte_agent.bridging.difference import LinkDevice
from vte_agent.bridging.openvswitch import BridgeNow
from vte_agent.bridging.vxlan import link_device
from vte_agent.doctor import examine
from vte_agent.goals import Wished
from vte_agent.identity import load_or_make
from vte_agent.keeping import CannotKeep, InUse, Keeping, alone
from vte_agent.planning import plan, planned_links
from vte_agent.protocol.enrollment import Token
from vte_agent.protocol.signed import Signed
from vte_agent.protocol.transport import Transport
from vte_agent.protocol.wanted import Wanted, WantedLink
from vte_agent.talking import telling
from vte_agent.tunnels import ipsec_process, wireguard_go, wireguard_kernel
from vte_agent.tunnels.contract import Tunnels, TunnelSpec
from vte_agent.tunnels.devices import device_name
from vte_agent.tunnels.fake import FakeNetwork, FakeTunnels
from vte_agent.tunnels.transports import transports as all_transports
from vte_agent.upkeep import Goal

NOTHING = Wanted(generation=1, serial=1, roll=Signed(kind="Roll", payload="", signature="A" * 88))


def spec(name: str) -> TunnelSpec:
    return TunnelSpec(
        name=name,
        device=device_name(name, "1"),
        local=ip_address("192.0.2.1"),
        address=ip_address("100.96.0.0"),
        peer_address=ip_address("100.96.0.1"),
        mtu=1440,
    )


def wished(*names: str) -> Wished:
    return Wished({name: Goal(spec(name), Transport.WIREGUARD, 2, None) for name in names}, ("a problem",))


@pytest.fixture
def transports() -> Mapping[Transport, Tunnels]:
    tunnels = FakeNetwork().node("ber")
    for name in ("stays", "goes"):
        tunnels.create(spec(name))
    return {Transport.WIREGUARD: tunnels}


def test_a_plan_makes_what_is_missing_keeps_what_is_there_and_removes_the_rest(
    transports: Mapping[Transport, Tunnels],
) -> None:
    made = plan(Believed(Standing.CURRENT, NOTHING), wished("stays", "comes"), transports, "1")
    found = {(change.what, change.device) for change in made.changes}
    assert found == {
        ("keep", spec("stays").device),
        ("make", spec("comes").device),
        ("remove", spec("goes").device),
    }
    assert not made.is_done and made.problems == ("a problem",)
    assert set(transports[Transport.WIREGUARD].found()) == {spec("stays").device, spec("goes").device}


@pytest.mark.parametrize("standing", [Standing.NONE, Standing.CURRENT, Standing.EXPIRED])
def test_before_it_is_known_what_is_wanted_only_what_leads_to_who_is_revoked_is_removed(
    transports: Mapping[Transport, Tunnels], standing: Standing
) -> None:
    made = plan(Believed(standing, None), Wished({}, ()), transports, "1")
    assert made.is_done and {change.what for change in made.changes} == {"keep"}
    made = plan(Believed(standing, None, banned=frozenset({"goes"})), Wished({}, ()), transports, "1")
    assert [(change.what, change.tunnel) for change in made.changes if change.what != "keep"] == [
        ("remove", "goes")
    ]


def test_a_plan_has_the_links_of_the_bridge_too() -> None:
    links = tuple(
        WantedLink(name=name, vni=vni, local=ip_address("100.111.0.1"), remote=ip_address("100.111.0.2"))
        for vni, name in enumerate(("stays", "comes"), 1)
    )
    wanted = NOTHING.model_copy(update={"links": links})
    names = link_device(links[0], "1"), link_device(links[1], "1")
    there = {one: LinkDevice(one, "gone", 9, None, None, None) for one in (names[0], "lvother")}
    made = planned_links(Believed(Standing.CURRENT, wanted), "1", there)
    assert [(one.what, one.device) for one in made] == [
        ("keep", names[0]),
        ("make", names[1]),
        ("remove", "lvother"),
    ]
    assert {one.what for one in planned_links(Believed(Standing.OUT, wanted), "1", there)} == {"remove"}
    for standing in (Standing.NONE, Standing.CURRENT):
        assert {one.what for one in planned_links(Believed(standing, None), "1", there)} == {"keep"}


def test_doctor_looks_for_the_bridge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("doctor", "--json", "--state", str(tmp_path / "state"), "--bridge", "br0")
    named = {one["what"]: one for one in json.loads(typed(*words, "--ovsdb", f"unix:{tmp_path}/db.sock").output)}
    assert "database" in named["bridge br0"]["what_to_do"]
    monkeypatch.setattr(openvswitch, "read", lambda place: BridgeNow(place.bridge, 0xBE, {}))
    named = {one["what"]: one for one in json.loads(typed(*words).output)}
    assert named["bridge br0"]["found"] == "datapath id 00000000000000be, 0 links"
    assert not named["bridge br0"]["what_to_do"]


def files(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_who_only_looks_leaves_the_drafts_of_an_agent_at_work_and_writes_nothing(tmp_path: Path) -> None:
    directory = tmp_path / "state"
    load_or_make(Keeping(directory))
    (directory / ".roll.json.0.part").write_bytes(b"half")
    before = files(directory)
    looking = Keeping(directory, looking=True)
    looking.put("accepted.json", b"{}")
    looking.flush()
    assert looking.read("accepted.json") == b"{}" and not looking.problems
    with pytest.raises(CannotKeep, match="enroll anew"):
        looking.write("identity.json", b"{}")
    assert files(directory) == before
    Keeping(directory)
    assert ".roll.json.0.part" not in files(directory), "the agent itself sweeps what its last run left"


def test_where_no_socket_for_its_status_can_be_is_said_with_the_remedy(tmp_path: Path) -> None:
    async def run() -> None:
        async with telling(tmp_path / ("d" * 120), str):
            pytest.fail("it is made all the same")

    with pytest.raises(CannotKeep, match=r"too long\); give another --state"):
        asyncio.run(run())


def test_who_looks_at_a_directory_that_is_not_there_makes_none(tmp_path: Path) -> None:
    with pytest.raises(CannotKeep):
        Keeping(tmp_path / "state", looking=True)
    done = typed("plan", "--uplink", "wan=lo", "--state", str(tmp_path / "state"))
    assert "run vte-agent enroll first" in f"{done.exception}"
    assert not (tmp_path / "state").exists()


def typed(*words: str) -> Any:
    return CliRunner().invoke(cli.app, list(words))


def test_doctor_says_all_it_finds_as_json_too(tmp_path: Path) -> None:
    done = typed("doctor", "--json", "--state", str(tmp_path / "state"))
    named = {one["what"]: one for one in json.loads(done.output)}
    assert named["membership"]["what_to_do"] == "vte-agent enroll" and done.exit_code == 1
    assert not (tmp_path / "state").exists()


def test_one_transport_is_enough_and_of_the_other_doctor_says_how_it_can_be_had(tmp_path: Path) -> None:
    there = FakeNetwork().node("ber")
    lacks = FakeTunnels(FakeNetwork(), {}, "run 'apt-get install charon-systemd'")

    def found(wireguard: Tunnels, ipsec: Tunnels) -> list[tuple[str, bool]]:
        transports = {Transport.WIREGUARD: wireguard, Transport.IPSEC: ipsec}
        findings = [one for one in examine(tmp_path, None, transports) if one.what.startswith("transport")]
        assert [one.found == "there, in memory" for one in findings] == [not one.what_to_do for one in findings]
        return [(one.what_to_do, one.is_well) for one in findings]

    assert found(there, there) == [("", True), ("", True)]
    assert found(there, lacks) == [("", True), (lacks.lacks, True)]
    assert found(lacks, lacks) == [(lacks.lacks, False)] * 2


def test_doctor_says_what_carries_the_packets_of_each_transport(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(wireguard_go, "userspace_missing", str)
    monkeypatch.setattr(ipsec_process, "missing", str)
    monkeypatch.setattr(wireguard_kernel, "WireGuard", object)

    def found(kernel_lacks: str) -> list[str]:
        monkeypatch.setattr(wireguard_kernel, "kernel_missing", lambda: kernel_lacks)
        return [one.found for one in examine(tmp_path, None, all_transports()) if one.what.startswith("transport")]

    wireguard, ipsec = found("the kernel has no WireGuard: load its module")
    assert wireguard == "there, in user space (wireguard-go): the kernel has no WireGuard: load its module"
    assert ipsec == "there, in user space (strongSwan with kernel-libipsec); the kernel's ESP is not used"
    assert found("")[0] == "there, by the kernel"


@pytest.mark.parametrize(
    ("limits", "found", "is_enough"),
    [
        ((1024, 524_288), "65536 at most, enough for 13094 tunnels", True),
        ((1024, resource.RLIM_INFINITY), "65536 at most, enough for 13094 tunnels", True),
        ((1024, 1024), "1024 at most, enough for 192 tunnels", False),
        ((20, 20), "20 at most, enough for 0 tunnels", False),
    ],
)
def test_doctor_says_for_how_many_tunnels_the_limit_of_open_files_is_enough(
    limits: tuple[int, int], found: str, is_enough: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits)
    (said,) = [one for one in examine(tmp_path, None, {}) if one.what == "open files"]
    assert said.found == found and said.is_well
    assert ("LimitNOFILE" not in said.what_to_do) is is_enough


def test_the_unit_leaves_tunnels_to_the_next_run_and_runs_this_very_program() -> None:
    unit = typed("unit").output
    assert "KillMode=process" in unit and " run --keep " in unit
    assert "ExecStart=/usr/bin/vte-agent" not in unit


def test_clean_takes_away_what_is_there_and_says_what(
    monkeypatch: pytest.MonkeyPatch, transports: Mapping[Transport, Tunnels], tmp_path: Path
) -> None:
    from vte_agent import cleaning

    class NoRouter:
        def __enter__(self) -> NoRouter:
            return self

        def __exit__(self, *_: object) -> None: ...

        def clear(self) -> tuple[str, ...]:
            return ()

    monkeypatch.setattr(cleaning, "Router", NoRouter)
    monkeypatch.setattr("vte_agent.nft.missing", lambda: "nft is not installed")
    monkeypatch.setattr(cli, "transports", lambda: transports)
    state = tmp_path / "state"
    Keeping(state).write(GUARDED_FILE, b"{}")
    Keeping(state).write(HIGHEST_FILE, b"{}")
    done = typed("clean", "--state", str(state))
    assert set(files(state)) >= {HIGHEST_FILE} and GUARDED_FILE not in files(state)
    assert done.exit_code == 0 and spec("stays").device in done.output and spec("goes").device in done.output
    assert "nothing was left" in typed("clean", "--state", str(state)).output


@pytest.mark.parametrize(
    "words", [("clean",), ("run", "--uplink", "wan=lo"), ("enroll", "--name", "ber")], ids=lambda words: words[0]
)
def test_of_two_at_work_on_one_state_directory_the_second_does_nothing_and_says_what_to_do(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = tmp_path / "state"
    monkeypatch.setattr(cli, "clean", lambda *_: pytest.fail("it cleans all the same"))
    monkeypatch.setattr(Token, "read", lambda _: None)
    with alone(state):
        Keeping(state).write("half.json", b"")
        (state / ".roll.json.0.part").write_bytes(b"half")
        before = files(state)
        said = CliRunner().invoke(cli.app, [*words, "--state", str(state)], input="token\n").exception
        assert isinstance(said, InUse) and "stop it first (systemctl stop vte-agent)" in f"{said}"
        assert files(state) == before
    with alone(state):
        assert (state / "lock").stat().st_mode & 0o777 == 0o600


def test_the_lock_goes_with_a_process_that_is_killed(tmp_path: Path) -> None:
    held = "import sys,time; from pathlib import Path; from vte_agent.keeping import alone"
    held += "\nwith alone(Path(sys.argv[1])): print(flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", held, str(tmp_path)], stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        with pytest.raises(InUse), alone(tmp_path):
            pytest.fail("two have it")
        process.kill()
        process.wait(10)
        with alone(tmp_path):
            pass
