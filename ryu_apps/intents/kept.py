"""Intents as they are kept."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Protocol

from ryu_apps.store import StoreError
from stitching.intents.document import Document
from stitching.intents.reading import read_document
from stitching.intents.version import IntentVersion
from stitching.intents.world import Progress


class Store(Protocol):
    """Where intents are kept (ryu_apps.store.IntentStore). All calls raise StoreError."""

    def version(self, number: int | None = None) -> IntentVersion | None:
        """A version, the newest unless one is named."""
        ...

    def versions(self) -> tuple[IntentVersion, ...]:
        """All versions, the newest first."""
        ...

    def save(self, created_s: float, document: str, note: str, *, atomic: bool) -> IntentVersion:
        """Keep a document as the newest version."""
        ...

    def settle(self, number: int) -> None:
        """A version is through."""
        ...

    def progress(self) -> dict[str, Progress]:
        """How far transfers have come."""
        ...

    def save_progress(self, progress: Mapping[str, Progress]) -> None:
        """Keep how far these have come."""
        ...


def stored_document(version: IntentVersion) -> Document:
    """The document of a version. Raises StoreError: without it all that it wants would be taken away."""
    try:
        return read_document(json.loads(version.document))
    except ValueError as error:
        raise StoreError(
            f"version {version.version} of the intents in the store cannot be read ({error}); install the "
            "Lockstitch that wrote it again"
        ) from error
