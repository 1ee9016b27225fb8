"""Starts the controller: store, apps, API, and only then the door for switches."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator

from os_ken.base.app_manager import AppManager

from ryu_apps.app import ask
from ryu_apps.events import InstallerStatusRequest, NetworkRequest, PolicyRequest, StitchesRequest, VnetsRequest
from ryu_apps.feed import Feed
from ryu_apps.guests.house import House
from ryu_apps.guests.loading import load
from ryu_apps.guests.pages import pages_of
from ryu_apps.interpreter import tuned
from ryu_apps.rest.api import create_api
from ryu_apps.rest.apps import ApiSettings
from ryu_apps.rest.server import RestServer
from ryu_apps.rest.tls import TlsError, TlsFiles, is_loopback
from ryu_apps.rest.token import load_or_make_token
from ryu_apps.starting.apps import start_apps
from ryu_apps.starting.process import share_arenas, take_sockets
from ryu_apps.starting.settings import Settings, StartError
from ryu_apps.starting.state_dir import alone, tell_ports
from ryu_apps.store import AccessStore, HistoryStore, StateStore

log = logging.getLogger("lockstitch.controller")


def run(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT. Raises StartError, GuestError."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with started(settings) as (of_port, rest_port):
        tell_ports(settings.state, of_port, rest_port)
        scheme = "https" if settings.has_tls else "http"
        log.info(
            "openflow=%s:%d rest=%s:%d scheme=%s", settings.of_host, of_port, settings.rest_host, rest_port, scheme
        )
        stop.wait()


@contextlib.contextmanager
def started(settings: Settings) -> Iterator[tuple[int, int]]:
    """A running controller; gives the ports it listens on. Raises StartError, GuestError."""
    _refuse_open_http(settings)
    share_arenas()
    take_sockets()
    settings.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    # For the processes that fit: on two busy cores the threads of OpenBLAS make small fits many times slower.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    with contextlib.ExitStack() as stack:
        stack.enter_context(tuned())
        house = House(load(settings.apps))
        stack.enter_context(alone(settings.state))
        state = StateStore(settings.store_url)
        stack.callback(state.close)
        history = HistoryStore(settings.store_url)
        stack.callback(history.close)
        token = load_or_make_token(settings.state)
        tls = _tls(settings)
        feed = Feed()
        channel = start_apps(settings, state, history, feed, stack, house)
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
                overlay=settings.overlay is not None,
                complaints=lambda: [*channel.door.complaints(), *house.complaints()],
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
