"""Documents of intents as they are kept: changed in one intent, or in all that a caller may touch."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from stitching.intents.faults import IntentError, where
from stitching.intents.reading import read_document
from stitching.policy.faults import Fault

Raw = dict[str, Any]
"""A document as people write it."""


def items_of(document: Mapping[str, Any]) -> dict[str, Raw]:
    """The intents of a document that could be read, by name."""
    return {item["name"]: item for item in document["intents"]}


def with_all(current: Raw, document: object, kept: Collection[str]) -> Raw:
    """A document in place of the current one, of which the intents named in `kept` stay. Raises IntentError."""
    read = read_document(document)
    clashes = [intent.name for intent in read.intents if intent.name in kept]
    if clashes:
        raise IntentError([_taken(name) for name in clashes])
    assert isinstance(document, dict)  # or it could not be read
    stay = [item for name, item in items_of(current).items() if name in kept]
    return {**{k: v for k, v in document.items() if k == "description"}, "intents": [*document["intents"], *stay]}


def with_one(current: Raw, name: str, item: object, kept: Collection[str]) -> Raw:
    """The current document with one intent put in, or in place of the one of its name. Raises IntentError."""
    if name in kept:
        raise IntentError([_taken(name)])
    if isinstance(item, dict):
        given = item.get("name", name)
        if given != name:
            fault = Fault(where(name), "name", f"it says {given!r}", "leave it out, or say what the path says")
            raise IntentError([fault])
        item = {"name": name, **item}
    read_document({"intents": [item]})
    items = {**items_of(current), name: item}
    return {**current, "intents": list(items.values())}


def without(current: Raw, name: str) -> Raw:
    """The current document without an intent. Raises KeyError where there is none of this name."""
    items = items_of(current)
    del items[name]
    return {**current, "intents": list(items.values())}


def _taken(name: str) -> Fault:
    return Fault(where(name), "name", "an intent that is not yours has this name", "choose another one")
