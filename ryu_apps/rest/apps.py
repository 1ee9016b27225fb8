"""How handlers reach the apps of the controller: by asking, never by touching their state."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Annotated, Protocol, TypeVar, cast

from fastapi import Depends, Request

from ryu_apps import app
from ryu_apps.rest.problems import Kind, Problem
from ryu_apps.rest.waiting import Waiting

Answer = TypeVar("Answer")

DISCOVERY = "Discovery"
FORWARDING = "Forwarding"
POLICING = "Policing"
TELEMETRY = "Telemetry"
PREDICTOR = "Predictor"
DAY_PREDICTOR = "DayPredictor"
STITCHER = "Stitcher"
INSTALLER = "Installer"
INTENDER = "Intender"
RECORDER = "Recorder"
OVSDB = "Ovsdb"
SITE_OVERLAY = "SiteOverlay"


class Ask(Protocol):
    """Asks an app by name: `ryu_apps.app.ask`, or a fake.

    Raises LookupError when no such app is running, TimeoutError when it is late, else what the app raised.
    """

    def __call__(self, name: str, request: app.Request[Answer], timeout_s: float, /) -> Answer:
        """The app's answer."""
        ...


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """period_s is the polling period of the telemetry: five of them without a sample are worth a warning.

    ask_timeout_s is how long an app may take to answer. queue_depths, where given, tells how many events
    wait in the queue of each app. clock gives seconds since the epoch. day_ahead: whether there is an outlook over
    the next day, overlay whether sites are joined. complaints are more reasons for being degraded.
    """

    period_s: float = 1.0
    ask_timeout_s: float = 5.0
    queue_depths: Callable[[], Mapping[str, int]] | None = None
    clock: Callable[[], float] = time.time
    day_ahead: bool = True
    overlay: bool = False
    complaints: Callable[[], Sequence[str]] = tuple


@dataclass(frozen=True, slots=True)
class Apps:
    """The apps of the controller, as handlers see them."""

    asking: Ask
    settings: ApiSettings
    started_s: float
    changing: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(16, "rest-change"))
    waiting: Waiting = field(default_factory=Waiting)

    async def ask_apart(self, asking: Callable[[], Answer]) -> Answer:
        """What `asking` answers, in threads of their own: however many wait there, reads have theirs."""
        return await asyncio.get_running_loop().run_in_executor(self.changing, asking)

    def ask(
        self,
        name: str,
        request: app.Request[Answer],
        *,
        missing: Problem | None = None,
        timeout_s: float | None = None,
    ) -> Answer:
        """The answer of an app. Raises a 503 problem when it is not there or late, else what it raised.

        timeout_s is for questions that take longer than others.

        missing is raised in place of a LookupError by callers who know that the app is there, so that it can
        only mean that what they ask for is not.
        """
        patience_s = self.settings.ask_timeout_s if timeout_s is None else timeout_s
        try:
            return self.asking(name, request, patience_s)
        except TimeoutError as error:
            raise Problem(
                Kind.UNAVAILABLE,
                f"{name} did not answer within {patience_s:g} s; what was asked may still happen",
                remedy="look at GET /v1/health, then try again",
            ) from error
        except LookupError as error:
            # Only the bare class says that the app is missing: a KeyError is a fault inside it.
            if type(error) is not LookupError:
                raise
            raise missing or Problem(
                Kind.UNAVAILABLE,
                f"{name} is not running",
                remedy="look at the controller's log and start it again",
            ) from error


def _apps(request: Request) -> Apps:
    return cast("Apps", request.app.state.apps)


AppsOf = Annotated[Apps, Depends(_apps)]
"""A parameter of a handler: the apps."""
