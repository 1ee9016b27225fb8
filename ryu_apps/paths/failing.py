"""What can go wrong with a file, a question or a disk, in one line that speaks of options."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

INTERRUPTED = 130

# What `pathing` calls its arguments, and what the user does.
_OPTIONS = {
    "max_latency_ms": "--max-latency",
    "max_loss": "--max-loss",
    "max_hops": "--max-hops",
    "bandwidth_mbps": "--bandwidth",
    "avoid_nodes": "--avoid",
    "avoid_links": "--avoid",
    "require_nodes": "--require",
    "require_links": "--require",
    "maximally=True": "--maximally",
    "max_paths": "--max-paths",
    "time_limit_s": "--time-limit",
}
# Not in quotes: a node may be called so.
_ARGUMENT = re.compile(rf"(?<!['\w])({'|'.join(map(re.escape, _OPTIONS))})(?!['\w])")


class PathCommandFailed(Exception):
    """There is no answer; the message says why and what would help."""


def in_options(text: str) -> str:
    """Put a message of `pathing` in the words of the command line."""
    return _ARGUMENT.sub(lambda found: _OPTIONS[found[0]], text)


@contextmanager
def one_line(file: Path) -> Iterator[list[str]]:
    """Turn what goes wrong into one line, after the notes that were put into the list by then."""
    from pathing.errors import LabelBudget, PathingError, UnknownNode, did_you_mean

    notes: list[str] = []
    try:
        yield notes
    except KeyboardInterrupt:
        typer.echo("interrupted", err=True)
        raise typer.Exit(INTERRUPTED) from None
    except (PathCommandFailed, PathingError, OSError) as error:
        for note in notes:
            typer.echo(f"note: {note}", err=True)
        said = str(error)
        if isinstance(error, UnknownNode):
            said = f"{file}: no node {error.node!r} in it{did_you_mean(error.close)}"
        elif isinstance(error, LabelBudget):
            said = f"{said.partition('; give a larger')[0]}; give fewer limits"
        raise PathCommandFailed(in_options(said)) from error
