"""Sites that are joined by real agents, a real signer and a real controller: what happens to them, and to packets.

One lab for all; each test leaves it whole, and the last one takes a site away.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization

from mininet_topos.handles import LabError
from mininet_topos.overlay.flow import Receiver, flow
from mininet_topos.overlay.world import ENVIRONMENT, NOC, SOCKETS
from ryu_apps.overlay.authority import Authority
from tests.system.vte.overlay_world import AGENTS, RELAY, SITES, World, a_node, an_uplink, figure, overlay_world
from tests.system.waiting import wait_until
from tests.unit.trust_world import spellings
from vte_agent.identity import csr_of, tls_key
from vte_agent.keeping import Keeping
from vte_agent.marks import MASK, UPLINK_MASK, outer_mark
from vte_agent.membership import CERTIFICATE, FILE, Membership, bundle, life_of
from vte_agent.talking import SOCKET, ask_status

HIDDEN = "ham"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Three sites and a relay; the first uplink of one site is behind a NAT, and another's disk is a small one."""
    uplinks = (an_uplink("up0", 2.0, behind_nat=True), an_uplink("up1", 4.0))
    directory = tmp_path_factory.mktemp("overlay")
    with a_disk(directory / "ber"), overlay_world(directory, {HIDDEN: a_node(HIDDEN, uplinks)}) as made:
        try:
            made.wait_settled(within_s=30)
            made.settled_s = time.monotonic()
            yield made
        finally:
            sys.stdout.write(made.log_tail())


@contextmanager
def a_disk(directory: Path) -> Iterator[None]:
    """A directory with room for a megabyte."""
    directory.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=0700,size=1m", "none", directory], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", directory], check=True)


@pytest.fixture(autouse=True)
def _nothing_in_the_clear(world: World) -> Iterator[None]:
    yield
    assert world.ear.heard() == 0, "packets of the inside crossed the internet unencrypted"


def test_every_site_reaches_every_other(world: World) -> None:
    for source in SITES:
        for target in SITES:
            if source != target:
                wait_until(lambda a=source, b=target: world.pings(a, b), 5, lambda: world.describe())  # type: ignore[misc]
    assert world.ask("/overlay")["problems"] == []


def test_what_the_machine_of_a_site_sends_itself_comes_from_where_others_can_answer(world: World) -> None:
    for source, target in (("ber", "muc"), ("muc", "ham")):
        wait_until(lambda a=source, b=target: world.pings(a, b), 5, lambda: world.describe())  # type: ignore[misc]
        words = world.at(source).run(["ip", "route", "get", world.host(target)]).split()
        assert words[words.index("src") + 1] == world.host(source)


def test_the_ear_at_the_internet_hears_what_no_route_of_the_agent_is_for(world: World) -> None:
    before = world.ear.heard()
    world.at("ber").run(["sh", "-c", "ping -n -c1 -W0.2 -I 10.1.0.1 10.9.9.9 || true"])
    assert world.ear.heard() == before + 1
    world.ear.listen()


def test_a_site_behind_a_nat_is_not_called_and_calls(world: World) -> None:
    callable_at = {
        name: [one["name"] for one in world.ask(f"/overlay/sites/{name}")["uplinks"] if one["callable"]]
        for name in AGENTS
    }
    assert callable_at == {
        "ber": ["up0", "up1"],
        "muc": ["up0", "up1"],
        "ham": ["up1"],
        RELAY: ["up0", "up1"],
    }
    hidden = [one for one in world.wanted(HIDDEN)["tunnels"] if one["uplink"] == "up0"]
    names = {one["name"] for one in hidden}
    assert names and all(one["endpoint"] for one in hidden)
    others = [
        one for site in ("ber", "muc", RELAY) for one in world.wanted(site)["tunnels"] if one["name"] in names
    ]
    assert len(others) == len(names) and not any(one["endpoint"] for one in others)
    wait_until(lambda: {world.up(HIDDEN).get(name) for name in names} == {"up"}, 10, lambda: world.describe())


def test_a_site_behind_a_nat_that_forgets_is_followed_and_other_tunnels_do_not_notice(world: World) -> None:
    """Its packets come from another address and other ports from one moment to the next; nobody is told."""
    world.wait_settled()
    relay = world.serials()[RELAY]
    hidden, other = (
        next(one for one in world.wanted(HIDDEN)["tunnels"] if one["uplink"] == uplink and one["peer"] == relay)
        for uplink in ("up0", "up1")
    )
    world.signal_controller(signal.SIGSTOP)
    try:
        with (
            through(world, hidden, 7001) as there,
            through(world, hidden, 7002, back=True) as back,
            through(world, other, 7003) as untouched,
        ):
            for _ in range(2):
                before = called_at(world, RELAY, hidden["name"])
                world.underlay.roam(HIDDEN, "up0")
                wait_until(lambda: called_at(world, RELAY, hidden["name"]) != before, 5, "it is not followed")  # noqa: B023
                for receiver in (there, back):
                    more(receiver)
            for receiver in (there, back):
                figure("roaming_silence_ms", receiver.longest_silence_s() * 1e3)
                assert receiver.longest_silence_s() < 0.4
            assert untouched.lost() == 0
        assert {world.up(name)[hidden["name"]] for name in (RELAY, HIDDEN)} == {"up"}
    finally:
        world.signal_controller(signal.SIGCONT)


@contextmanager
def through(world: World, tunnel: Mapping[str, Any], port: int, *, back: bool = False) -> Iterator[Receiver]:
    """A flow through one tunnel of the hidden site to the relay, or back, whatever routes take it."""
    ends = [(world.at(HIDDEN), tunnel["address"]), (world.at(RELAY), tunnel["peer_address"])]
    (source, address), (target, far) = reversed(ends) if back else ends
    with flow(source, address, target, far, port, ENVIRONMENT) as found:
        wait_until(lambda: len(found.read()) > 40, 10, "no packet comes")
        found.forget()
        yield found


def called_at(world: World, name: str, tunnel: str | None) -> str:
    """Where a site's wireguard-go sends the packets of a tunnel."""
    path = f"{SOCKETS}/{world.device(name, tunnel)}.sock"
    said = world.at(name).run([sys.executable, "-c", TUNNEL_STATE, path]).splitlines()
    return next((line for line in said if line.startswith("endpoint=")), "")


TUNNEL_STATE = """
import socket, sys
with socket.socket(socket.AF_UNIX) as link:
    link.connect(sys.argv[1])
    link.sendall(b"get=1\\n\\n")
    with link.makefile() as said:
        for line in iter(said.readline, "\\n"):
            print(line, end="")
"""


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"loss": 0.05}, "loses 5% or more on the way there"),
        ({"delay_ms": 29.0}, "takes 50 ms more than it did"),
    ],
)
def test_an_uplink_that_does_badly_is_left_within_three_seconds_without_a_controller(
    world: World, more: dict[str, float], why: str
) -> None:
    """The delay is of one direction, and both ways it is twice that."""
    world.wait_settled()
    world.signal_controller(signal.SIGSTOP)
    source, target = min(permutations(SITES, 2), key=lambda pair: chose_s(world, *pair))
    wait_until(lambda: time.time() - chose_s(world, source, target) > 60, 65, "it may not choose again yet")
    # What has done badly a moment ago is no better way.
    wait_until(lambda: do_well(world, source), 30, lambda: world.describe())
    taken = world.taken(source, target)
    place = next(one["uplink"] for one in world.wanted(source)["tunnels"] if one["name"] == taken)
    uplink = next(one for one in world.nodes[source].uplinks if one.name == place)
    line = world.underlay.link(source, place)
    try:
        began_s = time.time()
        line.set(**{name: getattr(uplink, name) + much for name, much in more.items()})
        moved_s = wait_until(
            lambda: left_at(world, source, target, f"{taken} {why}"), 10, lambda: world.describe()
        )
        figure("brownout_ms", (moved_s - began_s) * 1e3)
        assert moved_s - began_s < 3
    finally:
        line.set(loss=uplink.loss, delay_ms=uplink.delay_ms)
        world.signal_controller(signal.SIGCONT)


def do_well(world: World, source: str) -> bool:
    """Whether the tunnels of a site are all up, and none loses or takes too much."""
    has = world.has(source)
    return has is not None and all(one.state == "up" and not one.why for one in has.tunnels)


def chose_s(world: World, source: str, target: str) -> float:
    """When a site last moved its route to another for a better one, by its log; 0: never."""
    mine = [line for line in world.log(source).read_text().splitlines() if route_of(world, target) in line]
    return max((logged_s(line) for line in mine if "first that answers" not in line), default=0.0)


def route_of(world: World, target: str) -> str:
    return f"route={world.nodes[target].prefix}"


def logged_s(line: str) -> float:
    return datetime.strptime(line[:23], "%Y-%m-%d %H:%M:%S,%f").astimezone().timestamp()


def left_at(world: World, source: str, target: str, why: str) -> float | None:
    """When a site moved its route to another for this reason, by its log."""
    for line in world.log(source).read_text().splitlines():
        if route_of(world, target) in line and f"why='{why}'" in line:
            return logged_s(line)
    return None


def test_a_silent_cut_is_a_moment_of_silence_without_a_controller(world: World) -> None:
    world.wait_settled()
    beside = beside_ber(world)
    world.signal_controller(signal.SIGSTOP)
    try:
        with world.flow("ber", "muc") as cut, through(world, beside, 7002) as other:
            taken = world.taken("ber", "muc")
            uplink = next(one["uplink"] for one in world.wanted("ber")["tunnels"] if one["name"] == taken)
            world.underlay.link("ber", uplink).cut()
            wait_until(lambda: world.taken("ber", "muc") not in (taken, None), 5, "the route stays")
            more(cut)
            silence_s = cut.longest_silence_s()
            figure("silence_ms", silence_s * 1e3)
            assert silence_s < 0.4
            more(other)
            assert other.lost() == 0
    finally:
        world.signal_controller(signal.SIGCONT)
        for uplink in ("up0", "up1"):
            world.underlay.link("ber", uplink).restore()


def test_an_agent_that_is_killed_and_started_again_loses_nothing(world: World) -> None:
    world.wait_settled()
    before = world.has("muc")
    assert before
    with world.flow("ber", "muc") as there, world.flow("muc", "ham", 7002) as back:
        world.signal_agent("muc", signal.SIGKILL)
        world.start_agent("muc")
        world.wait_settled()
        for receiver in (there, back):
            more(receiver)
            assert receiver.lost() == 0
    after = world.has("muc")
    assert after
    assert {one.name: (one.key, one.port) for one in after.tunnels} == {
        one.name: (one.key, one.port) for one in before.tunnels
    }


def test_a_machine_that_is_started_anew_while_the_controller_is_away_has_all_it_had_and_fails_over(
    world: World,
) -> None:
    world.wait_settled()
    beside = beside_ber(world)
    before = {one.name: (one.key, one.port) for one in world.has("ber").tunnels}  # type: ignore[union-attr]
    world.signal_controller(signal.SIGSTOP)
    try:
        with through(world, beside, 7005) as other:
            world.signal_agent("ber", signal.SIGKILL)
            for pid in world.processes("ber", "wireguard-go"):
                world.at("ber").run(["kill", "-9", str(pid)])
            wait_until(lambda: not world.pings("ber", "muc"), 5, "a tunnel is left")
            world.start_agent("ber")
            wait_until(lambda: world.pings("ber", "muc") and world.pings("ham", "ber"), 20, world.describe)
            wait_until(lambda: set(world.up("ber").values()) == {"up"}, 20, world.describe)
            more(other)
            assert other.lost() == 0
        after = {one.name: (one.key, one.port) for one in world.has("ber").tunnels}  # type: ignore[union-attr]
        assert after == before
        taken = world.taken("ber", "muc")
        uplink = next(one["uplink"] for one in world.wanted("ber")["tunnels"] if one["name"] == taken)
        with world.flow("ber", "muc") as cut:
            world.underlay.link("ber", uplink).cut()
            wait_until(lambda: world.taken("ber", "muc") not in (taken, None), 5, "the route stays")
            more(cut)
            assert cut.longest_silence_s() < 0.4
    finally:
        world.signal_controller(signal.SIGCONT)
        for uplink in ("up0", "up1"):
            world.underlay.link("ber", uplink).restore()
    world.wait_settled()


def test_an_agent_that_finds_its_wanted_state_damaged_lets_nothing_out_and_keeps_what_there_is(
    world: World,
) -> None:
    """Until a controller says again what is wanted; meanwhile even tunnels that die leave no way in the clear."""
    world.wait_settled()
    world.signal_controller(signal.SIGSTOP)
    try:
        with world.flow("ber", "muc") as receiver:
            world.signal_agent("ber", signal.SIGKILL)
            (world.agent_state("ber") / "wanted.json").write_bytes(b"damaged")
            world.start_agent("ber")
            wait_until(lambda: said_of(world, "ber", "what is wanted of this node is not"), 60, world.describe)
            more(receiver)
            assert receiver.lost() == 0
        for pid in world.processes("ber", "wireguard-go"):
            world.at("ber").run(["kill", "-9", str(pid)])
        for target in ("muc", "ham"):
            assert not world.pings("ber", target)
    finally:
        world.signal_controller(signal.SIGCONT)
    world.wait_settled()
    assert world.pings("ber", "muc") and not said_of(world, "ber", "not known")


def said_of(world: World, name: str, words: str) -> bool:
    """Whether an agent names this among its problems."""
    has = world.has(name)
    return has is not None and any(words in problem for problem in has.problems)


def test_where_the_disk_is_full_that_is_said_and_packets_go_on_and_with_room_again_all_is_kept(
    world: World,
) -> None:
    world.wait_settled()
    state = world.agent_state("ber")
    with world.flow("ber", "muc") as receiver:
        fill(state / "full")
        before = kept_generation(world, "ber")
        match = {"protocol": "udp", "ports": "7777"}
        world.call("PUT", "/overlay/classes/other", json={"matches": [match]})
        wait_until(lambda: world.has("ber").generation > before, 20, world.describe)  # type: ignore[union-attr]
        wait_until(lambda: said_of(world, "ber", f"{state}/wanted.json cannot be written"), 10, world.describe)
        assert said_of(world, "ber", "No space left on device") and kept_generation(world, "ber") == before
        (state / "full").unlink()
        wait_until(lambda: not said_of(world, "ber", "cannot be written"), 10, world.describe)
        assert kept_generation(world, "ber") > before
        more(receiver)
        assert receiver.lost() == 0
    world.call("DELETE", "/overlay/classes/other")


def fill(path: Path) -> None:
    """Until not a byte more goes onto its disk."""
    with path.open("wb", buffering=0) as file:
        for size in (1 << 16, 1):
            with suppress(OSError):
                while True:
                    file.write(b"x" * size)


@pytest.mark.parametrize("words", [("run", "--uplink", "up0=up0"), ("clean",)], ids=lambda words: words[0])
def test_beside_an_agent_no_other_runs_or_takes_away_what_is_there_whatever_state_it_has(
    world: World, words: tuple[str, ...], tmp_path: Path
) -> None:
    world.wait_settled()
    copy = tmp_path / "copy"
    shutil.copytree(world.agent_state("ber"), copy, ignore=lambda *_: ["lock", SOCKET])
    before = world.listing("ber")
    with pytest.raises(LabError, match="with another state directory, is at work on this machine; stop it first"):
        world.at("ber").run([sys.executable, "-m", "vte_agent", *words, "--state", f"{copy}"])
    assert world.listing("ber") == before


def kept_generation(world: World, name: str) -> int:
    return int(world.wanted(name)["generation"])


def test_a_second_agent_with_the_state_of_another_is_named_and_other_tunnels_do_not_notice(world: World) -> None:
    world.wait_settled()
    serial = world.serials()["ber"]
    copy = world.directory / "copy"
    shutil.copytree(world.agent_state("ber"), copy, ignore=lambda *_: ["lock", SOCKET])
    words = [sys.executable, "-m", "vte_agent", "run", "--state", f"{copy}", "--uplink", "up0=up0"]
    with world.flow("muc", "ham") as receiver:
        with world.log("copy").open("ab") as log:
            second = world.at(NOC).start(words, output=log, environment=ENVIRONMENT)
        try:
            named = f"two agents have the identity of ber (serial {serial})"
            wait_until(lambda: named in f"{world.ask('/overlay')['problems']}", 20, lambda: world.ask("/overlay"))
            wait_until(lambda: said_of(world, "ber", "another agent came as serial"), 10, world.describe)
        finally:
            os.killpg(second.pid, signal.SIGTERM)
            second.wait(20)
        more(receiver)
        assert receiver.lost() == 0
    # The first one waits for a minute until it tries again; who is at hand starts it again.
    world.signal_agent("ber", signal.SIGKILL)
    world.start_agent("ber")
    world.wait_settled()


def test_a_tunnel_whose_process_is_killed_is_made_anew_and_the_others_do_not_notice(world: World) -> None:
    world.wait_settled()
    beside = beside_ber(world)
    taken = world.taken("ber", "muc")
    before = {one.name: one.port for one in world.has("muc").tunnels}  # type: ignore[union-attr]
    with world.flow("ber", "muc") as receiver, through(world, beside, 7004) as other:
        victim = next(
            pid
            for pid, words in world.processes("ber", "wireguard-go").items()
            if world.device("ber", taken) in words
        )
        world.at("ber").run(["kill", "-9", str(victim)])
        wait_until(lambda: world.up("ber").get(taken or "") != "up", 5, "nobody notices")
        world.wait_settled()
        more(receiver)
        figure("silence_ms", receiver.longest_silence_s() * 1e3)
        assert receiver.longest_silence_s() < 0.5
        more(other)
        assert other.lost() == 0
    after = {one.name: one.port for one in world.has("muc").tunnels}  # type: ignore[union-attr]
    assert after == before


def test_keys_are_replaced_by_age_and_nothing_is_lost(world: World) -> None:
    world.wait_settled()
    before = world.known()
    wait_until(lambda: time.monotonic() - world.settled_s > 30, 35, "keys are of some age")
    world.kill_controller()
    with world.flow("ber", "muc") as receiver, world.flow("muc", "ham", 7002) as other:
        # All are older by now, and those that follow will not be for a while.
        world.start_controller("--overlay-key-age", f"{time.monotonic() - world.settled_s}s")
        wait_until(
            lambda: not before & {n for site in SITES for n in world.up(site)}, 150, lambda: f"{world.describe()}"
        )
        world.kill_controller()
        for each in (receiver, other):
            more(each)
            figure("rotation_lost", each.lost())
            assert each.lost() == 0


def test_a_controller_that_has_lost_its_store_is_followed_again(world: World) -> None:
    before = {site: world.has(site).generation for site in SITES}  # type: ignore[union-attr]
    world.kill_controller()
    for file in world.state.glob("lockstitch.db*"):
        file.unlink()
    world.start_controller()
    wait_until(
        lambda: all((has := world.has(site)) and has.generation > before[site] for site in SITES),
        20,
        lambda: f"{world.sites_now()} {world.describe()}",
    )
    world.wait_settled()
    for source, target in (("ber", "muc"), ("muc", "ham"), ("ham", "ber")):
        wait_until(lambda a=source, b=target: world.pings(a, b), 5, lambda: world.describe())  # type: ignore[misc]


def test_a_database_that_was_changed_brings_no_site_a_peer_that_the_signer_has_not_let_in(world: World) -> None:
    world.wait_settled()
    serials = world.serials()
    world.kill_controller()
    before = {name: kept_generation(world, name) for name in AGENTS}
    with world.flow("ber", "muc") as receiver:
        with closing(sqlite3.connect(world.state / "lockstitch.db")) as database, database:
            (body,) = database.execute("SELECT body FROM overlay").fetchone()
            changed = json.dumps(with_intruder(json.loads(body), max(serials.values())))
            assert f"-{INTRUDER}-" in changed
            database.execute("UPDATE overlay SET body = ?", (changed,))
        world.start_controller()
        world.call("PUT", "/overlay/classes/news", json={"matches": [{"protocol": "udp", "ports": "7778"}]})
        wait_until(lambda: all(kept_generation(world, n) > before[n] for n in AGENTS), 20, world.describe)
        world.wait_settled()
        more(receiver)
        assert receiver.lost() == 0
    for name in AGENTS:
        assert {one["peer"] for one in world.wanted(name)["tunnels"]} <= set(serials.values())
        assert not any(f"{INTRUDER}" in tunnel.split("-") for tunnel in world.up(name))
    world.call("DELETE", "/overlay/classes/news")


INTRUDER = 99


def with_intruder(kept: Any, last: int) -> Any:
    """The same, with a tunnel to somebody else beside each that there is to the member of the last serial."""
    if isinstance(kept, dict):
        return {name: with_intruder(one, last) for name, one in kept.items()}
    if not isinstance(kept, list):
        return kept
    found = [with_intruder(one, last) for one in kept]
    return found + [twin(one, last) for one in found if isinstance(one, dict) and is_to(one, last)]


def is_to(one: Mapping[str, Any], last: int) -> bool:
    return last in (one.get("peer"), one.get("line", {}).get("b"))


def twin(one: Mapping[str, Any], last: int) -> Any:
    text = json.dumps(one).replace(f"-{last}-", f"-{INTRUDER}-")
    for name in ("peer", "b"):
        text = text.replace(f'"{name}": {last}', f'"{name}": {INTRUDER}')
    return json.loads(text)


def test_sites_that_were_alone_for_longer_than_their_certificates_count_are_in_again_by_themselves(
    world: World,
) -> None:
    world.wait_settled()
    with world.flow("ber", "muc") as there, world.flow("muc", "ham", 7002) as back:
        world.kill_controller()
        for name in AGENTS:
            let_expire(world, name)
            wait_until(lambda n=name: any(EXPIRED in one for one in world.has(n).problems), 30, "it is not said")  # type: ignore[misc, union-attr]
        world.start_controller()
        wait_until(
            lambda: all("channel=back" in world.log(name).read_text() for name in AGENTS),
            30,
            lambda: f"{world.describe()}",
        )
        wait_until(lambda: all(one["connected"] for one in world.ask("/overlay/sites")), 20, world.describe)
        for receiver in (there, back):
            more(receiver)
            assert receiver.lost() == 0
    assert all(life_of(channel_file(world, name).read_bytes()).not_after > time.time() for name in AGENTS)


EXPIRED = "the certificate has expired, and there is no other"


def channel_file(world: World, name: str) -> Path:
    return world.agent_state(name) / CERTIFICATE


def let_expire(world: World, name: str) -> None:
    """As if it had been signed three days ago: an agent reads its certificate each time that it calls."""
    member, key = Membership.model_validate_json((world.agent_state(name) / FILE).read_text()), tls_key()
    authority = Authority(world.state, clock=lambda: time.time() - 3 * 86_400)
    own = member.open()
    signed = authority.sign_client(csr_of(key), own.serial, own.name)
    Keeping(world.agent_state(name)).write(CERTIFICATE, bundle(key, signed, authority.pem))


def test_an_agent_that_is_told_to_stop_leaves_nothing(world: World) -> None:
    world.wait_settled()
    world.signal_agent("ham", signal.SIGTERM)
    after = world.listing("ham")
    assert after == world.clean["ham"], {
        k: (v, world.clean["ham"][k]) for k, v in after.items() if v != world.clean["ham"][k]
    }
    with astray(world, "ham") as count:
        world.start_agent("ham")
        world.wait_settled()
        assert count() == 0


def test_what_a_tunnel_sends_leaves_by_no_other_uplink_when_its_own_goes_away(world: World) -> None:
    world.wait_settled()
    at = world.at("ham")
    lost = [
        line.split()
        for line in at.run(["ip", "route", "show", "table", "all"]).splitlines()
        if " dev up1" in line and "proto" not in line and line.startswith("default")
    ]

    def are_gone() -> bool:
        wanted = [one["uplink"] for one in world.wanted("ham")["tunnels"]]
        return "up1" not in wanted and at.run(["ip", "-br", "link"]).count("\nls") == len(wanted)

    with astray(world, "ham") as count:
        at.run(["ip", "link", "set", "up1", "down"])
        wait_until(are_gone, 30, world.describe)
        assert count() == 0
    assert not any("7902" in rule for rule in at.run(["ip", "rule"]).splitlines())
    at.run(["ip", "link", "set", "up1", "up"])
    for route in lost:
        at.run(["ip", "route", "replace", *route])
    world.wait_settled()


@contextmanager
def astray(world: World, site: str) -> Iterator[Callable[[], int]]:
    """How many outer packets of a site leave by another uplink than that of their tunnel."""
    mask = f"{MASK | UPLINK_MASK:#x}"
    lines = ["add table inet astray", "add chain inet astray out { type filter hook output priority 0; }"]
    for number, uplink in enumerate(world.nodes[site].uplinks, 1):
        outer = f"meta mark & {mask} == {outer_mark(number):#x}"
        lines.append(f'add rule inet astray out {outer} oifname != "{uplink.name}" counter')
    at = world.at(site)
    at.run(["nft", "-f", "-"], stdin="\n".join(lines))
    try:
        yield lambda: sum(
            map(int, re.findall(r"packets (\d+)", at.run(["nft", "list", "table", "inet", "astray"])))
        )
    finally:
        at.run(["nft", "delete", "table", "inet", "astray"])


def test_no_private_key_is_in_a_log_a_report_the_api_or_the_database(world: World) -> None:
    world.wait_settled()
    directory, secrets = world.directory, dict[str, bytes]()
    for name in AGENTS:
        for what, text in json.loads((world.agent_state(name) / "identity.json").read_text()).items():
            secrets[f"{what} of {name}"] = bytes.fromhex(text)
        for number, line in enumerate(world.at(name).run([sys.executable, "-c", TUNNEL_KEYS]).splitlines()):
            what, text = line.split("=")
            kind = {"private_key": "tunnel key", "preshared_key": "pair secret"}[what]
            secrets[f"{kind} {number} of {name}"] = bytes.fromhex(text)
        secrets[f"channel key of {name}"] = numbers_of((world.agent_state(name) / "channel.pem").read_bytes())
    assert len(secrets) > 6 * len(AGENTS)
    assert any(what.startswith("pair secret") for what in secrets)
    for file in ("overlay-ca.key", "overlay-server.key"):
        secrets[file] = numbers_of((world.state / file).read_bytes())
    secrets["policy key"] = (directory / "signer" / "policy.key").read_bytes()
    secrets["state key"] = (world.state / "overlay-state.key").read_bytes()
    assert all(len(secret) == 32 for secret in secrets.values())
    files = (*directory.glob("*.log"), *world.state.glob("*.db*"))
    places = {str(path): path.read_bytes() for path in files if path.stat().st_size}
    places |= {f"status of {name}": ask_status(world.agent_state(name)).encode() for name in AGENTS}
    for path in ("", "/sites", "/sites/ber", "/tunnels", "/card"):
        places[f"API {path}"] = json.dumps(world.ask(f"/overlay{path}")).encode()
    places["ledger"] = (directory / "signer" / "ledger.db").read_bytes()
    assert {f"{name}.log" for name in AGENTS} | {"lockstitch.db"} <= {Path(where).name for where in places}
    assert all(places.values())
    # What is public of them is there, so what is looked at is what it should be.
    assert world.wanted("ber")["tunnels"][0]["peer_key"]["payload"].encode() in places["status of muc"] + b"".join(
        places[f"status of {name}"] for name in AGENTS
    )
    found = [
        (what, where)
        for what, secret in secrets.items()
        for where, content in places.items()
        if any(spelling in content for spelling in spellings(secret))
    ]
    assert not found


TUNNEL_KEYS = """
import glob, socket
for path in glob.glob("/run/wireguard/*.sock"):
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(path)
        link.sendall(b"get=1\\n\\n")
        with link.makefile() as said:
            for line in iter(said.readline, "\\n"):
                if line.startswith(("private_key=", "preshared_key=")):
                    print(line, end="")
"""


def numbers_of(pem: bytes) -> bytes:
    """The number that a key on P-256 is."""
    key: Any = serialization.load_pem_private_key(pem, None)
    return bytes(key.private_numbers().private_value.to_bytes(32))


def test_who_is_revoked_is_out_everywhere_within_two_seconds(world: World) -> None:
    world.wait_settled()
    serial = world.serials()["muc"]
    gone = set(world.up("muc"))
    with world.flow("ber", "muc") as receiver, world.flow("muc", "ham", 7002) as back:
        began_s = time.time()
        world.operator.revoke(serial)
        wait_until(
            lambda: not gone & {name for site in ("ber", "ham", RELAY) for name in world.up(site)},
            5,
            lambda: world.describe(),
        )
        wait_until(lambda: not world.processes("muc", "wireguard-go"), 5, "it keeps a tunnel")
        for each in (receiver, back):
            last_s = max(one.at_s for one in each.read())
            figure("revoked_ms", (last_s - began_s) * 1e3)
            assert last_s - began_s < 2
    assert world.pings("ber", "ham")


def beside_ber(world: World) -> Mapping[str, Any]:
    """A tunnel that is always there, as a relay is a hub for all, and in which ber has no part."""
    relay = world.serials()[RELAY]
    return next(one for one in world.wanted(HIDDEN)["tunnels"] if (one["peer"], one["uplink"]) == (relay, "up1"))


def more(receiver: Receiver) -> None:
    """Packets go on coming."""
    seen = len(receiver.read())
    wait_until(lambda: len(receiver.read()) > seen + 60, 5, "no packet comes any more")
