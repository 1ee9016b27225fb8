"""Where OVSDB servers are: unix:PATH, tcp:HOST:PORT or ssl:HOST:PORT."""

from __future__ import annotations

import re
from dataclasses import dataclass

_NETWORK = re.compile(r"(tcp|ssl):(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.\-]+):(\d{1,5})")


class BadRemote(ValueError):
    """That is no place of an OVSDB server; the message says how to write one."""


@dataclass(frozen=True)
class Certificates:
    """PEM files for ssl: servers: our key and certificate, and the authority that signed theirs."""

    key: str
    certificate: str
    authority: str


def check_remote(text: str) -> str:
    """The remote as it is used; raises BadRemote."""
    text = text.strip()
    if text.startswith("unix:/") and "\0" not in text and "," not in text:
        return text
    found = _NETWORK.fullmatch(text)
    if found is None or not 0 < int(found[3]) < 65536:
        raise BadRemote(
            f"{text!r} is no OVSDB server; write unix:/PATH/TO/db.sock, tcp:HOST:PORT or ssl:HOST:PORT"
        )
    return text


def socket_path(remote: str) -> str | None:
    """The path of a unix: remote, whose switch is on this machine; None for the others."""
    return remote.removeprefix("unix:") if remote.startswith("unix:") else None
