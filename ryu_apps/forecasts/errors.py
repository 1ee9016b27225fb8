"""The error of this package."""

from __future__ import annotations

from pathlib import Path


class BadSeries(ValueError):
    """A file that series or events cannot be read from; the message says what is wrong and what to do."""

    def __init__(self, file: Path, wrong: str, remedy: str) -> None:
        super().__init__(f"{file}: {wrong}; {remedy}")
        self._made_of = (file, wrong, remedy)

    def __reduce__(self) -> tuple[type[BadSeries], tuple[Path, str, str]]:
        """From one process to another: as it was made."""
        return type(self), self._made_of
