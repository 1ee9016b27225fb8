"""TLS: nobody reads tokens on the way, and a client talks to the controller it means or to none."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import ssl
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from typer.testing import CliRunner

from ryu_apps import cli
from ryu_apps.controller import started
from ryu_apps.rest import certificate as certificate_module
from ryu_apps.rest.api import create_api
from ryu_apps.rest.certificate import fingerprint, self_signed
from ryu_apps.rest.client import CallFailed, call, trust
from ryu_apps.rest.server import RestServer
from ryu_apps.rest.tls import TlsError, TlsFiles, client_context, is_loopback
from ryu_apps.rest.token import load_or_make_token
from ryu_apps.starting.settings import Settings, StartError
from tests.unit.test_rest_fake import FakeController, red_and_blue


@contextlib.contextmanager
def served(state: Path, tls: TlsFiles | None) -> Iterator[RestServer]:
    api = create_api(FakeController(vnets=red_and_blue()).ask, token=load_or_make_token(state))
    server = RestServer(api, "127.0.0.1", 0, tls)
    server.start()
    yield server
    server.stop()


def test_the_certificate_is_made_once_and_its_key_is_private(tmp_path: Path) -> None:
    files = self_signed(tmp_path, ["192.0.2.7", "controller.example", "0.0.0.0"])  # noqa: S104  # not bound
    before = files.certificate.read_bytes()
    assert stat.S_IMODE(files.key.stat().st_mode) == 0o600
    assert self_signed(tmp_path, []).certificate.read_bytes() == before
    found = x509.load_pem_x509_certificate(before)
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {"192.0.2.7", "127.0.0.1"} <= {str(ip) for ip in names.get_values_for_type(x509.IPAddress)}
    assert "controller.example" in names.get_values_for_type(x509.DNSName)
    assert not found.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    der = ssl.PEM_cert_to_DER_cert(before.decode())
    assert fingerprint(files.certificate).replace(":", "").lower() == hashlib.sha256(der).hexdigest()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tls.crt", "tls.key"]


@pytest.mark.parametrize("name", ["tls.crt", "tls.key"])
@pytest.mark.parametrize("content", [None, b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n", b"\xff\x00"])
def test_one_that_is_of_no_use_is_made_anew(tmp_path: Path, name: str, content: bytes | None) -> None:
    before = self_signed(tmp_path, []).certificate.read_bytes()
    if content is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_bytes(content)
    assert self_signed(tmp_path, []).check().certificate.read_bytes() != before


def test_one_that_is_about_to_expire_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(certificate_module, "_VALID", datetime.timedelta(days=29))
        before = self_signed(tmp_path, []).certificate.read_bytes()
    assert self_signed(tmp_path, []).certificate.read_bytes() != before


def test_a_client_with_the_state_directory_knows_the_controller(tmp_path: Path) -> None:
    with served(tmp_path, self_signed(tmp_path, [])) as server:
        assert server.url.startswith("https://")
        assert len(call(server.url, tmp_path, "GET", "/hosts")) == 4
        # Whatever it is called: it is known by its key.
        assert call(server.url.replace("127.0.0.1", "localhost"), tmp_path, "GET", "/hosts")


def test_another_controller_is_not_given_the_token(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for state in (one, other):
        load_or_make_token(state)
        self_signed(state, [])
    with served(other, self_signed(other, [])) as server:
        with pytest.raises(CallFailed, match=r"does not have the certificate that is expected .*--ca"):
            call(server.url, one, "GET", "/hosts")
        (one / "tls.crt").unlink()
        with pytest.raises(CallFailed, match="does not have the certificate"):
            call(server.url, one, "GET", "/hosts")


def test_with_ca_the_name_counts_too(tmp_path: Path) -> None:
    files = self_signed(tmp_path, [])
    elsewhere = tmp_path / "elsewhere"
    load_or_make_token(tmp_path)
    elsewhere.mkdir()
    (elsewhere / "token").write_bytes((tmp_path / "token").read_bytes())
    (elsewhere / "token").chmod(0o600)
    with served(tmp_path, files) as server:
        environment = {"LOCKSTITCH_URL": server.url, "LOCKSTITCH_STATE": str(elsewhere)}
        runner = CliRunner()
        try:
            assert runner.invoke(cli.app, ["hosts"], env=environment).exit_code == 1
            shown = runner.invoke(cli.app, ["--ca", str(files.certificate), "hosts"], env=environment)
            assert (shown.exit_code, "h1" in shown.output) == (0, True), shown.output
        finally:
            trust(None)
    assert client_context(elsewhere, files.certificate).check_hostname


def test_http_to_a_server_of_tls_is_one_line(tmp_path: Path) -> None:
    with (
        served(tmp_path, self_signed(tmp_path, [])) as server,
        pytest.raises(CallFailed, match=r"is no controller .* give --url https://127"),
    ):
        call(server.url.replace("https", "http"), tmp_path, "GET", "/hosts")


def test_tls_to_a_server_of_http_is_one_line(tmp_path: Path) -> None:
    with served(tmp_path, None) as server, pytest.raises(CallFailed, match="no controller answers"):
        call(server.url.replace("http", "https"), tmp_path, "GET", "/hosts")


def test_files_of_ones_own_are_served_and_bad_ones_named(tmp_path: Path) -> None:
    made = self_signed(tmp_path, [])
    other = self_signed(_directory(tmp_path / "other"), [])
    assert TlsFiles(made.certificate, made.key).check()
    for files, says in (
        (TlsFiles(tmp_path / "none.crt", made.key), "none.crt; give PEM files with --tls-cert"),
        (TlsFiles(made.certificate, tmp_path / "none.key"), "none.key; give PEM"),
        (TlsFiles(made.certificate, other.key), "cannot be used"),
        (TlsFiles(made.key, made.key), "cannot be used"),
    ):
        with pytest.raises(TlsError, match=says):
            files.check()


def test_what_is_no_certificate_is_named_to_clients(tmp_path: Path) -> None:
    (tmp_path / "tls.crt").write_text("nothing")
    with pytest.raises(TlsError, match=r"tls\.crt has no certificates .*--ca"):
        client_context(tmp_path, None)
    with pytest.raises(TlsError, match=r"none\.pem"):
        client_context(tmp_path, tmp_path / "none.pem")


@pytest.mark.parametrize(
    ("host", "only_here"),
    [("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("localhost", True), ("0.0.0.0", False),  # noqa: S104
     ("::", False), ("192.0.2.1", False), ("", False), ("no.such.name.invalid", False)],
)  # fmt: skip
def test_what_only_this_machine_can_reach(host: str, *, only_here: bool) -> None:
    assert is_loopback(host) is only_here


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])  # noqa: S104  # it is refused
def test_tokens_are_not_sent_over_a_network_in_the_clear(tmp_path: Path, host: str) -> None:
    with pytest.raises(StartError, match=r"--tls .*--insecure-http"), started(Settings(tmp_path, rest_host=host)):
        pass
    assert list(tmp_path.iterdir()) == []


def _directory(path: Path) -> Path:
    path.mkdir()
    return path
