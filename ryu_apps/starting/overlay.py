"""What the overlay's app is made with: its key and authority, what was stored of it, and who may be called."""

from __future__ import annotations

import contextlib
import logging
import socket
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from ryu_apps.overlay.authority import Authority, AuthorityError
from ryu_apps.overlay.card import CardError, card_of, state_key, write_card
from ryu_apps.overlay.defined import Defined
from ryu_apps.overlay.keeping import KeptOverlay, restored
from ryu_apps.overlay.trust import Doors
from ryu_apps.starting.settings import OverlaySettings, StartError
from ryu_apps.store import StateStore
from ryu_apps.store.codec import load
from stitching.overlay.mesh_rules import PairRule, Selector
from stitching.overlay.replacing import Replacing
from stitching.overlay.rounds import OverlayPolicy
from stitching.overlay.sites import Prefix
from stitching.overlay.tunnels import DEFAULT_RANGE

log = logging.getLogger("lockstitch.controller")


def overlay_arguments(settings: OverlaySettings, directory: Path, state: StateStore) -> dict[str, Any]:
    """The arguments of SiteOverlay; the controller's card is in its directory then. Raises StartError."""
    _check_free(settings.host, settings.port)
    try:
        authority, key = Authority(directory), state_key(directory)
        doors = Doors(settings.host, settings.port, settings.signer, settings.addresses)
        saved = _stored(state)
        overlay_range = _range(settings.overlay_range, saved)
        path = write_card(directory, card_of(key, authority.sha256, doors.called_at, overlay_range))
    except (AuthorityError, CardError) as error:
        raise StartError(str(error)) from error
    except OSError as error:
        raise StartError(f"{directory} cannot be written ({error.strerror})") from error
    log.info("overlay=%s:%d signer=%s card=%s", settings.host, settings.port, settings.signer, path)
    return {
        "doors": doors,
        "authority": authority,
        "state_key": key,
        "save": state.save_overlay,
        "saved": saved,
        "overlay_range": overlay_range,
        "policy": _policy(settings),
        "defined": Defined(state),
    }


def _policy(settings: OverlaySettings) -> OverlayPolicy:
    everybody = PairRule(Selector(), Selector(), transports=settings.transports)
    replacing = Replacing() if settings.key_age_s is None else Replacing(key_age_s=settings.key_age_s)
    return OverlayPolicy(mesh=replace(settings.mesh, rules=(everybody,)), replacing=replacing)


def _range(given: Prefix | None, saved: str | None) -> Prefix:
    """Where tunnels have their addresses. Raises StartError where others have theirs elsewhere already."""
    stored = load(KeptOverlay, saved) if saved is not None else None
    there = ip_network(stored.overlay_range) if stored is not None else DEFAULT_RANGE
    if given in (None, there):
        return there
    if stored is not None and (stored.links.anchors or any(one.state.tunnels for one in stored.lines)):
        raise StartError(
            f"--overlay-range {given}: tunnels have theirs in {there} already, and would lose them; start "
            f"without it, or with {there}. Only a controller that has had no two sites yet takes another one"
        )
    return given or there


def _stored(state: StateStore) -> str | None:
    """The overlay as it was stored, if it can be gone on with."""
    saved = state.overlay()
    if saved is None:
        return None
    try:
        restored(load(KeptOverlay, saved))
    except ValueError as error:
        raise StartError(
            f"the stored overlay cannot be read ({error}): start the Lockstitch that has written it, or put the "
            "database back from a copy. Without it addresses that sites use would be given to others"
        ) from error
    return saved


def _check_free(host: str, port: int) -> None:
    """Raise StartError where sites could not be listened for: later, nobody would look at the message."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with contextlib.closing(socket.socket(family, socket.SOCK_STREAM)) as door:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            door.bind((host, port))
        except OSError as error:
            raise StartError(
                f"cannot listen for sites on {host}:{port} ({error.strerror or error}); give another --overlay"
            ) from error
