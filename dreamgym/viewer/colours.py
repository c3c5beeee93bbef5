"""The colours of the viewer, one for each meaning; they continue those of the videos."""

from __future__ import annotations

from dreamgym.evaluation.side_by_side import ACCENTS, BACKGROUND, FAINT, TEXT

Colour = tuple[int, int, int]

REAL, DREAM = ACCENTS
PANEL = (24, 27, 34)
LINE = (48, 53, 64)
"""Tracks, edges, and the zero of a strip."""
RECORDING = (236, 106, 98)
POSITIVE, NEGATIVE = (104, 190, 176), (178, 126, 196)
"""Of a latent number."""

__all__ = ["BACKGROUND", "DREAM", "FAINT", "LINE", "NEGATIVE", "PANEL", "POSITIVE", "REAL", "RECORDING", "TEXT"]


def side_colour(kind: str) -> Colour:
    """Return the colour of reality, or of dreams: a future is one."""
    return REAL if kind == "real" else DREAM


def mix(one: Colour, other: Colour, share: float) -> Colour:
    """Return a colour between two, `share` of the way to the other.

    >>> mix((0, 0, 0), (100, 200, 40), 0.5)
    (50, 100, 20)
    """
    red, green, blue = (round(a + share * (b - a)) for a, b in zip(one, other, strict=True))
    return red, green, blue
