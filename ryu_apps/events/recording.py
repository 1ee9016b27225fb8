"""What the recorder tells: whether the disk takes what is measured."""

from __future__ import annotations

from dataclasses import dataclass

from ryu_apps.app import Request


@dataclass(frozen=True)
class RecorderStatus:
    """Whether what is measured and seen gets to the disk; dropped periods are counted since the start."""

    history_failing: bool = False
    history_dropped: int = 0
    fabric_unsaved: bool = False


@dataclass
class RecorderStatusRequest(Request[RecorderStatus]):
    """Does the disk take what is measured?"""
