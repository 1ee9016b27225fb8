"""What the controller must still know after a crash."""

from ryu_apps.store.access import AccessStore
from ryu_apps.store.errors import StoreError
from ryu_apps.store.history import HistoryStore, Retention
from ryu_apps.store.intents import IntentStore
from ryu_apps.store.samples import Resolution, SeriesKey, SeriesKind
from ryu_apps.store.state import StateStore

__all__ = [
    "AccessStore",
    "HistoryStore",
    "IntentStore",
    "Resolution",
    "Retention",
    "SeriesKey",
    "SeriesKind",
    "StateStore",
    "StoreError",
]
