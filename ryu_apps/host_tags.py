"""Behind which VLAN tags hosts speak: those of one tag do not hear those of another, in any network."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

_MOST_HOSTS = 4096
_MOST_TAGS = 16
_SAY_AGAIN_S = 60.0

Vid = int | None
"""A VLAN id, None for frames without a tag."""


class HostTags:
    """The tags that hosts were heard behind, by MAC. Bounded: who was heard longest ago is forgotten."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._tags: OrderedDict[str, OrderedDict[Vid, None]] = OrderedDict()
        self._said_s: OrderedDict[tuple[str, str], float] = OrderedDict()

    def heard(self, mac: str, vid: Vid) -> None:
        """A host has sent behind this tag."""
        tags = self._tags.setdefault(mac, OrderedDict())
        tags[vid] = None
        tags.move_to_end(vid)
        self._tags.move_to_end(mac)
        if len(tags) > _MOST_TAGS:
            tags.popitem(last=False)
        if len(self._tags) > _MOST_HOSTS:
            self._tags.popitem(last=False)

    def of(self, mac: str) -> tuple[Vid, ...]:
        """The tags a host was heard behind; none where it was not heard."""
        return tuple(self._tags.get(mac, ()))

    def apart(self, vid: Vid, mac: str) -> bool:
        """Whether a host is known to be behind other tags alone."""
        tags = self._tags.get(mac)
        return tags is not None and vid not in tags

    def is_news(self, asker: str, asked: str) -> bool:
        """Whether it has not been said for a while that these two are behind different tags."""
        now_s = self._clock()
        if now_s - self._said_s.get((asker, asked), float("-inf")) < _SAY_AGAIN_S:
            return False
        self._said_s[asker, asked] = now_s
        self._said_s.move_to_end((asker, asked))
        if len(self._said_s) > _MOST_HOSTS:
            self._said_s.popitem(last=False)
        return True
