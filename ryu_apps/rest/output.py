"""Shows answers of the controller: as JSON or as tables, once or anew each second."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Annotated, Any

import typer
from rich.console import Console, Group
from rich.live import Live

WATCH_S = 1.0
"""How often --watch asks again."""

Watch = Annotated[bool, typer.Option("--watch", help="Show it anew every second until Ctrl-C.")]


def show(answer: Any, as_json: bool, *shown: Any) -> None:
    """Print an answer as JSON, or as tables."""
    if as_json:
        typer.echo(json.dumps(answer, indent=2))
        return
    console = Console()
    for table in shown:
        console.print(table, soft_wrap=isinstance(table, str), markup=False, highlight=False)


def follow(ask: Callable[[], Any], shown: Callable[[Any], Any], *, watch: bool, as_json: bool) -> None:
    """Show an answer as a table or several, and with watch the next one in its place each WATCH_S until Ctrl-C.

    Where it goes into a file or a pipe, or is JSON, the next one comes behind it.
    """

    def tables(answer: Any) -> list[Any]:
        found = shown(answer)
        return list(found) if isinstance(found, list | tuple) else [found]

    answer = ask()
    if not watch:
        show(answer, as_json, *tables(answer))
    elif as_json or not Console().is_terminal:
        while True:
            show(answer, as_json, *tables(answer))
            sys.stdout.flush()
            time.sleep(WATCH_S)
            answer = ask()
    else:
        with Live(Group(*tables(answer)), console=Console(), auto_refresh=False) as live:
            while True:
                time.sleep(WATCH_S)
                live.update(Group(*tables(ask())), refresh=True)
