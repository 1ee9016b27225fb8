from collections.abc import Sequence
from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from ryu_apps.shown import UNKNOWN, Coloured, shortened, table

LINKS = [(f"{dpid:016x}:{port}", f"{port:016x}:{dpid}", 6.998, "") for dpid, port in ((1, 2), (11, 3), (0x1A, 10))]


def printed(width: int, *columns: str, rows: Sequence[tuple[object, ...]]) -> list[str]:
    console = Console(file=StringIO(), width=width)
    console.print(table("Links", *columns, rows=rows))
    assert isinstance(console.file, StringIO)
    return console.file.getvalue().splitlines()


def test_a_wide_terminal_shows_whole_dpids_and_every_column() -> None:
    lines = printed(80, "from", "to", "latency ms", "encrypted", rows=LINKS)
    assert "encrypted" in lines[2]
    assert "0000000000000001:2" in lines[4]


def test_a_narrow_terminal_shows_short_dpids_and_no_empty_column_before_it_folds_a_cell() -> None:
    lines = printed(40, "from", "to", "latency ms", "encrypted", rows=LINKS)
    assert "encrypted" not in "".join(lines)
    cells = [[cell.strip() for cell in line.split("│")[1:3]] for line in lines[4:7]]
    assert cells == [["1:2", "2:1"], ["b:3", "3:11"], ["1a:10", "a:26"]]


def test_a_column_in_which_nothing_is_known_gives_its_room_to_the_others() -> None:
    rows = [("1", "requested", UNKNOWN, UNKNOWN, "waits until 2030-03-01 08:00:00 UTC")]
    lines = printed(40, "id", "state", "load Mbit/s", "probe ms", "reason", rows=rows)
    assert "probe" not in "".join(lines)
    assert "requested" in "".join(lines)


@pytest.mark.parametrize("width", [12, 20, 40, 80, 120])
def test_no_table_is_wider_than_the_terminal_and_none_loses_a_word(width: int) -> None:
    lines = printed(width, "name", "reason", rows=[("a", "[red]displaced by stitch 7"), ("b", "")])
    assert max(map(len, lines)) <= width
    shown = "".join("".join(lines).split())
    assert all(word in shown or width < 40 for word in ("[red]displaced", "stitch", "7"))


def test_what_only_looks_like_a_dpid_stays_as_it_is() -> None:
    lines = printed(
        30, "what", "value", rows=[("request", "32f9f37a67022ea2"), ("MAC", "00:00:00:00:00:01 and more")]
    )
    assert "32f9f37a67022ea2" in "".join(lines)
    assert "00:00:00:00:00:01" in "".join(lines)


def test_a_coloured_cell_is_coloured_and_none_of_its_text_is_markup() -> None:
    console = Console(file=StringIO(), width=60, force_terminal=True, color_system="standard")
    console.print(table("Links", "name", "state", rows=[("[red]a", Coloured("up [dim]", "green"))]))
    assert isinstance(console.file, StringIO)
    shown = console.file.getvalue()
    assert "\x1b[32mup [dim]\x1b[0m" in shown and "[red]a" in shown and "\x1b[31m" not in shown


@given(text=st.text(max_size=200), most=st.integers(10, 80))
def test_a_shortened_text_is_no_longer_than_it_may_be_and_says_that_there_is_more(text: str, most: int) -> None:
    short = shortened(text, most)
    assert len(short) <= most
    assert short == text if len(text) <= most else short.endswith("...") and text.startswith(short[:-3])


def test_a_text_is_cut_between_words() -> None:
    assert shortened("switch 2 refused a rule, as its table is full", 28) == "switch 2 refused a rule..."
