"""Tables of ours in nftables stay as they are wanted, whatever other programs do to them, and that is said."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_network

import pytest

from tests.unit.fake_nft import FakeNft
from vte_agent import segmentation
from vte_agent.filtering import Filtering
from vte_agent.nft import NftFailed
from vte_agent.protocol.filters import Filters, Pair, Pattern, Standing
from vte_agent.segmentation import compile_filters
from vte_agent.tables import AGAIN_EVERY_S, SAID_FOR_S, KeptTable, Table, names_of

NAME = "lockstitch_test"


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> FakeNft:
    return FakeNft(monkeypatch)


def body_of(wish: str) -> str:
    if wish == "nonsense":
        raise ValueError("ports 9-8")
    return f" {wish}\n"


@pytest.fixture
def kept(kernel: FakeNft) -> KeptTable[str]:
    assert not kernel.tables
    return KeptTable(Table(NAME), body_of, "nothing is marked")


TAKING_AWAY: list[Callable[[FakeNft], None]] = [
    lambda kernel: kernel.flush(),
    lambda kernel: kernel.change(NAME),
    lambda kernel: kernel.change(NAME, " something else\n"),
]


@pytest.mark.parametrize("take_away", TAKING_AWAY)
def test_a_table_that_another_program_takes_away_or_changes_is_put_back_and_that_is_said(
    kernel: FakeNft, kept: KeptTable[str], take_away: Callable[[FakeNft], None]
) -> None:
    assert kept.want("this", 0.0) and not kept.problems
    take_away(kernel)
    assert kept.want("this", 1.0) and kept.is_there
    assert kernel.body(NAME) == " this\n"
    (said,) = kept.problems
    assert said.startswith(f"table {NAME} of nftables was taken away or changed by another program and put back")
    assert kept.want("this", SAID_FOR_S) and kept.problems == (said,)
    assert kept.want("this", 1.0 + SAID_FOR_S) and not kept.problems


def test_what_is_wanted_meanwhile_is_what_there_is_then(kernel: FakeNft, kept: KeptTable[str]) -> None:
    kept.want("this", 0.0)
    kernel.flush()
    assert kept.want("that", 1.0)
    assert kernel.body(NAME) == " that\n" and len(kept.problems) == 1


def test_what_makes_no_sense_is_said_and_what_was_there_before_is_kept_too(
    kernel: FakeNft, kept: KeptTable[str]
) -> None:
    kept.want("this", 0.0)
    assert not kept.want("nonsense", 1.0)
    assert kept.problems == ("nothing is marked: what is wanted makes no sense: ports 9-8",)
    kernel.flush()
    assert not kept.want("nonsense", 2.0)
    assert kernel.body(NAME) == " this\n" and len(kept.problems) == 2
    assert kept.want("this", 3.0) and len(kept.problems) == 1, "it was there all the time"


def test_what_cannot_be_put_back_is_tried_each_round_and_is_not_there_meanwhile(
    kernel: FakeNft, kept: KeptTable[str]
) -> None:
    kept.want("this", 0.0)
    kernel.flush()
    kernel.refuses = "no memory"
    # As long as there is no answer nobody knows that it is gone.
    assert not kept.want("this", 1.0) and kept.problems == ("nothing is marked: no memory",)
    kernel.refuses, kernel.refuses_loading = "", "no memory"
    assert not kept.want("this", 2.0) and not kept.is_there
    assert kept.problems == (
        f"nothing is marked: another program took table {NAME} away, which is not put back: no memory",
    )
    kernel.refuses_loading = ""
    assert kept.want("this", 2.1) and kept.is_there and kernel.body(NAME) == " this\n"


def test_what_cannot_be_set_is_tried_again_after_a_while_and_another_wish_at_once(
    kernel: FakeNft, kept: KeptTable[str]
) -> None:
    kernel.refuses = "no memory"
    assert not kept.want("this", 0.0) and kept.problems == ("nothing is marked: no memory",)
    kernel.refuses = ""
    assert not kept.want("this", AGAIN_EVERY_S - 1) and not kept.is_there
    assert kept.want("that", AGAIN_EVERY_S - 1) and not kept.problems


def test_no_process_is_started_while_no_table_changes(kernel: FakeNft, kept: KeptTable[str]) -> None:
    kept.want("this", 0.0)
    kernel.asked.clear()
    for second in range(1, 10):
        assert kept.want("this", second)
    assert not kernel.asked
    kernel.change("of_somebody_else")
    for second in range(10, 20):
        assert kept.want("this", second) and not kept.problems
    assert kernel.asked == [f"-s list table inet {NAME}"]


def test_from_one_wish_to_the_next_there_is_always_a_table_that_judges(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, str | None]] = []
    node = FakeNft(monkeypatch, lambda what: seen.append((what, node.body(NAME))))
    kept = KeptTable(Table(NAME), body_of, "nothing is marked")
    for number, wish in enumerate(("this", "that", "this")):
        assert kept.want(wish, number) and node.body(NAME) == f" {wish}\n"
        assert len(node.tables) == 1 and not node.asleep
    assert seen == [
        ("apply", None),
        *[("apply", " this\n"), ("hand over", " this\n"), ("clear", " that\n")],
        *[("apply", " that\n"), ("hand over", " that\n"), ("clear", " this\n")],
    ]


@pytest.mark.parametrize("fails_at", ["apply", "hand over", "clear"])
def test_where_a_change_fails_half_way_one_table_judges_and_the_next_try_ends_it(
    monkeypatch: pytest.MonkeyPatch, fails_at: str
) -> None:
    failing = False

    def fail(what: str) -> None:
        if failing and what == fails_at:
            raise NftFailed("no memory")

    node = FakeNft(monkeypatch, fail)
    kept = KeptTable(Table(NAME), body_of, "nothing is marked")
    kept.want("this", 0.0)
    failing = True
    assert not kept.want("that", 1.0) and any("no memory" in said for said in kept.problems)
    assert node.body(NAME) == (" that\n" if fails_at == "clear" else " this\n")
    failing = False
    assert kept.want("that", 1.0 + AGAIN_EVERY_S)
    assert node.body(NAME) == " that\n" and len(node.tables) == 1 and not node.asleep


@pytest.mark.parametrize("awake", [0, 1])
def test_what_a_run_left_that_was_killed_half_way_judges_until_there_is_another(
    monkeypatch: pytest.MonkeyPatch, awake: int
) -> None:
    seen: list[str | None] = []
    node = FakeNft(monkeypatch, lambda _: seen.append(node.body(NAME)))
    names = names_of(NAME)
    node.tables[names[awake]], node.asleep[names[not awake]] = " left\n", " old\n"
    kept = KeptTable(Table(NAME), body_of, "nothing is marked")
    assert kept.want("this", 0.0) and not node.asleep
    assert node.body(NAME) == " this\n"
    assert seen == [*[" left\n"] * 3, " this\n"]
    node.asleep[names[awake]] = " new\n"
    assert kept.want(None, 1.0) and not node.tables and not node.asleep


def test_what_an_earlier_run_left_goes_where_nothing_is_wanted(kernel: FakeNft, kept: KeptTable[str]) -> None:
    kernel.tables[NAME] = " left\n"
    assert kept.want(None, 0.0) and not kept.is_there
    assert not kernel.tables
    kernel.asked.clear()
    kernel.flush()
    assert kept.want(None, 1.0) and not kept.problems and not kernel.asked


def test_without_nft_there_is_nothing_to_take_away(kernel: FakeNft, kept: KeptTable[str]) -> None:
    kernel.refuses = "nft is not installed"
    assert kept.want(None, 0.0) and not kept.problems


WEB = Pattern(rule="web", allow=True, protocol=6, ports=((80, 80),))
TWO = (
    Standing(id=1, prefixes=(ip_network("10.1.0.0/16"),)),
    Standing(id=2, prefixes=(ip_network("10.2.0.0/16"),)),
)
SOME = Filters(standings=TWO, pairs=(Pair(source=1, target=2, patterns=(WEB,)),))
OTHERS = SOME.model_copy(update={"pairs": (*SOME.pairs, Pair(source=2, target=1, patterns=(WEB,)))})
(WEB_COUNTER,) = (name for name, rule in compile_filters(SOME).counters.items() if rule == ("web", True))


def web(filtering: Filtering, now_s: float) -> int:
    return {one.rule: one.packets for one in filtering.counts(now_s)}["web"]


def test_counts_go_on_across_changes_and_what_others_take_away(kernel: FakeNft) -> None:
    filtering = Filtering()
    filtering.want(SOME, 0.0)
    kernel.packets[WEB_COUNTER] = 5
    assert web(filtering, 10.0) == 5
    kernel.packets[WEB_COUNTER] = 6
    filtering.want(OTHERS, 11.0)
    assert kernel.packets == {}, "the new table counts from the beginning"
    assert web(filtering, 20.0) == 6
    kernel.packets[WEB_COUNTER] = 2
    assert web(filtering, 30.0) == 8
    kernel.flush()
    assert web(filtering, 40.0) == 8, "of a table that is gone it is known what it had counted"
    kernel.packets.clear()
    filtering.want(OTHERS, 41.0)
    kernel.packets[WEB_COUNTER] = 1
    assert web(filtering, 50.0) == 9


def test_after_a_flush_a_new_policy_applies(kernel: FakeNft) -> None:
    filtering = Filtering()
    filtering.want(SOME, 0.0)
    kernel.flush()
    filtering.want(OTHERS, 1.0)
    assert filtering.holds and kernel.body(segmentation.TABLE) == compile_filters(OTHERS).body
    assert [segmentation.TABLE in said for said in filtering.problems] == [True]
