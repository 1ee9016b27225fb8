"""Makes the apps of a controller, each with what it is to go by, and starts them."""

from __future__ import annotations

import contextlib
import logging
import secrets
import time
from typing import Any

from os_ken.base.app_manager import AppManager
from os_ken.ofproto import ofproto_protocol, ofproto_v1_3

from ryu_apps.capability import Capability
from ryu_apps.channel import Channel
from ryu_apps.day_predictor import DayPredictor
from ryu_apps.discovery import Discovery
from ryu_apps.feed import Feed
from ryu_apps.forwarding import Forwarding
from ryu_apps.guarantor import Guarantor
from ryu_apps.guests.house import House
from ryu_apps.herald import Herald
from ryu_apps.installer import Installer
from ryu_apps.intender import Intender
from ryu_apps.mode import Mode
from ryu_apps.nameplate import Name, Names
from ryu_apps.ofctl.app import Ofctl
from ryu_apps.ovsdb.app import Ovsdb
from ryu_apps.policing import Policing
from ryu_apps.predicting.demand_history import DemandHistory, pairs_of
from ryu_apps.predicting.scope import LEAST_STEP_S, LEAST_STEPS_A_DAY, Ahead, Scope, periods_ahead, unlearnt
from ryu_apps.predictor import Predictor
from ryu_apps.recorder import Recorder
from ryu_apps.starting.settings import Settings
from ryu_apps.starting.state_dir import probe_key
from ryu_apps.stitcher import Stitcher
from ryu_apps.store import HistoryStore, IntentStore, SeriesKind, StateStore
from ryu_apps.telemetry import Telemetry
from stitching.decisions import TriggerPolicy

log = logging.getLogger("lockstitch.controller")

FULL_SHARE = 0.98
"""The share of its capacity at which a link counts as already full, for the reactive trigger."""

RELEASE_RATIO = 0.7
"""A stitch is let go when the shortest way would stay under this part of the share at which links are relieved."""


def start_apps(
    settings: Settings,
    state: StateStore,
    history: HistoryStore,
    feed: Feed,
    stack: contextlib.ExitStack,
    house: House,
) -> Channel:
    """Start all apps, which the stack stops; gives the one that switches connect to. Raises StartError.

    The apps of the house, which are hosted, start later.
    """
    ofproto_protocol.set_app_supported_versions([ofproto_v1_3.OFP_VERSION])
    share = FULL_SHARE if settings.trigger is Mode.REACTIVE else settings.share
    policy = TriggerPolicy(
        share=share,
        release_share=RELEASE_RATIO * share,
        probability=settings.probability,
        hold_s=settings.hold_s,
    )
    key = probe_key(settings.state)
    names = Names(Name.of(key, secrets.randbits(16)), settings.take_over)
    # Not one from the future: the clock may have been ahead for a while.
    newest_s = history.newest_s(time.time() + settings.period_s)
    _tell_outlooks(settings)
    scope = periods_ahead(settings.period_s)
    remembered = state.network()
    foreseeing = {"calendar": settings.calendar, "members": settings.members}
    apps: list[tuple[type, dict[str, Any]]] = [
        (Channel, {"host": settings.of_host, "port": settings.of_port, "names": names}),
        (Herald, {"feed": feed, "network": remembered}),
        (Installer, {"gone": house.gone}),
        (Forwarding, {"store": state, "undecided": house.undecided}),
        (Policing, {"store": state}),
        (Stitcher, {"store": state, "key": key, "policy": None if settings.trigger is Mode.OFF else policy}),
        (Predictor, {"mode": settings.trigger, "scope": scope, **foreseeing,
                     "history": _demands_before(history, newest_s, scope)}),
        (Intender, {"store": IntentStore(state.database), "day_ahead": settings.day is not None}),
        (Recorder, {"state": state, "history": history}),
        (Telemetry, {"period_s": settings.period_s}),
        (Capability, {}),
        (Discovery, {"key": key, "remembered": remembered, "capacities": state.capacities(),
                     "keep": state.save_capacities, "encrypted": state.encrypted_ports(),
                     "keep_encrypted": state.save_encrypted}),
        (Ofctl, {}),
        (Guarantor, {}),
        (Ovsdb, {"remotes": settings.ovsdb, "bfd_ms": settings.bfd_ms, "ssl": settings.ovsdb_ssl,
                 "named": state.ovsdb(), "keep": state.save_ovsdb}),
    ]  # fmt: skip
    if settings.day is not None:
        stored = settings.store_url if _is_known(newest_s, settings.day) else None
        apps.append((DayPredictor, {"scope": settings.day, "stored": stored, **foreseeing}))
    if settings.overlay is not None:
        # Here and not above: most run without.
        from ryu_apps.overlay.app import SiteOverlay
        from ryu_apps.starting.overlay import overlay_arguments

        # Before Discovery: which links go through tunnels is known when it tells of the links there were.
        apps.insert(1, (SiteOverlay, overlay_arguments(settings.overlay, settings.state, state)))
    manager = AppManager.get_instance()
    running = []
    for app_class, arguments in apps:
        app = manager.instantiate(app_class, **arguments)
        running.append(app)
        stack.callback(manager.uninstantiate, app.name)
    # Started when all are there: the first event of each finds everybody who wants it.
    for app in running:
        app.start()
    return running[0]  # type: ignore[no-any-return]  # os-ken ships no types


def _demands_before(history: HistoryStore, newest_s: float | None, scope: Scope) -> DemandHistory:
    """The newest demands that were stored before a restart: the forecast goes on with them."""
    demands = DemandHistory(scope.step_s, scope.kept, scope.most_pairs)
    if newest_s is not None and _is_known(newest_s, scope):
        since_s = newest_s - scope.kept_s
        _, keys, values = history.read_panel(SeriesKind.DEMAND, since_s, scope.step_s, newest_s, scope.most_pairs)
        if keys:
            demands.remember(newest_s, pairs_of(keys), values)
    return demands


def _is_known(newest_s: float | None, scope: Scope) -> bool:
    """Whether an outlook keeps samples of that time."""
    return newest_s is not None and time.time() - newest_s < scope.kept_s


def _tell_outlooks(settings: Settings) -> None:
    """Say what each outlook can know, and what of the calendar none will."""
    if settings.trigger is Mode.REACTIVE:
        log.info("outlook=none reason=the reactive trigger forecasts nothing, whatever the calendar says")
        return
    scopes = tuple(scope for scope in (periods_ahead(settings.period_s), settings.day) if scope is not None)
    for scope in scopes:
        log.info(
            "outlook=%s step_s=%g horizon_s=%.15g kept_s=%.15g learns=%s",
            scope.ahead, scope.step_s, scope.horizon * scope.step_s, scope.kept_s,
            ",".join(scope.learns(settings.calendar)) or "none",
        )  # fmt: skip
    if settings.day is None:
        steps = f"{LEAST_STEPS_A_DAY} steps of {LEAST_STEP_S:g} s or more"
        log.info("outlook=%s made=no reason=a season has less than %s", Ahead.DAY, steps)
    for reason in unlearnt(scopes, settings.calendar):
        log.warning("calendar=not learnt reason=%s", reason)
