"""What every app of the controller shares: an event queue that cannot deadlock, timers, and typed requests."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, Protocol, TypeVar, cast

from os_ken.base import app_manager
from os_ken.controller import event
from os_ken.controller.handler import set_ev_cls
from os_ken.ofproto import ofproto_v1_3

from ryu_apps import hub_mends

hub_mends.mend()


Answer = TypeVar("Answer")
Handler = TypeVar("Handler", bound=Callable[..., None])


class Event(event.EventBase):  # type: ignore[misc]  # os-ken ships no types
    """An event between our apps."""


class Request(Event, Generic[Answer]):
    """A question to an app, answered through a future; subclasses are dataclasses naming what is asked."""

    @property
    def future(self) -> Future[Answer]:
        """Where the answer arrives."""
        future: Future[Answer] | None = self.__dict__.get("_future")
        if future is None:
            future = self.__dict__["_future"] = Future()
        return future


@dataclass
class Tick(Event):
    """An app's own timer ran out, late_s after its time, at posted_s by time.monotonic()."""

    name: str
    late_s: float = 0.0
    posted_s: float = field(default_factory=time.monotonic)

    @property
    def waited_s(self) -> float:
        """For how long it has been in the queue: what came later waits there still."""
        return max(0.0, time.monotonic() - self.posted_s)


class _Queue(Protocol):
    def qsize(self) -> int: ...


class _NoLimit:
    """Stands where os-ken keeps a semaphore of 128 places.

    Two apps that send to each other while both queues are full would wait for ever; with no limit nobody
    waits, and the depth of the queue is shown in /v1/health instead.
    """

    def acquire(self) -> None: ...

    def release(self) -> None: ...


def handles(*event_classes: type, states: tuple[str, ...] = ()) -> Callable[[Handler], Handler]:
    """Mark a method as the handler of these events (os-ken's set_ev_cls, with a type)."""
    return cast("Callable[[Handler], Handler]", set_ev_cls(list(event_classes), list(states) or None))


class App(app_manager.OSKenApp):  # type: ignore[misc]  # os-ken ships no types
    """An os-ken app: it owns its state, one thread runs all its handlers, and others ask it by events."""

    OFP_VERSIONS: ClassVar[list[int]] = [ofproto_v1_3.OFP_VERSION]
    name: str
    events: _Queue

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # The one of the interpreter itself: each event that is told goes through several of them.
        self.events = queue.SimpleQueue()
        self._events_sem = _NoLimit()
        self._stopping = threading.Event()
        self._ticks_waiting: set[str] = set()
        self.log = logging.getLogger(f"lockstitch.{self.name}")

    def post(self, occurred: Event) -> None:
        """Put an event in this app's own queue; may be called from any thread."""
        self._send_event(occurred, None)

    def publish(self, occurred: Event) -> None:
        """Send an event to every app that handles its class."""
        self.send_event_to_observers(occurred)

    def every(self, period_s: float, name: str) -> None:
        """Post Tick(name) to this app each period_s seconds until it stops.

        A timer thread of the standard library: the timeouts of os-ken's native hub never end. A tick is
        skipped while the one before it still waits, so a slow handler is not buried.
        """

        def run() -> None:
            next_s = time.monotonic() + period_s
            while not self._stopping.wait(max(0.0, next_s - time.monotonic())):
                late_s = time.monotonic() - next_s
                if name not in self._ticks_waiting:
                    self._ticks_waiting.add(name)
                    self.post(Tick(name, late_s))
                next_s = max(next_s + period_s, time.monotonic())

        threading.Thread(target=run, name=f"{self.name}-{name}", daemon=True).start()

    def get_handlers(self, ev: Any, state: str | None = None) -> Iterable[Callable[[Any], None]]:
        """Who handles an event: os-ken asks as it takes one from the queue, so that a tick waits no more."""
        if isinstance(ev, Tick):
            self._ticks_waiting.discard(ev.name)
        handlers: Iterable[Callable[[Any], None]] = super().get_handlers(ev, state)
        return handlers

    def serve(self, request: Request[Answer], answer: Callable[[], Answer]) -> None:
        """Answer a request, passing on to the asker whatever goes wrong."""
        try:
            request.future.set_result(answer())
        except Exception as error:  # noqa: BLE001  # it is raised again where the question was asked
            request.future.set_exception(error)

    def stop(self) -> None:
        """End the timers and the event loop."""
        self._stopping.set()
        super().stop()


def ask(app: str, request: Request[Answer], timeout_s: float = 10.0) -> Answer:
    """Ask an app by name and wait for its answer. Raises what the app raised, TimeoutError when it is late."""
    target = app_manager.lookup_service_brick(app)
    if target is None:
        raise LookupError(f"no app {app!r} is running")
    # Before it is posted: made on first use by both sides at once there would be two, and the answer in the other.
    future = request.future
    target.post(request)
    return future.result(timeout_s)
