"""`lockstitch signer`: an operator lets nodes in and puts them out, and a token is told once and nowhere else."""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from typer.testing import CliRunner

from ryu_apps import cli
from ryu_apps.overlay.signing import __main__ as process
from ryu_apps.overlay.signing.home import opened
from ryu_apps.overlay.signing.places import default_signer, in_state
from ryu_apps.overlay.signing.requests import OPERATOR, Admit
from ryu_apps.overlay.signing.server import Door, SignerServer
from tests.unit.trust_world import an_enroll, card, identity
from vte_agent.protocol.enrollment import Token

CARD = card(Ed25519PrivateKey.generate(), address="192.0.2.1:6690")


class Operator:
    """Types commands beside a signer that runs."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self._up = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self._thread.start()
        assert self._up.wait(10)

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        with opened(self.state, time.time) as signer:
            self.signer = signer
            server = SignerServer(signer)
            own = frozenset({os.geteuid()})
            async with server.serving([Door(in_state(self.state).operator, own, OPERATOR, "operator")]):
                self._up.set()
                await self._stop.wait()

    def admit(self, token: Token, name: str, keys: Path) -> None:
        asked = Admit(enroll=an_enroll(token, name, identity(keys))).enroll

        async def admitted() -> None:
            self.signer.admit(asked)

        asyncio.run_coroutine_threadsafe(admitted(), self._loop).result(10)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def __call__(self, *words: str, typed: str = "", code: int = 0) -> tuple[str, str]:
        environment = {"LOCKSTITCH_SIGNER_STATE": str(self.state), "COLUMNS": "80"}
        done = CliRunner().invoke(cli.app, ["signer", *words], input=typed, env=environment)
        assert done.exit_code == code, done.output
        assert "Traceback" not in done.output
        return done.stdout, done.stderr


@pytest.fixture
def operator(tmp_path: Path) -> Iterator[Operator]:
    operator = Operator(tmp_path / "signer")
    try:
        yield operator
    finally:
        operator.close()


def trusted(operator: Operator) -> Operator:
    operator("trust", "--card", "-", typed=CARD.model_dump_json())
    return operator


def test_a_controller_is_trusted_by_its_card_and_the_next_steps_are_said(
    operator: Operator, tmp_path: Path
) -> None:
    file = tmp_path / "card.json"
    file.write_text(CARD.model_dump_json())
    said, _ = operator("trust", "--card", str(file))
    assert "192.0.2.1:6690" in said and "lockstitch signer token" in said and "vte-agent enroll" in said
    operator("distrust", "--card", str(file))
    assert "no controller with this key" in operator("distrust", "--card", str(file), code=1)[1]


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"state_key": 1}', "\x00"])
def test_what_is_no_card_is_refused_with_where_there_is_one(operator: Operator, text: str) -> None:
    assert "lockstitch overlay card" in operator("trust", "--card", "-", typed=text, code=1)[1]


def test_a_file_that_is_not_there_is_named(operator: Operator) -> None:
    assert "/nowhere" in operator("trust", "--card", "/nowhere", code=1)[1]


def test_a_token_is_the_only_thing_on_standard_output_and_is_not_told_again(operator: Operator) -> None:
    trusted(operator)
    said, beside = operator("token", "--name", "ber", "--prefix", "10.1.0.0/24", "--label", "critical=yes")
    token = Token.read(said)
    assert said == f"{token.text()}\n" and token.id in beside and token.secret not in beside
    listed, _ = operator("tokens")
    assert token.id in listed and "10.1.0.0/24" in listed and token.secret not in listed
    assert all(len(line) <= 80 for line in listed.splitlines())
    (known,) = json.loads(operator("tokens", "--json")[0])
    assert known["labels"] == {"critical": "yes"} and "secret" not in known
    operator("withdraw", token.id)
    assert json.loads(operator("tokens", "--json")[0]) == []


def test_who_makes_a_token_without_a_prefix_is_told_what_that_means(operator: Operator) -> None:
    trusted(operator)
    assert "nothing behind this site" in operator("token", "--name", "ber")[1]
    assert "nothing behind" not in operator("token", "--name", "hub", "--role", "relay")[1]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--prefix", "10.1.0.1/24"], "--prefix"),
        (["--name", "a b"], "--name"),
        (["--role", "king"], "--role"),
        (["--label", "critical"], "--label"),
        (["--label", "critical=ja"], "a site is critical=yes"),
        (["--valid", "soon"], "--valid"),
        (["--valid", "400d"], "--valid"),
    ],
)
def test_a_wish_that_cannot_be_meant_names_its_option(operator: Operator, words: list[str], named: str) -> None:
    assert named in operator("token", *words, code=2)[1]


def test_a_token_needs_a_controller_that_is_trusted(operator: Operator) -> None:
    assert "no controller is trusted" in operator("token", code=1)[1]


def test_a_member_is_listed_and_put_out_by_its_name_or_its_serial(operator: Operator, tmp_path: Path) -> None:
    trusted(operator)
    for place, name in enumerate(("ber", "muc"), 1):
        said, _ = operator("token", "--name", name, "--prefix", f"10.{place}.0.0/24")
        operator.admit(Token.read(said), name, tmp_path / name)
    listed, _ = operator("members")
    assert "ber" in listed and "10.2.0.0/24" in listed and all(len(line) <= 80 for line in listed.splitlines())
    assert "ber (serial 1) is out" in operator("revoke", "ber")[0]
    assert "muc (serial 2) is out" in operator("revoke", "2")[0]
    assert json.loads(operator("members", "--json")[0]) == []
    assert "lockstitch signer members" in operator("revoke", "ber", code=1)[1]


def test_without_a_signer_it_is_said_how_to_start_one(tmp_path: Path) -> None:
    done = CliRunner().invoke(cli.app, ["signer", "tokens", "--state", str(tmp_path)])
    assert done.exit_code == 1 and "lockstitch signer run" in done.output


def test_where_no_socket_can_be_is_said_before_a_key_is_made_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    deep = tmp_path / ("d" * 100)
    monkeypatch.setattr(os, "execv", lambda *_: pytest.fail("it is started all the same"))
    for words in (["run"], ["members"], ["run", "--controller-socket", f"{deep / 'c.sock'}"]):
        short = "--controller-socket" in words
        done = CliRunner().invoke(cli.app, ["signer", *words, "--state", str(tmp_path if short else deep)])
        assert done.exit_code == 1
        assert "too long for a socket" in done.output and "--state" in " ".join(done.output.split())
    monkeypatch.setattr("sys.argv", ["signing", "--state", str(deep)])
    assert process.main() == 1 and "too long for a socket" in capsys.readouterr().err
    assert not deep.exists() and not list(tmp_path.iterdir())


def test_the_process_takes_the_place_of_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda _, words: seen.append(words))
    done = CliRunner().invoke(
        cli.app, ["signer", "run", "--state", str(tmp_path), "--controller-uid", "7", "--controller-socket", "/x"]
    )
    assert done.exit_code == 0 and "keep a copy" in done.output
    assert seen[0][1:] == ["-m", "ryu_apps.overlay.signing", "--state", str(tmp_path),
                           "--controller-socket", "/x", "--controller-uid", "7"]  # fmt: skip


def test_the_unit_runs_this_very_program_as_a_user_of_its_own() -> None:
    unit = CliRunner().invoke(cli.app, ["signer", "unit"]).output
    assert "User=lockstitch-signer" in unit and "PrivateNetwork=yes" in unit
    assert "ExecStart=/usr/bin/lockstitch" not in unit and " signer run --state " in unit


def test_its_directory_follows_the_base_directories(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/x")
    assert in_state(default_signer()).controller == Path("/x/lockstitch-signer/controller.sock")
