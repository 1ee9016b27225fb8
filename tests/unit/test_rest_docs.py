"""docs/rest.md lists every path that is served."""

from __future__ import annotations

import re
from pathlib import Path

from tests.unit.test_rest_fake import FakeController, api_of

PAGE = Path(__file__).parents[2] / "docs" / "rest.md"
_PARAMETER = re.compile(r"{\w+}")


def test_every_path_is_on_the_page_with_its_methods() -> None:
    table = PAGE.read_text().partition("## All paths")[2]
    listed: set[tuple[str, str]] = set()
    for row in re.findall(r"^\| (`[^|]+) \|", table, re.MULTILINE):
        methods: list[str] = []
        for said in re.findall(r"`([^`]+)`", row):
            method, _, path = said.partition(" ")
            methods.append(method)
            if path:
                listed |= {(one, _PARAMETER.sub("{}", path)) for one in methods}
                methods.clear()
    served = {
        (method.upper(), _PARAMETER.sub("{}", path))
        for path, methods in api_of(FakeController()).openapi()["paths"].items()
        for method in methods
        if path.startswith("/v1/")
    }
    assert served - listed == set()
    assert listed - served == {("GET", "/v1/openapi.json")}
