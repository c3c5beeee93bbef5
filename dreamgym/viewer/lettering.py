"""Text on a surface: one calm font, rendered once, digits of equal width."""

from __future__ import annotations

from collections import OrderedDict

import pygame

from dreamgym.viewer.colours import FAINT, TEXT, Colour

FONTS = ("inter", "segoeui", "helveticaneue", "notosans", "opensans", "ubuntu", "cantarell", "dejavusans", "arial")
KEPT = 512  # rendered texts
DIGITS = "0123456789"


def find_font() -> str | None:
    """Return the file of the first font of `FONTS` that there is; None stands for pygame's own."""
    return next((found for name in FONTS if (found := pygame.font.match_font(name))), None)


class Lettering:
    """Draws text in one size.

    Args:
        size: height of a line in pixels.
        file: of the font; None for pygame's own.
    """

    def __init__(self, size: int, file: str | None) -> None:
        self._font = pygame.font.Font(file, size)
        self._kept: OrderedDict[tuple[str, Colour], pygame.Surface] = OrderedDict()
        self._digit = max(self._font.size(digit)[0] for digit in DIGITS)
        self.ascent = self._font.get_ascent()
        self.height = self._font.get_height()

    def width(self, text: str) -> int:
        """Return how wide a text is."""
        return self._font.size(text)[0]

    def figures_width(self, text: str) -> int:
        """Return how wide a number is if all digits are as wide as the widest."""
        return sum(self._digit if char in DIGITS else self.width(char) for char in text)

    def write(
        self, surface: pygame.Surface, text: str, left: int, baseline: int, colour: Colour = TEXT, right: bool = False
    ) -> int:
        """Draw a text, from its left end or up to its right end, and return the end that is free."""
        drawn = self.render(text, colour)
        left = left - drawn.get_width() if right else left
        surface.blit(drawn, (left, baseline - self.ascent))
        return left if right else left + drawn.get_width()

    def write_figures(
        self, surface: pygame.Surface, text: str, right: int, baseline: int, colour: Colour = TEXT
    ) -> int:
        """Draw a number up to its right end, so that no digit moves when another changes, and return its left end."""
        for char in reversed(text):
            drawn = self.render(char, colour)
            width = self._digit if char in DIGITS else drawn.get_width()
            right -= width
            surface.blit(drawn, (right + (width - drawn.get_width()) // 2, baseline - self.ascent))
        return right

    def shorten(self, text: str, width: int) -> str:
        """Return a text that is no wider, its end replaced by an ellipsis if need be."""
        if self.width(text) <= width:
            return text
        while text and self.width(f"{text.rstrip()}…") > width:
            text = text[:-1]
        return f"{text.rstrip()}…" if text else ""

    def render(self, text: str, colour: Colour = FAINT) -> pygame.Surface:
        """Return a text as a picture; it is kept, so draw nothing on it."""
        key = text, colour
        if key not in self._kept:
            self._kept[key] = self._font.render(text, True, colour)
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]
