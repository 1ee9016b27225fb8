"""os-ken's own link discovery, as a program: `python -m benchmarks.controlling.os_ken_links PORT`.

It writes the number of directed links it knows on standard output whenever that changes.
OSKEN_HUB_TYPE says how it runs its threads.
"""

from __future__ import annotations

import sys

from os_ken import cfg
from os_ken.base import app_manager
from os_ken.lib import hub

_LOOK_EVERY_S = 0.05


def main() -> None:
    """Discover until ended from outside."""
    hub.patch()
    port = sys.argv[1]
    app_manager.AppManager.get_instance().load_apps(["os_ken.topology.switches"])  # declares the options below
    arguments = ["--observe-links", "--ofp-listen-host", "127.0.0.1", "--ofp-tcp-listen-port", port]
    cfg.CONF(args=arguments, project="os_ken", version="os_ken")
    hub.spawn(_tell)
    app_manager.AppManager.run_apps(["os_ken.controller.ofp_handler", "os_ken.topology.switches"])


def _tell() -> None:
    told = -1
    while True:
        switches = app_manager.lookup_service_brick("switches")
        links = len(switches.links) if switches is not None else 0
        if links != told:
            told = links
            print(links, flush=True)
        hub.sleep(_LOOK_EVERY_S)


if __name__ == "__main__":
    main()
