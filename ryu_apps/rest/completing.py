"""What a shell offers where the value of an option is one of few. The controller decides what it takes."""

from __future__ import annotations

from collections.abc import Callable


def one_of(*values: str) -> Callable[[str], list[str]]:
    """Offers those of these that begin as what is typed so far, as typer's `autocompletion`."""

    def completed(incomplete: str) -> list[str]:
        return [value for value in values if value.startswith(incomplete)]

    return completed


def states(incomplete: str) -> list[str]:
    """Offers the states of stitches."""
    # Here and not above: `lockstitch --help` need not wait for it.
    from stitching.stitch import State

    return one_of(*(state.value for state in State))(incomplete)
