"""What an operator says about which sites have tunnels with each other, and of what kind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from stitching.overlay.sites import Pair, Site, pair_of
from stitching.overlay.tunnels import DEFAULT_SPEC, TunnelSpec

ENCRYPTED = frozenset({"wireguard", "ipsec"})


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


def must_pairs(rules: Sequence[PairRule], sites: Mapping[int, Site]) -> Iterator[Pair]:
    """The pairs that always have a tunnel."""
    for rule in rules:
        if rule.say is not Say.MUST:
            continue
        ones = [site for site in sites.values() if rule.one.takes(site)]
        others = [site for site in sites.values() if rule.other.takes(site)]
        for one in ones:
            for other in others:
                if one.serial != other.serial and rule_for(rules, one, other) is rule:
                    yield pair_of(one.serial, other.serial)
