"""What people have said of the overlay: application classes, rules, terms of uplinks, new keys. Stored first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

from ryu_apps.store.codec import BadRecord, dump, load
from ryu_apps.store.errors import StoreError
from stitching.overlay.classes import DefinedClass, UplinkTerms, free_number, on_terms, planned
from stitching.overlay.mesh_rules import MOST_RULES, DefinedRule, TooManyRules, ordered_rules
from stitching.overlay.rounds import OverlayPolicy
from stitching.overlay.scoring import AppClass
from stitching.overlay.site_plan import ClassMatch, PlannedClass
from stitching.overlay.sites import Site

_CLASS, _RULE, _UPLINK, _KEYS = "class", "rule", "uplink", "keys"
_ALL_TUNNELS = "all"

Record = TypeVar("Record")


class SettingsStore(Protocol):
    """Where settings are kept: a StateStore, or a fake."""

    def overlay_settings(self, kind: str) -> Mapping[str, str]:
        """All of a kind, by name."""
        ...

    def save_overlay_setting(self, kind: str, name: str, body: str | None) -> None:
        """Keep one in place of the one of its name; None: forget that."""
        ...


@dataclass(frozen=True, slots=True)
class KeyOrder:
    """How many times new keys were ordered for all tunnels."""

    number: int


class Defined:
    """All of them. Raises StoreError where one that is stored cannot be read. For one thread."""

    def __init__(self, store: SettingsStore) -> None:
        self._store = store
        self._classes = {one.name: one for one in _read(store, _CLASS, DefinedClass)}
        self._rules = {one.name: one for one in _read(store, _RULE, DefinedRule)}
        self._key_order = max((one.number for one in _read(store, _KEYS, KeyOrder)), default=0)
        self._terms = {(one.site, one.uplink): one for one in _read(store, _UPLINK, UplinkTerms)}

    @property
    def classes(self) -> tuple[DefinedClass, ...]:
        """The classes, by name."""
        return tuple(self._classes[name] for name in sorted(self._classes))

    @property
    def planned(self) -> tuple[tuple[PlannedClass, AppClass], ...]:
        """The same, as decisions know them."""
        return planned(self._classes.values())

    @property
    def rules(self) -> tuple[DefinedRule, ...]:
        """The rules, by name."""
        return tuple(self._rules[name] for name in sorted(self._rules))

    def policy(self, given: OverlayPolicy) -> OverlayPolicy:
        """How decisions are made: as given, and as people have said."""
        rules = ordered_rules(self._rules.values(), given.mesh.rules, self._key_order)
        return replace(given, classes=self.planned, mesh=replace(given.mesh, rules=rules))

    def put_class(self, order: int, matches: tuple[ClassMatch, ...], wants: AppClass) -> bool:
        """Make a class, or make the one of its name this; whether it is new. Raises TooManyClasses, StoreError."""
        before = self._classes.get(wants.name)
        number = before.number if before is not None else free_number(self._classes.values())
        made = DefinedClass(wants.name, number, order, matches, wants)
        self._store.save_overlay_setting(_CLASS, made.name, dump(made))
        self._classes[made.name] = made
        return before is None

    def delete_class(self, name: str) -> bool:
        """Forget a class: its packets are of the next one that matches, or of none. Whether it was there."""
        if name not in self._classes:
            return False
        self._store.save_overlay_setting(_CLASS, name, None)
        del self._classes[name]
        return True

    def put_rule(self, rule: DefinedRule) -> bool:
        """Make a rule, or make the one of its name this; whether it is new. Raises TooManyRules, StoreError."""
        is_new = rule.name not in self._rules
        if is_new and len(self._rules) >= MOST_RULES:
            raise TooManyRules(f"there are {MOST_RULES} rules already; delete one, or select more sites with one")
        self._store.save_overlay_setting(_RULE, rule.name, dump(rule))
        self._rules[rule.name] = rule
        return is_new

    def delete_rule(self, name: str) -> bool:
        """Forget a rule: the next one that fits counts for its pairs. Whether it was there."""
        if name not in self._rules:
            return False
        self._store.save_overlay_setting(_RULE, name, None)
        del self._rules[name]
        return True

    def order_keys(self) -> int:
        """Have the keys of all tunnels made anew; answers the number of this order."""
        order = KeyOrder(self._key_order + 1)
        self._store.save_overlay_setting(_KEYS, _ALL_TUNNELS, dump(order))
        self._key_order = order.number
        return order.number

    def put_terms(self, terms: UplinkTerms) -> None:
        """Keep what is said of an uplink; with nothing said what was said before is forgotten."""
        key = terms.site, terms.uplink
        nothing = terms.capacity_mbps is None and terms.price is None
        self._store.save_overlay_setting(_UPLINK, "/".join(key), None if nothing else dump(terms))
        if nothing:
            self._terms.pop(key, None)
        else:
            self._terms[key] = terms

    def on_terms(self, site: Site) -> Site:
        """A site with what was said of its uplinks."""
        return on_terms(site, self._terms.values()) if self._terms else site


def _read(store: SettingsStore, kind: str, record: type[Record]) -> list[Record]:
    try:
        return [load(record, body) for body in store.overlay_settings(kind).values()]
    except BadRecord as error:
        raise StoreError(
            f"a {kind} of the overlay in the store cannot be read ({error}); install the Lockstitch that wrote it "
            "again, or put the database back from a copy"
        ) from error
