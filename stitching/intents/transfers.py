"""When a transfer runs and at which rate, so that it is over by its deadline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from stitching.intents.document import Transfer
from stitching.intents.room import beside, widest
from stitching.intents.world import Expected, Progress, World
from stitching.network import LinkKey
from stitching.policy.windows import Weekly, Window
from stitching.stitch import StitchRequest

HEADROOM = 1.1
"""What is reserved over the bare need: packets have headers, and TCP takes a while to reach its rate."""

STEADY = 0.15
"""A rate that is off what is needed now by no more than this share is left as it is."""

SHORTEST_S = 1.0
"""Nothing is planned to take less time: rates near the deadline would be without bound."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Placed:
    """What becomes of a transfer now: the rate to reserve (None: nothing is due), in words, and as it is kept.

    missed: it will not be over by its deadline.
    """

    rate_mbps: float | None
    words: str
    missed: bool
    progress: Progress


def occurrence(window: Window, now_s: float) -> tuple[float, float] | None:
    """The begin and end of the window that is open, or else of the next one; None where none comes any more."""
    coming = [ends for ends in window.around(now_s) if ends[1] > now_s]
    return min(coming, default=None)


def place(
    name: str, transfer: Transfer, world: World, switches: tuple[int, int], coming: Sequence[StitchRequest] = ()
) -> Placed:
    """What a transfer between hosts on two switches needs now, beside stitches that are to come."""
    known = world.progress.get(name)
    found = occurrence(transfer.window, world.now_s)
    if found is None:
        gone = known or Progress(0.0)
        missed = known is not None and known.carried_mbit < transfer.amount_mbit
        words = f"its window is over; {_share(gone, transfer)} was carried" if known else "its window is over"
        return Placed(None, words, missed or known is None, replace(gone, rate_mbps=None))
    opens_s, deadline_s = found
    fresh = known is None or known.deadline_s != deadline_s
    progress = Progress(deadline_s) if known is None or fresh else known
    by = f"by {clock(deadline_s, transfer.window)}"
    left_mbit = transfer.amount_mbit - progress.carried_mbit
    if left_mbit <= 0:
        return Placed(None, f"done {by}: all was carried", False, replace(progress, rate_mbps=None))
    soonest_s = max(opens_s, world.now_s)
    free = beside(world.free_beside(name, {request.labels for request in coming}), coming, world)
    if progress.rate_mbps is None:
        progress = _planned(progress, left_mbit, soonest_s, world.expected, free, switches)
    begin_s, end_s = progress.begin_s or soonest_s, progress.end_s or deadline_s
    end_s = deadline_s if end_s <= world.now_s else end_s
    least_mbps = left_mbit / max(deadline_s - soonest_s, SHORTEST_S)
    free_mbps = widest(free, *switches)[0]
    if least_mbps > free_mbps:
        words = f"cannot be done {by}: needs {_mbps(least_mbps)} Mbit/s, {_mbps(free_mbps)} are free"
        waits = world.now_s < opens_s
        rate = None if waits or free_mbps < 1e-3 else _steady(progress.rate_mbps, free_mbps, free_mbps)
        return Placed(rate, words, True, replace(progress, rate_mbps=rate))
    need_mbps = HEADROOM * left_mbit / max(end_s - max(begin_s, world.now_s), SHORTEST_S)
    rate = _steady(progress.rate_mbps, min(need_mbps, free_mbps), free_mbps)
    if world.now_s < begin_s:
        words = f"begins at {clock(begin_s, transfer.window)} with {_mbps(rate)} Mbit/s, to be done {by}"
        return Placed(None, words, False, progress)
    words = f"{_share(progress, transfer)} carried, {_mbps(rate)} Mbit/s reserved, to be done {by}"
    return Placed(rate, words, False, replace(progress, end_s=end_s, rate_mbps=rate))


def _steady(held_mbps: float | None, need_mbps: float, free_mbps: float) -> float:
    """The rate that is held, while it is about what is needed: each change moves a stitch."""
    if held_mbps is not None and abs(held_mbps - need_mbps) <= STEADY * need_mbps and held_mbps <= free_mbps:
        return held_mbps
    return float(f"{need_mbps:.4g}") if need_mbps < free_mbps else need_mbps


def _planned(
    progress: Progress,
    left_mbit: float,
    soonest_s: float,
    expected: Expected | None,
    free_mbps: Mapping[LinkKey, float],
    switches: tuple[int, int],
) -> Progress:
    """Choose when it runs: the interval in which it takes the smallest share of what is left at any time.

    Without an outlook that is all the time there is.
    """
    links = widest(free_mbps, *switches)[1]
    span = soonest_s, progress.deadline_s
    if expected is None or not links:
        return replace(progress, begin_s=soonest_s, end_s=progress.deadline_s)
    begin_s, end_s = best_interval(left_mbit * HEADROOM, span, room_over(expected, links, free_mbps))
    return replace(progress, begin_s=begin_s, end_s=end_s)


@dataclass(frozen=True, eq=False, slots=True)
class Room:
    """What is left on a path: mbps[k] in the step that begins at begins_s[k]; the last one goes on."""

    begins_s: Floats
    mbps: Floats


def room_over(expected: Expected, links: tuple[LinkKey, ...], free_mbps: Mapping[LinkKey, float]) -> Room:
    """What a path has left at each step of an outlook: beside promises, and beside what is expected."""
    rows = {key: row for row, key in enumerate(expected.link_keys)}
    steps = expected.mbps.shape[1]
    room: Floats = np.full(steps, np.inf, dtype=np.float64)
    for key in links:
        load = expected.mbps[rows[key]] if key in rows else np.zeros(steps)
        np.minimum(room, np.maximum(free_mbps[key] - load, 0.0), out=room)
    begins_s: Floats = expected.after_s + expected.step_s * np.arange(steps, dtype=np.float64)
    return Room(begins_s, room)


def best_interval(amount_mbit: float, span: tuple[float, float], room: Room) -> tuple[float, float]:
    """The begin and end, within a span, in which a constant rate takes the least share of the room at any time.

    Of equals the longest, then the earliest. Where nothing is known (beyond the outlook) the last step goes on.
    """
    soonest_s, deadline_s = span
    inner = room.begins_s[(room.begins_s > soonest_s) & (room.begins_s < deadline_s)]
    marks = np.concatenate(([soonest_s], inner, [deadline_s]))
    if len(marks) <= 2:
        return span
    steps = np.clip(np.searchsorted(room.begins_s, marks[:-1], side="right") - 1, 0, len(room.mbps) - 1)
    has = np.maximum(room.mbps[steps], 1e-9)
    best: tuple[float, float, float] = (np.inf, 0.0, 0.0)
    chosen = span
    for first in range(len(has)):
        least = np.minimum.accumulate(has[first:])
        length = marks[first + 1 :] - marks[first]
        share = amount_mbit / np.maximum(length, SHORTEST_S) / least
        # The longest of those that are about as good as the best.
        near = np.flatnonzero(share <= share.min() * (1 + 1e-9))[-1]
        rank = (round(float(share[near]), 12), -float(length[near]), float(marks[first]))
        if rank < best:
            best, chosen = rank, (float(marks[first]), float(marks[first + 1 + near]))
    return chosen


def clock(moment_s: float, window: Window) -> str:
    """A moment as people of the window's zone write it."""
    if isinstance(window, Weekly):
        return datetime.fromtimestamp(moment_s, UTC).astimezone(ZoneInfo(window.zone)).strftime("%H:%M")
    return datetime.fromtimestamp(moment_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _share(progress: Progress, transfer: Transfer) -> str:
    return f"{min(progress.carried_mbit / transfer.amount_mbit, 1.0):.0%}"


def _mbps(value: float) -> str:
    return f"{value:.4g}"
