"""What the panel is made of."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pygame

from dreamgym.viewer.colours import FAINT, LINE, PANEL, TEXT, Colour, mix
from dreamgym.viewer.layout import Rect
from dreamgym.viewer.lettering import Lettering, find_font
from dreamgym.viewer.shapes import curve, disc, heat_map, rounded

BODY, SMALL, LARGE = 14, 12, 22  # pixels of type at 100 %
SNAP = 0.025  # of a slider's width


class Look:
    """Type and measures at one scale.

    Args:
        scale: 1 is 100 %.
    """

    def __init__(self, scale: float) -> None:
        pygame.font.init()
        file = find_font()
        self.scale = scale
        self.body, self.small, self.large = (Lettering(round(size * scale), file) for size in (BODY, SMALL, LARGE))

    def px(self, length: float) -> int:
        """Return pixels of a length at 100 %, at least 1."""
        return max(1, round(length * self.scale))


@dataclass(frozen=True)
class Range:
    """What a slider chooses from."""

    low: float
    high: float
    usual: float
    """Is marked, and the knob snaps to it."""
    step: float
    """Values are whole multiples of it, apart from the usual one and the ends."""
    even: bool = True
    """Equal distances are equal differences; otherwise they are equal ratios."""

    def share(self, value: float) -> float:
        """Return where a value lies, from 0 to 1."""
        low, high, value = self.low, self.high, min(max(value, self.low), self.high)
        if self.even:
            return (value - low) / (high - low)
        return math.log(value / low) / math.log(high / low)

    def value(self, share: float) -> float:
        """Return the value at a place from 0 to 1."""
        share = min(max(share, 0.0), 1.0)
        if abs(share - self.share(self.usual)) < SNAP:
            return self.usual
        exact = self.low + share * (self.high - self.low) if self.even else self.low * (self.high / self.low) ** share
        return self._on_step(exact)

    def beside(self, value: float, steps: int) -> float:
        """Return a value so many key presses further; none jumps over the usual one."""
        moved = value + steps * self.step if self.even else value * 1.1**steps
        if not self.even and abs(moved - value) < self.step:
            moved = value + math.copysign(self.step, steps)
        if (value < self.usual < moved) or (moved < self.usual < value):
            return self.usual
        return self._on_step(moved)

    def _on_step(self, value: float) -> float:
        return round(min(max(round(value / self.step) * self.step, self.low), self.high), 6)


def draw_slider(
    surface: pygame.Surface, look: Look, rect: Rect, label: str, figure: str, share: float, usual: float, alive: bool
) -> None:
    """Draw a labelled slider.

    Args:
        surface: to draw on.
        look: type and measures.
        rect: the slider's place.
        label: what it is.
        figure: its value.
        share: where the knob is, from 0 to 1.
        usual: where the mark is.
        alive: whether moving it has an effect now.
    """
    colour = TEXT if alive else mix(PANEL, FAINT, 0.5)
    draw_label(surface, look, rect, label, figure, colour)
    track = track_of(rect, look)
    middle, radius = track.top + track.height // 2, look.px(6)
    left, knob = track.left + radius, track.left + radius + round(share * (track.width - 2 * radius))
    thick = look.px(3)
    rounded(surface, Rect(track.left, middle - thick // 2, track.width, thick), thick // 2, LINE)
    x = left + round(usual * (track.width - 2 * radius))
    surface.fill(mix(LINE, FAINT, 0.5), (x - look.px(1) // 2, middle - look.px(5), look.px(1), 2 * look.px(5) + 1))
    if alive:
        rounded(surface, Rect(track.left, middle - thick // 2, knob - track.left, thick), thick // 2, FAINT)
    disc(surface, (knob, middle), radius, colour if alive else LINE)


def track_of(rect: Rect, look: Look) -> Rect:
    """Return where a slider can be dragged."""
    tall = min(look.px(16), rect.height)
    return Rect(rect.left, rect.bottom - tall, rect.width, tall)


def share_at(rect: Rect, look: Look, x: int) -> float:
    """Return the place of a slider's knob, from 0 to 1, under the mouse."""
    radius = look.px(6)
    return min(max((x - rect.left - radius) / max(1, rect.width - 2 * radius), 0.0), 1.0)


def draw_label(surface: pygame.Surface, look: Look, rect: Rect, label: str, figure: str, colour: Colour = TEXT) -> None:
    """Draw a label and, flush right, its figure on the first baseline of a rectangle."""
    baseline = rect.top + look.body.ascent
    end = look.body.write_figures(surface, figure, rect.right, baseline, colour)
    look.body.write(surface, look.body.shorten(label, end - rect.left - look.px(6)), rect.left, baseline, FAINT)


def draw_chip(surface: pygame.Surface, look: Look, rect: Rect, text: str, lit: bool, dot: Colour | None = None) -> None:
    """Draw a switch, filled when it is on, with a dot if one is given."""
    rounded(surface, rect, look.px(5), LINE if lit else PANEL, LINE)
    radius, gap = (look.px(4), look.px(5)) if dot else (0, 0)
    text = look.small.shorten(text, rect.width - look.px(8) - 2 * radius - gap)
    wide = 2 * radius + gap + look.small.figures_width(text)
    left = rect.left + (rect.width - wide) // 2
    baseline = rect.top + (rect.height - look.small.height) // 2 + look.small.ascent
    if dot:
        disc(surface, (left + radius, rect.top + rect.height // 2), radius, dot)
    look.small.write_figures(surface, text, left + wide, baseline, TEXT if lit else FAINT)


class Strip:
    """The last values of something as a curve below its label; drawn anew only when they change."""

    def __init__(self) -> None:
        self._drawn: tuple[object, pygame.Surface] | None = None

    def draw(
        self, surface: pygame.Surface, look: Look, rect: Rect, label: str, figure: str,
        values: np.ndarray, bounds: tuple[float, float] | None, colour: Colour, steps: int,
    ) -> None:  # fmt: skip
        """Draw it.

        Args:
            surface: to draw on.
            look: type and measures.
            rect: its place.
            label: what it is.
            figure: the last value.
            values: `[n]`, the newest last.
            bounds: at the bottom and at the top; None for those of the values, with zero among them.
            colour: of the curve.
            steps: values that there is room for.
        """
        draw_label(surface, look, rect, label, figure)
        top = rect.top + look.body.height + look.px(3)
        size = rect.width, max(2, rect.bottom - top)
        key = size, colour, values.tobytes()
        if self._drawn is None or self._drawn[0] != key:
            finite = np.nan_to_num(values.astype(float))
            low, high = bounds or (float(finite.min(initial=0.0)), float(finite.max(initial=0.0)))
            self._drawn = key, curve(finite, size, low, high, colour, 1.4 * look.scale, steps)
        surface.blit(self._drawn[1], (rect.left, top))


class HeatMap:
    """A latent state as small fields; drawn anew only when it changes."""

    def __init__(self) -> None:
        self._drawn: tuple[object, pygame.Surface] | None = None

    def draw(self, surface: pygame.Surface, look: Look, rect: Rect, label: str, values: np.ndarray) -> None:
        """Draw it below its label, with how many numbers it has."""
        draw_label(surface, look, rect, label, str(len(values)), FAINT)
        top = rect.top + round(1.2 * look.body.height)
        size = rect.width, max(2, rect.bottom - top)
        key = size, values.tobytes()
        if self._drawn is None or self._drawn[0] != key:
            self._drawn = key, heat_map(values, size)
        surface.blit(self._drawn[1], (rect.left, top))
