"""The token book against a model of it: whatever is made, revoked, outlived and restarted, the right ones open."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from ryu_apps.rest.access.roles import Principal, Role
from ryu_apps.rest.access.tokens import BOOTSTRAP, TokenBook
from ryu_apps.store import AccessStore

SECRET = "of-the-state-directory"  # noqa: S105  # it opens nothing

scopes = st.none() | st.sets(st.sampled_from(["red", "blue", "green"]), min_size=1)


class Tokens(RuleBasedStateMachine):
    """Holds what each token should open, by the token itself."""

    @initialize()
    def start(self) -> None:
        self.now_s = 1000.0
        self.store = AccessStore.in_memory()
        self.good: dict[str, tuple[Principal, float | None]] = {}
        self.gone: set[str] = set()
        self.book = TokenBook(self.store, SECRET, lambda: self.now_s)

    @rule(
        name=st.text(min_size=1, max_size=5),
        role=st.sampled_from(Role),
        scope=scopes,
        lives_s=st.none() | st.integers(1, 50),
        most=st.none() | st.integers(0, 7),
    )
    def create(self, name: str, role: Role, scope: set[str] | None, lives_s: int | None, most: int | None) -> None:
        expires_s = None if lives_s is None else self.now_s + lives_s
        token, info = self.book.create(name, role, scope, expires_s, most)
        frozen = frozenset(scope) if scope is not None else None
        granted = 7 if role is Role.ADMIN else 3 if most is None else most
        assert token not in self.good and token not in self.gone
        assert info.principal == Principal(token.partition(".")[0], name, role, frozen, granted)
        self.good[token] = info.principal, expires_s

    @rule(data=st.data())
    def revoke(self, data: st.DataObject) -> None:
        if not self.good:
            return
        token = data.draw(st.sampled_from(sorted(self.good)))
        token_id = token.partition(".")[0]
        assert self.book.revoke(token_id) is not None
        assert self.book.revoke(token_id) is None
        self.gone.add(token)
        del self.good[token]

    @rule(seconds=st.integers(1, 30))
    def wait(self, seconds: int) -> None:
        self.now_s += seconds

    @rule()
    def restart(self) -> None:
        self.book = TokenBook(self.store, SECRET, lambda: self.now_s)

    @rule(data=st.data())
    def guess(self, data: st.DataObject) -> None:
        token = data.draw(st.sampled_from(sorted(self.good) or ["00000000.x"]))
        place = data.draw(st.integers(0, len(token) - 1))
        wrong = token[:place] + data.draw(st.characters(codec="latin-1")) + token[place + 1 :]
        if wrong not in self.good:
            assert self.book.principal(wrong.encode("latin-1")) is None

    @rule(offered=st.binary(max_size=60))
    def offer(self, offered: bytes) -> None:
        if offered != SECRET.encode():
            assert self.book.principal(offered) is None

    @invariant()
    def only_the_right_ones_open(self) -> None:
        for token, (principal, expires_s) in self.good.items():
            lives = expires_s is None or self.now_s < expires_s
            assert self.book.principal(token.encode()) == (principal if lives else None)
            assert self.book.holds(principal.token_id) is lives
        for token in self.gone:
            assert self.book.principal(token.encode()) is None
            assert not self.book.holds(token.partition(".")[0])
        admin = self.book.principal(SECRET.encode())
        assert admin == Principal(BOOTSTRAP, BOOTSTRAP, Role.ADMIN, max_priority=7) and self.book.holds(BOOTSTRAP)
        assert {info.record.id for info in self.book.all()} == {token.partition(".")[0] for token in self.good}


TestTokens = Tokens.TestCase
TestTokens.settings = settings(max_examples=30, stateful_step_count=25, deadline=None)
