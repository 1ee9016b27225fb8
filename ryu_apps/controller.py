"""Starts the controller: store, apps, API, and only then the door for switches."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import logging
import os
import resource
import secrets
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from os_ken.base.app_manager import AppManager
from os_ken.ofproto import ofproto_protocol, ofproto_v1_3

from forecasting import MEMBERS, Calendar
from ryu_apps.app import ask
from ryu_apps.capability import Capability
from ryu_apps.channel import Channel
from ryu_apps.day_predictor import DayPredictor
from ryu_apps.demand_history import DemandHistory, pairs_of
from ryu_apps.discovery import Discovery
from ryu_apps.events import InstallerStatusRequest, NetworkRequest, PolicyRequest, StitchesRequest, VnetsRequest
from ryu_apps.feed import Feed
from ryu_apps.forwarding import Forwarding
from ryu_apps.guests.house import House
from ryu_apps.guests.loading import load
from ryu_apps.guests.pages import pages_of
from ryu_apps.herald import Herald
from ryu_apps.installer import Installer
from ryu_apps.intender import Intender
from ryu_apps.interpreter import tuned
from ryu_apps.mode import Mode
from ryu_apps.ofctl.app import Ofctl
from ryu_apps.ovsdb.bfd import BFD_MS
from ryu_apps.ovsdb.remotes import Certificates
from ryu_apps.policing import Policing
from ryu_apps.predictor import Predictor
from ryu_apps.recorder import Recorder
from ryu_apps.rest.access.access import AccessSettings
from ryu_apps.rest.api import create_api
from ryu_apps.rest.apps import ApiSettings
from ryu_apps.rest.server import RestServer
from ryu_apps.rest.tls import TlsError, TlsFiles, is_loopback
from ryu_apps.rest.token import load_or_make_token
from ryu_apps.scope import LEAST_STEP_S, LEAST_STEPS_A_DAY, Ahead, Scope, day_ahead, periods_ahead, unlearnt
from ryu_apps.stitcher import Stitcher
from ryu_apps.store import AccessStore, HistoryStore, IntentStore, SeriesKind, StateStore
from ryu_apps.telemetry import Telemetry
from stitching.trigger import TriggerPolicy

log = logging.getLogger("lockstitch.controller")

FULL_SHARE = 0.98
"""The share of its capacity at which a link counts as already full, for the reactive trigger."""

RELEASE_RATIO = 0.7
"""A stitch is let go when the shortest way would stay under this part of the share at which links are relieved."""


_SOCKETS = 65_536

_M_ARENA_MAX = -8
"""Of mallopt(3)."""


class StartError(RuntimeError):
    """The controller cannot start; the message says why and what helps."""


@dataclass(frozen=True)
class Settings:
    """How a controller runs. Ports of 0 mean any free one; `calendar` and `members` are those of the forecasts.

    apps are files or modules with apps of others to host.
    """

    state: Path
    of_host: str = "127.0.0.1"
    of_port: int = 6653
    rest_host: str = "127.0.0.1"
    rest_port: int = 8080
    period_s: float = 1.0
    trigger: Mode = Mode.PREDICTIVE
    calendar: Calendar = field(default_factory=Calendar)
    members: tuple[str, ...] = MEMBERS
    share: float = 0.9
    probability: float = 0.3
    hold_s: float = 30.0
    tls: bool = False
    tls_files: TlsFiles | None = None
    insecure_http: bool = False
    limits: AccessSettings = field(default_factory=AccessSettings)
    ovsdb: tuple[str, ...] = ()
    ovsdb_ssl: Certificates | None = None
    bfd_ms: int = BFD_MS
    apps: tuple[str, ...] = ()

    @property
    def store_url(self) -> str:
        """Where everything is kept."""
        return f"sqlite:///{self.state / 'lockstitch.db'}"

    @property
    def has_tls(self) -> bool:
        """Whether the API is served over TLS."""
        return self.tls or self.tls_files is not None

    @property
    def day(self) -> Scope | None:
        """The outlook over a day; None where nothing is forecast, or days are too short for one."""
        return None if self.trigger is Mode.REACTIVE else day_ahead(self.period_s, self.calendar.day_s)


def run(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT. Raises StartError, GuestError."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with started(settings) as (of_port, rest_port):
        _tell_ports(settings.state, of_port, rest_port)
        scheme = "https" if settings.has_tls else "http"
        log.info(
            "openflow=%s:%d rest=%s:%d scheme=%s", settings.of_host, of_port, settings.rest_host, rest_port, scheme
        )
        stop.wait()


@contextlib.contextmanager
def started(settings: Settings) -> Iterator[tuple[int, int]]:
    """A running controller; gives the ports it listens on. Raises StartError, GuestError."""
    _refuse_open_http(settings)
    _share_arenas()
    _take_sockets()
    settings.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    # For the processes that fit: on two busy cores the threads of OpenBLAS make small fits many times slower.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    with contextlib.ExitStack() as stack:
        stack.enter_context(tuned())
        house = House(load(settings.apps))
        stack.enter_context(_alone(settings.state))
        state = StateStore(settings.store_url)
        stack.callback(state.close)
        history = HistoryStore(settings.store_url)
        stack.callback(history.close)
        token = load_or_make_token(settings.state)
        tls = _tls(settings)
        feed = Feed()
        channel = _start_apps(settings, state, history, feed, stack, house.undecided)
        stack.callback(house.close)
        house.open()
        api = create_api(
            ask,
            token=token,
            started_s=time.time(),
            settings=ApiSettings(
                period_s=settings.period_s,
                queue_depths=_queue_depths,
                day_ahead=settings.day is not None,
                complaints=house.complaints,
            ),
            store=AccessStore(state.database),
            feed=feed,
            limits=settings.limits,
            pages=pages_of(house.pages) if house.pages is not None else (),
        )
        stack.callback(api.state.access.close)
        server = RestServer(api, settings.rest_host, settings.rest_port, tls)
        server.start()
        stack.callback(server.stop)
        stack.callback(feed.close)
        # Everything remembered is in place before the first switch comes, or its rules would look like excess.
        ask("Discovery", NetworkRequest())
        # Before Forwarding: what the policy says is in its queue by then.
        ask("Policing", PolicyRequest())
        ask("Forwarding", VnetsRequest())
        ask("Stitcher", StitchesRequest())
        ask("Installer", InstallerStatusRequest())
        try:
            of_port = channel.listen()
        except OSError as error:
            address = f"{settings.of_host}:{settings.of_port}"
            raise StartError(
                f"cannot listen for switches on {address} ({error.strerror}); try --of-port"
            ) from error
        yield of_port, server.port


def _start_apps(
    settings: Settings,
    state: StateStore,
    history: HistoryStore,
    feed: Feed,
    stack: contextlib.ExitStack,
    undecided: int | None = None,
) -> Channel:
    ofproto_protocol.set_app_supported_versions([ofproto_v1_3.OFP_VERSION])
    share = FULL_SHARE if settings.trigger is Mode.REACTIVE else settings.share
    policy = TriggerPolicy(
        share=share,
        release_share=RELEASE_RATIO * share,
        probability=settings.probability,
        hold_s=settings.hold_s,
    )
    key = _probe_key(settings.state)
    # Not one from the future: the clock may have been ahead for a while.
    newest_s = history.newest_s(time.time() + settings.period_s)
    _tell_outlooks(settings)
    scope = periods_ahead(settings.period_s)
    remembered = state.network()
    foreseeing = {"calendar": settings.calendar, "members": settings.members}
    apps: list[tuple[type, dict[str, Any]]] = [
        (Channel, {"host": settings.of_host, "port": settings.of_port}),
        (Herald, {"feed": feed, "network": remembered}),
        (Installer, {}),
        (Forwarding, {"store": state, "undecided": undecided}),
        (Policing, {"store": state}),
        (Stitcher, {"store": state, "key": key, "policy": None if settings.trigger is Mode.OFF else policy}),
        (Predictor, {"mode": settings.trigger, "scope": scope, **foreseeing,
                     "history": _demands_before(history, newest_s, scope)}),
        (Intender, {"store": IntentStore(state.database), "day_ahead": settings.day is not None}),
        (Recorder, {"state": state, "history": history}),
        (Telemetry, {"period_s": settings.period_s}),
        (Capability, {}),
        (Discovery, {"key": key, "remembered": remembered, "capacities": state.capacities(),
                     "keep": state.save_capacities}),
        (Ofctl, {}),
    ]  # fmt: skip
    if settings.day is not None:
        stored = settings.store_url if _is_known(newest_s, settings.day) else None
        apps.append((DayPredictor, {"scope": settings.day, "stored": stored, **foreseeing}))
    if settings.ovsdb:
        # Only here: the library brings in another event loop, which nobody needs who has no --ovsdb.
        from ryu_apps.ovsdb.app import Ovsdb

        apps.append((Ovsdb, {"remotes": settings.ovsdb, "bfd_ms": settings.bfd_ms, "ssl": settings.ovsdb_ssl}))
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


def _refuse_open_http(settings: Settings) -> None:
    """Raise StartError where tokens would cross a network for everybody to read."""
    if settings.has_tls or settings.insecure_http or is_loopback(settings.rest_host):
        return
    raise StartError(
        f"REST on {settings.rest_host} would send tokens over the network for everybody to read; give --tls (or "
        "--tls-cert and --tls-key), or --rest-host 127.0.0.1, or --insecure-http where the network is safe"
    )


def _tls(settings: Settings) -> TlsFiles | None:
    """The files that TLS is served with. Raises StartError."""
    if not settings.has_tls:
        return None
    # Here and not above: it takes its time, and most run without.
    from ryu_apps.rest.certificate import fingerprint, self_signed

    try:
        files = settings.tls_files or self_signed(settings.state, [settings.rest_host])
        log.info("tls=%s sha256=%s", files.check().certificate, fingerprint(files.certificate))
    except TlsError as error:
        raise StartError(str(error)) from error
    return files


def _queue_depths() -> dict[str, int]:
    """How many events wait for each app."""
    return {name: app.events.qsize() for name, app in AppManager.get_instance().applications.items()}


def _share_arenas() -> None:
    """Have all threads share two arenas of memory: with one for each, what is freed is lost to the others."""
    with contextlib.suppress(AttributeError):  # not glibc
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 2)


def _take_sockets() -> None:
    """Allow as many sockets as the system lets us: a switch takes one, and so does a caller who waits."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _SOCKETS if hard == resource.RLIM_INFINITY else min(_SOCKETS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


@contextlib.contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Hold the directory against a second controller; the lock goes with the process, however it ends."""
    with (directory / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StartError(
                f"another controller uses {directory}; stop it, or give this one its own with --state"
            ) from None
        yield


def _tell_ports(directory: Path, of_port: int, rest_port: int) -> None:
    """Leave the ports in DIR/ports, for whoever started this with a port of 0."""
    part = directory / "ports.part"
    part.write_text(f"openflow={of_port}\nrest={rest_port}\n")
    part.rename(directory / "ports")


def _probe_key(directory: Path) -> bytes:
    """The key that signs probes, made at first start: links found before a restart are still believed after."""
    path = directory / "probe.key"
    with contextlib.suppress(FileNotFoundError):
        key = path.read_bytes()
        if len(key) == 32:
            return key
        path.unlink()
    key = secrets.token_bytes(32)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(key)
    return key
