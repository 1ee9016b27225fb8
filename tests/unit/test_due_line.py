"""Probes are sent when a look at every watch would send them, without looking at every watch."""

from __future__ import annotations

from contextlib import closing
from copy import deepcopy

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from ryu_apps.stitches.due import DueLine
from ryu_apps.stitches.watch import PROVE_EVERY_S, WATCH_EVERY_S, Watch

NUMBERS = st.integers(1, 6)
DIRECTIONS = st.integers(0, 3)
PAUSES_S = st.sampled_from([0.0, 0.02, PROVE_EVERY_S, 0.3, WATCH_EVERY_S, 5.0])


class Lines(RuleBasedStateMachine):
    """The same watches twice: one half is looked at one after another, the other by its line."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 100.0
        self.plain: dict[int, Watch] = {}
        self.lined: dict[int, Watch] = {}
        self.line = DueLine()
        self.away: set[int] = set()

    @rule(number=NUMBERS, directions=DIRECTIONS, max_loss=st.none() | st.just(0.1))
    def watch(self, number: int, directions: int, max_loss: float | None) -> None:
        made = Watch.over(directions, self.now_s, None, max_loss)
        self.plain[number], self.lined[number] = made, deepcopy(made)
        self.line.put(number, self.lined[number])

    @rule(number=NUMBERS)
    def forget(self, number: int) -> None:
        for watches in (self.plain, self.lined):
            watches.pop(number, None)
        self.line.drop(number)

    @rule(number=NUMBERS, direction=DIRECTIONS)
    def hear(self, number: int, direction: int) -> None:
        for watches in (self.plain, self.lined):
            if number in watches:
                watches[number].heard(direction, 1.0)
        if number in self.lined:
            self.line.put(number, self.lined[number])

    @rule(number=NUMBERS)
    def switch_comes_or_goes(self, number: int) -> None:
        self.away ^= {number}

    @rule(pause_s=PAUSES_S)
    def tick(self, pause_s: float) -> None:
        self.now_s += pause_s
        due = {
            number: self.sent(number, watch) for number, watch in self.plain.items() if watch.is_due(self.now_s)
        }
        found = {}
        with closing(self.line.due(self.now_s)) as line:
            for number in line:
                assert number not in found, "each once"
                found[number] = self.sent(number, self.lined[number])
                self.line.put(number, self.lined[number])
        assert found == due
        assert self.plain == self.lined

    @rule(pause_s=PAUSES_S, most=st.integers(1, 3))
    def tick_for_some(self, pause_s: float, most: int) -> None:
        """Where there is time for some only, it is those who wait longest."""
        self.now_s += pause_s
        waiting = sorted(watch.next_s for watch in self.lined.values() if watch.next_s <= self.now_s)
        sent = []
        with closing(self.line.due(self.now_s)) as line:
            for number in line:
                if self.lined[number].next_s <= self.now_s:
                    sent.append(self.lined[number].next_s)
                for watches in (self.plain, self.lined):
                    self.sent(number, watches[number])
                self.line.put(number, self.lined[number])
                if len(sent) == most:
                    break
        assert sent == waiting[:most]

    @rule(number=NUMBERS, other=NUMBERS)
    def begin_anew_amid_a_tick(self, number: int, other: int) -> None:
        with closing(self.line.due(self.now_s)) as line:
            for at in line:
                for watches in (self.plain, self.lined):
                    self.sent(at, watches[at])
                self.line.put(at, self.lined[at])
                for one in {number, other} & self.lined.keys():
                    self.watch(one, 2, None)

    def sent(self, number: int, watch: Watch) -> tuple[int, ...]:
        if number in self.away:
            watch.skip(self.now_s)
            return ()
        return watch.due(self.now_s)

    @invariant()
    def probes_are_counted(self) -> None:
        assert len(self.line._heap) < 100
        for proven in (True, False):
            weight = sum(watch.weight for watch in self.plain.values() if watch.proven is proven)
            assert self.line.weights[proven] == weight


TestLines = Lines.TestCase


def test_what_is_not_due_is_not_looked_at() -> None:
    line = DueLine()
    for number in range(10_000):
        line.put(number, Watch(0.0, (), next_s=1.0 + number))
    assert list(line.due(0.5)) == []
    assert list(line.due(3.5)) == [0, 1, 2]
