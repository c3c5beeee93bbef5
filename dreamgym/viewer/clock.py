"""The world steps at its own rate; pictures are drawn as often as there is time."""

from __future__ import annotations

from dreamgym.errors import InvalidArgument

LONGEST = 0.25
"""Seconds; of a longer stall the rest is lost, so that nobody is thrown forward by it."""


class Clock:
    """Says which steps are due.

    Args:
        rate: steps a second.

    Raises:
        InvalidArgument: if the rate is not a positive number.
    """

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self.paused = False
        self.phase = 0.0
        """Share of the present step that has passed, in [0, 1)."""

    @property
    def rate(self) -> float:
        """Steps a second; a change keeps the phase."""
        return self._rate

    @rate.setter
    def rate(self, rate: float) -> None:
        if not 0 < rate < float("inf"):
            raise InvalidArgument(f"the rate is {rate}; expected a positive number of steps a second.")
        self._rate = rate

    def advance(self, seconds: float) -> int:
        """Return how many steps have become due after so many seconds more; none while paused."""
        if self.paused:
            return 0
        due, self.phase = divmod(self.phase + min(max(seconds, 0.0), LONGEST) * self.rate, 1.0)
        return int(due)

    def restart(self) -> None:
        """Begin the present step anew."""
        self.phase = 0.0
