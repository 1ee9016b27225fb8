"""Lists of port ranges of which the first that has a port decides, as ranges that do not overlap."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from heapq import heappop, heappush
from itertools import pairwise
from typing import TypeVar

PortRange = tuple[int, int]
_Verdict = TypeVar("_Verdict")


def first_of(lists: Iterable[tuple[Iterable[PortRange], _Verdict]]) -> list[tuple[PortRange, _Verdict]]:
    """The ports of all lists in order, each with the verdict of the first list that has it, in as few as can be.

    Takes n log n for n ranges.
    """
    verdicts: list[_Verdict] = []
    begins: dict[int, list[tuple[int, int]]] = defaultdict(list)
    borders = set()
    for place, (ranges, verdict) in enumerate(lists):
        verdicts.append(verdict)
        for first, last in ranges:
            begins[first].append((place, last))
            borders |= {first, last + 1}
    found: list[tuple[PortRange, _Verdict]] = []
    here: list[tuple[int, int]] = []
    for border, following in pairwise(sorted(borders)):
        for one in begins.get(border, ()):
            heappush(here, one)
        while here and here[0][1] < border:
            heappop(here)
        if not here:
            continue
        verdict = verdicts[here[0][0]]
        if found and found[-1][0][1] == border - 1 and found[-1][1] == verdict:
            found[-1] = (found[-1][0][0], following - 1), verdict
        else:
            found.append(((border, following - 1), verdict))
    return found
