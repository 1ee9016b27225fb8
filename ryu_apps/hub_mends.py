"""Puts right two faults of os-ken's hub under native threads, for our apps and for hosted ones."""

from __future__ import annotations

import threading
from typing import Any

from os_ken.lib import hub


class TaskExit(BaseException):
    """Ends a thread. os-ken takes Exception for it: the first fault of a handler would end its app unsaid."""


class Event(threading.Event):
    """An event whose wait() ends at its timeout; that of os-ken never does."""


def mend() -> None:
    """Change os-ken's hub in this process."""
    names: dict[str, Any] = vars(hub)
    names["TaskExit"] = TaskExit
    names["Event"] = Event
