"""What stitches are made on. In a file of its own: the command line names it before anything large is imported."""

from __future__ import annotations

from enum import StrEnum


class Mode(StrEnum):
    """What makes stitches by itself: the forecast, a link that is full already, or nothing."""

    PREDICTIVE = "predictive"
    REACTIVE = "reactive"
    OFF = "off"
