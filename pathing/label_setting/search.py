"""Label setting: partial paths from the source, each with its sums, extended in order of their lower bounds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import NamedTuple

from pathing.label_setting.arcs import Least
from pathing.label_setting.problem import Problem
from pathing.label_setting.question import ROUNDING

MOST_LIMITS = 3
_GOAL = -1

# The state at an arc's far end, its position, what it adds to charge, weight and the limited sums, and by how much
# these grow at least from there to the end.
Move = tuple[int, int, tuple[float, ...], tuple[float, ...]]


class Label(NamedTuple):
    """A partial path: `key` bounds the charge of every path it can become, `before` is it without its last arc."""

    key: float
    number: int
    state: int
    charge: float
    weight: float
    first: float
    second: float
    third: float
    before: Label | None
    position: int


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """The lightest walk found, by positions of its arcs, None if none is lighter than asked, and its weight.

    No walk is lighter than `bound`, which is below the weight only where the `labels` made were not enough.
    """

    walk: list[int] | None
    weight: float
    bound: float
    labels: int


@dataclass(frozen=True, eq=False)
class Bounded:
    """A problem with lower bounds: the least of the charge, of the weight and of each limited sum.

    A path's charge is its weight and, for each limited sum, its price; `allowance` is the price of all limits.
    """

    problem: Problem
    allowance: float
    least: tuple[Least, ...]


class _States:
    """Where a label can be: a node, the stops left to take, the watched nodes met. Numbered as they are met.

    A watched node is not entered a second time; stops and watched nodes are bits.
    """

    def __init__(self, bounded: Bounded, watched: Sequence[int]) -> None:
        self._bounded = bounded
        problem = bounded.problem
        self._watched = {node: 1 << bit for bit, node in enumerate(watched)}
        self._stop_at_node: dict[int, int] = {}
        self._stop_at_link: dict[int, int] = {}
        for bit, stop in enumerate(problem.arcs.stops):
            of = self._stop_at_node if stop.link is None else self._stop_at_link
            key = stop.entry if stop.link is None else stop.link
            of[key] = of.get(key, 0) | 1 << bit
        self._numbers: dict[tuple[int, int, int], int] = {}
        self._states: list[tuple[int, int, int]] = []
        self._moves: list[list[Move] | None] = []
        self._fronts: dict[int, list[Label]] = {}
        self._least: dict[int, list[list[float]]] = {}
        unlimited = [[0.0] * problem.arcs.size] * (MOST_LIMITS - len(problem.limits))
        self._added = [bounded.least[0].lengths.tolist(), *problem.sums().tolist(), *unlimited]
        self._links = problem.arcs.links.tolist()
        self.start = self._number(problem.arcs.start, (1 << len(problem.arcs.stops)) - 1, 0)

    def _number(self, node: int, left: int, met: int) -> int:
        state = (node, left, met)
        if state not in self._numbers:
            self._numbers[state] = len(self._states)
            self._states.append(state)
            self._moves.append(None)
        return self._numbers[state]

    def front(self, number: int) -> list[Label]:
        """The labels of all states at the node of this one of which none is as good as another."""
        return self._fronts.setdefault(self._states[number][0], [])

    def as_good(self, one: int, other: int) -> bool:
        """Whether each way on from the other state is open to the first: no more stops left or nodes met."""
        if one == other:
            return True
        _, left, met = self._states[one]
        _, other_left, other_met = self._states[other]
        return not (left & ~other_left or met & ~other_met)

    def moves(self, number: int) -> list[Move]:
        """All ways on from a state."""
        moves = self._moves[number]
        if moves is None:
            moves = self._moves[number] = self._found(*self._states[number])
        return moves

    def _found(self, node: int, left: int, met: int) -> list[Move]:
        arcs, moves = self._bounded.problem.arcs, []
        for position in range(arcs.first[node], arcs.first[node + 1]):
            head = arcs.head_list[position]
            bit = self._watched.get(head, 0)
            if bit & met:
                continue
            still = left & ~self._stop_at_node.get(head, 0) & ~self._stop_at_link.get(self._links[position], 0)
            if head == arcs.end and still:
                continue
            onward = tuple(to_go[head] for to_go in self._to_go(still))
            if math.inf in onward:
                continue
            state = _GOAL if head == arcs.end else self._number(head, still, met | bit)
            moves.append((state, position, tuple(values[position] for values in self._added), onward))
        return moves

    def _to_go(self, left: int) -> list[list[float]]:
        known = left & self._bounded.least[0].all_left
        if known not in self._least:
            lists = [least.to_go[known].tolist() for least in self._bounded.least]
            unlimited = [[0.0] * self._bounded.problem.arcs.n_nodes] * (2 + MOST_LIMITS - len(lists))
            self._least[known] = lists + unlimited
        return self._least[known]


def lightest_walk(bounded: Bounded, watched: Sequence[int], below: float, label_budget: int) -> Outcome:
    """Find the lightest walk that keeps all limits, takes all stops and enters no watched node twice.

    Only walks lighter than `below` are sought. A label is dropped when one of the same state is no worse in any
    sum, when the least that it must still add breaks a limit, or when its weight or its charge can no longer end
    below that of the best walk.
    """
    states = _States(bounded, watched)
    most = [*bounded.problem.most.tolist(), *[math.inf] * MOST_LIMITS]
    most_first, most_second, most_third = most[:MOST_LIMITS]
    most_weight, most_charge = _cuts(below, bounded.allowance)
    start = Label(bounded.least[0].total(), 0, states.start, 0.0, 0.0, 0.0, 0.0, 0.0, None, -1)
    open_labels, dropped, made = [start], set[int](), 0
    goal, lightest = None, below
    while open_labels and made < label_budget:
        label = heappop(open_labels)
        if label.key > most_charge:
            break
        if label.number in dropped:
            continue
        _, _, state, charge_0, weight_0, first_0, second_0, third_0, _, _ = label
        for to, position, added, onward in states.moves(state):
            charge_on, weight_on, first_on, second_on, third_on = onward
            charge, weight = charge_0 + added[0], weight_0 + added[1]
            if charge + charge_on > most_charge or weight + weight_on >= most_weight:
                continue
            first, second, third = first_0 + added[2], second_0 + added[3], third_0 + added[4]
            if first + first_on > most_first or second + second_on > most_second or third + third_on > most_third:
                continue
            made += 1
            new = Label(charge + charge_on, made, to, charge, weight, first, second, third, label, position)
            if to == _GOAL:
                goal, lightest = new, weight
                most_weight, most_charge = _cuts(weight, bounded.allowance)
            elif _enters(states, new, dropped):
                heappush(open_labels, new)
    left = made >= label_budget and open_labels and open_labels[0].key <= most_charge
    bound = min(open_labels[0].key - bounded.allowance, lightest) if left else lightest
    return Outcome(None if goal is None else _walk(goal), lightest, bound, made)


def _cuts(weight: float, allowance: float) -> tuple[float, float]:
    """From which weight, and above which charge, a walk is no lighter than `weight`.

    A charge is a sum of numbers that may be far larger than the weight: rounding may only make it too lenient.
    """
    return weight * (1.0 - ROUNDING), (weight + allowance) * (1.0 + ROUNDING)


def _enters(states: _States, new: Label, dropped: set[int]) -> bool:
    """Put a label among those at its node unless one of them is as good; those it is as good as are dropped."""
    front = states.front(new.state)
    _, _, state, _, weight, first, second, third, _, _ = new
    for label in front:
        if (
            label[4] <= weight
            and label[5] <= first
            and label[6] <= second
            and label[7] <= third
            and states.as_good(label[2], state)
        ):
            return False
    kept = [
        label
        for label in front
        if not (
            weight <= label[4]
            and first <= label[5]
            and second <= label[6]
            and third <= label[7]
            and states.as_good(state, label[2])
        )
    ]
    if len(kept) < len(front):
        dropped.update({label.number for label in front} - {label.number for label in kept})
        front[:] = kept
    front.append(new)
    return True


def _walk(goal: Label) -> list[int]:
    walked, label = [], goal
    while label.before is not None:
        walked.append(label.position)
        label = label.before
    return walked[::-1]
