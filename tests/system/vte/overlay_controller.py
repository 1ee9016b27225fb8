"""The overlay's app in a process of its own, for tests. Arguments: directory, host:port, oldest age of keys.

One line on standard input is one question; the answer is one line of JSON.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from os_ken.base.app_manager import AppManager

from ryu_apps.app import ask
from ryu_apps.events.overlay import OverlayRequest
from ryu_apps.overlay.app import Doors, SiteOverlay
from ryu_apps.overlay.authority import Authority
from ryu_apps.overlay.signing.client import SignerClient
from ryu_apps.overlay.signing.requests import ControllerCard
from stitching.overlay.replacing import Replacing
from stitching.overlay.rounds import OverlayPolicy
from vte_agent.protocol.base import public_text

STORE = "overlay.json"


def main() -> None:
    """Serve the overlay until standard input ends."""
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s controller %(name)s %(message)s"
    )
    directory, address, key_age_s = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
    (directory / "authority").mkdir(exist_ok=True)
    authority, key = Authority(directory / "authority"), _key(directory / "state.key")
    SignerClient(directory / "signer" / "operator.sock").trust(
        ControllerCard(
            state_key=public_text(key.public_key().public_bytes_raw()),
            authority_sha256=authority.sha256,
            addresses=(address,),
        )
    )
    host, port = address.split(":")
    store = directory / STORE
    app = AppManager.get_instance().instantiate(
        SiteOverlay,
        doors=Doors(host, int(port), directory / "signer" / "controller.sock"),
        authority=authority,
        state_key=key,
        save=store.write_text,
        saved=store.read_text() if store.exists() else None,
        policy=OverlayPolicy(replacing=Replacing(key_age_s=key_age_s, drain_s=1.0)),
    )
    app.start()
    _say("ready")
    for _ in sys.stdin:
        answer = ask("SiteOverlay", OverlayRequest())
        said = {
            "serials": {site.name: site.serial for site in answer.sites.values()},
            "callable": {
                site.name: [uplink.name for uplink in site.uplinks if uplink.callable]
                for site in answer.sites.values()
            },
            "connected": sorted(answer.connected),
            "told": dict(answer.told),
            "tunnels": {one.name: one.phase.value for one in answer.tunnels},
            "problems": answer.problems,
        }
        _say(json.dumps(said))


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _key(path: Path) -> Ed25519PrivateKey:
    if not path.exists():
        path.write_bytes(Ed25519PrivateKey.generate().private_bytes_raw())
    return Ed25519PrivateKey.from_private_bytes(path.read_bytes())


if __name__ == "__main__":
    try:
        main()
    except BaseException:
        logging.exception("the controller of the test has ended")
    # Threads of the app would keep it alive.
    os._exit(1)
