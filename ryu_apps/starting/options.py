"""Reads what the options of `lockstitch controller` say, and refuses what cannot be meant."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.util import find_spec
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import TYPE_CHECKING

from ryu_apps.forecasts.options import names as split
from ryu_apps.forecasts.options import seconds
from ryu_apps.rest.tls import TlsFiles

if TYPE_CHECKING:
    from forecasting import Calendar
    from ryu_apps.ovsdb.remotes import Certificates
    from ryu_apps.starting.settings import OverlaySettings
    from stitching.overlay.mesh import MeshPolicy
    from stitching.overlay.sites import Prefix

DAY_S = 86400.0

LEAST_KEY_AGE_S = 10.0
"""Of tunnels: one follows the other within seconds, and then the older one drains."""


class CannotStart(Exception):
    """The controller cannot start; the message says what to do."""


def tls_files(tls: bool, certificate: Path | None, key: Path | None) -> TlsFiles | None:
    """The files to serve TLS with; None where it is not to be, or with a certificate of our own."""
    if certificate is None and key is None:
        return None
    if tls:
        raise CannotStart("--tls makes a certificate; leave it out, or --tls-cert and --tls-key")
    if certificate is None or key is None:
        raise CannotStart("--tls-cert and --tls-key go together; give both")
    return TlsFiles(certificate, key)


def calendar(season_s: float, events: Path | None, holidays: str | None, utc_offset_h: float) -> Calendar:
    """When the traffic has its days, its days off and its events."""
    from forecasting import Calendar
    from ryu_apps.forecasts.errors import BadSeries
    from ryu_apps.forecasts.series import read_events

    if holidays is not None and season_s != DAY_S:
        raise CannotStart("--holidays are days of 24 hours; leave --season out, or --holidays")
    offset_s = 3600.0 * utc_offset_h
    days_off = tuple(_noon_s(date) - offset_s for date in holidays.split(",")) if holidays is not None else ()
    try:
        scheduled = () if events is None else read_events(events)
        return Calendar(day_s=season_s, utc_offset_s=offset_s, holidays=days_off, events=scheduled)
    except (BadSeries, OSError) as error:
        raise CannotStart(str(error)) from error


def _noon_s(date: str) -> float:
    """Noon of a day, as if it were in UTC."""
    try:
        midnight = datetime.strptime(date.strip(), "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise CannotStart(
            f"--holidays: {date.strip()!r} is no date; write them like 2026-12-25,2027-01-01"
        ) from None
    return midnight.timestamp() + DAY_S / 2


def ovsdb(remotes: list[str]) -> tuple[str, ...]:
    """The databases of switches, checked."""
    from ryu_apps.ovsdb.remotes import BadRemote, check_remote

    try:
        return tuple(check_remote(remote) for remote in remotes)
    except BadRemote as error:
        raise CannotStart(f"--ovsdb: {error}") from error


def certificates(remotes: list[str], *files: Path | None) -> Certificates | None:
    """What databases at ssl: are reached with; None where none is there."""
    from ryu_apps.ovsdb.remotes import Certificates

    if not any(remote.startswith("ssl:") for remote in remotes):
        return None
    given = [str(file) for file in files if file is not None]
    if len(given) < len(files):
        raise CannotStart("--ovsdb ssl: needs our key and certificate: --ovsdb-key, --ovsdb-cert and --ovsdb-ca")
    for name in given:
        try:
            Path(name).read_bytes()
        except OSError as error:
            raise CannotStart(f"{name}: {error.strerror}") from error
    return Certificates(*given)


def members(names: str | None) -> tuple[str, ...]:
    """The models to forecast with; those that there is no library for are refused."""
    from forecasting import MEMBERS, NEURAL, SettingError
    from forecasting.members import chosen

    if names is None:
        return MEMBERS
    try:
        found = chosen(split(names))
    except SettingError as error:
        raise CannotStart(f"--members: {error}") from error
    neural = [name for name in found if name in NEURAL]
    if neural and find_spec("torch") is None:
        raise CannotStart(f"--members {neural[0]} needs PyTorch: pip install 'lockstitch[neural]'")
    return found


def overlay(
    at: str | None,
    signer: Path | None,
    addresses: list[str],
    key_age: str | None = None,
    transports: Sequence[str] = (),
    overlay_range: str | None = None,
    mesh: MeshPolicy | None = None,
) -> OverlaySettings | None:
    """Where sites are listened for, and what their tunnels are like; None where sites are not to be."""
    if at is None:
        given_for_it = {
            "--overlay-address": addresses,
            "--overlay-key-age": key_age,
            "--overlay-transport": transports,
            "--overlay-range": overlay_range,
            "--overlay-hubs, --overlay-budget, --overlay-direct-mbps or --overlay-star-mbps": mesh,
        }
        for option, given in given_for_it.items():
            if given:
                raise CannotStart(f"{option} is of no use without --overlay HOST:PORT; give both")
        return None
    from ryu_apps.overlay.signing.places import default_signer, in_state
    from ryu_apps.starting.settings import OverlaySettings

    host, port = _host_port("--overlay", at)
    for address in addresses:
        if _is_anywhere(_host_port("--overlay-address", address)[0]):
            raise CannotStart(f"--overlay-address: nobody can call {address}; give an address that agents reach")
    if _is_anywhere(host) and not addresses:
        raise CannotStart(
            f"--overlay {at}: nobody can call that; give --overlay-address too, an address that agents reach"
        )
    key_age_s = seconds(key_age, "--overlay-key-age") if key_age is not None else None
    if key_age_s is not None and key_age_s < LEAST_KEY_AGE_S:
        least = f"{LEAST_KEY_AGE_S:g}s"
        raise CannotStart(
            f"--overlay-key-age: {key_age} is too short for tunnels to follow each other; {least} is not"
        )
    door = signer or in_state(default_signer()).controller
    return OverlaySettings(
        *(host, port, door, tuple(addresses), key_age_s, _transports(transports), _range(overlay_range)),
        *((mesh,) if mesh is not None else ()),
    )


def mesh(
    hubs: int | None, budget: int | None, direct_mbps: float | None, star_mbps: float | None
) -> MeshPolicy | None:
    """Which sites get tunnels with each other; None where nothing is said of that.

    direct_mbps: what a pair has to send for tunnels of its own; below star_mbps it loses them.
    """
    if hubs is budget is direct_mbps is star_mbps is None:
        return None
    from stitching.overlay.direct import DirectPolicy
    from stitching.overlay.hubs import HubPolicy
    from stitching.overlay.mesh import MeshPolicy

    usual = MeshPolicy()
    comes = usual.direct.add_mbps if direct_mbps is None else direct_mbps
    goes = usual.direct.remove_mbps if star_mbps is None else star_mbps
    if not 0 <= goes < comes < math.inf:
        raise CannotStart(
            f"--overlay-star-mbps ({goes:g}) has to be below --overlay-direct-mbps ({comes:g}), or tunnels would "
            "go as soon as they have come; give half of it or less"
        )
    return MeshPolicy(
        budget=usual.budget if budget is None else budget,
        hubs=HubPolicy() if hubs is None else HubPolicy(count=hubs),
        direct=DirectPolicy(add_mbps=comes, remove_mbps=goes),
    )


def _range(text: str | None) -> Prefix | None:
    from stitching.overlay.tunnels import check_range

    try:
        return check_range(ip_network(text)) if text is not None else None
    except ValueError as error:
        raise CannotStart(f"--overlay-range: {error}") from error


def _transports(names: Sequence[str]) -> tuple[str, ...]:
    """Each once, in the order given."""
    from stitching.overlay.mesh_rules import ENCRYPTED

    for name in names:
        if name not in ENCRYPTED:
            raise CannotStart(f"--overlay-transport: {name!r} is none; give {' or '.join(sorted(ENCRYPTED))}")
    return tuple(dict.fromkeys(names))


def _host_port(option: str, text: str) -> tuple[str, int]:
    """The two of HOST:PORT or [HOST]:PORT."""
    host, _, port = text.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    known = port.isascii() and port.isdecimal() and 0 < int(port) < 1 << 16
    if not known or not bare or (":" in bare and bare == host) or len(text) > 255:
        raise CannotStart(f"{option}: {text!r} is no HOST:PORT, such as 192.0.2.1:6690 or [2001:db8::1]:6690")
    return bare, int(port)


def _is_anywhere(host: str) -> bool:
    """Whether it is an address to listen at that nobody can call."""
    with contextlib.suppress(ValueError):
        return ip_address(host).is_unspecified
    return False
