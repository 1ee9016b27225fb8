"""From an exception to the problem that tells the caller about it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Match

from pathing import Oversubscribed
from ryu_apps.rest.conditions import NotChanged
from ryu_apps.rest.problems import FieldError, Kind, Problem, plain_problem, problem_response
from ryu_apps.rest.stitch_bodies import KINDS
from ryu_apps.store import StoreError
from stitching.plan import NotPossible
from stitching.stitch import BadTransition

_METHODS = ("DELETE", "GET", "PATCH", "POST", "PUT")
_MOST_ERRORS = 20
_MOST_NAME = 100


async def on_problem(_: Request, error: Problem) -> Response:
    """A handler said what is wrong."""
    return problem_response(error.view, error.headers)


async def on_not_changed(_: Request, error: NotChanged) -> Response:
    """The caller has it already."""
    return Response(status_code=304, headers={"ETag": error.tag})


async def on_refusal(_: Request, error: Exception) -> Response:
    """What was asked for cannot be had, or could not be stored and so was not done."""
    return problem_response(refusal(error).view)


def refusal(error: Exception) -> Problem:
    """An app's refusal as a problem. Raises what is no refusal."""
    match error:
        case Problem():
            return error
        case NotPossible():
            return Problem(Kind.NOT_POSSIBLE, error.reason, field=error.field, remedy=error.remedy)
        case Oversubscribed():
            return Problem(
                Kind.NOT_POSSIBLE, str(error), field="bandwidth_mbps", remedy="ask for less bandwidth, or later"
            )
        case StoreError():
            return Problem(Kind.UNSTORED, f"{error}; nothing was changed", remedy="put that right, then try again")
    raise error


async def on_bad_transition(_: Request, error: BadTransition) -> Response:
    """The stitch is in a state that does not allow what was asked."""
    problem = Problem(Kind.WRONG_STATE, str(error), remedy="wait until its state has changed")
    return problem_response(problem.view)


async def on_invalid(request: Request, error: RequestValidationError) -> Response:
    """Fields of the request are not what the description of the API says."""
    return problem_response(_invalid(request, error.errors()).view)


async def on_http(request: Request, error: HTTPException) -> Response:
    """The framework said no: no such route, no such method, or a body that could not be read."""
    match error.status_code:
        case 404:
            problem = Problem(Kind.NO_ROUTE, "no such path", remedy="GET /v1/openapi.json lists what there is")
        case 405:
            allowed = ", ".join(_allowed_methods(request))
            problem = Problem(
                Kind.METHOD, f"this path takes {allowed}", remedy="use one of them", headers={"Allow": allowed}
            )
        case 413:
            problem = Problem(Kind.TOO_LARGE, str(error.detail), remedy="send it in smaller parts")
        case 400:
            problem = Problem(
                Kind.MALFORMED, "the body cannot be read as JSON", field="body", remedy="send UTF-8 JSON"
            )
        case status:
            return problem_response(plain_problem(status, str(error.detail)), error.headers)
    return problem_response(problem.view, problem.headers)


def _invalid(request: Request, errors: Sequence[Any]) -> Problem:
    first = errors[0]
    if first["type"] == "json_invalid":
        return Problem(
            Kind.MALFORMED,
            f"at character {first['loc'][-1]}: {first['ctx']['error']}",
            field="body",
            remedy="send valid JSON",
        )
    if _untagged(first["loc"]) == ("body",) and not _declares_json(request):
        return Problem(
            Kind.NOT_JSON,
            "the body has no JSON content type",
            remedy="send the header Content-Type: application/json with a JSON body",
        )
    fields = [FieldError(field=_field(error["loc"]), problem=_message(error)) for error in errors[:_MOST_ERRORS]]
    more = len(errors) - len(fields)
    detail = "; ".join(f"{field.field}: {field.problem}" for field in fields)
    return Problem(
        Kind.INVALID,
        f"{detail}; and {more} more" if more else detail,
        field=fields[0].field,
        remedy="put right the fields that are named; GET /v1/openapi.json describes them",
        errors=fields,
    )


def _declares_json(request: Request) -> bool:
    content_type = request.headers.get("content-type", "").split(";")[0].strip().lower()
    return content_type == "application/json" or content_type.endswith("+json")


def _field(location: Sequence[int | str]) -> str:
    """("body", "hosts", 0, "mac") as hosts[0].mac; a body that is wrong as a whole is `body`."""
    name = ""
    for part in _untagged(location)[1:]:
        name += f"[{part}]" if isinstance(part, int) else f".{part}"
    return name.lstrip(".")[:_MOST_NAME] or str(location[0])


def _untagged(location: Sequence[int | str]) -> tuple[int | str, ...]:
    """Where something is in a body; of a stitch, pydantic puts the kind before the field."""
    tagged = location[0] == "body" and len(location) > 1 and location[1] in KINDS
    return tuple(location[:1]) + tuple(location[1 + tagged :])


def _message(error: Any) -> str:
    # Our own validators raise ValueError, which pydantic introduces with words that help nobody.
    message: str = error["msg"]
    return message.removeprefix("Value error, ")


def _allowed_methods(request: Request) -> list[str]:
    """The methods of the path. Starlette's own answer names only those of the first route that matched."""
    routes = request.app.routes
    allowed = []
    for method in _METHODS:
        scope = {"type": "http", "path": request.scope["path"], "root_path": "", "headers": [], "method": method}
        if any(route.matches(scope)[0] is Match.FULL for route in routes):
            allowed.append(method)
    return allowed
