"""The controller's authority opens the control channel for keys that were asked for properly, and nothing else."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st

from ryu_apps.overlay.authority import Authority, AuthorityError, BadCsr, csr_key, expiry_of
from tests.unit.trust_world import Clock
from vte_agent.identity import csr_of, tls_key
from vte_agent.membership import BadCertificate, bundle, life_of
from vte_agent.protocol.channel import SERVER_NAME, member_uri, read_member_uri

DAY_S = 86_400


def test_it_is_made_once_and_its_key_is_private(tmp_path: Path) -> None:
    one = Authority(tmp_path)
    assert Authority(tmp_path).sha256 == one.sha256
    assert (tmp_path / "overlay-ca.key").stat().st_mode & 0o777 == 0o600
    assert (one.server_files().key).stat().st_mode & 0o777 == 0o600


def test_a_client_certificate_is_short_lived_and_for_a_client_alone(tmp_path: Path) -> None:
    clock, key = Clock(), tls_key()
    pem = Authority(tmp_path, clock).sign_client(csr_of(key), 7, "ber")
    found = x509.load_pem_x509_certificate(pem.encode())
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [member_uri(7, "ber")]
    usage = found.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert not found.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert found.public_key() == key.public_key()
    assert expiry_of(pem) == clock.now_s + DAY_S


def test_the_servers_certificate_is_made_anew_in_time(tmp_path: Path) -> None:
    clock = Clock()
    authority = Authority(tmp_path, clock)
    before = authority.server_files().certificate.read_bytes()
    clock.now_s += 59 * DAY_S
    assert authority.server_files().certificate.read_bytes() == before
    clock.now_s += 2 * DAY_S
    assert authority.server_files().check().certificate.read_bytes() != before
    found = x509.load_pem_x509_certificate(authority.server_files().certificate.read_bytes())
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [SERVER_NAME]
    assert found.not_valid_after_utc > datetime.fromtimestamp(clock.now_s, UTC)


@pytest.mark.parametrize("content", [b"", b"x", b"-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_a_damaged_one_is_named_and_never_made_anew(tmp_path: Path, content: bytes) -> None:
    before = Authority(tmp_path).pem
    for name in ("overlay-ca.key", "overlay-ca.crt"):
        kept = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content)
        with pytest.raises(AuthorityError, match="damaged; put them back from a copy"):
            Authority(tmp_path)
        (tmp_path / name).write_bytes(kept)
    assert Authority(tmp_path).pem == before


def test_a_key_of_another_or_one_that_others_can_read_is_refused(tmp_path: Path) -> None:
    Authority(tmp_path)
    (tmp_path / "overlay-ca.key").chmod(0o640)
    with pytest.raises(AuthorityError, match="can be read by others; run: chmod 600"):
        Authority(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    Authority(other)
    (tmp_path / "overlay-ca.key").chmod(0o600)
    (tmp_path / "overlay-ca.key").write_bytes((other / "overlay-ca.key").read_bytes())
    with pytest.raises(AuthorityError, match="is not the key of"):
        Authority(tmp_path)
    (tmp_path / "overlay-ca.key").unlink()
    with pytest.raises(AuthorityError, match="No such file"):
        Authority(tmp_path)


@given(
    st.text(max_size=200) | st.text(max_size=100).map(lambda text: f"-----BEGIN CERTIFICATE REQUEST-----\n{text}")
)
def test_any_other_text_is_no_request(text: str) -> None:
    with pytest.raises(BadCsr):
        csr_key(text)


@given(place=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_a_request_with_any_bit_changed_gives_no_key_or_the_same(place: int, bit: int) -> None:
    """The signature may have several spellings; what it is over may not."""
    der = bytearray(ssl.PEM_cert_to_DER_cert(_as_certificate(CSR)))
    der[place % len(der)] ^= 1 << bit
    changed = ssl.DER_cert_to_PEM_cert(bytes(der)).replace("CERTIFICATE", "CERTIFICATE REQUEST")
    try:
        assert csr_key(changed).public_numbers() == KEY.public_key().public_numbers()
    except BadCsr:
        return


def test_other_curves_are_refused() -> None:
    key = ec.generate_private_key(ec.SECP384R1())
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    with pytest.raises(BadCsr, match="P-256 only"):
        csr_key(request.public_bytes(serialization.Encoding.PEM).decode())


def test_an_agent_takes_only_a_certificate_of_its_key_by_its_authority(tmp_path: Path) -> None:
    one = Authority(tmp_path)
    (tmp_path / "o").mkdir()
    other = Authority(tmp_path / "o")
    key = tls_key()
    signed = one.sign_client(csr_of(key), 1, "ber")
    life = life_of(bundle(key, signed, one.pem))
    assert life.not_before < life.renewed_at < life.not_after
    with pytest.raises(BadCertificate, match="authority"):
        bundle(key, signed, other.pem)
    with pytest.raises(BadCertificate, match="another key"):
        bundle(tls_key(), signed, one.pem)
    for text in ("", "x", signed[:100]):
        with pytest.raises(BadCertificate):
            bundle(key, text, one.pem)


@given(
    st.integers(1, (1 << 63) - 1), st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,20}[A-Za-z0-9])?", fullmatch=True)
)
def test_whose_a_certificate_is_reads_as_it_was_written(serial: int, name: str) -> None:
    assert read_member_uri(member_uri(serial, name)) == (serial, name)


@given(st.text(max_size=60) | st.text(max_size=20).map("lockstitch:member:{}".format))
def test_any_other_uri_is_nobodys(uri: str) -> None:
    found = read_member_uri(uri)
    assert found is None or member_uri(*found) == uri


KEY = tls_key()
CSR = csr_of(KEY)


def _as_certificate(pem: str) -> str:
    return pem.replace("CERTIFICATE REQUEST", "CERTIFICATE")
