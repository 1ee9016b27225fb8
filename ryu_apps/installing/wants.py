"""What is wanted of every switch, by whom: one merged set, brought up to date by what an owner changed."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ryu_apps import wire
from stitching.rules import PORT_IN_PORT, Bypass, Entry, EntryKey, Failover, FlowRule, RuleSet

NOTHING: RuleSet = MappingProxyType({})
_GROUPS = (Failover, Bypass)


def watches_alive(entry: Entry) -> bool:
    """Whether this group needs the one that is always alive."""
    if isinstance(entry, FlowRule):
        return False
    return isinstance(entry, Bypass) or (isinstance(entry, Failover) and PORT_IN_PORT in entry.ports)


class Wants:
    """The entries that owners want. One that several want is kept until the last of them wants it no more.

    Where two want different ones of the same key, the one said last counts.
    """

    def __init__(self) -> None:
        self._by_owner: dict[str, Mapping[int, RuleSet]] = {}
        self._merged: dict[int, dict[EntryKey, Entry]] = {}
        # Only of keys that more than one owner wants: how many want which entry.
        self._shared: dict[int, dict[EntryKey, dict[Entry, int]]] = {}

    def on(self, dpid: int) -> RuleSet:
        """All that is wanted of a switch."""
        return self._merged.get(dpid, NOTHING)

    def has_spoken(self, owner: str, dpid: int) -> bool:
        """Whether this owner has said anything about a switch, be it that nothing is wanted."""
        return dpid in self._by_owner.get(owner, NOTHING)

    def by_another(self, owner: str | None, dpid: int, key: EntryKey) -> bool:
        """Whether anybody but this owner wants an entry of this key."""
        if key not in self._merged.get(dpid, NOTHING):
            return False
        shared = self._shared.get(dpid, {}).get(key)
        wanted = sum(shared.values()) if shared else 1
        mine = owner is not None and key in self._by_owner.get(owner, {}).get(dpid, NOTHING)
        return wanted > mine

    def speak(self, owner: str, rules: Mapping[int, RuleSet]) -> dict[int, set[EntryKey]]:
        """From now on an owner wants exactly this; returns the keys it affects, by switch."""
        before = self._by_owner.get(owner, {})
        touched = {}
        for dpid in {**before, **rules}:
            old, new = before.get(dpid, NOTHING), rules.get(dpid, NOTHING)
            # Sets that share their objects are compared by identity first, which costs next to nothing.
            if old is not new and old != new:
                touched[dpid] = self._change(dpid, old, new)
            elif dpid not in before or dpid not in rules:
                touched[dpid] = set()
        if rules:
            self._by_owner[owner] = rules
        else:
            self._by_owner.pop(owner, None)
        return touched

    def _change(self, dpid: int, old: RuleSet, new: RuleSet) -> set[EntryKey]:
        merged = self._merged.setdefault(dpid, {})
        touched: set[EntryKey] = set()
        # set(dict).difference(dict) takes the hashes as they are stored; a loop would work them out again.
        for key in set(old).difference(new):
            self._drop(dpid, key, old[key], touched)
        if not merged:
            merged.update(new)
            touched.update(new)
            for entry in new.values():
                if type(entry) in _GROUPS and watches_alive(entry):
                    self._add(dpid, wire.ALIVE.key, wire.ALIVE, touched)
            return touched
        for key, entry in new.items():
            there = old.get(key)
            if there is entry or there == entry:
                continue
            if there is not None:
                self._drop(dpid, key, there, touched)
            self._add(dpid, key, entry, touched)
        return touched

    def _add(self, dpid: int, key: EntryKey, entry: Entry, touched: set[EntryKey]) -> None:
        touched.add(key)
        merged = self._merged[dpid]
        there = merged.get(key)
        if there is not None:
            shared = self._shared.setdefault(dpid, {}).setdefault(key, {there: 1})
            shared[entry] = shared.get(entry, 0) + 1
        merged[key] = entry
        if watches_alive(entry):
            self._add(dpid, wire.ALIVE.key, wire.ALIVE, touched)

    def _drop(self, dpid: int, key: EntryKey, entry: Entry, touched: set[EntryKey]) -> None:
        touched.add(key)
        merged = self._merged[dpid]
        shared = self._shared.get(dpid, {}).get(key)
        if shared is None:
            del merged[key]
        else:
            shared[entry] -= 1
            if not shared[entry]:
                del shared[entry]
            if entry not in shared:
                merged[key] = next(iter(shared))
            if sum(shared.values()) == 1:
                del self._shared[dpid][key]
        if watches_alive(entry):
            self._drop(dpid, wire.ALIVE.key, wire.ALIVE, touched)
