"""`vte-agent plan`, `doctor` and `unit` look at a node and change nothing; `clean` takes away what was left."""

from __future__ import annotations

import asyncio
import json
import resource
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from vte_agent import cli
from vte_agent.believing import GUARDED_FILE, HIGHEST_FILE, Believed, Standing
from vte_agent.bridging import openvswitch
from vte_agent.bridging.difference import LinkDevice, Place, Plug
from vte_agent.bridging.openvswitch import BridgeNow
from vte_agent.bridging.vxlan import link_device
from vte_agent.doctor import examine
from vte_agent.goals import Wished
from vte_agent.identity import load_or_make
from vte_agent.keeping import CannotKeep, InUse, Keeping, alone
from vte_agent.planning import (
    Change,
    Do,
    Plan,
    planned_links,
    planned_routes,
    planned_table,
    planned_tunnels,
    planned_ways,
    waiting_routes,
)
from vte_agent.protocol.enrollment import Token
from vte_agent.protocol.has import Has, TunnelReport, TunnelState
from vte_agent.protocol.signed import Signed
from vte_agent.protocol.transport import Transport
from vte_agent.protocol.wanted import Wanted, WantedLink, WantedRoute
from vte_agent.route_tables import (
    Action,
    Routes,
    Rule,
    Slot,
    UplinkWay,
    Ways,
    addition,
    difference,
    routes_of,
    rules_of,
)
from vte_agent.steering import Steered, known_ways
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


def tunnels_of(believed: Believed, transports: Mapping[Transport, Tunnels], *names: str) -> list[Change]:
    found = [device for tunnels in transports.values() for device in tunnels.found()]
    return list(planned_tunnels(believed, wished(*names), found, "1"))


def test_a_plan_makes_what_is_missing_keeps_what_is_there_and_removes_the_rest(
    transports: Mapping[Transport, Tunnels],
) -> None:
    made = tunnels_of(Believed(Standing.CURRENT, NOTHING), transports, "stays", "comes")
    assert {(change.do, change.name) for change in made} == {
        (Do.KEEP, spec("stays").device),
        (Do.MAKE, spec("comes").device),
        (Do.REMOVE, spec("goes").device),
    }
    whole = Plan(1, Standing.CURRENT, tuple(made), ())
    assert not whole.is_done and {change.do for change in whole.todo} == {Do.MAKE, Do.REMOVE}
    assert set(transports[Transport.WIREGUARD].found()) == {spec("stays").device, spec("goes").device}


@pytest.mark.parametrize("standing", [Standing.NONE, Standing.CURRENT, Standing.EXPIRED])
def test_before_it_is_known_what_is_wanted_only_what_leads_to_who_is_revoked_is_removed(
    transports: Mapping[Transport, Tunnels], standing: Standing
) -> None:
    made = tunnels_of(Believed(standing, None), transports)
    assert {change.do for change in made} == {Do.KEEP}
    made = tunnels_of(Believed(standing, None, banned=frozenset({"goes"})), transports)
    assert [(one.do, one.of) for one in made if one.do is not Do.KEEP] == [(Do.REMOVE, "goes")]


def test_a_plan_has_the_links_of_the_bridge_and_its_ports_too() -> None:
    links = tuple(
        WantedLink(name=name, vni=vni, local=ip_address("100.111.0.1"), remote=ip_address("100.111.0.2"))
        for vni, name in enumerate(("stays", "comes"), 1)
    )
    wanted = NOTHING.model_copy(update={"links": links})
    place = Place("br0", "unix:db")
    names = [link_device(link, "1") for link in links]
    ends = links[0].local, links[0].remote
    there = {
        names[0]: LinkDevice(names[0], "stays", 1, *ends, place),
        "lvother": LinkDevice("lvother", "gone", 9, *ends, place),
    }
    plugs = {names[0]: Plug(names[0], "stays", 1), "lvother": Plug("lvother", "gone", 2)}

    def planned(believed: Believed) -> list[tuple[Do, str, str]]:
        found = planned_links(believed, place, there, plugs, lambda link: link_device(link, "1"))
        return [(one.do, one.kind, one.name) for one in found]

    assert planned(Believed(Standing.CURRENT, wanted)) == [
        (Do.MAKE, "link", names[1]),
        (Do.MAKE, "port", names[1]),
        (Do.REMOVE, "port", "lvother"),
        (Do.REMOVE, "link", "lvother"),
        (Do.KEEP, "link", names[0]),
    ]
    assert {one for one, _, _ in planned(Believed(Standing.OUT, wanted))} == {Do.REMOVE}
    for standing in (Standing.NONE, Standing.CURRENT):
        assert {one for one, _, _ in planned(Believed(standing, None))} == {Do.KEEP}


FAR, NEVER = ip_network("10.2.0.0/24"), ip_network("10.9.0.0/24")
STEERED = Steered(
    routes=(
        WantedRoute(prefixes=(FAR,), tunnels=("t2", "t1")),
        WantedRoute(prefixes=(FAR,), tunnels=("t1",), class_name="voice"),
    ),
    classes={"voice": 3},
    devices={"t1": "ls1", "t2": "ls2"},
    local=(ip_network("10.1.0.0/24"),),
    guarded=frozenset({NEVER}),
)


def routes_planned(steered: Steered, there: Routes, rules: frozenset[Rule]) -> list[Change]:
    found = {(slot.table, slot.prefix): one.device for slot, one in there.items() if one.device is not None}
    ways = planned_ways(steered, found)
    todo = (difference if steered.is_known else addition)(ways, there, rules)
    return [*planned_routes(todo, there, rules, steered), *waiting_routes(steered, found)]


def test_a_plan_says_which_routes_and_rules_come_and_which_wait_for_a_tunnel() -> None:
    made = routes_planned(STEERED, {}, frozenset())
    said = {(one.do, one.kind, one.name, one.of, one.why) for one in made}
    assert (Do.MAKE, "route", "10.2.0.0/24", "class voice", "by nothing else") in said
    assert (Do.MAKE, "route", "10.9.0.0/24", "all packets", "by nothing else") in said
    assert (Do.MAKE, "route", "10.1.0.0/24", "all packets", "as the machine's own tables say") in said
    first = "by the first of t2, t1 that answers; nowhere until then"
    assert (Do.WAIT, "route", "10.2.0.0/24", "all packets", first) in said
    assert (Do.MAKE, "rule", "7600", "class voice", "IPv4 marked 0x30000/0xff0000") in said
    assert {one.do for one in made} == {Do.MAKE, Do.WAIT}


def test_where_a_tunnel_is_dead_the_routes_that_wait_for_it_are_shown_and_nothing_would_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As an agent leaves it whose tunnels are all dead: nothing is taken, and what says so is there.
    ways = planned_ways(STEERED, {})
    made = routes_planned(STEERED, routes_of(ways), rules_of(ways))
    plan = Plan(3, Standing.CURRENT, tuple(made), ())
    assert plan.is_done and {one.of for one in plan.waiting} == {"all packets", "class voice"}
    monkeypatch.setattr(cli, "look", lambda *_: plan)
    monkeypatch.setattr(cli, "_membership", lambda *_, **__: (Keeping(tmp_path), None))
    monkeypatch.setattr(cli, "Believer", FakeBeliever)
    words = ("plan", "--uplink", "wan=lo", "--state", str(tmp_path))
    shown = typed(*words).output
    assert "Generation 3: nothing would change" in shown and "what waits" in shown
    assert "10.2.0.0/24" in shown and "make" not in shown
    assert {one["do"] for one in json.loads(typed(*words, "--json").output)["changes"]} == {"keep", "wait"}


class FakeBeliever:
    own = None

    def __init__(self, *_: object) -> None: ...

    def judge(self) -> Believed:
        return Believed(Standing.CURRENT, NOTHING)


def test_a_plan_has_nothing_for_routes_that_an_agent_has_set_and_takes_away_what_nobody_wants() -> None:
    taken = {(FAR, None): "ls1", (FAR, "voice"): "ls1", (NEVER, None): None}
    ways = Ways(taken, STEERED.classes, STEERED.local, STEERED.sources, STEERED.uplinks)
    there, rules = routes_of(ways), rules_of(ways)
    # Routes stay where they are: whether another tunnel is better only probes can say.
    assert {one.do for one in routes_planned(STEERED, there, rules)} == {Do.KEEP}
    left = Slot(7601, FAR, 10)
    made = routes_planned(STEERED, {**there, left: Action("unicast", "ls1")}, rules | {Rule(6, 7601, 7600, 1, 1)})
    assert [(one.kind, one.of) for one in made if one.do is not Do.KEEP] == [
        ("route", "class 1"),
        ("rule", "class 1"),
    ]
    unknown = Steered(guarded=frozenset({NEVER}), is_known=False)
    assert {one.do for one in routes_planned(unknown, there, rules)} == {Do.KEEP}


def test_ways_out_by_uplinks_are_made_and_changed_also_where_it_is_not_known_what_is_wanted() -> None:
    address, gateway, other = (ip_address(f"192.0.2.{number}") for number in (1, 254, 253))
    way = UplinkWay(1, "eth0", address, gateway)
    unknown = Steered(uplinks=(way,), is_known=False)
    made = addition(known_ways((), unknown), {}, frozenset())
    out = Slot(7901, ip_network("0.0.0.0/0"), 10)
    assert made.routes[out].gateway == gateway and {rule.table for rule in made.rules} == {7901}
    moved = replace(unknown, uplinks=(replace(way, gateway=other),))
    changed = addition(known_ways((), moved), made.routes, made.rules)
    assert {slot: action.gateway for slot, action in changed.routes.items()} == {out: other} and not changed.rules


def test_by_an_uplink_that_is_no_way_now_nothing_leaves_and_what_is_marked_for_it_by_no_other() -> None:
    way = UplinkWay(1, "eth0", ip_address("192.0.2.1"), ip_address("192.0.2.254"))
    there, gone = (known_ways((), Steered(uplinks=(one,))) for one in (way, replace(way, device=None)))
    changed = difference(gone, routes_of(there), rules_of(there))
    assert changed.gone_routes == {Slot(7901, ip_network("0.0.0.0/0"), 10)}
    assert not (changed.routes or changed.rules or changed.gone_rules)
    assert {action.kind for action in routes_of(gone).values()} == {"unreachable"}


@pytest.mark.parametrize(
    ("now", "wanted", "do", "why"),
    [
        (None, "a\nb", Do.MAKE, "2 lines"),
        ("a\nb", None, Do.REMOVE, "2 lines"),
        ("a\nb", "a\nb", Do.KEEP, "as it is to be"),
        ("a\nb", "a\nc\nd", Do.CHANGE, "2 lines come, 1 go"),
    ],
)
def test_a_plan_says_what_becomes_of_a_table(now: str | None, wanted: str | None, do: Do, why: str) -> None:
    found = planned_table("t", "marks", now, wanted)
    assert found is not None and (found.do, found.why) == (do, why)
    assert planned_table("t", "marks", None, None) is None


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


def test_status_tells_tunnels_apart_on_a_narrow_screen_and_says_where_there_is_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    names = [f"t1-2-5f61f92858-v{number}" for number in (1, 2)]
    tunnels = tuple(TunnelReport(name=name, state=TunnelState.UP, mtu=1440) for name in names)
    monkeypatch.setenv("COLUMNS", "80")

    def shown(has: Has) -> str:
        monkeypatch.setattr(cli, "ask_status", lambda _: has.model_dump_json())
        return str(typed("status", "--state", str(tmp_path)).output)

    table = shown(Has(generation=1, tunnels=tunnels))
    first = "".join(line.split("│")[1].strip() for line in table.splitlines() if line.startswith("│"))
    assert first == "".join(names) and "there is no route into tunnels" in table
    assert "there is no tunnel" in shown(Has(generation=1))


def test_an_uplink_named_twice_is_refused_and_not_one_of_the_two_taken(tmp_path: Path) -> None:
    done = typed("doctor", "--uplink", "wan=lo", "--uplink", "wan=eth9", "--state", str(tmp_path))
    assert "uplink wan is named twice: wan=lo and wan=eth9" in done.output and done.exit_code == 2


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
    monkeypatch.setattr(cli, "transports", lambda *_: transports)
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


@pytest.mark.parametrize("command", ["status", "plan", "run"])
def test_who_may_not_read_what_the_agent_keeps_is_told_who_may(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    # Root may read everything.
    monkeypatch.setattr("vte_agent.cli.os.access", lambda *_: False)
    said = CliRunner().invoke(cli.app, [command, "--state", str(tmp_path)])
    assert said.exit_code == 2 and "run this as root" in " ".join(said.output.split())
