"""What an operator says about which sites have tunnels with each other, and of what kind."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import product

from stitching.overlay.sites import Pair, Site, pair_of
from stitching.overlay.tunnels import DEFAULT_SPEC, TunnelSpec

ENCRYPTED = frozenset({"wireguard", "ipsec"})

MOST_RULES = 64
"""Pairs of sites are held against each of them, in each round."""


class TooManyRules(ValueError):
    """There are as many as there may be; the message says what to do."""


class Say(StrEnum):
    """MUST: always a tunnel. MAY: as demand asks. MUST_NOT: never one straight between them."""

    MUST = "must"
    MAY = "may"
    MUST_NOT = "must-not"


@dataclass(frozen=True, slots=True)
class Selector:
    """Sites by name, by a label, or (both None) all."""

    name: str | None = None
    label: tuple[str, str] | None = None

    def takes(self, site: Site) -> bool:
        """Whether a site is one of them."""
        if self.name is not None and site.name != self.name:
            return False
        return self.label is None or site.labels.get(self.label[0]) == self.label[1]


@dataclass(frozen=True, slots=True)
class PairRule:
    """Of several rules for a pair the first one counts. `transports` empty: what both hosts like."""

    one: Selector
    other: Selector
    say: Say = Say.MAY
    transports: tuple[str, ...] = ()
    encrypted: bool = True
    spec: TunnelSpec = DEFAULT_SPEC

    def takes(self, one: Site, other: Site) -> bool:
        """Whether it is about these two, either way round."""
        return (self.one.takes(one) and self.other.takes(other)) or (
            self.one.takes(other) and self.other.takes(one)
        )


DEFAULT_RULE = PairRule(Selector(), Selector())


@dataclass(frozen=True, slots=True)
class DefinedRule:
    """A rule as people know it: the one of the lowest order counts for a pair, and of these the first by name."""

    name: str
    order: int
    rule: PairRule


def ordered_rules(
    defined: Iterable[DefinedRule], last: Sequence[PairRule], key_order: int
) -> tuple[PairRule, ...]:
    """All rules in the order in which pairs are held against them, `last` behind those that people defined.

    Where one of these says nothing of transports, what the last of all says counts: that is about everybody.
    `key_order` is the number of the newest order to make keys anew.
    """
    everybody = last[-1] if last else DEFAULT_RULE
    ordered = [one.rule for one in sorted(defined, key=lambda one: (one.order, one.name))]
    own = (replace(rule, transports=rule.transports or everybody.transports) for rule in ordered)
    rules = (*own, *last) if last else (*own, everybody)
    return tuple(replace(rule, spec=replace(rule.spec, epoch=key_order)) for rule in rules)


def rule_for(rules: Sequence[PairRule], one: Site, other: Site) -> PairRule:
    """The rule of a pair."""
    return next((rule for rule in rules if rule.takes(one, other)), DEFAULT_RULE)


def transport_for(rule: PairRule, one: Site, other: Site) -> str | None:
    """What the tunnels of a pair are made of; None where the rule leaves nothing that both can do."""
    liked = rule.transports or one.transports
    return next(
        (
            transport
            for transport in liked
            if transport in one.transports
            and transport in other.transports
            and (transport in ENCRYPTED or not rule.encrypted)
        ),
        None,
    )


def forbidden_pairs(
    rules: Sequence[PairRule], sites: Mapping[int, Site], pairs: Iterable[Pair]
) -> frozenset[Pair]:
    """Those of the pairs that shall have no tunnel, whatever becomes of their traffic."""
    return frozenset(
        pair
        for pair in pairs
        if pair[0] in sites
        and pair[1] in sites
        and rule_for(rules, sites[pair[0]], sites[pair[1]]).say is Say.MUST_NOT
    )


def must_pairs(rules: Sequence[PairRule], sites: Mapping[int, Site]) -> Iterator[Pair]:
    """The pairs that always have a tunnel, each once."""
    asked: set[Pair] = set()
    for rule in rules:
        if rule.say is not Say.MUST:
            continue
        ones = [site for site in sites.values() if rule.one.takes(site)]
        others = [site for site in sites.values() if rule.other.takes(site)]
        for one, other in product(ones, others):
            pair = pair_of(one.serial, other.serial)
            if one.serial != other.serial and pair not in asked:
                asked.add(pair)
                if rule_for(rules, one, other).say is Say.MUST:
                    yield pair
