"""What is being done, on the error stream: a spinner on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

LINE_EVERY_S = 10.0

Say = Callable[[str], None]
"""Tells what is being done now."""


@contextmanager
def busy(what: str) -> Iterator[Say]:
    """Show that something goes on; what is yielded changes the words."""
    console = Console(stderr=True)
    with _spinner(console, what) if console.is_terminal else _lines(what) as say:
        yield say


@contextmanager
def _spinner(console: Console, what: str) -> Iterator[Say]:
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(what, total=None)
        yield lambda now: progress.update(task, description=now)


@contextmanager
def _lines(what: str) -> Iterator[Say]:
    began_s, done, now = time.monotonic(), threading.Event(), [what]

    def tell() -> None:
        while not done.wait(LINE_EVERY_S):
            typer.echo(f"{now[0]} ({time.monotonic() - began_s:.0f} s)", err=True)

    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        yield lambda latest: now.__setitem__(0, latest)
    finally:
        done.set()
        teller.join()
