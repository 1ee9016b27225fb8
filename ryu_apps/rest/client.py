"""The other side of the API: asks a controller over HTTP, with the token of its state directory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ryu_apps.rest.token import read_token

TIMEOUT_S = 10.0


class CallFailed(Exception):
    """The controller is not there, or said no; the message is one line with the remedy."""


def call(
    url: str,
    state: Path,
    method: str,
    path: str,
    *,
    body: object = None,
    query: Mapping[str, str | float] | None = None,
    timeout_s: float = TIMEOUT_S,
) -> Any:
    """The answer of the controller at url to `method /v1path`, as JSON values; None where it is empty.

    state is the directory that holds its token. Raises CallFailed, TokenError.
    """
    # Here and not above: `lockstitch --help` need not wait for it.
    import httpx

    headers = {"Authorization": f"Bearer {read_token(state)}"}
    try:
        # No proxies from the environment: the token is for the controller alone.
        with httpx.Client(trust_env=False, timeout=timeout_s, headers=headers) as client:
            answer = client.request(method, f"{url.rstrip('/')}/v1{path}", json=body, params=dict(query or {}))
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        raise CallFailed(f"{url} is not a URL; give one like http://127.0.0.1:8080 with --url") from error
    except httpx.ConnectError as error:
        raise CallFailed(f"no controller answers at {url}; start one with `lockstitch controller`") from error
    except httpx.TimeoutException as error:
        raise CallFailed(f"the controller at {url} did not answer within {timeout_s:g} s; try again") from error
    except httpx.HTTPError as error:
        raise CallFailed(f"what answers at {url} is no controller ({error}); check --url") from error
    return _content(answer, url)


def _content(answer: Any, url: str) -> Any:
    if answer.status_code == 204:
        return None
    try:
        content = answer.json()
    except ValueError as error:
        raise CallFailed(f"what answers at {url} is no controller (no JSON); check --url") from error
    if answer.is_success:
        return content
    problem = content if isinstance(content, dict) else {}
    words = [str(problem.get("detail") or problem.get("title") or f"HTTP status {answer.status_code}")]
    # A list of wrong fields names them in its detail already.
    if problem.get("field") and not problem.get("errors"):
        words.insert(0, f"{problem['field']}: ")
    if problem.get("remedy"):
        words.append(f"; {problem['remedy']}")
    raise CallFailed(" ".join("".join(words).split()))
