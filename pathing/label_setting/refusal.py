"""Why no path satisfies the constraints: which one is at fault, and the nearest value of it that would work."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from decimal import ROUND_FLOOR
from typing import Any, NamedTuple

import numpy as np

from pathing.constraints import Constraints
from pathing.errors import Fault, NoPath
from pathing.label_setting.lightest import OutOfLabels, lightest
from pathing.label_setting.nearest import least_limit, rounded
from pathing.label_setting.problem import Problem, in_numbers
from pathing.label_setting.question import ROUNDING, Question, ask, free_mbps
from pathing.shortest import shortest_path

# What constraints are when they ask for nothing.
_NOTHING = {field.name: field.default for field in fields(Constraints)}


class _Remedy(NamedTuple):
    """What would have worked instead of one constraint; as in `Fault`."""

    text: str
    nearest: float | None = None
    unmeasured: bool = False


def refusal(question: Question, problem: Problem, label_budget: int) -> NoPath:
    """Give the error for a question without an answer, and the question in numbers.

    A constraint that rules out every path by itself is named before those that do so only together. Each
    candidate costs a search of its own; one that takes more than the budget is passed over.
    """
    src, dst, asked = question.src, question.dst, question.fields
    try:
        shortest_path(question.topology, src, dst, question.weights)
    except NoPath as without_constraints:
        return without_constraints
    alone = [field for field in asked if len(asked) == 1 or _rules_out_all(question, problem, field, label_budget)]
    if len(alone) > 1:
        return _several(question, alone, label_budget)
    for field in alone or asked:
        remedy = _within_budget(question, problem, field, label_budget)
        if remedy is not None:
            joint = "" if alone else f"{_listed(asked)} cannot be met together; "
            fault = Fault(field, remedy.nearest, remedy.unmeasured)
            return NoPath(src, dst, f"{joint}{field}: {remedy.text}", field, remedy.nearest, (fault,))
    if alone:
        others = "no change of it is known to help with the other constraints as they are"
        return NoPath(src, dst, f"{alone[0]} rules out every path, and {others}", alone[0])
    reason = f"{_listed(asked)} cannot be met together, and no change of one of them is known to help"
    return NoPath(src, dst, reason, faults=tuple(Fault(field) for field in asked))


def _several(question: Question, alone: Sequence[str], label_budget: int) -> NoPath:
    """Say what each of several constraints would need that rule out every path by themselves.

    They are left out and put back one by one, each as near to what was asked as it can be beside those before it;
    limits last: whatever bandwidth there is has a least latency, but the fastest path need not have any bandwidth.
    """
    topology, src, dst = question.topology, question.src, question.dst
    eased = _with(question.constraints, {field: _NOTHING[field] for field in alone})
    faults, reason, then = [], f"{_listed(alone)} each rule out every path by themselves; ", ""
    for field in sorted(alone, key=lambda field: field in question.limits):
        asked = _with(eased, {field: getattr(question.constraints, field)})
        one = ask(topology, src, dst, asked, question.weights)
        remedy = _within_budget(one, in_numbers(one), field, label_budget)
        if remedy is None:
            remedy = _Remedy("no value of it is known to help")
        elif remedy.nearest is not None:
            eased = _with(eased, {field: remedy.nearest})
        faults.append(Fault(field, remedy.nearest, remedy.unmeasured))
        reason += f"{then}{field}: {remedy.text}"
        then = ", and without it " if remedy.nearest is None else ", and with that "
    return NoPath(src, dst, reason, alone[0], faults=tuple(faults))


def _with(constraints: Constraints, changes: Mapping[str, Any]) -> Constraints:
    return replace(constraints, **changes)


def _within_budget(question: Question, problem: Problem, field: str, label_budget: int) -> _Remedy | None:
    try:
        return _remedy(question, problem, field, label_budget)
    except OutOfLabels:
        return None


def _rules_out_all(question: Question, problem: Problem, field: str, label_budget: int) -> bool:
    if field in question.limits:
        limit = list(question.limits).index(field)
        if problem.arcs.least(problem.limits[limit]).total() <= problem.most[limit]:
            return False
    try:
        return not _possible(question.only(field), label_budget)
    except OutOfLabels:
        return False


def _possible(question: Question, label_budget: int) -> bool:
    """Whether there is a path. Raises `OutOfLabels`."""
    problem = in_numbers(question)
    if not problem.limits:
        return lightest(problem, label_budget) is not None
    best = lightest(problem.minimising(0), label_budget)
    return best is not None and bool(best.weight <= problem.most[0])


def _remedy(question: Question, problem: Problem, field: str, label_budget: int) -> _Remedy | None:
    """Give what would have worked with all other constraints as they are, None when nothing; or `OutOfLabels`."""
    if field == "bandwidth_mbps":
        return _most_bandwidth(question, label_budget)
    if field in question.limits:
        best = lightest(problem.minimising(list(question.limits).index(field)), label_budget)
        if best is not None:
            return _least(question, field, best.links)
        if field != "max_latency_ms":
            return None
    best = lightest(in_numbers(question.without(field)), label_budget)
    if best is None:
        return None
    return _Remedy(_in_the_way(question, field, best.links), unmeasured=field == "max_latency_ms")


def _least(question: Question, field: str, links: Sequence[int]) -> _Remedy:
    nearest, text = least_limit(field, math.fsum(question.limits[field].values[list(links)]))
    return _Remedy(f"{text} is the least", nearest)


def _most_bandwidth(question: Question, label_budget: int) -> _Remedy | None:
    """The widest path is as wide as some link: halve the widths until one works and the next does not."""
    without = question.without("bandwidth_mbps")
    if not _possible(without, label_budget):
        return None
    free = free_mbps(question.topology, question.constraints)
    widths = np.unique(free[~question.bars["bandwidth_mbps"]])
    works, fails = 0, widths.size
    while fails - works > 1:
        middle = (works + fails) // 2
        bars = {**without.bars, "bandwidth_mbps": free >= widths[middle] * (1.0 - ROUNDING)}
        if _possible(replace(without, bars=bars), label_budget):
            works = middle
        else:
            fails = middle
    width = float(widths[works])
    return _Remedy(f"{rounded(width, ROUND_FLOOR)} Mbit/s is the most", width)


def _in_the_way(question: Question, field: str, links: Sequence[int]) -> str:
    """Say what the best path without this constraint has that the constraint does not allow, or lacks."""
    topology, constraints = question.topology, question.constraints
    if field == "max_latency_ms":
        return "every path has a link of unknown latency"
    if field == "require_nodes":
        return f"no path goes through {_quoted(constraints.require_nodes)}"
    if field == "require_links":
        return f"no path takes {_listed([f'link {link}' for link in constraints.require_links])}"
    barred = [topology.link(link) for link in links if not question.bars[field][link]]
    if field == "zones":
        zones = dict.fromkeys(
            "links without a zone" if link.zone is None else f"zone {link.zone!r}" for link in barred
        )
        found = f"uses {_listed(list(zones))}"
    elif field == "encrypted":
        found = f"has {len(barred)} unencrypted link{'s' if len(barred) > 1 else ''}"
    elif field == "avoid_nodes":
        ends = [end for link in barred for end in (link.src, link.dst)]
        found = f"crosses {_quoted([end for end in ends if end in constraints.avoid_nodes])}"
    else:
        found = f"takes {_listed([f'link {link.id}' for link in barred])}"
    return f"the best path without this constraint {found}"


def _quoted(names: Iterable[str]) -> str:
    return _listed([repr(name) for name in dict.fromkeys(names)])


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
