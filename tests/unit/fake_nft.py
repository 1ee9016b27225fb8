"""A node's nftables in memory: tables by name, as they were last loaded, for what is said to `nft`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence

import pytest

from vte_agent import nft
from vte_agent.nft import NftFailed, NoTable


class FakeNft:
    """refuses: why there is no `nft`; refuses_loading: what it says to any change; "" where it works.

    before: told of each change.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, before: Callable[[str], None] = lambda _: None) -> None:
        self.tables: dict[str, str] = {}
        self.packets: dict[str, int] = {}
        """By the name of a counter, of whichever table has it."""
        self.refuses = self.refuses_loading = ""
        self.asked: list[str] = []
        """All that a process was started for."""
        self.open: set[nft.Generations] = set()
        """Who has asked for changes and not let go."""
        self._before = before
        self._generation = 1
        monkeypatch.setattr(nft, "nft", self._run)
        monkeypatch.setattr(nft.Generations, "read", lambda asks: self._read(asks))
        monkeypatch.setattr(nft.Generations, "close", lambda asks: self.open.discard(asks))
        monkeypatch.setattr(nft, "missing", lambda: self.refuses)

    def flush(self) -> None:
        """As `nft flush ruleset` does."""
        self.change()
        self.tables.clear()

    def change(self, table: str = "theirs", body: str = "") -> None:
        """Another program loads a table."""
        self.tables[table] = body
        self._generation += 1

    def _read(self, asks: nft.Generations) -> int:
        self.open.add(asks)
        return self._generation

    def _run(self, words: Sequence[str], text: str = "") -> str:
        self.asked.append(" ".join(words))
        if why := self.refuses or (text and self.refuses_loading):
            raise NftFailed(why)
        if text:
            self._load(text)
            return ""
        if words[-1] not in self.tables:
            raise NoTable("nft: Error: No such file or directory")
        body = self.tables[words[-1]]
        if "counters" not in words:
            return body
        names = re.findall(r"^ counter (\S+) \{ \}$", body, re.MULTILINE)
        found = [{"counter": {"name": name, "packets": self.packets.get(name, 0)}} for name in names]
        return json.dumps({"nftables": [{"metainfo": {}}, *found]})

    def _load(self, text: str) -> None:
        loaded = re.fullmatch(
            r"table inet (\S+) \{ \}\ndelete table inet \1\n(?:table inet \1 \{\n(.*)\}\n)?", text, re.DOTALL
        )
        assert loaded, f"not one replacement of one table: {text!r}"
        name, body = loaded.groups()
        self._before("apply" if body is not None else "clear")
        self._generation += 1
        for counter in re.findall(r"^ counter (\S+) \{ \}$", self.tables.pop(name, ""), re.MULTILINE):
            self.packets.pop(counter, None)
        if body is not None:
            self.tables[name] = body
