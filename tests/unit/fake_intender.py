"""The app that keeps intents, run by hand over a controller that is a fake."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ryu_apps.app import Request, Tick
from ryu_apps.events import (
    ApplyIntents,
    IntentsRequest,
    IntentVersionsRequest,
    NetworkChanged,
    PlanIntents,
    PolicyChanged,
    VnetsChanged,
)
from ryu_apps.intender import Intender
from ryu_apps.store import IntentStore, StateStore
from stitching.network import Network
from stitching.policy.document import Policy
from stitching.vnet import VNet

ASKED = (IntentsRequest, IntentVersionsRequest, PlanIntents, ApplyIntents)
"""What it is asked over REST."""


class HandIntender:
    """An Intender without a thread: a request is answered by as many rounds as it takes."""

    def __init__(
        self, ask: Callable[[str, Request[Any]], Any], now_s: float, store: IntentStore | None = None
    ) -> None:
        self.store = store or IntentStore(StateStore("sqlite://").database)
        self.now_s = now_s
        self.app = Intender(
            store=self.store,
            ask=lambda name, request: ask(name, request),
            clock=lambda: self.now_s,
            monotonic=lambda: self.now_s,
        )

    def told(self, network: Network, vnets: tuple[VNet, ...], policy: Policy) -> None:
        """What it would have heard of the others."""
        self.app.on_vnets(VnetsChanged(vnets))
        self.app.on_network(NetworkChanged(network))
        self.app.on_policy(PolicyChanged(policy, self.now_s))

    def round(self) -> None:
        """It looks whether all is as it is wanted."""
        self.app.on_tick(Tick("soon"))

    def answer(self, request: Any) -> Any:
        """What it answers, in the end."""
        handlers: dict[type, Callable[[Any], None]] = {
            IntentsRequest: self.app.on_list,
            IntentVersionsRequest: self.app.on_versions,
            PlanIntents: self.app.on_plan,
            ApplyIntents: self.app.on_apply,
        }
        handlers[type(request)](request)
        for _ in range(20):
            if request.future.done():
                break
            self.round()
        else:
            # Time goes on, and it answers what it has.
            self.now_s += 10.0
            self.round()
        return request.future.result(0)
