"""What tables of paths and of plans have in common."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ryu_apps.paths.numbers import folded

_LEAST_NAME = 8

Kind = Literal["text", "name", "number"]


def table(title: str, *columns: tuple[str, Kind], rows: Iterable[tuple[object, ...]]) -> Table:
    """A table whose numbers stand to the right and in one piece; long names go on after a separator."""
    cells = [[str(cell) for cell in row] for row in rows]
    width = _name_width(columns, cells)
    shown = Table(title=escape(title), title_justify="left")
    for column, kind in columns:
        if kind == "number":
            shown.add_column(column, justify="right", no_wrap=True)
        else:
            # Folded, not cut: what stands in a table can be copied from it.
            shown.add_column(column, overflow="fold")
    for row in cells:
        pairs = zip(row, columns, strict=True)
        shown.add_row(*(escape(folded(cell, width) if kind == "name" else cell) for cell, (_, kind) in pairs))
    return shown


def _name_width(columns: Sequence[tuple[str, Kind]], rows: Sequence[Sequence[str]]) -> int:
    """What is left for each column of names."""
    names = sum(kind == "name" for _, kind in columns)
    others = sum(
        max([len(column), *(len(row[place]) for row in rows)])
        for place, (column, kind) in enumerate(columns)
        if kind != "name"
    )
    borders = 3 * len(columns) + 1
    return max(_LEAST_NAME, (Console().width - others - borders) // max(1, names))
