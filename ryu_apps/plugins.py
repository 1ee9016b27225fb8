"""Commands that other packages bring to `lockstitch`."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

import typer

PLUGINS = "lockstitch.commands"
"""The entry-point group of plug-ins: each is a typer.Typer whose commands are added at the top."""


@dataclass(frozen=True)
class Plugins:
    """The commands of all plug-ins that could be loaded, and a line about each that could not."""

    commands: dict[str, Any] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)

    @classmethod
    def load(cls) -> Plugins:
        """Import all plug-ins. What goes wrong in one is noted and hurts nobody else."""
        plugins = cls()
        for entry in sorted(metadata.entry_points(group=PLUGINS), key=lambda entry: entry.name):
            try:
                plugins.commands.update(typer.main.get_group(entry.load()).commands)
            except Exception as error:  # noqa: BLE001  # a plug-in may fail in any way
                plugins.skipped.append(_skipped(entry, error))
        return plugins


def _skipped(entry: metadata.EntryPoint, error: Exception) -> str:
    note = f"plug-in {entry.name!r} was skipped ({' '.join(str(error).split()) or type(error).__name__})"
    ours = entry.dist is not None and entry.dist.name == "lockstitch"
    if ours and isinstance(error, ImportError):
        return f"{note}; what it needs comes with: pip install 'lockstitch[{entry.name}]'"
    return note
