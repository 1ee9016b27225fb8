"""Intents: what people want of the network, planned, applied and watched over."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.exceptions import HTTPException

from ryu_apps.events import (
    ApplyIntents,
    IntentChange,
    IntentOutcome,
    IntentsAnswer,
    IntentsBusy,
    IntentsRequest,
    IntentsUndone,
    IntentVersionsRequest,
    OutOfScope,
    PlanIntents,
    PriorityTooGreat,
)
from ryu_apps.intents.scoping import is_within
from ryu_apps.policy_text import MOST_BYTES, BadText, read_text
from ryu_apps.rest.access.audit import Change, ChangeOf
from ryu_apps.rest.access.roles import Principal, Role, Who, listed, needs
from ryu_apps.rest.apps import INTENDER, Apps, AppsOf
from ryu_apps.rest.conditions import GUARDED, TAGGED, ConditionsOf
from ryu_apps.rest.intent_views import (
    IntentPlanView,
    IntentsView,
    IntentVersionView,
    IntentView,
    intents_view,
    plan_view,
    version_view,
)
from ryu_apps.rest.problems import FieldError, Kind, Problem, documented
from stitching.intents.faults import IntentError
from stitching.intents.judging import Standing, Status

router = APIRouter(prefix="/intents", tags=["intents"])

READS = needs(Role.VIEWER, scoped=True)
CHANGES = needs(Role.OPERATOR, scoped=True)

MEASURED = ("state", "reason", "carriers", "settled")
"""What changes although nobody changed an intent."""

_MOST_ERRORS = 50

Name = Annotated[str, Path(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
Atomic = Annotated[bool, Query(description="What cannot be had undoes all of it.")]
Version = Annotated[int | None, Query(ge=1, le=1 << 53, description="Take the document of this version; no body.")]

_REFUSALS = documented(
    Kind.BAD_INTENTS, Kind.CONFLICT, Kind.UNDONE, Kind.IN_PROGRESS, Kind.FORBIDDEN, Kind.MALFORMED, Kind.TOO_LARGE
)
_BODY = {
    "requestBody": {
        "content": {
            "application/json": {"schema": {"type": "object"}},
            "application/yaml": {"schema": {"type": "object"}},
        },
    }
}


async def _document(request: Request) -> object:
    """The body, whatever it is declared as: YAML is read as well as JSON. None where there is none."""
    body = await request.body()
    if len(body) > MOST_BYTES:
        raise HTTPException(413, f"the limit is {MOST_BYTES} bytes")
    try:
        return read_text(body) if body.strip() else None
    except BadText as error:
        raise Problem(
            Kind.MALFORMED, str(error), field="body", remedy="send intents in YAML or JSON, see docs/intents.md"
        ) from error


DocumentOf = Annotated[object, Depends(_document)]


@router.get("", dependencies=[READS], responses=TAGGED)
def get_intents(
    apps: AppsOf,
    who: Who,
    conditions: ConditionsOf,
    response: Response,
    state: Annotated[Standing | None, Query(description="Only intents that are so.")] = None,
) -> IntentsView:
    """The intents by name, each with its state, the reason, and what carries it."""
    answer, statuses = _seen(apps, who)
    view = intents_view(answer, [status for status in statuses if state in (None, status.standing)])
    conditions.read(view, response, measured=("settled", "intents"))
    return view


@router.get("/versions", dependencies=[needs(Role.VIEWER)])
def get_versions(apps: AppsOf) -> list[IntentVersionView]:
    """The versions of the intents, the newest first; the last 100 are kept."""
    return [version_view(version) for version in apps.ask(INTENDER, IntentVersionsRequest())]


@router.post(
    "/plan",
    dependencies=[READS],
    responses={**_REFUSALS, **documented(Kind.UNKNOWN_VERSION)},
    openapi_extra=_BODY,
)
def plan_intents(apps: AppsOf, who: Who, document: DocumentOf, version: Version = None) -> IntentPlanView:
    """What would change if this document were applied; nothing is."""
    return plan_view(_asked(apps, who, PlanIntents(_change(who, document, version))), within=who.scope)


@router.put(
    "",
    dependencies=[CHANGES],
    responses={**_REFUSALS, **GUARDED, **documented(Kind.UNKNOWN_VERSION)},
    openapi_extra=_BODY,
)
def put_intents(
    apps: AppsOf,
    who: Who,
    document: DocumentOf,
    conditions: ConditionsOf,
    change: ChangeOf,
    version: Version = None,
    atomic: Atomic = False,
) -> IntentPlanView:
    """Make this document, or that of an older version, what is wanted; then make it so.

    A caller with a scope replaces the intents within it, and no others. Answers when it is through, or soon: with
    `done` false the rest is on its way. What could not be had is named in its step, and tried again and again.
    """
    before = intents_view(*_seen(apps, who))
    conditions.check(before, measured=("settled", "intents"))
    _tell(change, before)
    return _applied(apps, who, change, ApplyIntents(_change(who, document, version), atomic))


@router.get("/{name}", dependencies=[READS], responses={**TAGGED, **documented(Kind.UNKNOWN_INTENT)})
def get_intent(apps: AppsOf, who: Who, name: Name, conditions: ConditionsOf, response: Response) -> IntentView:
    """One intent."""
    view = _one(apps, who, name)
    if view is None:
        raise _unknown(name)
    conditions.read(view, response, measured=MEASURED)
    return view


@router.put("/{name}", dependencies=[CHANGES], responses={**_REFUSALS, **GUARDED}, openapi_extra=_BODY)
def put_intent(
    apps: AppsOf,
    who: Who,
    name: Name,
    document: DocumentOf,
    conditions: ConditionsOf,
    change: ChangeOf,
    atomic: Atomic = False,
) -> IntentPlanView:
    """Put in one intent, or replace the one of this name; all others stay as they are."""
    before = _one(apps, who, name)
    conditions.check(before, measured=MEASURED)
    change.before = before
    wanted = document if document is not None else {}
    return _applied(apps, who, change, ApplyIntents(_change(who, wanted, None, name), atomic))


@router.delete(
    "/{name}", dependencies=[CHANGES], responses={**_REFUSALS, **GUARDED, **documented(Kind.UNKNOWN_INTENT)}
)
def delete_intent(
    apps: AppsOf, who: Who, name: Name, conditions: ConditionsOf, change: ChangeOf
) -> IntentPlanView:
    """Take out an intent; what only it wanted goes."""
    before = _one(apps, who, name)
    if before is None:
        raise _unknown(name)
    conditions.check(before, measured=MEASURED)
    change.before = before
    return _applied(apps, who, change, ApplyIntents(_change(who, None, None, name)))


def _seen(apps: Apps, who: Principal) -> tuple[IntentsAnswer, list[Status]]:
    answer = apps.ask(INTENDER, IntentsRequest())
    return answer, [status for status in answer.statuses if is_within(who.scope, status.vnets)]


def _one(apps: Apps, who: Principal, name: str) -> IntentView | None:
    answer, statuses = _seen(apps, who)
    found = [status for status in statuses if status.intent == name]
    return intents_view(answer, found).intents[0] if found else None


def _change(who: Principal, document: object, version: int | None, only: str | None = None) -> IntentChange:
    if version is not None and document is not None:
        raise Problem(
            Kind.INVALID, "there is a body as well", field="version", remedy="send the one or name the other"
        )
    if version is not None and who.scope is not None:
        raise Problem(
            Kind.FORBIDDEN,
            f"versions are of all intents; the token {who.name!r} is confined to {listed(who.scope)}",
            field="version",
            remedy="use a token without a scope",
        )
    return IntentChange(
        document, only, version, who.scope, may_rule=who.role is Role.ADMIN, max_priority=who.max_priority
    )


def _applied(apps: Apps, who: Principal, change: Change, request: ApplyIntents) -> IntentPlanView:
    outcome = _asked(apps, who, request)
    view = plan_view(outcome, within=who.scope)
    change.after = {"version": view.version, "document": request.change.document, "of": request.change.version}
    return view


def _tell(change: Change, before: IntentsView) -> None:
    change.before = {"version": before.version, "intents": [one.intent for one in before.intents]}


def _asked(apps: Apps, who: Principal, request: PlanIntents | ApplyIntents) -> IntentOutcome:
    only, version = request.change.only, request.change.version
    missing = _unknown(only) if only is not None else _unknown_version(version)
    try:
        return apps.ask(INTENDER, request, missing=missing)
    except IntentError as error:
        raise _refused(error) from error
    except OutOfScope as error:
        scope = f" and is confined to {listed(who.scope)}" if who.scope is not None else ""
        raise Problem(
            Kind.FORBIDDEN,
            f"{error}; {who.name!r} has the role {who.role}{scope}",
            field="Authorization",
            remedy="use a token without a scope, with the role admin where the policy changes",
        ) from error
    except PriorityTooGreat as error:
        raise Problem(
            Kind.FORBIDDEN,
            f"{error}; the greatest of the token {who.name!r} is {who.max_priority}",
            field="Authorization",
            remedy="use a token for more; an admin makes one with "
            f"`lockstitch token create --max-priority {error.priority}`",
        ) from error
    except IntentsBusy as error:
        raise Problem(Kind.IN_PROGRESS, str(error), remedy="try again in a few seconds") from error
    except IntentsUndone as error:
        raise Problem(
            Kind.UNDONE, str(error), remedy="change what could not be had, or apply without atomic"
        ) from error


def _refused(error: IntentError) -> Problem:
    errors = [
        FieldError(field=f"{fault.where}: {fault.field}", problem=f"{fault.reason}; {fault.remedy}")
        for fault in error.faults
    ]
    errors += [
        FieldError(field=" and ".join(conflict.intents), problem=f"{conflict.reason}; {conflict.remedy}")
        for conflict in error.conflicts
    ]
    return Problem(
        Kind.BAD_INTENTS if error.faults else Kind.CONFLICT,
        str(error),
        field=errors[0].field,
        remedy="nothing was changed",
        errors=errors[:_MOST_ERRORS],
    )


def _unknown(name: str) -> Problem:
    return Problem(
        Kind.UNKNOWN_INTENT, f"there is no intent {name!r}", field="name", remedy="GET /v1/intents lists them"
    )


def _unknown_version(version: int | None) -> Problem | None:
    if version is None:
        return None
    return Problem(
        Kind.UNKNOWN_VERSION,
        f"there is no version {version} of the intents, or it is no longer kept",
        field="version",
        remedy="GET /v1/intents/versions lists them",
    )
