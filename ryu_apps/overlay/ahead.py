"""How far a site may lead the generations, by saying that it carries out one that is not known here."""

from __future__ import annotations

from vte_agent.protocol.base import Generation, Serial

MOST_AHEAD = 1 << 40
"""More than a controller gives out in its life: a million an hour for a hundred years are fewer."""


class Ahead:
    """Follows each site as far as a store that was lost can be behind, and no further.

    That much is for all that one says while this controller runs, however often: to use up the 2^63 generations
    there are takes eight million starts.
    """

    def __init__(self) -> None:
        self._led: dict[Serial, int] = {}
        self._refused: dict[Serial, Generation] = {}

    def leads(self, serial: Serial, known: Generation, said: Generation) -> bool:
        """Whether what is known here is to follow a site to what it says; where it is, that is counted."""
        self._refused.pop(serial, None)
        if said <= known:
            return False
        led = self._led.get(serial, 0) + said - known
        if led > MOST_AHEAD:
            self._refused[serial] = said
            return False
        self._led[serial] = led
        return True

    def forget(self, serial: Serial) -> None:
        """The site is no more; how far it has led counts on."""
        self._refused.pop(serial, None)

    @property
    def problems(self) -> tuple[str, ...]:
        """Who said something last that is not followed."""
        refused = sorted(self._refused.items())
        return tuple(f"serial {serial} says it carries out generation {said}" for serial, said in refused)
