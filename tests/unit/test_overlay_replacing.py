"""Tunnels are replaced by others beside them, never changed, and nothing stays half-way."""

import itertools
from collections import Counter
from dataclasses import replace
from ipaddress import IPv4Network

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from stitching.overlay.replacing import EndReport, Replacing, SiteReport, step
from stitching.overlay.sites import Pair
from stitching.overlay.tunnels import Line, Phase, Tunnel, TunnelBook, TunnelSpec, addresses, line_name
from tests.unit.overlay_world import reports_of

LINE = Line(1, "wan0", 2, "wan0", "wireguard")
SPEC = TunnelSpec()
POLICY = Replacing(key_age_s=1000, at_once=2, drain_s=5, coming_s=60, retry_s=30, leaving_s=600)


def established(line: Line = LINE) -> TunnelBook:
    book = step(TunnelBook(), {line: SPEC}, {}, 0.0, 1, policy=POLICY).book
    return step(book, {line: SPEC}, reports_of(book.tunnels(), 1), 1.0, 2, policy=POLICY).book


def phases(book: TunnelBook, line: Line = LINE) -> dict[int, Phase]:
    return {tunnel.number: tunnel.phase for tunnel in book.lines[line].tunnels}


def test_a_first_tunnel_carries_when_both_ends_call_it_up() -> None:
    book = step(TunnelBook(), {LINE: SPEC}, {}, 0.0, 1).book
    assert phases(book) == {1: Phase.COMING}
    one_end = {1: reports_of(book.tunnels(), 1)[1]}
    assert phases(step(book, {LINE: SPEC}, one_end, 1.0, 2).book) == {1: Phase.COMING}
    assert phases(step(book, {LINE: SPEC}, reports_of(book.tunnels(), 1), 1.0, 2).book) == {1: Phase.ACTIVE}


def test_another_mtu_is_another_tunnel_beside_the_one_there_is() -> None:
    wanted = {LINE: TunnelSpec(mtu=1400)}
    book = step(established(), wanted, {}, 10.0, 3, policy=POLICY).book
    assert phases(book) == {1: Phase.ACTIVE, 2: Phase.COMING}
    book = step(book, wanted, reports_of(book.tunnels(), 3), 11.0, 4, policy=POLICY).book
    assert phases(book) == {1: Phase.LEAVING, 2: Phase.ACTIVE}
    # Both have carried out the new plan, but one end still uses the old tunnel: it stays.
    old = book.lines[LINE].tunnels[0].name
    reports = reports_of(book.tunnels(), 4, used=[old])
    assert phases(step(book, wanted, reports, 30.0, 5, policy=POLICY).book)[1] is Phase.LEAVING
    book = step(book, wanted, reports_of(book.tunnels(), 4), 30.0, 5, policy=POLICY).book
    assert phases(book) == {1: Phase.GONE, 2: Phase.ACTIVE}
    book = step(book, wanted, reports_of(book.tunnels(), 5), 31.0, 6, policy=POLICY).book
    assert phases(book) == {2: Phase.ACTIVE}


def test_what_a_site_said_before_it_knew_the_new_plan_does_not_count() -> None:
    wanted = {LINE: TunnelSpec(epoch=1)}
    book = step(established(), wanted, {}, 10.0, 3, policy=POLICY).book
    book = step(book, wanted, reports_of(book.tunnels(), 3), 11.0, 4, policy=POLICY).book
    assert (
        phases(step(book, wanted, reports_of(book.tunnels(), 3), 30.0, 5, policy=POLICY).book)[1] is Phase.LEAVING
    )


def test_keys_are_replaced_by_age() -> None:
    book = established()
    assert step(book, {LINE: SPEC}, {}, 800.0, 3, policy=POLICY).book is book
    stepped = step(book, {LINE: SPEC}, {}, 1001.0, 3, policy=POLICY)
    assert phases(stepped.book) == {1: Phase.ACTIVE, 2: Phase.COMING}
    assert "keys are old" in stepped.events[0]


STAR = tuple(Line(1, "wan0", site, f"wan{n}", "wireguard") for site in range(2, 9) for n in range(2))


@given(
    ages=st.permutations([float(10 * place) for place in range(1, 1 + len(STAR))]),
    at_once=st.integers(1, 5),
    asked=st.sets(st.sampled_from(STAR), max_size=3),
    down=st.sets(st.sampled_from(STAR), max_size=3),
)
def test_few_are_replaced_at_a_time_those_asked_for_first_and_then_the_oldest(
    ages: list[float], at_once: int, asked: set[Line], down: set[Line]
) -> None:
    """In a star whose tunnels are all due."""
    wanted, policy = dict.fromkeys(STAR, SPEC), replace(POLICY, key_age_s=1.0, at_once=at_once)
    made = step(TunnelBook(), wanted, {}, 0.0, 1, policy=policy).book
    aged = {
        line: replace(state, tunnels=tuple(replace(one, made_at_s=-age) for one in state.tunnels))
        for (line, state), age in zip(made.lines.items(), ages, strict=True)
    }
    book, age = replace(made, lines=aged), dict(zip(STAR, ages, strict=True))
    wanted |= dict.fromkeys(asked, TunnelSpec(epoch=1))
    book = step(book, dict.fromkeys(STAR, SPEC), reports_of(book.tunnels(), 1), 1.0, 2).book
    silent = {one.name for one in book.tunnels() if one.line in down}
    turns = sorted(STAR, key=lambda line: (line not in asked, line in down, -age[line]))
    for turn in range(0, len(turns), at_once):
        reports = reports_of(book.tunnels(), turn, down=silent)
        book = step(book, wanted, reports, 2.0, 3 + turn, policy=policy).book
        coming = {one.line for one in book.tunnels() if one.phase is Phase.COMING}
        assert coming == set(turns[turn : turn + at_once])


def test_one_that_does_not_come_up_is_given_up_and_tried_again_ever_more_rarely() -> None:
    book, wanted, tried = established(), {LINE: TunnelSpec(mtu=1300)}, []
    for second in range(10, 2000):
        silent = reports_of([one for one in book.tunnels() if one.number == 1], second)
        stepped = step(book, wanted, silent, float(second), second, policy=POLICY)
        tried += [second for event in stepped.events if " comes" in event]
        book = stepped.book
        assert phases(book)[1] is Phase.ACTIVE
    waits = [later - sooner for sooner, later in itertools.pairwise(tried)]
    assert waits == [90, 120, 180, 300, 540]


def test_another_transport_takes_over_before_the_first_one_goes() -> None:
    ipsec = replace(LINE, transport="ipsec")
    book = step(established(), {ipsec: SPEC}, reports_of(established().tunnels(), 2), 10.0, 3, policy=POLICY).book
    assert (phases(book), phases(book, ipsec)) == ({1: Phase.ACTIVE}, {1: Phase.COMING})
    book = step(book, {ipsec: SPEC}, reports_of(book.tunnels(), 3), 11.0, 4, policy=POLICY).book
    book = step(book, {ipsec: SPEC}, reports_of(book.tunnels(), 4), 12.0, 5, policy=POLICY).book
    assert (phases(book), phases(book, ipsec)) == ({1: Phase.LEAVING}, {1: Phase.ACTIVE})


def test_a_silent_end_keeps_what_it_has_however_long_another_transport_is_wanted() -> None:
    ipsec, book = replace(LINE, transport="ipsec"), established()
    for second in range(10, 10 * int(POLICY.leaving_s), 60):
        spoken = {1: reports_of([one for one in book.tunnels() if one.line == LINE], second)[1]}
        book = step(book, {ipsec: SPEC}, spoken, float(second), second, policy=POLICY).book
        assert phases(book) == {1: Phase.ACTIVE}
    down = {1: SiteReport(second, {book.lines[LINE].tunnels[0].name: EndReport("down")})}
    assert phases(step(book, {ipsec: SPEC}, down, 1e6, second, policy=POLICY).book) == {1: Phase.LEAVING}


@pytest.mark.parametrize("silent", [False, True])
def test_a_forbidden_tunnel_goes_even_where_an_end_has_no_other_way_or_says_nothing(silent: bool) -> None:
    gone_after_s = {}
    for forbidden in (frozenset[Pair](), frozenset({LINE.pair})):
        book, second = established(), 10
        while phases(book) != {1: Phase.GONE}:
            names = [one.name for one in book.tunnels()]
            reports = {} if silent else reports_of(book.tunnels(), second, used=names)
            stepped = step(book, {}, reports, float(second), second, policy=POLICY, forbidden=forbidden)
            book, second = stepped.book, second + 1
        gone_after_s[forbidden] = second - 11
    assert gone_after_s == {frozenset(): POLICY.leaving_s, frozenset({LINE.pair}): POLICY.forbidden_s}


def test_a_member_that_left_is_not_waited_for() -> None:
    book = step(established(), {}, {1: SiteReport(9)}, 10.0, 9, policy=POLICY, departed=[2]).book
    assert book.tunnels() == ()
    assert step(book, {}, {1: SiteReport(9)}, 11.0, 10, policy=POLICY, departed=[2]).book.lines == {}


def test_a_full_range_says_so() -> None:
    book = TunnelBook(overlay_range=IPv4Network("100.96.0.0/31"))
    wanted = {LINE: SPEC, replace(LINE, b=3): SPEC}
    stepped = step(book, wanted, {}, 0.0, 1)
    assert len(stepped.book.tunnels()) == 1
    assert "give the overlay a wider range" in stepped.events[1]


def test_names_fit_messages() -> None:
    line = Line((1 << 62), "u" * 63, (1 << 63) - 1, "w" * 63, "wireguard")
    assert len(f"{line_name(line)}-v99999") <= 63


LINES = [Line(a, up, b, "x", how) for a, b in ((1, 2), (1, 3)) for up in "xy" for how in ("wireguard", "ipsec")]


class Agents(RuleBasedStateMachine):
    """Three agents that hear late, and a controller that changes its mind at will.

    Their books hold eight tunnels: addresses come back soon, and would come back too soon if they could.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now_s, self.generation = 0.0, 0
        self.book = TunnelBook(overlay_range=IPv4Network("100.96.0.0/27"))
        self.wanted: dict[Line, TunnelSpec] = {}
        self.has: dict[int, tuple[Tunnel, ...]] = {1: (), 2: (), 3: ()}
        self.carried_out = dict.fromkeys(self.has, 0)
        self.reports: dict[int, SiteReport] = {}

    @rule(
        line=st.sampled_from(LINES),
        spec=st.sampled_from([None, SPEC, TunnelSpec(mtu=1400), TunnelSpec(epoch=1)]),
    )
    def want(self, line: Line, spec: TunnelSpec | None) -> None:
        if spec is None:
            self.wanted.pop(line, None)
        else:
            self.wanted[line] = spec

    @rule(seconds=st.sampled_from([1.0, 6.0, 61.0, 700.0, 1100.0]))
    def decide(self, seconds: float) -> None:
        self.now_s += seconds
        self.generation += 1
        before = {line for line in self.book.lines if self.carrying(line)}
        asked = {line.pair for line in self.wanted}
        self.book = step(self.book, self.wanted, self.reports, self.now_s, self.generation, policy=POLICY).book
        for line in before:
            # Where something carried and is still asked for, something carries.
            if line.pair in asked:
                assert any(self.carrying(other) for other in self.book.lines if other.pair == line.pair)

    @rule(serial=st.sampled_from([1, 2, 3]))
    def hear(self, serial: int) -> None:
        self.has[serial] = tuple(one for one in self.book.tunnels() if serial in one.line.pair)
        self.carried_out[serial] = self.generation

    @rule(serial=st.sampled_from([1, 2, 3]), used=st.booleans(), up=st.booleans())
    def say(self, serial: int, used: bool, up: bool) -> None:
        ends = {tunnel.name: EndReport("up" if up else "down", used) for tunnel in self.has[serial]}
        self.reports[serial] = SiteReport(self.carried_out[serial], ends)

    @precondition(lambda self: self.wanted)
    @rule()
    def all_is_well_after_a_while(self) -> None:
        for _ in range(40):
            for serial in self.has:
                self.hear(serial)
                self.say(serial, used=False, up=True)
            self.decide(6.0)
        for line, state in self.book.lines.items():
            spec = self.wanted.get(line)
            assert spec is not None
            young = [one for one in state.tunnels if one.phase is Phase.ACTIVE]
            assert len(young) == 1 and young[0].spec == spec
        assert set(self.book.lines) == set(self.wanted)

    def carrying(self, line: Line) -> bool:
        active = self.book.lines[line].of(Phase.ACTIVE)
        if active is None:
            return False
        reports = [self.reports.get(serial) for serial in line.pair]
        ends = [report.tunnels.get(active.name) for report in reports if report is not None]
        return len(ends) == 2 and all(end is not None and end.state == "up" for end in ends)

    @invariant()
    def a_line_has_two_tunnels_at_most(self) -> None:
        for state in self.book.lines.values():
            assert sum(one.wanted for one in state.tunnels) <= 2

    @invariant()
    def few_of_a_site_are_replaced_at_a_time(self) -> None:
        replaced = [state for state in self.book.lines.values() if state.of(Phase.ACTIVE)]
        coming = [one for state in replaced if (one := state.of(Phase.COMING)) is not None]
        for serial in self.has:
            assert sum(serial in one.line.pair for one in coming) <= POLICY.at_once

    @invariant()
    def a_tunnel_never_changes(self) -> None:
        kept = {tunnel.name: tunnel for state in self.book.lines.values() for tunnel in state.tunnels}
        for tunnels in self.has.values():
            for tunnel in tunnels:
                now = kept.get(tunnel.name)
                assert now is None or (now.spec, now.slot, now.line) == (tunnel.spec, tunnel.slot, tunnel.line)

    @invariant()
    def no_address_is_given_to_two_while_somebody_may_have_it(self) -> None:
        named: dict[object, str] = {}
        everyone = [*self.book.tunnels(), *(one for tunnels in self.has.values() for one in tunnels)]
        for tunnel in everyone:
            for address in addresses(self.book.overlay_range, tunnel.slot):
                assert named.setdefault(address, tunnel.name) == tunnel.name
        counts = Counter(one.slot for state in self.book.lines.values() for one in state.tunnels)
        assert not counts or max(counts.values()) == 1


Agents.TestCase.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestAgents = Agents.TestCase
