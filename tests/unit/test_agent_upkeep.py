"""Tunnels follow what is wanted: what is used stays, whose peer is revoked goes, and nothing is done twice."""

from __future__ import annotations

import itertools
from dataclasses import replace
from ipaddress import ip_address

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from vte_agent.protocol.transport import Transport
from vte_agent.tunnels.contract import LocalEnd, PeerEnd, TunnelSpec
from vte_agent.upkeep import DRAIN_S, LAST_RETRY_S, Connect, Create, Delete, Goal, Step, Upkeep, Use

NAMES = ("a.1", "a.2", "b.1", "c.1")
SERIALS = {"a.1": 1, "a.2": 1, "b.1": 2, "c.1": 3}
ALL = frozenset(SERIALS.values())
SECRET = b"s" * 32


def goal(name: str, *, peer: PeerEnd | None = None, mtu: int = 1400) -> Goal:
    spec = TunnelSpec(
        name, f"ls{name}", ip_address("10.0.0.1"), ip_address("100.96.0.0"), ip_address("100.96.0.1"), mtu
    )
    return Goal(spec, Transport.WIREGUARD, SERIALS[name], peer)


def carry_out(upkeep: Upkeep, steps: list[Step]) -> None:
    for step in steps:
        upkeep.done(step, LocalEnd(5000, None) if isinstance(step, Create) else None)


def settled(upkeep: Upkeep, use: Use, now_s: float) -> list[Step]:
    """All steps until there are none."""
    done: list[Step] = []
    while steps := upkeep.steps(use, now_s):
        carry_out(upkeep, steps)
        done += steps
        assert len(done) < 50
    return done


def test_a_tunnel_is_made_and_connected_when_the_other_end_has_said_its_key() -> None:
    upkeep = Upkeep()
    upkeep.want({"a.1": goal("a.1")}, ALL, 0.0)
    assert [type(step) for step in settled(upkeep, Use(), 0.0)] == [Create]
    peer = PeerEnd(None, SECRET, None)
    upkeep.want({"a.1": goal("a.1", peer=peer)}, ALL, 1.0)
    assert settled(upkeep, Use(), 1.0) == [Connect(goal("a.1", peer=peer), peer)]


def test_what_takes_over_is_there_before_what_it_takes_over_from_goes() -> None:
    upkeep = Upkeep()
    upkeep.want({"a.1": goal("a.1")}, ALL, 0.0)
    settled(upkeep, Use(), 0.0)
    upkeep.want({"a.2": goal("a.2")}, ALL, 1.0)
    used = Use(ours=frozenset({"a.1"}))
    assert [type(step) for step in settled(upkeep, used, 1.0)] == [Create]
    assert settled(upkeep, Use(theirs=frozenset({"a.1"})), 1.0 + 0.9 * DRAIN_S) == []
    assert [type(step) for step in settled(upkeep, Use(theirs=frozenset({"a.1"})), 1.0 + DRAIN_S)] == [Delete]


def test_the_tunnel_to_a_revoked_peer_goes_at_once_and_is_not_made_again() -> None:
    upkeep = Upkeep()
    goals = {name: goal(name) for name in NAMES}
    upkeep.want(goals, ALL, 0.0)
    settled(upkeep, Use(), 0.0)
    upkeep.want(goals, ALL - {1}, 1.0)
    everything = Use(frozenset(NAMES), frozenset(NAMES))
    gone = {step.name for step in settled(upkeep, everything, 1.0) if isinstance(step, Delete)}
    assert gone == {"a.1", "a.2"}
    assert set(upkeep.standing) == {"b.1", "c.1"}


def test_what_fails_is_tried_again_ever_more_rarely_and_the_others_go_on() -> None:
    upkeep = Upkeep()
    upkeep.want({"a.1": goal("a.1"), "b.1": goal("b.1")}, ALL, 0.0)
    now_s, tried_s = 0.0, []
    while now_s < 200.0:
        for step in upkeep.steps(Use(), now_s):
            if isinstance(step, Create) and step.goal.spec.name == "a.1":
                tried_s.append(now_s)
                upkeep.failed(step, "no", now_s)
            else:
                carry_out(upkeep, [step])
        now_s += 0.5
    assert "b.1" in upkeep.standing
    pauses_s = [after - before for before, after in itertools.pairwise(tried_s)]
    assert pauses_s[:5] == [1.0, 2.0, 4.0, 8.0, 16.0]
    assert set(pauses_s[5:]) == {LAST_RETRY_S}


class Tunnels(RuleBasedStateMachine):
    """Anything is wanted, used, revoked, lost and refused, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.upkeep = Upkeep()
        self.now_s = 0.0
        self.goals: dict[str, Goal] = {}
        self.members = ALL
        self.use = Use()
        self.unwanted_s: dict[str, float] = {}

    @initialize()
    def begin(self) -> None:
        self.want(frozenset(NAMES), ALL, 1400)

    @rule(
        names=st.frozensets(st.sampled_from(NAMES)),
        members=st.frozensets(st.sampled_from(sorted(ALL))),
        mtu=st.sampled_from([1400, 1300]),
    )
    def want(self, names: frozenset[str], members: frozenset[int], mtu: int) -> None:
        self.goals = {name: goal(name, mtu=mtu) for name in names}
        self.members = members
        for name in NAMES:
            if name in names:
                self.unwanted_s.pop(name, None)
            else:
                self.unwanted_s.setdefault(name, self.now_s)
        self.upkeep.want(self.goals, members, self.now_s)

    @rule(ours=st.frozensets(st.sampled_from(NAMES)), theirs=st.frozensets(st.sampled_from(NAMES)))
    def used(self, ours: frozenset[str], theirs: frozenset[str]) -> None:
        self.use = Use(ours, theirs)

    @rule(after_s=st.sampled_from([0.1, 1.0, DRAIN_S, LAST_RETRY_S]))
    def time_goes_by(self, after_s: float) -> None:
        self.now_s += after_s

    @rule(name=st.sampled_from(NAMES))
    def one_is_lost(self, name: str) -> None:
        self.upkeep.lost(name)

    @rule(works=st.lists(st.booleans(), max_size=6))
    def a_round(self, works: list[bool]) -> None:
        for step, does in zip(self.upkeep.steps(self.use, self.now_s), works, strict=False):
            self._check(step)
            if does:
                carry_out(self.upkeep, [step])
            else:
                self.upkeep.failed(step, "refused", self.now_s)

    def _check(self, step: Step) -> None:
        if not isinstance(step, Delete):
            assert step.goal.serial in self.members
            assert self.goals[step.goal.spec.name] == step.goal
            return
        there = self.upkeep.standing[step.name]
        if there.goal.serial not in self.members or step.name in self.goals:
            assert there.goal.serial not in self.members
            return
        assert step.name not in self.use.ours
        assert step.name not in self.use.theirs or self.now_s - self.unwanted_s[step.name] >= DRAIN_S

    @invariant()
    def it_ends_where_it_is_wanted(self) -> None:
        """From anywhere, once all works and nothing is used any more."""
        upkeep = Upkeep(dict(self.upkeep.standing), dict(self.upkeep.failures))
        upkeep.want(self.goals, self.members, self.now_s)
        settled(upkeep, Use(), self.now_s + LAST_RETRY_S + DRAIN_S)
        # An MTU is no reason to make a tunnel anew.
        wanted = {name: goal(name) for name, one in self.goals.items() if one.serial in self.members}
        standing = {name: there.goal for name, there in upkeep.standing.items()}
        assert {name: replace(one, spec=replace(one.spec, mtu=1400)) for name, one in standing.items()} == wanted
        assert not upkeep.failures.keys() & wanted.keys()


Tunnels.TestCase.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)
TestTunnels = Tunnels.TestCase
