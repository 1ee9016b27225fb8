"""How far a back-test is, on the error stream so that answers can be piped."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn


class Phases:
    """A bar for fitting and one for forecasting; where there is no terminal, a line when each begins."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._fitting: TaskID | None = None
        self._forecasting: TaskID | None = None

    def start(self, series: int, steps: int) -> None:
        """Say that `series` are going to be fitted to so many steps."""
        self._line(f"fitting {series} series to {steps} steps")
        self._fitting = self._progress.add_task("fitting", total=None)

    def fitted(self, done: int, of: int) -> None:
        """Say how much of a fit is done; a refit begins at the start of the bar again."""
        if self._fitting is not None:
            self._progress.update(self._fitting, completed=done, total=of)

    def forecast(self, done: int, of: int) -> None:
        """Say how many forecasts are done."""
        if self._forecasting is None:
            self._line(f"forecasting from {of} origins")
            self._forecasting = self._progress.add_task("forecasting", total=of)
        self._progress.update(self._forecasting, completed=done)

    def _line(self, text: str) -> None:
        if self._progress.disable:
            typer.echo(text, err=True)


@contextmanager
def phases() -> Iterator[Phases]:
    """Show bars till the block ends."""
    with _bars() as progress:
        yield Phases(progress)


@contextmanager
def busy(what: str) -> Iterator[None]:
    """Show that something is done that takes nobody knows how long."""
    with _bars() as progress:
        progress.add_task(what, total=None)
        yield


def _bars() -> Progress:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
