"""An agent believes what is signed by whom it has to be and nothing that is older than what it knows."""

from __future__ import annotations

import errno
import itertools
import os
from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network, collapse_addresses, ip_network
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import create_model

from tests.unit.trust_world import Clock, public, wanted_for
from vte_agent import believing, identity
from vte_agent import membership as members
from vte_agent.believing import (
    ACCEPTED_FILE,
    GUARDED_FILE,
    HIGHEST_FILE,
    WANTED_FILE,
    Believer,
    NotBelieved,
    Older,
    Standing,
)
from vte_agent.held import allowed
from vte_agent.identity import FILE, Identity, PairSecrets, WeakKey, load_or_make
from vte_agent.keeping import CannotKeep, Keeping
from vte_agent.membership import ROLL_FILE, Membership
from vte_agent.protocol import signed as signed_module
from vte_agent.protocol.base import Prefix, public_text
from vte_agent.protocol.members import Member, Roll
from vte_agent.protocol.signed import Signed
from vte_agent.protocol.transport import Transport
from vte_agent.protocol.wanted import Wanted, WantedLink, WantedRoute, WantedTunnel

POLICY, CONTROLLER, FOREIGN = (Ed25519PrivateKey.generate() for _ in range(3))
KEYS = {serial: Identity(Ed25519PrivateKey.generate(), X25519PrivateKey.generate()) for serial in range(1, 6)}
CLOCK_S = 1_700_000_000.0
DAY_S = 86_400
FAR, FARTHER = ip_network("10.2.0.0/24"), ip_network("10.3.0.0/24")
OWN, RANGE = ip_network("10.1.0.0/24"), ip_network("10.255.0.0/16")


def member(serial: int, **changed: Any) -> Member:
    own = KEYS[serial]
    plain = Member(
        serial=serial,
        name=f"n{serial}",
        identity=own.public_identity,
        pairing=own.public_pairing,
        not_after=int(CLOCK_S) + 30 * DAY_S,
    )
    return plain.model_copy(update=changed)


def a_roll(epoch: int = 1, key: Ed25519PrivateKey = POLICY, **changed: Any) -> Signed:
    roll = Roll(
        epoch=epoch,
        issued_at=int(CLOCK_S),
        not_after=int(CLOCK_S) + DAY_S,
        controllers=(public(CONTROLLER),),
        prefixes=(OWN, FAR, FARTHER),
        ranges=(RANGE,),
    )
    return Signed.of(roll.model_copy(update=changed), key)


def tunnel(peer: int, name: str = "", key: Signed | None = None) -> WantedTunnel:
    return WantedTunnel(
        name=name or f"t{peer}",
        peer=peer,
        transport=Transport.WIREGUARD,
        uplink="wan",
        address=IPv4Address("10.255.0.1"),
        peer_address=IPv4Address("10.255.0.2"),
        peer_key=key,
    )


def with_peers(generation: int, *peers: int, roll: Signed | None = None) -> Signed:
    return wanted_for(
        1,
        roll or a_roll(),
        CONTROLLER,
        generation,
        peers=tuple(Signed.of(member(peer), POLICY) for peer in peers),
        tunnels=tuple(tunnel(peer) for peer in peers),
    )


class World:
    def __init__(self, directory: Path) -> None:
        self.clock = Clock(CLOCK_S)
        self.directory = directory
        self.membership = Membership(
            controllers=("127.0.0.1:1",),
            authority="",
            policy_key=public(POLICY),
            member=Signed.of(member(1, prefixes=(OWN,)), POLICY),
        )
        self.restart()

    def restart(self) -> None:
        self.keeping = Keeping(self.directory)
        self.believer = Believer(self.membership, self.keeping, self.clock)

    @property
    def peers(self) -> set[int]:
        return set(self.believer.judge().peers)

    @property
    def problems(self) -> str:
        return "; ".join(self.believer.judge().problems)


@pytest.fixture(autouse=True)
def disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """A crash of the machine is not tried here, and a busy disk takes its time."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "agent")


def test_peers_of_a_wanted_state_are_taken_with_their_tunnels_and_keys(world: World) -> None:
    key = KEYS[2].sign_tunnel_key(2, "t2", KEYS[3].public_pairing)
    world.believer.take_roll(a_roll())
    wanted = wanted_for(
        1,
        a_roll(),
        CONTROLLER,
        peers=(Signed.of(member(2), POLICY),),
        tunnels=(tunnel(2, "t2", key), tunnel(2, "t")),
    )
    assert world.believer.take_wanted(wanted)
    believed = world.believer.judge()
    assert (believed.standing, set(believed.peers), believed.problems) == (Standing.CURRENT, {2}, ())
    assert [one.name for one in believed.tunnels] == ["t2", "t"]
    assert believed.keys == {"t2": KEYS[3].public_pairing}
    assert not world.believer.take_wanted(wanted)


def test_nothing_is_wanted_before_a_roll_says_by_whom(world: World) -> None:
    with pytest.raises(NotBelieved, match="no roll has come yet"):
        world.believer.take_wanted(with_peers(1, 2))
    assert world.believer.judge().standing is Standing.NONE


@pytest.mark.parametrize("key", [CONTROLLER, FOREIGN])
def test_a_roll_of_anybody_else_is_none(world: World, key: Ed25519PrivateKey) -> None:
    with pytest.raises(NotBelieved, match="not signed by a key"):
        world.believer.take_roll(a_roll(key=key))


def test_an_older_roll_is_refused_also_after_a_restart(world: World) -> None:
    assert world.believer.take_roll(a_roll(5))
    assert not world.believer.take_roll(a_roll(5))
    for _ in range(2):
        with pytest.raises(Older, match="epoch 4 is older than 5"):
            world.believer.take_roll(a_roll(4))
        with pytest.raises(NotBelieved, match="two rolls of epoch 5"):
            world.believer.take_roll(a_roll(5, revoked=(3,)))
        world.restart()


def test_an_older_wanted_state_is_refused_also_after_a_restart(world: World) -> None:
    world.believer.take_roll(a_roll())
    world.believer.take_wanted(with_peers(7, 2))
    for _ in range(2):
        with pytest.raises(Older, match="generation 6 is not above 7"):
            world.believer.take_wanted(with_peers(6, 3))
        with pytest.raises(Older, match="generation 7 is not above 7"):
            world.believer.take_wanted(with_peers(7, 3))
        assert world.peers == {2} and world.believer.generation == 7
        world.restart()


def test_a_wanted_state_is_for_one_agent_and_by_a_controller_of_the_roll(world: World) -> None:
    world.believer.take_roll(a_roll())
    with pytest.raises(NotBelieved, match="of serial 2, not of 1"):
        world.believer.take_wanted(wanted_for(2, a_roll(), CONTROLLER))
    for key in (FOREIGN, POLICY):
        with pytest.raises(NotBelieved, match="not signed by a key"):
            world.believer.take_wanted(wanted_for(1, a_roll(), key))


def test_a_peer_that_the_policy_key_has_not_signed_is_left_out_by_name(world: World) -> None:
    world.believer.take_roll(a_roll())
    forged = Signed.of(member(3), CONTROLLER)
    wanted = wanted_for(
        1, a_roll(), CONTROLLER, peers=(Signed.of(member(2), POLICY), forged), tunnels=(tunnel(2), tunnel(3))
    )
    world.believer.take_wanted(wanted)
    assert world.peers == {2}
    assert [one.peer for one in world.believer.judge().tunnels] == [2]
    assert "peer 2 of 2 is not accepted: the Member is not signed" in world.problems
    assert "tunnel t3 leads to serial 3, who is not accepted" in world.problems


def test_a_tunnel_whose_key_its_peer_has_not_signed_is_left_out(world: World) -> None:
    world.believer.take_roll(a_roll())
    forged = KEYS[3].sign_tunnel_key(2, "t2", KEYS[3].public_pairing)
    peers = (Signed.of(member(2), POLICY),)
    world.believer.take_wanted(wanted_for(1, a_roll(), CONTROLLER, peers=peers, tunnels=(tunnel(2, key=forged),)))
    assert world.believer.judge().tunnels == () and "tunnel t2: the TunnelKey is not signed" in world.problems


def test_who_is_revoked_is_out_whatever_is_wanted(world: World) -> None:
    world.believer.take_roll(a_roll())
    world.believer.take_wanted(with_peers(1, 2, 3))
    world.believer.take_roll(a_roll(2, revoked=(3,)))
    assert world.peers == {2}
    # The state that was written before is still the newest one; the known roll counts, not the one in it.
    world.believer.take_wanted(with_peers(2, 2, 3))
    assert world.peers == {2} and "n3 (serial 3) is revoked" in world.problems
    assert "older" not in world.problems


def test_a_later_roll_in_a_wanted_state_counts(world: World) -> None:
    world.believer.take_roll(a_roll())
    world.believer.take_wanted(with_peers(1, 2, 3, roll=a_roll(2, revoked=(3,))))
    assert world.peers == {2}


def test_who_is_revoked_itself_has_no_peers(world: World) -> None:
    world.believer.take_roll(a_roll())
    world.believer.take_wanted(with_peers(1, 2))
    world.believer.take_roll(a_roll(2, revoked=(1,)))
    assert world.believer.judge().standing is Standing.OUT and world.peers == set()
    assert "this node (serial 1) is revoked" in world.problems


def test_with_an_expired_roll_what_runs_goes_on_and_nobody_new_is_taken(world: World) -> None:
    world.believer.take_roll(a_roll())
    world.believer.take_wanted(with_peers(1, 2))
    assert world.peers == {2}
    world.clock.now_s += DAY_S
    world.believer.take_wanted(with_peers(2, 2, 3))
    for _ in range(2):
        assert world.believer.judge().standing is Standing.EXPIRED and world.peers == {2}
        assert "the roll has expired: what runs goes on" in world.problems
        assert "n3 (serial 3) is new and waits for a current roll" in world.problems
        world.restart()
    world.believer.take_roll(a_roll(2, not_after=int(CLOCK_S) + 2 * DAY_S))
    assert world.peers == {2, 3} and world.problems == ""


def test_a_late_roll_still_revokes(world: World) -> None:
    world.believer.take_roll(a_roll())
    world.believer.take_wanted(with_peers(1, 2, 3))
    assert world.peers == {2, 3}
    world.clock.now_s += 2 * DAY_S
    world.believer.take_roll(a_roll(2, revoked=(3,)))
    assert world.believer.judge().standing is Standing.EXPIRED and world.peers == {2}


def test_a_member_expires_and_no_clock_revives_it(world: World) -> None:
    later = int(CLOCK_S) + 31 * DAY_S
    world.believer.take_roll(a_roll())
    world.believer.take_wanted(with_peers(1, 2))
    world.believer.take_roll(a_roll(2, issued_at=later, not_after=later + DAY_S))
    for _ in range(2):
        # By its clock it is a month earlier; but the signer has signed since.
        assert world.peers == set() and "n2 (serial 2) has expired" in world.problems
        assert "this clock is behind" in world.problems
        world.restart()


def test_a_clock_that_jumps_ahead_and_comes_back_leaves_nothing_behind(world: World) -> None:
    world.believer.take_roll(a_roll())
    world.believer.take_wanted(with_peers(1, 2))
    assert world.peers == {2}
    world.clock.now_s += 3650 * DAY_S
    assert world.believer.judge().standing is Standing.EXPIRED and world.peers == set()
    world.clock.now_s -= 3650 * DAY_S
    assert world.peers == {2} and world.problems == ""


def test_a_full_disk_is_named_and_nothing_else_happens(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.believer.take_roll(a_roll())

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        assert world.believer.take_roll(a_roll(2)) and world.believer.take_wanted(with_peers(4, 2))
        assert world.peers == {2}
        assert f"{WANTED_FILE} cannot be written (No space left on device); make room" in world.problems
        with pytest.raises(Older):
            world.believer.take_wanted(with_peers(3, 2))
    # The disk has room again: the next look at things stores them.
    assert world.problems == ""
    world.restart()
    assert world.believer.generation == 4 and world.peers == {2}
    assert not list(world.directory.glob(".*"))


@pytest.mark.parametrize("name", [ROLL_FILE, WANTED_FILE, ACCEPTED_FILE, HIGHEST_FILE, GUARDED_FILE])
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=50))
def test_a_damaged_file_is_named_and_what_comes_mends_it(
    tmp_path_factory: pytest.TempPathFactory, name: str, content: bytes
) -> None:
    world = World(tmp_path_factory.mktemp("agent") / "state")
    world.believer.take_roll(a_roll())
    world.believer.take_wanted(with_peers(1, 2))
    world.believer.judge()
    world.keeping.write(name, content)
    world.restart()
    assert name in world.problems
    world.believer.take_roll(a_roll(2))
    world.believer.take_wanted(with_peers(2, 2))
    assert world.peers == {2} and world.problems == ""


def with_a_route(generation: int, *peers: int, roll: Signed | None = None, prefix: Prefix = FAR) -> Signed:
    route = WantedRoute(prefixes=(prefix,), tunnels=("t2",))
    more = {"peers": tuple(Signed.of(member(one), POLICY) for one in peers), "routes": (route,)}
    return wanted_for(
        1, roll or a_roll(), CONTROLLER, generation, tunnels=tuple(tunnel(one) for one in peers), **more
    )


def damage(world: World) -> None:
    world.keeping.write(WANTED_FILE, b"\0garbage")


def distrust(world: World) -> None:
    """As when a controller's key is replaced: where the tunnels of the other one have theirs is another range."""
    world.believer.take_roll(a_roll(2, controllers=(public(FOREIGN),), ranges=()))


def test_while_it_runs_a_controller_that_is_trusted_no_more_takes_no_tunnel_along(world: World) -> None:
    world.believer.take_roll(a_roll(1, ranges=()))
    world.believer.take_wanted(with_a_route(7, 2, 3, roll=a_roll(2)))
    before = world.believer.judge()
    for epoch, controllers in ((3, ()), (4, (public(FOREIGN),))):
        world.believer.take_roll(a_roll(epoch, controllers=controllers, ranges=()))
        after = world.believer.judge()
        assert (after.tunnels, after.wanted, after.keys) == (before.tunnels, before.wanted, before.keys)
        assert len(after.tunnels) == 2 and world.problems == ""


@pytest.mark.parametrize("loses", [damage, distrust])
def test_where_the_kept_state_does_not_count_any_more_it_is_not_known_what_is_wanted_and_not_nothing(
    world: World, loses: Callable[[World], None]
) -> None:
    world.believer.take_roll(a_roll())
    world.believer.take_wanted(with_a_route(7, 2, 3))
    world.believer.judge()
    loses(world)
    for _ in range(2):
        world.restart()
        believed = world.believer.judge()
        assert believed.standing is Standing.CURRENT and not believed.is_known and not believed.names_all
        assert believed.guarded == {FAR} and not believed.banned
        assert "wanted.json is not taken up" in world.problems
        assert "what is wanted of this node is not known" in world.problems
    # Who was let out meanwhile: what is known to lead there does not stay.
    world.believer.take_roll(a_roll(3, revoked=(3,), controllers=(public(CONTROLLER),)))
    assert world.believer.judge().banned == ({"t3"} if loses is damage else set())
    if loses is distrust:
        # Its signer is trusted again, so what it had signed counts again.
        assert world.believer.judge().is_known and world.peers == {2} and world.problems.count("t3") == 1


@pytest.mark.parametrize("loses", [damage, distrust])
def test_nothing_older_is_taken_after_the_state_itself_was_lost_and_controllers_hear_what_they_have_to_pass(
    world: World, loses: Callable[[World], None]
) -> None:
    world.believer.take_roll(a_roll())
    world.believer.take_wanted(with_peers(7, 2))
    loses(world)
    world.restart()
    key = FOREIGN if loses is distrust else CONTROLLER
    with pytest.raises(Older, match="generation 6 is not above 7"):
        world.believer.take_wanted(wanted_for(1, a_roll(), key, 6))
    assert world.believer.judge().generation == 7, "a controller that lost its store goes on from here"
    # The same as the last one is not older: a controller that has its store sends it to whoever connects.
    assert world.believer.take_wanted(wanted_for(1, a_roll(), key, 7)) and world.believer.judge().is_known
    with pytest.raises(Older, match="generation 7 is not above 7"):
        world.believer.take_wanted(wanted_for(1, a_roll(5), key, 7))
    assert world.believer.take_wanted(wanted_for(1, a_roll(), key, 8)) and world.problems == ""


def test_no_older_roll_revives_anybody_after_the_roll_itself_was_lost(world: World) -> None:
    world.believer.take_roll(a_roll(5, revoked=(3,)))
    world.keeping.write(ROLL_FILE, b"")
    world.restart()
    with pytest.raises(Older, match="epoch 4 is older than 5"):
        world.believer.take_roll(a_roll(4))
    assert world.believer.take_roll(a_roll(5, revoked=(3,))) and world.problems == ""


def test_what_was_ever_wanted_over_tunnels_is_guarded_also_after_a_restart(world: World) -> None:
    world.believer.take_roll(a_roll())
    world.believer.take_wanted(with_a_route(1, 2))
    world.believer.take_wanted(with_a_route(2, 2, prefix=FARTHER))
    for _ in range(2):
        assert world.believer.judge().guarded == {FAR, FARTHER}
        world.restart()
    world.keeping.write(GUARDED_FILE, b"{")
    world.restart()
    # What the state itself says is still known.
    assert world.believer.judge().guarded == {FARTHER} and GUARDED_FILE in world.problems


def test_a_controller_cannot_fill_the_memory_with_prefixes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(believing, "MOST_GUARDED", 1)
    world.believer.take_roll(a_roll())
    world.believer.take_wanted(with_a_route(1, 2))
    with pytest.raises(NotBelieved, match="'vte-agent clean' forgets"):
        world.believer.take_wanted(with_a_route(2, 2, prefix=FARTHER))
    assert world.believer.generation == 1 and world.believer.judge().guarded == {FAR}


def test_a_signature_is_verified_once_however_often_it_is_judged_and_what_is_wanted_no_more_is_forgotten(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    verified: list[bytes] = []
    verifies = signed_module._verifies

    def counted(key: str, signature: bytes, data: bytes) -> bool:
        verified.append(data)
        return verifies(key, signature, data)

    monkeypatch.setattr(signed_module, "_verifies", counted)
    keys = {one: KEYS[one].sign_tunnel_key(one, f"t{one}", KEYS[one].public_pairing) for one in (2, 3)}
    forged = Signed.of(member(4), FOREIGN)
    world.believer.take_roll(a_roll())
    for generation, who in ((1, (2, 3)), (2, (2,))):
        tunnels = tuple(tunnel(one, key=keys[one]) for one in who)
        peers = (*(Signed.of(member(one), POLICY) for one in who), forged)
        world.believer.take_wanted(wanted_for(1, a_roll(), CONTROLLER, generation, peers=peers, tunnels=tunnels))
        assert world.peers == set(who)
        verified.clear()
        for _ in range(3):
            assert world.peers == set(who) and set(world.believer.judge().keys) == {f"t{one}" for one in who}
            assert "peer" in world.problems and "is not signed by a key that may say so" in world.problems
        assert not verified
        assert len(world.believer._opened._known) == 2 * len(who) + 1
    # What was verified once is judged anew each time.
    world.believer.take_roll(a_roll(2, revoked=(2,)))
    assert world.peers == set()


def test_a_state_of_another_version_is_refused_by_name_and_what_comes_mends_it(world: World) -> None:
    """What an agent kept before it was brought up to date may say what is not known any more."""
    other = create_model("Wanted", __base__=Wanted, watch=(str | None, None))
    world.believer.take_roll(a_roll())
    world.believer.take_wanted(with_peers(1, 2))
    state = other(generation=1, serial=1, roll=a_roll())
    world.keeping.write(WANTED_FILE, Signed.of(state, CONTROLLER).model_dump_json().encode())
    world.restart()
    assert f"{WANTED_FILE} is not taken up: what is signed is no Wanted that is understood here" in world.problems
    assert world.believer.generation == 0 and world.peers == set()
    world.believer.take_wanted(with_peers(1, 2))
    assert world.peers == {2} and world.problems == ""


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.integers(0, 5), st.sets(st.integers(2, 5)), st.booleans(), st.booleans()),
        max_size=12,
    )
)
def test_in_any_order_only_later_things_of_the_right_signers_count(
    tmp_path_factory: pytest.TempPathFactory, events: list[tuple[int, int, set[int], bool, bool]]
) -> None:
    world = World(tmp_path_factory.mktemp("agent") / "state")
    epoch, generation, revoked, wanted = -1, 0, frozenset[int](), frozenset[int]()
    seen: dict[int, frozenset[int]] = {}
    for new_epoch, new_generation, who, of_roll, forged in events:
        if of_roll:
            signed = a_roll(new_epoch, FOREIGN if forged else POLICY, revoked=tuple(sorted(who)))
            try:
                world.believer.take_roll(signed)
            except NotBelieved:
                assert forged or new_epoch < epoch or seen[new_epoch] != who
            else:
                assert not forged and new_epoch >= epoch
                epoch, revoked = new_epoch, frozenset(who)
                seen[epoch] = revoked
        else:
            peers = tuple(Signed.of(member(one), POLICY) for one in sorted(who))
            inner = a_roll(0, revoked=tuple(sorted(seen.get(0, ()))))
            signed = wanted_for(1, inner, FOREIGN if forged else CONTROLLER, new_generation, peers=peers)
            try:
                taken = world.believer.take_wanted(signed)
            except NotBelieved:
                assert forged or epoch < 0 or new_generation <= generation
            else:
                if taken:
                    assert not forged and new_generation > generation
                    generation, wanted = new_generation, frozenset(who)
        if new_generation % 2:
            world.restart()
        assert world.peers == (wanted - revoked if epoch >= 0 else set())
        assert world.believer.generation == generation


def test_keys_are_made_once_and_are_private(tmp_path: Path) -> None:
    keeping = Keeping(tmp_path / "agent")
    own = load_or_make(keeping)
    again = load_or_make(Keeping(tmp_path / "agent"))
    assert (own.public_identity, own.public_pairing) == (again.public_identity, again.public_pairing)
    assert keeping.path(FILE).stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "agent").stat().st_mode & 0o777 == 0o700
    assert own.identity.private_bytes_raw().hex() not in repr(own)
    keeping.path(FILE).chmod(0o644)
    with pytest.raises(CannotKeep, match="can be used by others"):
        load_or_make(keeping)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=60) | st.just(b'{"identity":"00","pairing":"00"}'))
def test_damaged_keys_are_named_and_not_shown(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    keeping = Keeping(tmp_path_factory.mktemp("agent") / "state")
    keeping.write(FILE, content)
    with pytest.raises(CannotKeep, match="is damaged; put it back") as caught:
        load_or_make(keeping)
    assert caught.value.__suppress_context__
    keeping.write(members.FILE, content)
    with pytest.raises(CannotKeep, match="is damaged"):
        members.load(keeping)


def test_a_pair_has_one_secret_for_each_tunnel_and_nobody_else_has_it() -> None:
    one, two, three = (member(serial) for serial in (1, 2, 3))
    secret = KEYS[1].pair_secret(one, two, "t1")
    assert KEYS[2].pair_secret(two, one, "t1") == secret and len(secret) == 32
    others = {
        KEYS[1].pair_secret(one, two, "t2"),
        KEYS[1].pair_secret(one, three, "t1"),
        KEYS[3].pair_secret(one, two, "t1"),
        KEYS[1].pair_secret(one.model_copy(update={"serial": 4}), two, "t1"),
        KEYS[1].pair_secret(one, two.model_copy(update={"serial": 4}), "t1"),
    }
    assert len(others) == 5 and secret not in others


def test_a_secret_that_was_found_before_is_that_of_the_same_keys_and_tunnel_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(identity, "_SECRETS_KEPT", 3)
    secrets = PairSecrets(KEYS[1], member(1))
    asked = [member(2), member(2, pairing=member(3).pairing), member(3), member(2)]
    for peer, name in itertools.product(asked, ("t1", "t2", "t1")):
        assert secrets.of(peer, name) == KEYS[1].pair_secret(member(1), peer, name)


@pytest.mark.parametrize("weak", [bytes(32), (1).to_bytes(32, "little")])
def test_a_pairing_key_of_low_order_is_refused(weak: bytes) -> None:
    with pytest.raises(WeakKey, match=r"n2 \(serial 2\) is a weak one"):
        KEYS[1].pair_secret(member(1), member(2, pairing=public_text(weak)), "t1")


def led(generation: int = 1, *prefixes: str, roll: Signed | None = None, **more: Any) -> Signed:
    """All of these led into the tunnel to member 2, as its key says a controller may."""
    routes = tuple(WantedRoute(prefixes=(ip_network(one),), tunnels=("t2",)) for one in prefixes)
    wished = {"peers": (Signed.of(member(2), POLICY),), "tunnels": (tunnel(2),), "routes": routes, **more}
    return wanted_for(1, roll or a_roll(), CONTROLLER, generation, **wished)


def routed(world: World) -> set[str]:
    wanted = world.believer.judge().wanted
    return {str(one) for route in wanted.routes for one in route.prefixes} if wanted is not None else set()


STRANGE = ("0.0.0.0/0", "::/0", "192.0.2.53/32", "10.2.0.0/23", "10.0.0.0/8", "10.255.0.0/24", "10.4.0.0/24")
"""Everything; a resolver; more than a member has; more than one address of the tunnels' own; what nobody has."""


@pytest.mark.parametrize("prefix", STRANGE)
def test_a_controller_leads_nothing_into_tunnels_that_no_member_has(world: World, prefix: str) -> None:
    world.believer.take_roll(a_roll())
    assert world.believer.take_wanted(led(1, prefix, "10.2.0.0/25", "10.255.255.1/32"))
    for _ in range(2):
        believed = world.believer.judge()
        assert routed(world) == {"10.2.0.0/25", "10.255.255.1/32"} and set(believed.keys) | world.peers == {2}
        assert f"route to {prefix} is refused: no member has that prefix" in world.problems
        # Nor is it kept from leaving where it leaves now.
        assert ip_network(prefix) not in believed.guarded and len(believed.guarded) == 2
        world.restart()


@pytest.mark.parametrize("prefix", ["10.1.0.0/24", "10.1.0.128/25", "10.0.0.0/15", "10.1.0.1/32"])
def test_a_controller_leads_nothing_of_the_site_itself_away(world: World, prefix: str) -> None:
    world.believer.take_roll(a_roll(prefixes=(ip_network("10.0.0.0/14"),)))
    world.believer.take_wanted(led(1, prefix, str(FAR)))
    assert routed(world) == {str(FAR)} and world.believer.judge().guarded == {FAR}
    assert f"route to {prefix} is refused: it is this site's own" in world.problems


def test_tunnels_and_links_have_no_addresses_but_those_that_the_signer_has_for_them(world: World) -> None:
    resolver, inside = IPv4Address("192.0.2.53"), IPv4Address("10.255.0.9")
    tunnels = (
        tunnel(2),
        tunnel(2, "to").model_copy(update={"peer_address": resolver}),
        tunnel(2, "at").model_copy(update={"address": resolver}),
    )
    links = (
        WantedLink(name="good", vni=1, local=inside, remote=IPv4Address("10.255.0.10")),
        WantedLink(name="bad", vni=2, local=resolver, remote=inside),
    )
    world.believer.take_roll(a_roll())
    world.believer.take_wanted(led(1, tunnels=tunnels, links=links))
    believed = world.believer.judge()
    assert [one.name for one in believed.tunnels] == ["t2"]
    assert believed.wanted is not None and [one.name for one in believed.wanted.links] == ["good"]
    where = "is not where the signer says that tunnels have their addresses"
    assert f"tunnel to, at is refused: {resolver} {where}" in world.problems
    assert f"link bad is refused: {resolver} {where}" in world.problems


def test_what_a_member_has_is_led_to_it_once_the_roll_says_so_and_no_longer_than_that(world: World) -> None:
    nothing = a_roll(prefixes=())
    world.believer.take_roll(nothing)
    world.believer.take_wanted(led(1, str(FAR), roll=nothing))
    assert routed(world) == set() and not world.believer.judge().guarded
    world.believer.take_roll(a_roll(2))
    assert routed(world) == {str(FAR)} and world.problems == ""
    world.believer.take_roll(a_roll(3, prefixes=(FARTHER,)))
    assert routed(world) == set()
    for _ in range(2):
        assert world.believer.judge().guarded == {FAR}, "what went by tunnels does not go in the clear"
        world.restart()


def test_one_that_is_out_goes_by_no_route_that_no_member_has_either(world: World) -> None:
    world.believer.take_roll(a_roll())
    world.believer.take_wanted(led(1, "0.0.0.0/0", str(FAR)))
    world.believer.take_roll(a_roll(2, revoked=(1,)))
    assert world.believer.judge().standing is Standing.OUT and routed(world) == {str(FAR)}


@given(
    held=st.lists(st.integers(0, 15), max_size=16),
    own=st.integers(0, 15),
    network=st.integers(0, 255),
    length=st.integers(24, 32),
)
def test_a_route_is_allowed_where_every_address_of_it_is_a_members_and_none_is_the_sites_own(
    held: list[int], own: int, network: int, length: int
) -> None:
    """Sixteen networks of sixteen addresses each; the roll has neighbours in one, as the signer writes it."""
    nets = [IPv4Network((0x0A000000 + 16 * place, 28)) for place in range(16)]
    prefix = IPv4Network((0x0A000000 + network, length), strict=False)
    roll = a_roll(prefixes=tuple(collapse_addresses(nets[place] for place in held))).open(Roll, [public(POLICY)])
    wanted = led(1, str(prefix)).open(Wanted, [public(CONTROLLER)])
    found = allowed(wanted, roll, member(1, prefixes=(nets[own],)))
    covered = {address for place in held for address in nets[place]}
    expected = all(address in covered and address not in nets[own] for address in prefix)
    assert bool(found.wanted.routes) is expected and bool(found.problems) is not expected
