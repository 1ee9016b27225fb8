"""What is asked of nftables for classes, and the bits of a mark that are used."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vte_agent.class_marks import rules
from vte_agent.marks import BYPASS, MASK, UPLINK_MASK, class_mark, outer_mark
from vte_agent.protocol.wanted import CLASS_NUMBERS, Match, WantedClass


def of(*matches: Match) -> list[str]:
    wanted = WantedClass(name="voice", number=1, matches=matches)
    return [line for line in rules([wanted]).splitlines() if "class voice" in line]


def test_every_class_has_a_mark_of_its_own_within_the_mask() -> None:
    marks = [class_mark(number) for number in range(1, CLASS_NUMBERS + 1)]
    assert len({*marks, BYPASS, 0}) == CLASS_NUMBERS + 2
    assert all(mark & ~MASK == 0 for mark in marks)
    assert all(outer_mark(n) & MASK == BYPASS and outer_mark(n) & ~(MASK | UPLINK_MASK) == 0 for n in range(1, 16))
    for wrong in (0, CLASS_NUMBERS + 1):
        with pytest.raises(ValueError, match="number"):
            class_mark(wrong)
    with pytest.raises(ValueError, match="number"):
        outer_mark(16)


def test_what_no_packet_can_be_makes_no_rule() -> None:
    assert of(Match(source=ip_network("10.0.0.0/8"), destination=ip_network("fd00::/8"))) == []
    assert of(Match(protocol=1, ports=(5, 6))) == []
    assert of(Match(protocol=6, ports=(9, 6))) == []
    assert of(Match(protocol=None, ports=(9, 6))) == []


@given(st.sampled_from([None, "10.0.0.0/8", "fd00::/8"]), st.sampled_from([None, 46]), st.sampled_from([None, 6]))
def test_a_match_makes_a_rule_for_each_family_it_can_be_of(
    source: str | None, dscp: int | None, protocol: int | None
) -> None:
    lines = of(Match(source=ip_network(source) if source else None, dscp=dscp, protocol=protocol))
    assert len(lines) == 2 * (2 if source is None and dscp is not None else 1)
