"""What tables on the command line have in common."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.markup import escape
from rich.table import Table
from rich.text import Text, TextType

UNKNOWN = "-"
"""Stands where a number is not known."""

MOST_NOTES = 6

MOST_IN_A_LIST = 60
"""So many characters of a reason stand in a list; what is about one thing alone shows it whole."""

_ZEROS_OF_DPID = re.compile(r"\b(?=[0-9a-f]{16}\b)0+(?=[0-9a-f])")


class Coloured(str):
    """A cell in a colour of its own; its text stands as it is, and is no markup."""

    __slots__ = ("colour",)

    def __new__(cls, text: str, colour: str) -> Coloured:
        """Text in a colour that rich knows."""
        made = super().__new__(cls, text)
        made.colour = colour
        return made

    colour: str


@dataclass(frozen=True)
class _Form:
    """One way to show a table: some columns, cells as they stand in it, and lines around them or none."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    lined: bool = True

    def shorter(self) -> _Form:
        """With dpids as short as commands take them, and without columns in which nothing is known."""
        said = [any(row[at] not in ("", UNKNOWN) for row in self.rows) for at in range(len(self.columns))]
        kept = [at for at in range(len(self.columns)) if not self.rows or said[at]]
        rows = [[_shorter(row[at]) for at in kept] for row in self.rows]
        return replace(self, columns=[self.columns[at] for at in kept], rows=rows)

    def widths(self, room: int) -> list[int] | None:
        """How wide each column is to be in so much room; None where a word would be folded."""
        between = 3 * len(self.columns) + 1 if self.lined else len(self.columns) - 1
        return _widths(
            [[head, *cells] for head, *cells in zip(self.columns, *self.rows, strict=True)], room - between
        )

    def drawn(self, title: TextType | None, widths: Sequence[int] | None) -> Table:
        """The table, as rich makes it."""
        if self.lined:
            made = Table(title=title, title_justify="left")
        else:
            made = Table(
                title=title, title_justify="left", box=box.SIMPLE_HEAD, show_edge=False, padding=0, pad_edge=False
            )
        return _filled(made, self.columns, self.rows, widths)


class Fitting(Table):
    """A table that leaves out what says nothing before it folds a word, where the terminal is narrow."""

    whole: _Form

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        short = self.whole.shorter()
        for form in (self.whole, short, replace(short, lined=False)):
            widths = form.widths(options.max_width)
            if widths is not None:
                break
        yield from Table.__rich_console__(form.drawn(self.title, widths), console, options)


def _widths(columns: Sequence[Sequence[str]], room: int) -> list[int] | None:
    """How wide each column is to be, the widest being narrowed first; None where a word would be folded."""
    widths = [max(map(cell_len, cells)) for cells in columns]
    words = [max((cell_len(word) for cell in cells for word in cell.split()), default=1) for cells in columns]
    for _ in range(sum(widths) - room):
        width, at = max((width, at) if width > words[at] else (0, at) for at, width in enumerate(widths))
        if not width:
            return None
        widths[at] -= 1
    return widths


def _filled(
    shown: Table, columns: Sequence[str], rows: Iterable[Sequence[str]], widths: Sequence[int] | None = None
) -> Table:
    for at, column in enumerate(columns):
        # Folded, not cut: what stands in a table can be copied from it.
        shown.add_column(column, overflow="fold", width=widths[at] if widths is not None else None)
    for row in rows:
        shown.add_row(*map(_marked, row))
    return shown


def _marked(cell: str) -> Text:
    return Text(str(cell), cell.colour if isinstance(cell, Coloured) else "")


def _shorter(cell: str) -> str:
    return cell if isinstance(cell, Coloured) else _ZEROS_OF_DPID.sub("", cell)


def table(title: str, *columns: str, rows: Iterable[tuple[object, ...]]) -> Table:
    """Make a table of text as it stands: none of it is markup, and none is cut."""
    cells = [tuple(cell if isinstance(cell, str) else str(cell) for cell in row) for row in rows]
    shown = Fitting(title=Text(title), title_justify="left")
    shown.whole = _Form(columns, cells)
    _filled(shown, columns, cells)
    return shown


def shortened(text: str, most: int = MOST_IN_A_LIST) -> str:
    """Give the beginning of a text, with an ellipsis where more follows; whole words where there are any."""
    if len(text) <= most:
        return text
    head = text[: most - 3]
    whole = head if text[most - 3] == " " else head.rpartition(" ")[0] or head
    return f"{whole.rstrip(' ,;:')}..."


def number(value: float | None) -> str:
    """Give a number in four digits."""
    return UNKNOWN if value is None else f"{value:.4g}"


def share(value: float | None) -> str:
    """Give a share as whole percents."""
    return UNKNOWN if value is None else f"{value:.0%}"


def notes(said: Sequence[str]) -> list[str]:
    """What was assumed or left out when files were read, as markup."""
    lines = [f"[dim]note: {escape(note)}[/]" for note in said[:MOST_NOTES]]
    more = len(said) - len(lines)
    return [*lines, f"[dim]note: and {more} more like these[/]"] if more > 0 else lines
