"""Keys of devices on the node's disk: for its user alone, there the next time, and never shown."""

from __future__ import annotations

import errno
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vte_agent.tunnels import own_keys
from vte_agent.tunnels.own_keys import DIRECTORY, OwnKey, OwnKeys
from vte_agent.tunnels.wireguard_state import new_private_key

ONE, OTHER = OwnKey(new_private_key(), 51820), OwnKey(new_private_key())


def test_they_are_there_the_next_time_and_for_nobody_else(tmp_path: Path) -> None:
    directory = tmp_path / DIRECTORY
    keys = OwnKeys(directory)
    keys.keep("lsone", ONE)
    keys.keep("lsother", OTHER)
    again = OwnKeys(directory)
    assert again.of("lsone") == ONE and again.of("lsother") == OTHER and again.of("lsnone") is None
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()} == {0o600}
    again.keep_only({"lsother", "lsnone"})
    assert again.of("lsone") is None and OwnKeys(directory).of("lsone") is None
    assert OwnKeys(directory).of("lsother") == OTHER


def test_without_a_directory_they_are_known_to_this_run_alone(tmp_path: Path) -> None:
    keys = OwnKeys(None)
    keys.keep("lsone", ONE)
    assert keys.of("lsone") == ONE and OwnKeys(None).of("lsone") is None
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_told_and_the_key_is_had_by_this_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    keys = OwnKeys(tmp_path / DIRECTORY)
    monkeypatch.setattr(own_keys, "write_file", full)
    keys.keep("lsone", ONE)
    assert keys.of("lsone") == ONE and "No space left on device" in caplog.text


@given(st.binary(max_size=80))
def test_a_file_that_is_damaged_is_no_key_and_is_gone(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    directory = tmp_path_factory.mktemp("keys")
    (directory / "lsone").write_bytes(content)
    OwnKeys(directory).keep("lsother", OTHER)
    assert OwnKeys(directory).of("lsone") is None and not (directory / "lsone").exists()
    assert OwnKeys(directory).of("lsother") == OTHER


def test_none_is_ever_shown(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    keys = OwnKeys(tmp_path)
    keys.keep("lsone", ONE)
    text = (tmp_path / "lsone").read_text()
    (tmp_path / "lsone").write_text(text[:-6])
    OwnKeys(tmp_path)
    word = text.split()[1][:20]
    assert "key_lost" in caplog.text and word not in caplog.text and repr(ONE.private_key) not in repr(ONE)
