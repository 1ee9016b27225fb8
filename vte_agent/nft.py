"""Runs nft, which changes a table in one step or not at all; and asks the kernel whether any table was changed."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import subprocess
from collections.abc import Sequence

from pyroute2.netlink import NETLINK_NETFILTER, NLM_F_REQUEST, NLMSG_ERROR
from pyroute2.netlink.nfnetlink import NFNL_SUBSYS_NFTABLES
from pyroute2.netlink.nfnetlink.nftsocket import NFT_MSG_GETGEN

from vte_agent import programs

_TIMEOUT_S = 10.0
_NOT_THERE = "No such file or directory"

_HEADER = struct.Struct("=IHHIIBBH")
"""A netlink message's length, type, flags, number and port, and what all of nfnetlink begin with (nlmsghdr(3))."""

_ATTRIBUTE = struct.Struct("=HH")
_GEN_ID = 1
_WHICH_GENERATION = _HEADER.pack(
    _HEADER.size, NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETGEN, NLM_F_REQUEST, 0, 0, 0, 0, 0
)
_ANSWER_BYTES = 4096


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


class Generations:
    """Says whether any table was changed, whoever did it, without a process: so it can be asked all the time.

    It is of the network namespace where it is asked first, and for the thread that does. It makes its message by
    hand: a library takes a hundred times as long for it.
    """

    def __init__(self) -> None:
        self._kernel: socket.socket | None = None

    def read(self) -> int:
        """The number of the last change of any table. Raises NftFailed; the next question is by another socket."""
        try:
            if self._kernel is None:
                self._kernel = socket.socket(
                    socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER
                )
                self._kernel.settimeout(_TIMEOUT_S)
            self._kernel.send(_WHICH_GENERATION)
            return _generation(self._kernel.recv(_ANSWER_BYTES))
        except (OSError, struct.error) as error:
            self.close()
            raise NftFailed(
                f"the kernel does not say whether tables were changed: {error}. Does it have nf_tables?"
            ) from error

    def close(self) -> None:
        """Close the socket; a question opens another one."""
        kernel, self._kernel = self._kernel, None
        if kernel is not None:
            # One that broke may be closed already.
            with contextlib.suppress(OSError):
                kernel.close()


def _generation(answer: bytes) -> int:
    """Raises OSError, struct.error."""
    kind = _HEADER.unpack_from(answer)[1]
    if kind == NLMSG_ERROR:
        (status,) = struct.unpack_from("=i", answer, 16)
        raise OSError(-status, os.strerror(-status))
    at = _HEADER.size
    while True:
        length, attribute = _ATTRIBUTE.unpack_from(answer, at)
        if attribute == _GEN_ID:
            return int.from_bytes(answer[at + _ATTRIBUTE.size : at + length], "big")
        at += max(length + 3 & ~3, _ATTRIBUTE.size)
