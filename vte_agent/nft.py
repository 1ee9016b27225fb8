"""Runs nft, which changes a table in one step or not at all; and asks the kernel whether any table was changed."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
from collections.abc import Sequence

from vte_agent import programs

_TIMEOUT_S = 10.0
_NOT_THERE = "No such file or directory"
_ASK_TIMEOUT_S = 1.0
_NETFILTER = 12
_HEADER = struct.Struct("=IHHII")
_FAMILY = struct.Struct("=BBH")
_ATTRIBUTE = struct.Struct("=HH")
_REQUEST = 1
_GET_GENERATION, _GENERATION = 10 << 8 | 16, 10 << 8 | 15
_ID = 1
"""Of linux/netlink.h, nfnetlink.h and nf_tables.h: NLM_F_REQUEST, NFT_MSG_GETGEN, NFT_MSG_NEWGEN, NFTA_GEN_ID."""


class NftFailed(RuntimeError):
    """What was to be done was not done; the message says why and what to do."""


class NoTable(NftFailed):
    """There is no such table."""


def missing() -> str:
    """Why there is no nft, and the remedy; "" where there is one."""
    return "" if programs.find("nft") else "nft is not installed: run 'apt-get install nftables'"


def nft(words: Sequence[str], text: str = "") -> str:
    """Run it with these words and this on its standard input; gives what it writes. Raises NftFailed, NoTable."""
    program = programs.find("nft")
    if program is None:
        raise NftFailed(missing())
    try:
        done = subprocess.run(
            [program, *words],
            input=text,
            capture_output=True,
            text=True,
            errors="replace",
            env={**os.environ, "LC_ALL": "C"},
            timeout=_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NftFailed(f"nft could not be run: {error}") from error
    if done.returncode:
        said = " ".join(done.stderr.split())[:200] or f"status {done.returncode}"
        kind = NoTable if _NOT_THERE in said and not text else NftFailed
        raise kind(f"nft: {said}. Does the kernel have nf_tables, and this process CAP_NET_ADMIN?")
    return done.stdout


def generation() -> int:
    """The number of the last change of any table, whoever made it. Raises NftFailed.

    Of the network namespace that the caller is in. It costs no process, and so can be asked all the time.
    """
    size = _HEADER.size + _FAMILY.size
    ask = _HEADER.pack(size, _GET_GENERATION, _REQUEST, 1, 0) + _FAMILY.pack(socket.AF_UNSPEC, 0, 0)
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETFILTER) as kernel:
            kernel.settimeout(_ASK_TIMEOUT_S)
            kernel.sendto(ask, (0, 0))
            answer = kernel.recv(4096)
    except OSError as error:
        raise NftFailed(f"the kernel does not say whether tables were changed: {error}") from error
    return parsed_generation(answer)


def parsed_generation(answer: bytes) -> int:
    """The number in what the kernel answers. Raises NftFailed."""
    offset = _HEADER.size + _FAMILY.size
    if len(answer) >= offset and _HEADER.unpack_from(answer)[1] == _GENERATION:
        while offset + _ATTRIBUTE.size <= len(answer):
            length, kind = _ATTRIBUTE.unpack_from(answer, offset)
            if kind == _ID and length == _ATTRIBUTE.size + 4 and offset + length <= len(answer):
                return int.from_bytes(answer[offset + _ATTRIBUTE.size : offset + length], "big")
            offset += max(length, _ATTRIBUTE.size) + 3 & ~3
    raise NftFailed("the kernel does not say whether tables were changed. Does it have nf_tables?")
