"""What follows when the same thing fails again and again: it is tried ever more rarely, and logged once."""

from __future__ import annotations

MOST_REST = 60
"""Steps from a failure to the next try at the most: what went wrong may be over any minute."""


class Setbacks:
    """Counts failures in a row. The first is made good at once, the next after 1 step, then 2, 4 to MOST_REST."""

    def __init__(self) -> None:
        self.in_a_row = 0
        self._rest = 0
        self._why = ""

    def add(self, why: str) -> bool:
        """Count one more; answers whether it is news: the first, the second, or of another kind than the last."""
        self.in_a_row += 1
        self._rest = 0 if self.in_a_row == 1 else min(2 ** (self.in_a_row - 2), MOST_REST)
        is_news = self.in_a_row <= 2 or why != self._why
        self._why = why
        return is_news

    def over(self) -> int:
        """It went well; answers how often in a row it had not."""
        before, self.in_a_row, self._rest = self.in_a_row, 0, 0
        return before

    def still_rests(self) -> bool:
        """A step is over; answers whether the next try waits for another one."""
        self._rest = max(0, self._rest - 1)
        return self._rest > 0
