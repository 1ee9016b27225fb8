"""Tables of ours in nftables: replaced without a gap, counted, and put back where another program takes them away.

In one step the kernel would change all of a table too, but it shows the rules a moment before what is in the sets
where they look, and whatever is looked up then is not found. So the new table is made beside the old one, under
another name and dormant; then in one step it wakes and the old one goes to sleep. For a moment both judge.

Whoever loads a ruleset of his own begins with `flush ruleset`, as `nftables.service` does when it is restarted.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from hashlib import blake2s
from typing import Generic, TypeVar

from vte_agent import nft
from vte_agent.nft import NftFailed, NoTable

AGAIN_EVERY_S = 5.0
"""How soon what could not be set is tried again."""

SAID_FOR_S = 60.0
"""For so long it is a problem that another program took a table away, which is put back at once."""

_DORMANT = "flags dormant"

_Wish = TypeVar("_Wish")

_log = logging.getLogger("vte_agent.tables")


def names_of(name: str) -> tuple[str, str]:
    """The names that a table of ours may have: now the one and now the other, from one change to the next."""
    return name, f"{name}_2"


class Table:
    """One table in the network namespace that the caller is in, for one thread. No other is read or changed.

    counted: it has counters, by names that say what is counted, which go on across replacements.
    """

    def __init__(self, name: str, *, counted: bool = False) -> None:
        self.name = name
        self._is_counted = counted
        self._before: Counter[str] = Counter()
        self._now: Counter[str] = Counter()
        self._made: bytes | None = None
        self._live = name
        self._generations, self._generation = nft.Generations(), 0

    def apply(self, body: str) -> None:
        """Replace all of it, by this in nftables' own language. Raises NftFailed."""
        if self._made is None:
            self._take_over()
        if self._made is not None and self.is_as_made():
            self._hand_over(body)
        else:
            # What there is, and under which name, is not known.
            self._replace(f"table inet {self.name} {{\n{body}}}\n")
        # In this order a change in between is noticed with the next look.
        self._generation = self._generations.read()
        self._made = self._found()

    def clear(self) -> None:
        """Take it away; nothing happens where there is none. Raises NftFailed."""
        self._replace("")
        self._made = None

    def is_as_made(self) -> bool:
        """Whether it is there as it was made last. Costs next to nothing where no table was changed.

        Raises NftFailed.
        """
        generation = self._generations.read()
        if generation == self._generation:
            return self._made is not None
        if self._made is None or self._found() != self._made:
            return False
        self._generation = generation
        return True

    def counters(self) -> Mapping[str, int]:
        """What each counter has counted, also where the table is gone: as it was read last. Raises NftFailed."""
        with contextlib.suppress(NoTable):
            self._read()
        total = Counter(self._before)
        total.update(self._now)
        return total

    def close(self) -> None:
        """Let go of the kernel; the table stays as it is."""
        self._generations.close()

    def _take_over(self) -> None:
        """What a run before this one has left, as it was killed, judges until there is another."""
        generation = self._generations.read()
        listed = {name: text for name in names_of(self.name) if (text := _listed(name)) is not None}
        awake = [name for name, text in listed.items() if _DORMANT not in map(str.strip, text.splitlines())]
        if len(awake) == 1:
            for name in listed.keys() - awake:
                _delete(name)
            self._live = awake[0]
            self._generation, self._made = generation, _digest(listed[self._live])

    def _hand_over(self, body: str) -> None:
        old = self._live
        new = next(name for name in names_of(self.name) if name != old)
        _load(f"{_without(new)}table inet {new} {{\n {_DORMANT};\n{body}}}\n")
        _load(f"table inet {new} {{ }}\ntable inet {old} {{ {_DORMANT}; }}\n")
        # It counts no more: nothing is missed.
        self._read_last()
        self._count_on(new)
        _delete(old)

    def _replace(self, by: str) -> None:
        self._read_last()
        _load("".join(map(_without, names_of(self.name))) + by)
        self._count_on(self.name)

    def _read_last(self) -> None:
        if self._is_counted and self._made is not None:
            # One that is not there has counted what was read last.
            with contextlib.suppress(NftFailed):
                self._read()

    def _count_on(self, name: str) -> None:
        """Another table is in force, which counts from the beginning."""
        self._live = name
        self._before.update(self._now)
        self._now.clear()

    def _found(self) -> bytes | None:
        """What nft lists of it, but for what was counted; None: there is no such table."""
        text = _listed(self._live)
        return None if text is None else _digest(text)

    def _read(self) -> None:
        said = nft.nft(["-j", "list", "counters", "table", "inet", self._live])
        try:
            parts = [part["counter"] for part in json.loads(said)["nftables"] if "counter" in part]
            found = {str(part["name"]): int(part["packets"]) for part in parts}
        except (ValueError, KeyError, TypeError) as error:
            raise NftFailed(
                "nft answered something that is not understood; is its version 1.0 or newer?"
            ) from error
        for name, packets in found.items():
            # Another program may have set it back, or made the table anew.
            self._now[name] = max(self._now[name], packets)


def _without(name: str) -> str:
    # Adding first makes deleting right whether it is there or not.
    return f"table inet {name} {{ }}\ndelete table inet {name}\n"


def _delete(name: str) -> None:
    """Of a table that sleeps: with its flags said anew, as none, it would judge once more while it goes."""
    with contextlib.suppress(NoTable):
        nft.nft(["delete", "table", "inet", name])


def _listed(name: str) -> str | None:
    try:
        return nft.nft(["-s", "list", "table", "inet", name])
    except NoTable:
        return None


def _digest(text: str) -> bytes:
    return blake2s(text.encode()).digest()


def _load(text: str) -> None:
    nft.nft(["-f", "-"], text)


class KeptTable(Generic[_Wish]):
    """Keeps a table as it is wanted, whatever other programs do; for one thread.

    body_of: the table that carries a wish out; raises ValueError for one that makes no sense. else_: what is so as
    long as it cannot be set, for those who read of it. is_there: whether there is one, as wanted now or before.
    """

    def __init__(self, table: Table, body_of: Callable[[_Wish], str], else_: str) -> None:
        self._table, self._body_of, self._else = table, body_of, else_
        self._has: _Wish | None = None
        self._is_known = False
        """Whether it is known what there is: an earlier run may have left a table."""
        self._tried: _Wish | None = None
        self._why = ""
        self._again_s = self._said_until_s = float("-inf")
        self.is_there = False
        self.problems: tuple[str, ...] = ()

    def want(self, wish: _Wish | None, now_s: float) -> bool:
        """From now on this; None: there is to be no table. To be called each round; gives whether it is so.

        What cannot be is tried again, and what was there before stays.
        """
        lacks = self._look(now_s)
        if self._is_known and wish == self._has:
            self._why = ""
        elif wish != self._tried or now_s >= self._again_s:
            self._tried, self._again_s = wish, now_s + AGAIN_EVERY_S
            self._why = self._make(wish)
            lacks = "" if not self._why else lacks
        said = [f"{self._else}: {why}" for why in (lacks, self._why) if why]
        if now_s < self._said_until_s and not lacks:
            said.append(
                f"table {self._table.name} of nftables was taken away or changed by another program and put back; "
                "have /etc/nftables.conf, or what else loads rules, flush its own tables and not the ruleset"
            )
        self.problems = tuple(said)
        return not (lacks or self._why)

    def close(self) -> None:
        """Let go of the kernel; what is there stays."""
        self._table.close()

    def _look(self, now_s: float) -> str:
        """Put back what is not as it was made; gives what keeps from that."""
        if self._has is None:
            return ""
        try:
            if self._table.is_as_made():
                return ""
            if self.is_there:
                _log.warning("table=%s was taken away or changed by another program", self._table.name)
            self.is_there, self._said_until_s = False, now_s + SAID_FOR_S
            self._table.apply(self._body_of(self._has))
        except NftFailed as error:
            if self.is_there:
                return str(error)
            return f"another program took table {self._table.name} away, which is not put back: {error}"
        self.is_there = True
        return ""

    def _make(self, wish: _Wish | None) -> str:
        """Make it so; gives what keeps from that."""
        try:
            if wish is not None:
                self._table.apply(self._body_of(wish))
            elif self._is_known or not nft.missing():
                self._table.clear()
        except NftFailed as error:
            return str(error)
        except ValueError as error:
            return f"what is wanted makes no sense: {error}"
        self._has, self._is_known = wish, True
        self.is_there = wish is not None
        return ""
