"""Many prefixes as a few spans of one table: of a thousand sites each has all but its own behind its tunnels."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, pairwise

from stitching.overlay.sites import Prefix

Span = tuple[int, int]
"""The first place, and the one behind the last."""


class PrefixTable:
    """All prefixes of an overlay, each once, in an order that stays as it is."""

    def __init__(self, prefixes: Iterable[Prefix]) -> None:
        self.prefixes = tuple(prefixes)
        self._spans: dict[Span, Span] = {}

    def span(self, span: Span) -> Span:
        """The same span as the same object: while sites join, the sets of all of them are of the same hundreds."""
        return self._spans.setdefault(span, span)

    @cached_property
    def places(self) -> Mapping[Prefix, int]:
        """Where each one stands."""
        return {prefix: place for place, prefix in enumerate(self.prefixes)}

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """How each is written."""
        return tuple(map(str, self.prefixes))


EMPTY = PrefixTable(())


@dataclass(frozen=True, slots=True, eq=False)
class PrefixSet(Collection[Prefix]):
    """Some prefixes of a table: `spans` in order, with a gap between any two. Make one by `of`."""

    table: PrefixTable
    spans: tuple[Span, ...]

    @classmethod
    def of(cls, table: PrefixTable, spans: Iterable[Span]) -> PrefixSet:
        """The prefixes in any of these spans."""
        return cls(table, tuple(map(table.span, joined(spans))))

    @property
    def text(self) -> str:
        """All of them, with commas between."""
        texts = self.table.texts
        return ",".join(chain.from_iterable(texts[start:end] for start, end in self.spans))

    def __contains__(self, prefix: object) -> bool:
        place = self.table.places.get(prefix)  # type: ignore[call-overload]  # what is no prefix has no place
        if place is None:
            return False
        at = bisect_right(self.spans, (place, len(self.table.prefixes)))
        return at > 0 and place < self.spans[at - 1][1]

    def __iter__(self) -> Iterator[Prefix]:
        for start, end in self.spans:
            yield from self.table.prefixes[start:end]

    def __len__(self) -> int:
        return sum(end - start for start, end in self.spans)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PrefixSet):
            return NotImplemented
        if self.table is other.table:
            return self.spans == other.spans
        return len(self) == len(other) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(len(self))


def joined(spans: Iterable[Span]) -> tuple[Span, ...]:
    """The same places in as few spans as can be, in order."""
    found: list[Span] = []
    for start, end in sorted(spans):
        if start == end:
            continue
        if found and start <= found[-1][1]:
            found[-1] = found[-1][0], max(found[-1][1], end)
        else:
            found.append((start, end))
    return tuple(found)


class NextHops(Mapping[Prefix, frozenset[int]]):
    """To whom packets for each prefix may be sent next."""

    def __init__(self, ways: Sequence[tuple[PrefixSet, frozenset[int]]]) -> None:
        tables = {id(behind.table): behind.table for behind, _ in ways}
        if len(tables) > 1:
            raise ValueError("the prefixes of a plan are all of one table")
        self.table = next(iter(tables.values()), EMPTY)
        # Thousands of plans have one of these, of hundreds of steps each.
        self._starts, self._ends = array("I"), array("I")
        self._hops: list[frozenset[int]] = []
        known: dict[frozenset[int], frozenset[int]] = {}
        for start, end, hops in _steps(ways):
            self._starts.append(start)
            self._ends.append(end)
            self._hops.append(known.setdefault(hops, hops))

    @property
    def steps(self) -> Iterator[tuple[int, int, frozenset[int]]]:
        """By span, without any that leads nowhere."""
        return zip(self._starts, self._ends, self._hops, strict=True)

    def __getitem__(self, prefix: Prefix) -> frozenset[int]:
        place = self.table.places[prefix]
        at = bisect_right(self._starts, place) - 1
        if at < 0 or place >= self._ends[at]:
            raise KeyError(prefix)
        return self._hops[at]

    def __iter__(self) -> Iterator[Prefix]:
        for start, end, _ in self.steps:
            yield from self.table.prefixes[start:end]

    def __len__(self) -> int:
        return sum(end - start for start, end, _ in self.steps)


def _steps(ways: Sequence[tuple[PrefixSet, frozenset[int]]]) -> Iterator[tuple[int, int, frozenset[int]]]:
    """From where to where which hops, whatever the class: from each place where something begins or ends."""
    turns: dict[int, list[tuple[int, int]]] = {}
    for number, (behind, _) in enumerate(ways):
        for start, end in behind.spans:
            turns.setdefault(start, []).append((number, 1))
            turns.setdefault(end, []).append((number, -1))
    within: set[int] = set()
    for place, following in pairwise(sorted(turns)):
        for number, turn in turns[place]:
            (within.add if turn > 0 else within.discard)(number)
        if within:
            yield place, following, frozenset[int]().union(*(ways[number][1] for number in within))
