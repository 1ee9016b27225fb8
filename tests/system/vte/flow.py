"""A steady flow from one of two sites to the other."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from mininet_topos.overlay.flow import PORT, Receiver, listen
from mininet_topos.overlay.sender import sending
from tests.system.vte.two_sites import Site


@contextmanager
def flow(sender: Site, receiver: Site, port: int = PORT) -> Iterator[Receiver]:
    """A flow that runs as long as the body."""
    words = sending(sender.host, receiver.host, port)
    with listen(receiver.pid, receiver.host, port) as source:
        process = subprocess.Popen(["ip", "netns", "exec", sender.namespace, *words])
        try:
            yield Receiver(source)
        finally:
            process.kill()
            process.wait(10)
