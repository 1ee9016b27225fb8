"""A predictor on the test's own thread: events to itself wait until the test hands them in."""

from __future__ import annotations

import queue

from ryu_apps.app import Event
from ryu_apps.day_predictor import DayPredictor, Recalled
from ryu_apps.events import NetworkChanged
from ryu_apps.predictor import Fitted, Foreseen, Predictor
from stitching.network import Host, Link, Network

A, B = "02:00:00:00:00:0a", "02:00:00:00:00:0b"
"""Two hosts, on switches 1 and 2 of FABRIC."""

FABRIC = NetworkChanged(
    Network(
        {1: {}, 2: {}},
        {key: Link(key, 10.0, 1.0) for key in ((1, 2, 2, 1), (2, 1, 1, 2))},
        {A: Host(A, 1, 10), B: Host(B, 2, 10)},
    )
)

ANSWER_S = 60.0
"""A process needs a second or two to start; a busy machine more."""


class OwnThread(Predictor):
    """Goes before the class of the predictor that is tested."""

    def __init__(self, **settings: object) -> None:
        self.told: list[Event] = []
        self.posted: queue.Queue[Event] = queue.Queue()
        super().__init__(**settings)  # type: ignore[arg-type]  # whatever the predictor that is tested takes

    def publish(self, occurred: Event) -> None:
        """Keep what others would be told."""
        self.told.append(occurred)

    def post(self, occurred: Event) -> None:
        """Keep what it would tell itself."""
        self.posted.put(occurred)

    def answered(self, kind: type[Event] = Foreseen) -> None:
        """Hand in what the processes say, up to the next event of this kind."""
        while True:
            event = self.posted.get(timeout=ANSWER_S)
            if isinstance(event, Foreseen):
                self.on_foreseen(event)
            elif isinstance(event, Fitted):
                self.on_fitted(event)
            elif isinstance(event, Recalled) and isinstance(self, DayPredictor):
                self.on_recalled(event)
            if isinstance(event, kind):
                return
