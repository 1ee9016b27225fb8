"""Tokens, the audit and answers in the store, beside what older versions have written."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from ryu_apps.store import AccessStore, StateStore, StoreError
from ryu_apps.store.access import AnswerRecord, AuditEnd, AuditQuery, AuditRecord, Batch, TokenRecord
from stitching.vnet import Member, VNet

SCHEMA_1 = Path(__file__).parent / "data" / "schema_1.sql"
TOKEN = TokenRecord("0a0b0c0d", "one", "viewer", ("red",), "ff" * 32, 100.0, None)


def record(number: int, *, denied: bool = False) -> AuditRecord:
    return AuditRecord(number, 100.0 + number, "one", "0a", "admin", "PUT", "/v1/x", "/v1/x", "id", denied)


@pytest.fixture
def old(tmp_path: Path) -> str:
    """The URL of a file that schema 1 was written to."""
    file = tmp_path / "lockstitch.db"
    connection = sqlite3.connect(file)
    connection.executescript(SCHEMA_1.read_text())
    connection.close()
    return f"sqlite:///{file}"


def test_a_file_of_schema_1_keeps_what_it_has_and_takes_tokens(old: str) -> None:
    for _ in range(2):
        opened = StateStore(old)
        assert opened.vnets() == (VNet("red", (Member("02:00:00:00:00:0a", "h1"),), ("10.0.0.0/24",)),)
        assert opened.capacities() == {(1, 2): 10.0}
        assert [stitch.id for stitch in opened.stitches()] == [1]
        access = AccessStore(opened.database)
        if not access.tokens():
            access.save_token(TOKEN)
        assert access.tokens() == ((TOKEN, None),)
        opened.close()
    opened = StateStore(old)
    assert opened.next_stitch_ids(1)[0] == 2
    opened.close()


def test_a_file_of_schema_1_that_lacks_a_table_of_schema_1_is_refused(old: str) -> None:
    connection = sqlite3.connect(old.removeprefix("sqlite:///"))
    connection.execute("DROP TABLE vnets")
    connection.close()
    with pytest.raises(StoreError, match="the table 'vnets' is missing"):
        StateStore(old)


def test_a_file_of_now_that_lacks_its_audit_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "lockstitch.db"
    StateStore(f"sqlite:///{file}").close()
    connection = sqlite3.connect(file)
    connection.execute("DROP TABLE audit")
    connection.close()
    with pytest.raises(StoreError, match="the table 'audit' is missing"):
        StateStore(f"sqlite:///{file}")


def test_a_batch_is_written_as_a_whole_or_not_at_all() -> None:
    store = AccessStore.in_memory()
    store.write(Batch(begun=[record(1)]))
    answer = AnswerRecord("0a", "key", "asked", 100.0)
    with pytest.raises(StoreError, match="cannot write the audit log"):
        store.write(Batch(begun=[record(2), record(1)], answers=[answer]))
    assert [one.id for one in store.audit(AuditQuery(), below_id=None, limit=9)] == [1]
    assert store.answer("0a", "key") is None


def test_a_change_ends_and_an_answer_takes_the_place_of_what_was_under_way() -> None:
    store = AccessStore.in_memory()
    store.write(Batch(begun=[record(1)], answers=[AnswerRecord("0a", "key", "asked", 100.0)]))
    settled = AnswerRecord("0a", "key", "asked", 100.0, 201, "[]", b"{}")
    store.write(Batch(ended=[AuditEnd(1, 201, False, "/v1/x/1", None, "{}")], answers=[settled]))
    (one,) = store.audit(AuditQuery(), below_id=None, limit=9)
    assert (one.status, one.resource, one.after) == (201, "/v1/x/1", "{}")
    assert store.answer("0a", "key") == settled
    assert [(found.status, size) for found, size in store.answer_index()] == [(201, 2)]


def test_a_token_that_is_gone_takes_its_answers_with_it() -> None:
    store = AccessStore.in_memory()
    store.save_token(TOKEN)
    store.write(Batch(answers=[AnswerRecord(TOKEN.id, "key", "asked", 100.0)], used_s={TOKEN.id: 123.0}))
    assert store.tokens() == ((TOKEN, 123.0),)
    store.delete_token(TOKEN.id)
    assert (store.tokens(), list(store.answer_index())) == ((), [])
