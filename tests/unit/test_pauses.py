"""Each item is handed over when its pause has passed, the shortest first, all by one thread."""

from __future__ import annotations

import queue
import threading
import time

from ryu_apps.installing.pauses import Pauses


def test_items_come_back_in_the_order_in_which_their_pauses_end_and_none_too_early() -> None:
    came: queue.SimpleQueue[tuple[int, float]] = queue.SimpleQueue()
    pauses: Pauses[int] = Pauses(lambda item: came.put((item, time.monotonic())), "pauses-test")
    begun_s = time.monotonic()
    waits_s = {1: 0.2, 2: 0.05, 3: 0.1, 4: 0.0}
    for item, pause_s in waits_s.items():
        pauses.add(item, pause_s)
    heard = [came.get(timeout=10.0) for _ in waits_s]
    assert [item for item, _ in heard] == [4, 2, 3, 1]
    assert all(at_s - begun_s >= waits_s[item] for item, at_s in heard)
    pauses.stop()


def test_a_thousand_wait_on_one_thread() -> None:
    came: queue.SimpleQueue[int] = queue.SimpleQueue()
    pauses = Pauses(came.put, "pauses-many")
    for item in range(1000):
        pauses.add(item, 0.05)
    assert sum(thread.name == "pauses-many" for thread in threading.enumerate()) == 1
    assert sorted(came.get(timeout=10.0) for _ in range(1000)) == list(range(1000))
    pauses.stop()


def test_nothing_is_handed_over_after_the_end() -> None:
    came: queue.SimpleQueue[int] = queue.SimpleQueue()
    pauses = Pauses(came.put, "pauses-end")
    pauses.add(1, 3600.0)
    thread = next(thread for thread in threading.enumerate() if thread.name == "pauses-end")
    pauses.stop()
    thread.join(10.0)
    assert not thread.is_alive()
    pauses.add(2, 0.0)
    assert came.empty()
