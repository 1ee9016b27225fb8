"""What tables on the command line have in common."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.markup import escape
from rich.table import Table

UNKNOWN = "-"
"""Stands where a number is not known."""

MOST_NOTES = 6


_ZEROS_OF_DPID = re.compile(r"\b(?=[0-9a-f]{16}\b)0+(?=[0-9a-f])")
_UNBOUNDED = 10_000


class Fitting(Table):
    """A table that leaves out what says nothing before it folds a cell, where the terminal is narrow."""

    said: tuple[tuple[str, ...], list[tuple[str, ...]]]
    """Columns, and cells as they stand."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        shown: Table = self
        for narrower in self._narrower():
            if _width(console, options, shown) <= options.max_width:
                break
            shown = narrower
        yield from Table.__rich_console__(shown, console, options)

    def _narrower(self) -> Iterator[Table]:
        """The same in less room: no empty columns, and dpids as short as commands take them; then no lines."""
        columns, rows = self.said
        kept = [at for at in range(len(columns)) if not rows or any(row[at] for row in rows)]
        heads = [columns[at] for at in kept]
        short = [[_ZEROS_OF_DPID.sub("", row[at]) for at in kept] for row in rows]
        yield _filled(Table(title=self.title, title_justify="left"), heads, short)
        bare = Table(
            title=self.title, title_justify="left", box=box.SIMPLE_HEAD, show_edge=False, padding=0, pad_edge=False
        )
        # A head of several words takes several lines before a cell does.
        yield _filled(bare, [head.replace(" ", "\n") for head in heads], short)


def _width(console: Console, options: ConsoleOptions, shown: Table) -> int:
    return Table.__rich_measure__(shown, console, options.update(max_width=_UNBOUNDED)).maximum


def _filled(shown: Table, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    for column in columns:
        # Folded, not cut: what stands in a table can be copied from it.
        shown.add_column(column, overflow="fold")
    for row in rows:
        shown.add_row(*(escape(cell) for cell in row))
    return shown


def table(title: str, *columns: str, rows: Iterable[tuple[object, ...]]) -> Table:
    """Make a table of text as it stands: none of it is markup, and none is cut."""
    cells = [tuple(map(str, row)) for row in rows]
    shown = Fitting(title=title, title_justify="left")
    shown.said = columns, cells
    _filled(shown, columns, cells)
    return shown


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
