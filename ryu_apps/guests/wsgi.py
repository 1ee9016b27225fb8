"""ryu.app.wsgi for hosted apps: their controllers are called by our own server, behind the same token.

What Ryu takes from webob and routes is here as far as apps use it: route(), ControllerBase, WSGIApplication with
register() and mapper.connect(), Request and Response.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

HEX_PATTERN = r"0x[0-9a-z]+"
DIGIT_PATTERN = r"[1-9][0-9]*"

_PLACE = re.compile(r"\{(\w+)(?::([^{}]+))?\}")


def route(
    name: str, path: str, methods: Sequence[str] | None = None, requirements: Mapping[str, str] | None = None
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Say which path a method of a controller answers: /things/{thing}."""

    def mark(method: Callable[..., Any]) -> Callable[..., Any]:
        method.routing_info = {  # type: ignore[attr-defined]  # as Ryu does
            "name": name,
            "path": path,
            "methods": methods,
            "requirements": requirements,
        }
        return method

    return mark


def websocket(name: str, path: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Refused: websockets are not bridged."""
    raise NotImplementedError(f"the websocket {name} at {path} is not served; poll with a GET route in its place")


class Request:
    """A request as an app reads it; all of its body is there."""

    def __init__(
        self, method: str, path: str, query: str = "", headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> None:
        self.method = method
        self.path = self.path_info = path
        self.query_string = query
        self.headers = dict(headers or {})
        self.body = body
        self.GET = self.params = dict(parse_qsl(query, keep_blank_values=True))
        self.urlvars: dict[str, Any] = {}
        self.environ = {"REQUEST_METHOD": method, "PATH_INFO": path, "QUERY_STRING": query}

    @property
    def text(self) -> str:
        """The body as text. Raises ValueError where it is none."""
        return self.body.decode()

    @property
    def json(self) -> Any:
        """What the body says. Raises ValueError where it is not JSON."""
        return json.loads(self.body)

    json_body = json

    @property
    def POST(self) -> dict[str, str]:  # noqa: N802  # its name in webob
        """The fields of a form."""
        return dict(parse_qsl(self.text, keep_blank_values=True))


class Response:
    """An answer: body (bytes or text), or json, with a status and a content type."""

    def __init__(
        self,
        body: bytes | str | None = None,
        status: int | str | None = None,
        content_type: str | None = None,
        *,
        text: str | None = None,
        json: Any = None,
        json_body: Any = None,
        headers: Mapping[str, str] | None = None,
        headerlist: Iterable[tuple[str, str]] | None = None,
        charset: str = "UTF-8",
        **_ignored: Any,
    ) -> None:
        self.status_code = self.status_int = int(str(status or 200).split()[0])
        self.charset = charset
        self.headers = {**dict(headerlist or ()), **dict(headers or {})}
        given = json if json is not None else json_body
        if given is not None:
            body, content_type = _as_json(given), content_type or "application/json"
        content = text if body is None else body
        self.body = content.encode(charset) if isinstance(content, str) else content or b""
        self.content_type = content_type or "text/html"


def _as_json(value: Any) -> str:
    return json.dumps(value)


class ControllerBase:
    """What apps derive their controllers from; one is made for each request."""

    def __init__(self, req: Request, link: Any, data: Any, **config: Any) -> None:
        self.req = req
        self.link = link
        self.data = data
        self.parent: Any = None
        for name, value in config.items():
            setattr(self, name, value)


@dataclass(frozen=True)
class _Route:
    pattern: re.Pattern[str]
    methods: frozenset[str]
    controller: type
    action: str


@dataclass
class Mapper:
    """Which method of which controller answers which path (what Ryu takes from the package routes)."""

    routes: list[_Route] = field(default_factory=list)

    def connect(
        self,
        _name: str,
        path: str,
        *,
        controller: type,
        action: str,
        requirements: Mapping[str, str] | None = None,
        conditions: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        """Add a path. Raises re.error for a requirement that is no regular expression."""
        methods = (conditions or {}).get("method") or ("GET", "POST", "PUT", "DELETE", "PATCH")
        pattern = _pattern(path, requirements or {})
        self.routes.append(_Route(pattern, frozenset(method.upper() for method in methods), controller, action))

    def find(self, method: str, path: str) -> tuple[_Route, dict[str, str]] | None:
        """The first path that matches, with what stands in its places."""
        for known in self.routes:
            if method in known.methods and (found := known.pattern.fullmatch(path)) is not None:
                return known, found.groupdict()
        return None


class WSGIApplication:
    """All controllers of the hosted apps. An app gets it by _CONTEXTS = {"wsgi": WSGIApplication}."""

    def __init__(self, **config: Any) -> None:
        self.config = config
        self.mapper = Mapper()
        self.registory: dict[str, Any] = {}  # its name in Ryu

    def register(self, controller: type, data: Any = None) -> None:
        """Add the methods of a controller that @route marks."""
        for action, method in inspect.getmembers(controller, inspect.isfunction):
            marked = getattr(method, "routing_info", None)
            if marked is not None:
                conditions = {"method": marked["methods"]} if marked["methods"] else None
                self.mapper.connect(
                    marked["name"],
                    marked["path"],
                    controller=controller,
                    action=action,
                    requirements=marked["requirements"],
                    conditions=conditions,
                )
        if data:
            self.registory[controller.__name__] = data

    def has(self, method: str, path: str) -> bool:
        """Whether some controller answers this."""
        return self.mapper.find(method, path) is not None

    def answer(self, request: Request) -> Response:
        """The answer of the controller. Raises LookupError where none is for this path, and whatever it raises."""
        found = self.mapper.find(request.method, request.path)
        if found is None:
            raise LookupError(f"no hosted app answers {request.method} {request.path}")
        chosen, places = found
        request.urlvars = dict(places)
        data = self.registory.get(chosen.controller.__name__)
        controller = chosen.controller(request, None, data, **self.config)
        controller.parent = self
        return _response(getattr(controller, chosen.action)(request, **places))


def _response(answer: Any) -> Response:
    """What a controller returned: a Response of ours or of webob, text, bytes or nothing."""
    if answer is None or isinstance(answer, str | bytes):
        return Response(answer)
    if isinstance(answer, Response):
        return answer
    return Response(answer.body, answer.status_int, answer.content_type)


def _pattern(path: str, requirements: Mapping[str, str]) -> re.Pattern[str]:
    pattern, place = "", 0
    for found in _PLACE.finditer(path):
        name, own = found.groups()
        pattern += re.escape(path[place : found.start()]) + f"(?P<{name}>{own or requirements.get(name, '[^/]+')})"
        place = found.end()
    return re.compile(pattern + re.escape(path[place:]))
