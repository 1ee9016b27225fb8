"""Keeps the policy: takes in new ones, tells the others when its verdicts change, and explains them.

Forwarding makes the rules of it and the stitcher takes away what it forbids; virtual networks are Forwarding's.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from ryu_apps.app import App, Tick, handles
from ryu_apps.events import (
    ExplainRequest,
    NetworkChanged,
    PolicyChanged,
    PolicyMoved,
    PolicyOutcome,
    PolicyRequest,
    PolicyVersionsRequest,
    PutPolicy,
    StitchesChanged,
    VnetsChanged,
)
from ryu_apps.store import StoreError
from stitching.network import Host, LinkKey, Network
from stitching.pipeline import default_rules, next_links, walk
from stitching.policy.changes import MOST_RULES, Fleet, changes, rule_counts, too_many
from stitching.policy.checking import faults_of, run_cases, warnings_of
from stitching.policy.decision import next_change
from stitching.policy.document import NO_POLICY, Policy, Rule
from stitching.policy.explaining import Explanation, explain
from stitching.policy.faults import PolicyError
from stitching.policy.reading import read_policy
from stitching.policy.ruling import Ruling
from stitching.policy.version import PolicyVersion
from stitching.stitch import Stitch
from stitching.vnet import Directory

CLOCK_S = 0.2
"""How often it is looked whether a time window has begun or ended."""


class PolicyStore(Protocol):
    """Where the versions of the policy are kept: a StateStore, or a fake."""

    def policy(self, version: int | None = None) -> PolicyVersion | None:
        """One version, or the newest; None where there is none."""
        ...

    def policy_versions(self) -> tuple[PolicyVersion, ...]:
        """All versions, the newest first, without their documents."""
        ...

    def save_policy(self, created_s: float, document: str) -> PolicyVersion:
        """Keep a new version."""
        ...


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A policy that was read, and what it comes to."""

    policy: Policy
    outcome: PolicyOutcome


class Policing(App):
    """Owns the policy and its versions. most_rules is how many rules of it a switch may have."""

    _EVENTS: ClassVar[list[type]] = [PolicyChanged]

    def __init__(
        self,
        *args: Any,
        store: PolicyStore,
        most_rules: int = MOST_RULES,
        clock: Callable[[], float] = time.time,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._store = store
        self._most_rules = most_rules
        self._clock = clock
        self._network = Network()
        self._directory = Directory.of(())
        self._stitches: tuple[Stitch, ...] = ()
        self._policy = _stored(store)
        self._made: list[tuple[tuple[Policy, tuple[Rule, ...], Directory, Network], Fleet]] = []
        self._judged_s = clock()
        self._next_s = next_change(self._policy, self._judged_s)

    def start(self) -> None:
        """Start the event loop, and tell the others what holds."""
        super().start()
        self._tell()
        self.every(CLOCK_S, "clock")

    def _tell(self) -> None:
        """Say what the policy means now."""
        self._judged_s = self._clock()
        self._next_s = next_change(self._policy, self._judged_s)
        self.publish(PolicyChanged(self._policy, self._judged_s))

    # -- what others tell -----------------------------------------------------------------------------------

    @handles(NetworkChanged)
    def on_network(self, event: NetworkChanged) -> None:
        """Follow the fabric."""
        self._network = event.network

    @handles(VnetsChanged)
    def on_vnets(self, event: VnetsChanged) -> None:
        """Follow the virtual networks."""
        self._directory = Directory.of(event.vnets)

    @handles(StitchesChanged)
    def on_stitches(self, event: StitchesChanged) -> None:
        """Follow the stitches."""
        self._stitches = event.stitches

    @handles(Tick)
    def on_clock(self, _tick: Tick) -> None:
        """A time window may have begun or ended; and the clock may have been set back over one."""
        now_s = self._clock()
        if self._next_s <= now_s or (now_s < self._judged_s and self._next_s < float("inf")):
            self.log.info("policy=judged_again reason=%s", "a time window began or ended")
            self._tell()

    # -- what others ask ------------------------------------------------------------------------------------

    @handles(PolicyRequest)
    def on_policy(self, request: PolicyRequest) -> None:
        """Answer the policy, or a version of it."""
        self.serve(request, lambda: self._store.policy(request.version))

    @handles(PolicyVersionsRequest)
    def on_versions(self, request: PolicyVersionsRequest) -> None:
        """Answer which versions there are."""
        self.serve(request, self._store.policy_versions)

    @handles(PutPolicy)
    def on_put(self, request: PutPolicy) -> None:
        """Take in a policy, or say what it would change."""
        self.serve(request, lambda: self._put(request))

    def _put(self, request: PutPolicy) -> PolicyOutcome:
        document = request.document
        if request.after is not None:
            newest = self._store.policy()
            if request.after != (newest.version if newest is not None else 0):
                raise PolicyMoved(f"the policy is no longer version {request.after}")
        candidate = self._judge(document)
        if request.dry_run:
            return candidate.outcome
        version = self._store.save_policy(self._clock(), json.dumps(document, allow_nan=False))
        self._policy = candidate.policy
        self._tell()
        self.log.info("policy=changed version=%d rules=%d", version.version, len(candidate.policy.rules))
        for fault in candidate.outcome.warnings:
            self.log.warning("policy=warning version=%d %s", version.version, fault)
        return PolicyOutcome(
            candidate.outcome.changes, candidate.outcome.warnings, candidate.outcome.cases, version
        )

    def _judge(self, document: object) -> _Candidate:
        """Read and check a policy against the fabric as it is. Raises PolicyError."""
        policy = read_policy(document)
        now_s = self._clock()
        faults = faults_of(policy, self._directory)
        results = run_cases(policy, self._directory, self._network.hosts, now_s)
        faults += [result.fault for result in results if not result.passed]
        if faults:
            raise PolicyError(faults)
        marked = self._network.encrypted_ports
        before, after = (Ruling(one, self._directory, now_s, marked) for one in (self._policy, policy))
        has, wants = self._rules(before), self._rules(after)
        excess = too_many(rule_counts(has), rule_counts(wants), self._most_rules)
        if excess is not None:
            raise PolicyError([excess])
        changed = changes(before, after, self._network, (has, wants), self._stitches)
        return _Candidate(policy, PolicyOutcome(changed, tuple(warnings_of(policy)), len(results)))

    def _rules(self, ruling: Ruling) -> Fleet:
        """The rules of all switches; those made last are at hand, as a policy is judged before it is applied."""
        made = ruling.policy, ruling.rules, self._directory, self._network
        for known, rules in self._made:
            same = known[2] is self._directory and known[3] is self._network
            if same and known[:2] == made[:2]:
                return rules
        rules = default_rules(self._network, self._directory, ruling)
        self._made = [*self._made[-1:], (made, rules)]
        return rules

    @handles(ExplainRequest)
    def on_explain(self, request: ExplainRequest) -> None:
        """Answer what becomes of a packet, and why."""
        self.serve(request, lambda: self._explain(request))

    def _explain(self, request: ExplainRequest) -> Explanation:
        hosts = self._network.hosts
        ends = hosts.get(request.source_mac), hosts.get(request.target_mac)
        if ends[0] is None or ends[1] is None:
            raise KeyError(request.source_mac if ends[0] is None else request.target_mac)
        at_s = self._judged_s if request.at_s is None else request.at_s
        ruling = Ruling(self._policy, self._directory, at_s, self._network.encrypted_ports)
        return explain(ruling, (ends[0], ends[1]), request.flow, self._way, self._stitches)

    def _way(self, source: Host, target: Host) -> tuple[LinkKey, ...] | None:
        return walk(source.dpid, target.dpid, next_links(self._network, target.dpid))


def _stored(store: PolicyStore) -> Policy:
    """The newest policy. Raises StoreError: without it everything it denies would be let through."""
    newest = store.policy()
    if newest is None:
        return NO_POLICY
    try:
        return read_policy(json.loads(newest.document))
    except ValueError as error:
        raise StoreError(
            f"version {newest.version} of the policy in the store cannot be read ({error}); install the "
            "Lockstitch that wrote it again"
        ) from error
