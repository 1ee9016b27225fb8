"""What both ends of the control channel agree on besides messages: names in certificates, reasons to close."""

from __future__ import annotations

import re
from enum import IntEnum

from vte_agent.protocol.base import Name, Serial

SERVER_NAME = "controller.lockstitch.internal"
"""The name in every controller's certificate, whatever address it is reached at: agents ask for this one."""

_URI = re.compile(r"lockstitch:member:([1-9][0-9]{0,18}):([A-Za-z0-9._-]{1,63})")


class Close(IntEnum):
    """Why the controller closed a channel (codes of RFC 6455, section 7.4.2)."""

    REVOKED = 4001
    REPLACED = 4002
    """Another agent has come with the same identity."""
    EXPIRED = 4003
    REFUSED = 4004
    """It said what it may not say here."""


def member_uri(serial: Serial, name: Name) -> str:
    """How a client certificate says whose it is."""
    return f"lockstitch:member:{serial}:{name}"


def read_member_uri(uri: str) -> tuple[Serial, Name] | None:
    """The serial and the name of a certificate's URI; None where it is none of ours."""
    found = _URI.fullmatch(uri)
    if found is None or int(found[1]) >= 1 << 63:
        return None
    return int(found[1]), found[2]
