"""Rules for pairs of sites: which have tunnels with each other, and of what kind."""

from __future__ import annotations

import threading
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Response
from pydantic import BaseModel, Field

from ryu_apps.events.overlay import DeleteRule, PutRule, RulesRequest
from ryu_apps.rest.access.audit import ChangeOf
from ryu_apps.rest.access.roles import Role, needs
from ryu_apps.rest.apps import SITE_OVERLAY, Apps, AppsOf
from ryu_apps.rest.bodies import Body
from ryu_apps.rest.conditions import GUARDED, TAGGED, ConditionsOf, stored, stored_as
from ryu_apps.rest.overlay import NONE_HERE, no_overlay
from ryu_apps.rest.overlay_classes import CLASS_NAME
from ryu_apps.rest.pages import LINKED, PageOf
from ryu_apps.rest.problems import Kind, Problem, documented
from stitching.overlay.mesh_rules import MOST_RULES, DefinedRule, PairRule, Say, Selector, TooManyRules
from stitching.overlay.tunnels import TunnelSpec
from vte_agent.protocol.transport import Transport
from vte_agent.protocol.wanted import LEAST_MTU, LEAST_MULTIPLIER, MOST_MTU, MOST_MULTIPLIER

router = APIRouter(prefix="/overlay/rules", tags=["overlay"])

_ONE_AT_A_TIME = threading.Lock()
"""What a precondition says must still hold when the change is made."""

Name = Annotated[str, Path(pattern=CLASS_NAME)]


class SelectorBody(Body):
    """Sites by name, by a label that they have from their token, or by both; all sites where nothing is said."""

    name: str | None = Field(default=None, min_length=1, max_length=63)
    label: str | None = Field(default=None, pattern=r"^[^=]{1,63}=.{1,63}$", description="NAME=VALUE.")

    def selector(self) -> Selector:
        """As decisions know it."""
        if self.label is None:
            return Selector(self.name)
        key, _, value = self.label.partition("=")
        return Selector(self.name, (key, value))


class RuleBody(Body):
    """What holds for pairs of sites of which one is among `one` and the other among `other`.

    Of several rules that fit a pair, the one of the lowest order counts; then by name.
    """

    order: int = Field(default=100, ge=0, le=10_000)
    one: SelectorBody
    other: SelectorBody
    say: Say = Field(
        default=Say.MAY,
        strict=False,
        description="Tunnels always, as hubs and demand ask, or never straight between the two.",
    )
    transports: list[Annotated[Transport, Field(strict=False)]] = Field(
        default=[],
        max_length=2,
        description="The first that both sites have. None: as the controller was started.",
    )
    probe_interval_ms: Literal[20, 50] = Field(
        default=50, description="A tunnel is probed each so many milliseconds."
    )
    probe_multiplier: int = Field(
        default=3,
        ge=LEAST_MULTIPLIER,
        le=MOST_MULTIPLIER,
        description="It is dead when so many probes in a row are not answered.",
    )
    mtu: int | None = Field(
        default=None, ge=LEAST_MTU, le=MOST_MTU, description="Of packets inside; null: what probing finds."
    )

    def rule(self) -> PairRule:
        """As decisions know it."""
        return PairRule(
            self.one.selector(),
            self.other.selector(),
            self.say,
            tuple(dict.fromkeys(one.value for one in self.transports)),
            spec=TunnelSpec(self.mtu, self.probe_interval_ms, self.probe_multiplier),
        )


class RuleView(BaseModel):
    """A rule for pairs of sites."""

    name: str
    order: int
    one: SelectorBody
    other: SelectorBody
    say: Say
    transports: list[Transport]
    probe_interval_ms: int
    probe_multiplier: int
    mtu: int | None


@router.get("", dependencies=[needs(Role.VIEWER)], responses={**LINKED, **NONE_HERE})
def get_rules(apps: AppsOf, page: PageOf) -> list[RuleView]:
    """The rules, by name."""
    return [_view(one) for one in page.of(_asked(apps), lambda one: (one.name,), str)]


@router.get(
    "/{name}",
    dependencies=[needs(Role.VIEWER)],
    responses={**TAGGED, **documented(Kind.NO_OVERLAY, Kind.UNKNOWN_RULE)},
)
def get_rule(apps: AppsOf, name: Name, conditions: ConditionsOf, response: Response) -> RuleView:
    """One rule."""
    found = _named(_asked(apps), name)
    if found is None:
        raise _unknown(name)
    conditions.read(found, response)
    return found


@router.put(
    "/{name}",
    dependencies=[needs(Role.OPERATOR)],
    responses={
        **stored_as(RuleView),
        **documented(Kind.NO_OVERLAY, Kind.TOO_MANY_RULES),
    },
)
def put_rule(
    apps: AppsOf, name: Name, body: RuleBody, conditions: ConditionsOf, change: ChangeOf, response: Response
) -> RuleView:
    """Make a rule, or make it anew; it is stored, then tunnels that fit it follow those that there are.

    With If-Match only where it is still what it was, with `If-None-Match: *` only where there is none.
    """
    made = DefinedRule(name, body.order, body.rule())
    with _ONE_AT_A_TIME:
        change.before = _named(_asked(apps), name)
        conditions.check(change.before)
        try:
            is_new = apps.ask(SITE_OVERLAY, PutRule(made))
        except TooManyRules as error:
            raise Problem(
                Kind.TOO_MANY_RULES,
                f"there are {MOST_RULES} rules, as many as there may be",
                field="name",
                remedy="delete one, or select more sites with one that is there",
            ) from error
    return stored(_view(made), response, f"/v1/overlay/rules/{name}", is_new=is_new)


@router.delete(
    "/{name}",
    status_code=204,
    response_model=None,
    dependencies=[needs(Role.OPERATOR)],
    responses={**GUARDED, **documented(Kind.NO_OVERLAY, Kind.UNKNOWN_RULE)},
)
def delete_rule(apps: AppsOf, name: Name, conditions: ConditionsOf, change: ChangeOf) -> None:
    """Forget a rule; for its pairs the next one that fits counts, or what the controller was started with."""
    with _ONE_AT_A_TIME:
        change.before = _named(_asked(apps), name)
        conditions.check(change.before)
        if not apps.ask(SITE_OVERLAY, DeleteRule(name)):
            raise _unknown(name)


def _asked(apps: Apps) -> tuple[DefinedRule, ...]:
    return apps.ask(SITE_OVERLAY, RulesRequest(), missing=no_overlay())


def _named(rules: tuple[DefinedRule, ...], name: str) -> RuleView | None:
    return next((_view(one) for one in rules if one.name == name), None)


def _unknown(name: str) -> Problem:
    return Problem(
        Kind.UNKNOWN_RULE,
        f"no rule is called {name!r}",
        field="name",
        remedy="GET /v1/overlay/rules lists them; PUT makes one",
    )


def _view(one: DefinedRule) -> RuleView:
    rule = one.rule
    return RuleView(
        name=one.name,
        order=one.order,
        one=_selector(rule.one),
        other=_selector(rule.other),
        say=rule.say,
        transports=[Transport(one) for one in rule.transports],
        probe_interval_ms=rule.spec.interval_ms,
        probe_multiplier=rule.spec.multiplier,
        mtu=rule.spec.mtu,
    )


def _selector(one: Selector) -> SelectorBody:
    return SelectorBody(name=one.name, label="=".join(one.label) if one.label is not None else None)
