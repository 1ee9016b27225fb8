"""The policy: who may talk to whom."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from fastapi.exceptions import HTTPException
from pydantic import BaseModel, Field

from ryu_apps.events import PolicyOutcome, PolicyRequest, PolicyVersionsRequest, PutPolicy
from ryu_apps.policy_text import MOST_BYTES, BadText, read_text
from ryu_apps.rest.access.audit import ChangeOf
from ryu_apps.rest.access.roles import Role, needs
from ryu_apps.rest.apps import POLICING, AppsOf
from ryu_apps.rest.problems import FieldError, Kind, Problem, documented
from ryu_apps.rest.views import moment
from stitching.network import node_name
from stitching.policy.faults import Fault, PolicyError

router = APIRouter(prefix="/policy", tags=["policy"])

READS = needs(Role.VIEWER)

_MOST_FAULTS = 50


class PolicyView(BaseModel):
    """The policy as it was given. Version 0: there is none, and what virtual networks say by themselves holds."""

    version: int
    created: datetime | None
    document: dict[str, Any]


class PolicyVersionView(BaseModel):
    """When a version of the policy was made."""

    version: int
    created: datetime


class WarningView(BaseModel):
    """What a policy says that can hardly be meant."""

    where: str
    field: str
    reason: str
    remedy: str


class PairChangeView(BaseModel):
    """What changes for packets from one host to another."""

    source: str
    destination: str
    change: Literal["allowed", "denied", "changed"] = Field(
        description="allowed: nothing was before; denied: nothing is any more; changed: something else is."
    )


class StitchGoesView(BaseModel):
    """A stitch that the policy forbids."""

    id: int
    reason: str


class SwitchRulesView(BaseModel):
    """How many rules a switch has that decide who may send to whom."""

    dpid: str
    rules: int


class OutcomeView(BaseModel):
    """What a policy changes. version: what it is now; none where it was only asked (dry_run)."""

    version: int | None
    allowed: int = Field(description="Pairs of hosts (each way is one) that may talk and might not before.")
    denied: int
    changed: int
    pairs: list[PairChangeView] = Field(description="The first 200 of them.")
    rules_added: int
    rules_removed: int
    rules: list[SwitchRulesView]
    stitches: list[StitchGoesView] = Field(description="Stitches that go.")
    cases_passed: int
    warnings: list[WarningView]


async def _document(request: Request) -> object:
    """The body, whatever it is declared as: YAML is read as well as JSON."""
    body = await request.body()
    if len(body) > MOST_BYTES:
        raise HTTPException(413, f"the limit is {MOST_BYTES} bytes")
    try:
        return read_text(body)
    except BadText as error:
        raise Problem(
            Kind.MALFORMED, str(error), field="body", remedy="send a policy in YAML or JSON, see docs/policy.md"
        ) from error


_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"type": "object"}},
            "application/yaml": {"schema": {"type": "object"}},
        },
    }
}


@router.get("", dependencies=[READS], responses=documented(Kind.UNKNOWN_VERSION))
def get_policy(apps: AppsOf, version: Annotated[int | None, Query(ge=1, le=1 << 53)] = None) -> PolicyView:
    """The policy that holds, or with ?version= one that held."""
    found = apps.ask(POLICING, PolicyRequest(version))
    if found is not None:
        return PolicyView(
            version=found.version, created=moment(found.created_s), document=json.loads(found.document)
        )
    if version is not None:
        raise Problem(
            Kind.UNKNOWN_VERSION,
            f"there is no version {version} of the policy, or it is no longer kept",
            field="version",
            remedy="GET /v1/policy/versions lists them",
        )
    return PolicyView(version=0, created=None, document={})


@router.get("/versions", dependencies=[READS])
def get_versions(apps: AppsOf) -> list[PolicyVersionView]:
    """The versions of the policy, the newest first; the last 100 are kept."""
    versions = apps.ask(POLICING, PolicyVersionsRequest())
    return [PolicyVersionView(version=one.version, created=moment(one.created_s)) for one in versions]


@router.put(
    "",
    dependencies=[needs(Role.ADMIN)],
    responses=documented(Kind.BAD_POLICY, Kind.MALFORMED, Kind.TOO_LARGE),
    openapi_extra=_BODY,
)
def put_policy(
    apps: AppsOf, change: ChangeOf, document: Annotated[object, Depends(_document)], dry_run: bool = False
) -> OutcomeView:
    """Make this document the policy; it has to pass its own cases. With ?dry_run=true only say what changes."""
    change.before = get_policy(apps)
    try:
        outcome = _outcome(apps.ask(POLICING, PutPolicy(document, dry_run)))
        change.after = {"version": outcome.version, "document": document}
        return outcome
    except PolicyError as error:
        raise _refused(error) from error


def _refused(error: PolicyError) -> Problem:
    faults = error.faults[:_MOST_FAULTS]
    return Problem(
        Kind.BAD_POLICY,
        "; and ".join(f"{fault.where}: {fault.field}: {fault.reason}" for fault in faults),
        field=error.faults[0].field,
        remedy=faults[0].remedy if len(faults) == 1 else "see what helps with each in errors",
        errors=[
            FieldError(field=f"{fault.where}: {fault.field}", problem=f"{fault.reason}; {fault.remedy}")
            for fault in faults
        ],
    )


def _outcome(outcome: PolicyOutcome) -> OutcomeView:
    changes = outcome.changes
    return OutcomeView(
        version=None if outcome.version is None else outcome.version.version,
        allowed=changes.counts.get("allowed", 0),
        denied=changes.counts.get("denied", 0),
        changed=changes.counts.get("changed", 0),
        pairs=[
            PairChangeView.model_validate({"source": one.source, "destination": one.target, "change": one.change})
            for one in changes.pairs
        ],
        rules_added=changes.rules_added,
        rules_removed=changes.rules_removed,
        rules=[
            SwitchRulesView(dpid=node_name(dpid), rules=count) for dpid, count in sorted(changes.rules.items())
        ],
        stitches=[StitchGoesView(id=number, reason=reason) for number, reason in changes.stitches],
        cases_passed=outcome.cases,
        warnings=[_warning(fault) for fault in outcome.warnings],
    )


def _warning(fault: Fault) -> WarningView:
    return WarningView(where=fault.where, field=fault.field, reason=fault.reason, remedy=fault.remedy)
