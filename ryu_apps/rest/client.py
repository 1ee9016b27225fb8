"""The other side of the API: asks a controller over HTTP, with the token of its state directory."""

from __future__ import annotations

import contextlib
import os
import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ryu_apps.rest.tls import client_context
from ryu_apps.rest.token import TokenError, read_token

TIMEOUT_S = 10.0

TOKEN_VARIABLE = "LOCKSTITCH_TOKEN"  # noqa: S105  # its name
"""A token in this environment variable is used in place of the one in the state directory."""

_PAGE = 1000
_trusted: Path | None = None


class CallFailed(Exception):
    """The controller is not there, or said no; the message is one line with the remedy."""


def trust(ca: Path | None) -> None:
    """From now on controllers at https:// are known by these certificates; None: by the state directory's."""
    global _trusted  # one command line, one answer to whom it trusts
    _trusted = ca


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

    state is the directory that holds its token. Raises CallFailed, TokenError, TlsError.
    """
    with connected(url, state, timeout_s) as client:
        return content_of(client.request(method, f"/v1{path}", json=body, params=dict(query or {})), url)


def items(url: str, state: Path, path: str, query: Mapping[str, str | float] | None = None) -> list[Any]:
    """All items of the collection at /v1path, page after page. Raises as call() does."""
    found: list[Any] = []
    with connected(url, state, TIMEOUT_S) as client:
        answer = client.get(f"/v1{path}", params={"limit": _PAGE, **(query or {})})
        found += content_of(answer, url)
        while "next" in answer.links:
            answer = client.get(answer.links["next"]["url"])
            found += content_of(answer, url)
    return found


@contextlib.contextmanager
def connected(url: str, state: Path, timeout_s: float) -> Iterator[Any]:
    """A client of the controller at url. What goes wrong while it is used becomes CallFailed."""
    # Here and not above: `lockstitch --help` need not wait for it.
    import httpx

    headers = {"Authorization": f"Bearer {_token(state)}"}
    verify: ssl.SSLContext | bool = client_context(state, _trusted) if url.startswith("https:") else True
    base = url.rstrip("/")
    try:
        # No proxies from the environment: the token is for the controller alone.
        with httpx.Client(
            base_url=base, trust_env=False, timeout=timeout_s, headers=headers, verify=verify
        ) as client:
            yield client
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        raise CallFailed(f"{url} is not a URL; give one like http://127.0.0.1:8080 with --url") from error
    except httpx.ConnectError as error:
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            raise CallFailed(
                f"what answers at {url} does not have the certificate that is expected ({_why(error)}); check "
                "--url, give the certificates it is known by with --ca, or copy tls.crt from its state directory"
            ) from error
        raise CallFailed(f"no controller answers at {url}; start one with `lockstitch controller`") from error
    except httpx.TimeoutException as error:
        raise CallFailed(f"the controller at {url} did not answer within {timeout_s:g} s; try again") from error
    except httpx.RemoteProtocolError as error:
        tls = f"--url; if it serves TLS, give --url https{url.removeprefix('http')}"
        what = tls if url.startswith("http:") else "--url"
        raise CallFailed(f"what answers at {url} is no controller ({error}); check {what}") from error
    except httpx.HTTPError as error:
        raise CallFailed(f"what answers at {url} is no controller ({error}); check --url") from error


def content_of(answer: Any, url: str) -> Any:
    """What an answer holds. Raises CallFailed for a problem."""
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


def _token(state: Path) -> str:
    given = os.environ.get(TOKEN_VARIABLE, "").strip()
    if not all(0x21 <= ord(character) <= 0x7E for character in given):
        raise TokenError(f"what is in {TOKEN_VARIABLE} is no token; unset it, or set it to what was shown once")
    return given or read_token(state)


def _why(error: Exception) -> str:
    return str(error).rpartition("failed: ")[2].partition(" (_ssl")[0]
