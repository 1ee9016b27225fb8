"""The token file: made once, for its owner alone."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ryu_apps.rest.token import TokenError, load_or_make_token, read_token


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_first_start_makes_it_and_the_second_finds_it(tmp_path: Path) -> None:
    directory = tmp_path / "deep" / "state"
    token = load_or_make_token(directory)
    assert len(token) >= 43
    assert (mode(directory), mode(directory / "token")) == (0o700, 0o600)
    assert load_or_make_token(directory) == token == read_token(directory)
    assert [path.name for path in directory.iterdir()] == ["token"]


def test_it_is_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        load_or_make_token(tmp_path / "state")
    finally:
        os.umask(before)
    assert (mode(tmp_path / "state"), mode(tmp_path / "state" / "token")) == (0o700, 0o600)


def test_two_controllers_have_two_tokens(tmp_path: Path) -> None:
    assert load_or_make_token(tmp_path / "a") != load_or_make_token(tmp_path / "b")


def test_starting_at_the_same_moment_gives_one_token(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        tokens = set(pool.map(load_or_make_token, [tmp_path] * 32))
    assert len(tokens) == 1


@pytest.mark.parametrize("loose", [0o640, 0o604, 0o660, 0o620])
def test_one_that_others_can_reach_is_refused_with_the_remedy(tmp_path: Path, loose: int) -> None:
    load_or_make_token(tmp_path)
    (tmp_path / "token").chmod(loose)
    with pytest.raises(TokenError, match=f"chmod 600 {tmp_path}/token"):
        load_or_make_token(tmp_path)


@pytest.mark.parametrize("content", [b"", b"\n", b"short", b"with a space in the middle", b"\xff" * 40])
def test_a_file_that_holds_no_token_is_refused_with_the_remedy(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "token"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(TokenError, match="holds no token; remove it"):
        load_or_make_token(tmp_path)
    assert path.read_bytes() == content


def test_what_cannot_be_used_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(TokenError, match="choose another directory with --state"):
        load_or_make_token(tmp_path / "file")
    with pytest.raises(TokenError, match=r"no token in .*; start a controller"):
        read_token(tmp_path)
    (tmp_path / "token").mkdir()
    with pytest.raises(TokenError, match="cannot read"):
        read_token(tmp_path)
