"""One OVSDB server: a thread that follows its database and carries out changes."""

from __future__ import annotations

import contextlib
import math
import os
import select
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ryu_apps.ovsdb.changes import Change, carry_out
from ryu_apps.ovsdb.remotes import Certificates
from ryu_apps.ovsdb.view import SCHEMA, View, snapshot


@contextlib.contextmanager
def _without_eventlet() -> Iterator[None]:
    """Let nobody import eventlet, which ovs would do only to see whether it is in use.

    Eventlet makes a main thread of the thread that imports it. Ours could never be joined: the controller would
    not end when it is told to.
    """
    modules: dict[str, Any] = sys.modules
    if "eventlet" in modules:
        yield
        return
    modules["eventlet"] = None
    try:
        yield
    finally:
        del modules["eventlet"]


with _without_eventlet():
    from ovs.db import idl as ovs_idl
    from ovs.poller import Poller
    from ovs.stream import Stream

_LONGEST_WAIT_MS = 1000
_TELL_S = 0.05
"""The shortest time between two views."""

ANSWER_S = 15.0
"""A server that has not answered a change by then is connected to anew: it may go on saying that it is there."""

_TRIES = 5
"""How often a change is tried when others change the same rows at that moment."""

_PROBE_MS = 5000
"""A server that is silent is asked whether it is there; twice that without an answer is a lost connection."""


@dataclass(frozen=True)
class Heard:
    """What a server says now; None while it cannot be reached. error: why a change came to nothing."""

    remote: str
    view: View | None
    error: str = ""


class _Idl(ovs_idl.Idl):  # type: ignore[misc]  # ovs ships no types
    """The library's copy of a database, which also says whether it is one of now."""

    @property
    def is_live(self) -> bool:
        """Whether the server is connected and has sent all there is."""
        return bool(self._session.is_connected()) and self.state == self.IDL_S_MONITORING


class Connection:
    """Follows one server until stopped; `tell` is called from its thread, with everything that is new.

    Reconnecting with back-off (1 to 8 s) is the library's.
    """

    def __init__(self, remote: str, tell: Callable[[Heard], None], ssl: Certificates | None = None) -> None:
        self.remote = remote
        self._tell = tell
        self._waiting: dict[str, Change] = {}
        self._waiting_lock = threading.Lock()
        self._stopping = threading.Event()
        self._wake_lock = threading.Lock()
        self._wake_write: int | None
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        if ssl is not None:
            # Of the whole process: the library has no other place for them.
            Stream.ssl_set_private_key_file(ssl.key)
            Stream.ssl_set_certificate_file(ssl.certificate)
            Stream.ssl_set_ca_cert_file(ssl.authority)
        self._thread = threading.Thread(target=self._run, name=f"ovsdb-{remote}", daemon=True)

    def start(self) -> None:
        """Connect, in the background."""
        self._thread.start()

    def stop(self) -> None:
        """End; what is in the database stays there."""
        self._stopping.set()
        self._wake()
        self._thread.join(5)

    def submit(self, changes: Iterable[Change]) -> None:
        """Carry these out in one transaction, or forget them while the server is away: what is wanted stays so.

        Of those that wait for a server that is slow, the newest of each row counts.
        """
        with self._waiting_lock:
            self._waiting.update((change.row, change) for change in changes)
        self._wake()

    def _wake(self) -> None:
        with self._wake_lock:
            # Closed once the thread has ended: its number may be that of another file by now.
            if self._wake_write is not None:
                with contextlib.suppress(BlockingIOError):  # it has plenty of reasons to wake up
                    os.write(self._wake_write, b".")

    def _run(self) -> None:
        helper = ovs_idl.SchemaHelper(schema_json=SCHEMA)
        helper.register_all()
        idl = _Idl(self.remote, helper, probe_interval=_PROBE_MS)
        try:
            self._follow(idl)
        finally:
            idl.close()
            with self._wake_lock:
                os.close(self._wake_read)
                if self._wake_write is not None:
                    os.close(self._wake_write)
                self._wake_write = None

    def _follow(self, idl: _Idl) -> None:
        seqno, live, told_s = None, False, -math.inf
        while not self._stopping.is_set():
            idl.run()
            was_live, live = live, idl.is_live
            if was_live and not live:
                self._tell(Heard(self.remote, None))
            if not live:
                self._take_waiting()
            elif not was_live or (idl.change_seqno != seqno and time.monotonic() - told_s > _TELL_S):
                # Sessions change rows one by one; reading a thousand bridges for each would be too much.
                seqno, told_s = idl.change_seqno, time.monotonic()
                self._tell(Heard(self.remote, snapshot(idl.tables)))
            if live:
                self._carry_out(idl)
            self._sleep(idl, _LONGEST_WAIT_MS if idl.change_seqno == seqno else int(1e3 * _TELL_S))

    def _take_waiting(self) -> list[Change]:
        with self._waiting_lock:
            taken, self._waiting = list(self._waiting.values()), {}
        return taken

    def _carry_out(self, idl: _Idl) -> None:
        changes = self._take_waiting()
        error = self._commit(idl, changes) if changes else ""
        if error and len(changes) > 1 and idl.is_live:
            # A transaction is all or nothing: one change that is refused must not keep the others out.
            error = next(filter(None, [self._commit(idl, [change]) for change in changes]), "")
        if error:
            self._tell(Heard(self.remote, snapshot(idl.tables) if idl.is_live else None, error))

    def _commit(self, idl: _Idl, changes: Sequence[Change]) -> str:
        """Carry out a few changes at once; returns what the server said against it."""
        give_up_s = time.monotonic() + ANSWER_S
        for _ in range(_TRIES):
            transaction = ovs_idl.Transaction(idl)
            try:
                transaction.add_comment("lockstitch")
                for change in changes:
                    carry_out(change, idl, transaction)
                status = transaction.commit()
                while status == transaction.INCOMPLETE:
                    if not self._await(idl, transaction):
                        return "the connection went while it was changed"
                    if time.monotonic() > give_up_s:
                        idl.force_reconnect()
                        return f"there was no answer to a change for {ANSWER_S:g} s"
                    status = transaction.commit()
            finally:
                transaction.abort()
            if status in (transaction.SUCCESS, transaction.UNCHANGED):
                return ""
            if status != transaction.TRY_AGAIN:
                return str(transaction.get_error())
        return "others change the same rows all the time"

    def _await(self, idl: _Idl, transaction: Any) -> bool:
        """Wait for a step of the transaction; False when there will be none."""
        if self._stopping.is_set() or not idl.is_live:
            return False
        poller = Poller()
        idl.wait(poller)
        transaction.wait(poller)
        poller.timer_wait(min(_LONGEST_WAIT_MS, int(1e3 * ANSWER_S)))
        poller.block()
        idl.run()
        return True

    def _sleep(self, idl: _Idl, most_ms: int) -> None:
        if self._waiting and idl.is_live:
            return
        poller = Poller()
        idl.wait(poller)
        poller.fd_wait(self._wake_read, select.POLLIN)
        poller.timer_wait(most_ms)
        poller.block()
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake_read, 4096)
