"""Asking the signer, from the controller or by the operator."""

from __future__ import annotations

import base64
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from ryu_apps.overlay.signing import requests as ask
from ryu_apps.overlay.signing.places import PathTooLong, check_path
from ryu_apps.overlay.signing.requests import BadRequest, read_answer
from vte_agent.protocol.base import Message
from vte_agent.protocol.enrollment import Enroll
from vte_agent.protocol.members import Member
from vte_agent.protocol.signed import Signed

_MOST_ANSWER_BYTES = 32 << 20

_A = TypeVar("_A", bound=Message)


class SignerGone(Exception):
    """Nobody answers at the signer's socket; the message says what to do."""


class SignerClient:
    """One question a call, each on a connection of its own; may be called from any thread, and blocks.

    All methods raise Refusal and SignerGone. Which questions are answered depends on the socket.
    """

    def __init__(self, path: Path, timeout_s: float = 10.0) -> None:
        self._path = path
        self._timeout_s = timeout_s

    def admit(self, enroll: Enroll) -> ask.Admitted:
        """Have the holder of a token let in."""
        return self._ask(ask.Admit(enroll=enroll), ask.Admitted)

    def roll(self, after: int | None = None, wait_s: float = 20.0) -> ask.RollNow:
        """The roll; with `after`, when there is a later one or wait_s is over."""
        question = ask.GetRoll(after=after, wait_s=wait_s)
        return self._ask(question, ask.RollNow, 0.0 if after is None else wait_s)

    def members(self) -> Iterator[Signed]:
        """All members."""
        after, more = 0, True
        while more:
            page = self._ask(ask.GetMembers(after=after), ask.MembersPage)
            yield from page.members
            more = page.more and bool(page.members)
            if more:
                after = serial_of(page.members[-1])

    def make_token(self, wish: ask.MakeToken) -> ask.TokenMade:
        """A new token."""
        return self._ask(wish, ask.TokenMade)

    def tokens(self) -> tuple[ask.OpenToken, ...]:
        """The tokens that can be used."""
        return self._ask(ask.GetTokens(), ask.OpenTokens).tokens

    def withdraw(self, token_id: str) -> None:
        """Make a token worthless."""
        self._ask(ask.Withdraw(token_id=token_id), ask.Done)

    def revoke(self, serial: int) -> None:
        """Put a member out."""
        self._ask(ask.Revoke(serial=serial), ask.Done)

    def trust(self, card: ask.ControllerCard) -> None:
        """Let agents follow a controller."""
        self._ask(ask.Trust(card=card), ask.Done)

    def distrust(self, state_key: str) -> None:
        """Let agents follow a controller no more."""
        self._ask(ask.Distrust(state_key=state_key), ask.Done)

    def _ask(self, question: Message, answer: type[_A], wait_s: float = 0.0) -> _A:
        try:
            check_path(self._path)
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
                link.settimeout(self._timeout_s + wait_s)
                link.connect(str(self._path))
                link.sendall(question.model_dump_json().encode() + b"\n")
                with link.makefile("rb") as file:
                    line = file.readline(_MOST_ANSWER_BYTES)
        except (BrokenPipeError, ConnectionResetError):
            line = b""
        except PathTooLong as error:
            raise SignerGone(str(error)) from error
        except OSError as error:
            raise SignerGone(
                f"the signer does not answer at {self._path} ({error.strerror or error}); start it: "
                "lockstitch signer run"
            ) from error
        if not line.endswith(b"\n"):
            raise SignerGone(
                f"the signer at {self._path} does not talk to this user (ask as the one who runs it), or ended "
                "while it answered (look at its log)"
            )
        try:
            return read_answer(line, answer)
        except BadRequest as error:
            raise SignerGone(f"{error}; is it of another version?") from error


def serial_of(member: Signed) -> int:
    """The serial in what the signer has sent of a member."""
    return Member.model_validate_json(base64.b64decode(member.payload)).serial
