"""A node's nftables in memory: tables by name, as they were last loaded, for what is said to `nft`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence

import pytest

from vte_agent import nft
from vte_agent.nft import NftFailed, NoTable
from vte_agent.tables import names_of

_STATEMENT = re.compile(
    r"table inet (?P<gone>\S+) \{ \}\ndelete table inet (?P=gone)\n"
    r"|table inet (?P<sleeps>\S+) \{ flags dormant; \}\n"
    r"|table inet (?P<wakes>\S+) \{ \}\n"
    r"|table inet (?P<made>\S+) \{\n(?P<dormant> flags dormant;\n)?(?P<body>.*?\n|)\}\n",
    re.DOTALL,
)


class FakeNft:
    """refuses: why there is no `nft`; refuses_loading: what it says to any change; "" where it works.

    before: told of each change.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, before: Callable[[str], None] = lambda _: None) -> None:
        self.tables: dict[str, str] = {}
        """Those that judge; a dormant one does not."""
        self.asleep: dict[str, str] = {}
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
        self.asleep.clear()

    def body(self, name: str) -> str | None:
        """What is in force of a table of ours, under whichever of its names."""
        found = [self.tables[one] for one in names_of(name) if one in self.tables]
        assert len(found) < 2, f"both tables {name} are in force"
        return found[0] if found else None

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
        body = self.tables.get(words[-1], self.asleep.get(words[-1]))
        if body is None:
            raise NoTable("nft: Error: No such file or directory")
        if words[0] == "delete":
            assert words[-1] in self.asleep, "it would be deleted while it judges"
            self._before("clear")
            self._generation += 1
            self._forget(words[-1])
            return ""
        if "counters" not in words:
            return body if words[-1] in self.tables else f" flags dormant\n{body}"
        names = re.findall(r"^ counter (\S+) \{ \}$", body, re.MULTILINE)
        found = [{"counter": {"name": name, "packets": self.packets.get(name, 0)}} for name in names]
        return json.dumps({"nftables": [{"metainfo": {}}, *found]})

    def _load(self, text: str) -> None:
        """Tables that go, one that is made, and one that goes to sleep as another wakes."""
        at, what = 0, "clear"
        while at < len(text):
            said = _STATEMENT.match(text, at)
            assert said, f"not what is said to nft here: {text[at:]!r}"
            at = said.end()
            what = {"body": "apply", "wakes": "hand over"}.get(said.lastgroup or "", what)
        self._before(what)
        self._generation += 1
        for said in _STATEMENT.finditer(text):
            gone, made = said["gone"], said["made"]
            if gone is not None:
                self._forget(gone)
            elif made is not None:
                (self.asleep if said["dormant"] else self.tables)[made] = said["body"]
            elif said["wakes"] is not None:
                self.tables[said["wakes"]] = self.asleep.pop(said["wakes"])
            else:
                self.asleep[said["sleeps"]] = self.tables.pop(said["sleeps"], "")

    def _forget(self, gone: str) -> None:
        body = self.tables.pop(gone, None) or self.asleep.pop(gone, "")
        for counter in re.findall(r"^ counter (\S+) \{ \}$", body, re.MULTILINE):
            self.packets.pop(counter, None)
