"""Why there are not that many disjoint paths."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from pathing.constrained import constrained_path
from pathing.disjoint_flow import Flow
from pathing.disjoint_program import Undecided, solve
from pathing.disjoint_search import (
    Asked,
    by_flow,
    by_programme,
    cutting_groups,
    flow_of,
    one_by_one,
    risks_of,
    task_of,
)
from pathing.errors import LabelBudget, NoPath
from pathing.label_setting.nearest import least_limit

# Bounds closer than this, as a share, are equal: the solver adds up in other orders.
_PROVEN = 1e-8


def no_way(asked: Asked) -> NoPath:
    """Say why there is not even one path."""
    return _not_even_one(asked) or _no_path(asked, "no chain of links in use joins them")


def _not_even_one(asked: Asked) -> NoPath | None:
    """Say why no path satisfies the constraints, None if one does or nobody knows."""
    question = asked.question
    try:
        constrained_path(question.topology, question.src, question.dst, question.constraints, question.weights)
    except NoPath as reason:
        return reason
    except LabelBudget:
        pass
    return None


def _no_path(asked: Asked, reason: str, constraint: str | None = None, nearest: float | None = None) -> NoPath:
    return NoPath(asked.question.src, asked.question.dst, reason, constraint, nearest)


def too_few(asked: Asked, flow: Flow) -> NoPath:
    """Say what every way has to use, by a flow of less than was asked for."""
    named = list(dict.fromkeys(_named(asked, arc) for arc in flow.cut))
    which = named[0] if len(named) == 1 else f"one of {', '.join(named)}"
    # A flow counts links or nodes; groups and constraints may leave fewer paths than it has units.
    sure = flow.placed == 1 or (asked.by != "srlg" and not asked.question.fields)
    return _not_so_many(asked, f"every way uses {which}", flow.placed if sure else None)


def _named(asked: Asked, arc: int) -> str:
    """Name an arc of the flow's network; where nodes count, by a node between the ends if it has one."""
    topology = asked.topology
    if arc >= topology.n_links:
        return f"node {topology.node_names[arc - topology.n_links]!r}"
    link = topology.link(arc)
    if asked.by == "node":
        for node, end in ((link.dst, asked.question.dst), (link.src, asked.question.src)):
            if node != end:
                return f"node {node!r}"
    return f"link {arc} ({link.src!r} -> {link.dst!r})"


def _not_so_many(asked: Asked, why: str, most: int | None) -> NoPath:
    if (alone := _not_even_one(asked)) is not None:
        return alone
    return _no_path(asked, f"{_none_such(asked)}: {why}", "k", most)


def _none_such(asked: Asked) -> str:
    kind = {"link": "link-disjoint", "node": "node-disjoint", "srlg": "risk-disjoint"}[asked.by]
    return f"there are no {asked.k} {kind} paths"


def refusal(asked: Asked) -> NoPath:
    """Say why there are not that many paths where a flow of as many units exists."""
    question = asked.question
    for group in cutting_groups(asked) if asked.by == "srlg" else ():
        return _not_so_many(asked, f"every way uses shared-risk group {group!r}", 1)
    if (alone := _not_even_one(asked)) is not None:
        return alone
    for field in question.fields:
        if _possible(replace(asked, question=question.without(field))):
            return _at_fault(asked, field)
    what = "shared-risk group" if asked.by == "srlg" else asked.by
    ways = f"any {asked.k} ways" + (" that satisfy the constraints" if question.fields else "")
    why = f"no {what} is on every way, but {ways} share one; maximally=True gives the least they share"
    return _not_so_many(asked, why, 1 if asked.k == 2 else None)


def _possible(asked: Asked) -> bool:
    """Whether there is an answer; False also where that is not known in time."""
    any_gap = replace(asked, effort=replace(asked.effort, gap=math.inf))
    flow = flow_of(any_gap)
    try:
        return flow.placed >= asked.k and (by_flow(any_gap, flow) or by_programme(any_gap)) is not None
    except Undecided:
        return False


def _at_fault(asked: Asked, field: str) -> NoPath:
    """Name the constraint without which there are paths and, if it is a limit, the least that works."""
    question = asked.question
    nearest, than = None, "without it there are"
    if field in question.limits and (least := _least_total(asked, field)) is not None:
        nearest, text = least_limit(field, least)
        than = f"{text} is the least that each of them can keep"
    reason = f"{_none_such(asked)} with {field} {getattr(question.constraints, field)!r}; {than}"
    return _no_path(asked, reason, field, nearest)


def _least_total(asked: Asked, field: str) -> float | None:
    """Give the least sum of a limit's values, all else as it is, that leaves paths; None if not known in time."""
    question = asked.question
    amounts = np.where(np.isfinite(question.weights), question.limits[field].values, np.inf)
    asked = replace(asked, question=replace(question.without(field), weights=amounts))
    task = replace(task_of(asked), risks=risks_of(asked), even=True)
    try:
        solution = solve(task, replace(asked.effort, gap=0.0), one_by_one(asked, task, flow_of(asked)))
    except Undecided:
        return None
    if solution is None:
        return None
    least = max(math.fsum(amounts[list(links)]) for links in solution.paths)
    if solution.lower_bound < least * (1 - _PROVEN):
        return None
    return least
