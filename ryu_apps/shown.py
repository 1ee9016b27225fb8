"""What tables on the command line have in common."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.markup import escape
from rich.table import Table

UNKNOWN = "-"
"""Stands where a number is not known."""

MOST_NOTES = 6


def table(title: str, *columns: str, rows: Iterable[tuple[object, ...]]) -> Table:
    """Make a table of text as it stands: none of it is markup, and none is cut."""
    shown = Table(title=title, title_justify="left")
    for column in columns:
        # Folded, not cut: what stands in a table can be copied from it.
        shown.add_column(column, overflow="fold")
    for row in rows:
        shown.add_row(*(escape(str(cell)) for cell in row))
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
