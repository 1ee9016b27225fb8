"""The error of this package."""

from __future__ import annotations

from pathlib import Path


class BadSeries(ValueError):
    """A file that series or events cannot be read from; the message says what is wrong and what to do."""

    def __init__(self, file: Path, wrong: str, remedy: str) -> None:
        super().__init__(f"{file}: {wrong}; {remedy}")
