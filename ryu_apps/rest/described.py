"""The description of the API (OpenAPI 3.1): with problems, tokens and what each operation needs."""

from __future__ import annotations

from typing import Any

from ryu_apps.rest.access import answers
from ryu_apps.rest.access.roles import Need
from ryu_apps.rest.access.routes import Entry, RouteTable
from ryu_apps.rest.problems import Kind, ProblemView, documented

ANYWHERE = (
    Kind.UNAUTHORIZED,
    Kind.FORBIDDEN,
    Kind.TOO_LARGE,
    Kind.INVALID,
    Kind.TOO_MANY,
    Kind.INTERNAL,
    Kind.UNAVAILABLE,
)
"""What may come from every path."""

_WITH_BODY = (Kind.MALFORMED, Kind.NOT_JSON)
_OF_CHANGES = (Kind.MALFORMED, Kind.UNAVAILABLE, Kind.UNSTORED, Kind.UNRECORDED)
_OF_KEYS = (Kind.IN_PROGRESS, Kind.OUTCOME_UNKNOWN)
_KEY = {
    "name": answers.HEADER,
    "in": "header",
    "required": False,
    "description": "The same key and request give the same answer again for 24 hours, and are done once.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
}


def described(schema: dict[str, Any], table: RouteTable) -> dict[str, Any]:
    """What FastAPI says of the API, made whole."""
    components = schema.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    # FastAPI's own shape of a validation error: ours is a problem.
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    problem = ProblemView.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(problem.pop("$defs", {}))
    schemas["Problem"] = {**problem, "title": "Problem"}
    components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    schema["security"] = [{"token": []}]
    for entry in table:
        for method in entry.methods:
            operation = schema["paths"].get(entry.path, {}).get(method.lower())
            if operation is not None:
                _describe(operation, method, entry)
    return schema


def _describe(operation: dict[str, Any], method: str, entry: Entry) -> None:
    need = entry.need
    operation["x-needs"] = {"role": need.role.value, "scoped_tokens": need.scoped}
    operation["description"] = f"{operation.get('description', '')}\n\n{_in_words(need)}".strip()
    if "{" in entry.path:
        # What is put there may be no name at all, such as one with a slash.
        _add(operation, Kind.NO_ROUTE)
    if "requestBody" in operation:
        _add(operation, *_WITH_BODY)
    if need.changes and method != "GET":
        _add(operation, *_OF_CHANGES)
        if method == "POST":
            _add(operation, *_OF_KEYS, *((Kind.SHOWN_ONCE,) if need.secret else ()), Kind.KEY_REUSED)
            operation.setdefault("parameters", []).append(_KEY)
    _add(operation, *ANYWHERE)


def _add(operation: dict[str, Any], *kinds: Kind) -> None:
    """Add problems to those of an operation, with their titles where others have the status."""
    responses = operation["responses"]
    for kind in kinds:
        ((status, response),) = documented(kind).items()
        present = responses.setdefault(str(status), {**response, "description": kind.title})
        if kind.title not in present["description"]:
            present["description"] += f"; {kind.title}"


def _in_words(need: Need) -> str:
    scoped = (
        "A token with a scope sees and changes its own virtual networks"
        if need.scoped
        else "No token with a scope"
    )
    return f"Needs a token with the role {need.role}. {scoped}."
