"""The keys, on a board over the dimmed window."""

from __future__ import annotations

from dataclasses import dataclass

import pygame

from dreamgym.viewer.bindings import help_groups
from dreamgym.viewer.colours import BACKGROUND, FAINT, LINE, PANEL, TEXT, Colour
from dreamgym.viewer.keys import KeyMap
from dreamgym.viewer.layout import Rect
from dreamgym.viewer.lettering import Lettering
from dreamgym.viewer.shapes import rounded
from dreamgym.viewer.widgets import Look

VEIL = 150  # of 255


class Help:
    """Draws the keys; the board is kept until the window or the keys change."""

    def __init__(self) -> None:
        self._drawn: tuple[object, pygame.Surface] | None = None

    def draw(self, surface: pygame.Surface, look: Look, keymap: KeyMap | None) -> None:
        """Draw it in the middle."""
        key = surface.get_size(), look.scale, keymap
        if self._drawn is None or self._drawn[0] != key:
            self._drawn = key, board(surface.get_size(), look, keymap)
        surface.blit(self._drawn[1], (0, 0))


def board(size: tuple[int, int], look: Look, keymap: KeyMap | None) -> pygame.Surface:
    """Return a veil over everything with the board on it."""
    veil = pygame.Surface(size, pygame.SRCALPHA)
    veil.fill((*BACKGROUND, VEIL))
    groups = help_groups(keymap)
    columns = [groups[:2] + groups[4:], groups[2:4]]
    roomy = size[0] >= look.px(720) and size[1] >= look.px(560)
    pen = Pen(look.body, look.px(26), look.px(5)) if roomy else Pen(look.small, look.px(17), look.px(3))
    pad, gap = (look.px(28), look.px(16)) if roomy else (look.px(12), look.px(8))
    keys = [max(pen.keys_width(key) for _, rows in column for key, _ in rows) for column in columns]
    texts = [max(pen.type.width(text) for _, rows in column for _, text in rows) for column in columns]
    wide = [key + gap + text for key, text in zip(keys, texts, strict=True)]
    tall = max(sum((len(rows) + 1) * pen.line + pen.line // 2 for _, rows in column) for column in columns)
    width, height = min(sum(wide) + 2 * pad + 2 * gap, size[0]), min(tall - pen.line // 2 + 2 * pad, size[1])
    box = Rect((size[0] - width) // 2, (size[1] - height) // 2, width, height)
    rounded(veil, box, look.px(8), PANEL, LINE)
    left = box.left + pad
    for column, key_width, column_width in zip(columns, keys, wide, strict=True):
        top = box.top + pad
        for heading, rows in column:
            pen.write(veil, heading, left, top, FAINT)
            for i, (key, text) in enumerate(rows, 1):
                pen.write_keys(veil, key, left, top + i * pen.line)
                pen.write(veil, text, left + key_width + gap, top + i * pen.line, FAINT)
            top += (len(rows) + 1) * pen.line + pen.line // 2
        left += column_width + 2 * gap
    return veil


@dataclass(frozen=True)
class Pen:
    """Writes words, and keys as they look on a keyboard."""

    type: Lettering
    line: int
    """Pixels from one baseline to the next."""
    inset: int
    """Pixels between a key's edge and its name."""

    def write(self, surface: pygame.Surface, text: str, left: int, top: int, colour: Colour) -> int:
        """Write into a line and return where the text ends."""
        baseline = top + (self.line - self.type.height) // 2 + self.type.ascent
        return self.type.write(surface, text, left, baseline, colour)

    def write_keys(self, surface: pygame.Surface, keys: str, left: int, top: int) -> None:
        """Draw each word but "or" as a key."""
        for word in keys.split():
            if word != "or":
                tall = min(self.line - 2, self.type.height + 2)
                cap = Rect(left, top + (self.line - tall) // 2, self._cap_width(word), tall)
                rounded(surface, cap, self.inset, LINE)
                self.write(surface, word, left + (cap.width - self.type.width(word)) // 2, top, TEXT)
                left = cap.right
            else:
                left = self.write(surface, word, left, top, FAINT)
            left += self.inset

    def keys_width(self, keys: str) -> int:
        """Return how wide `write_keys` draws."""
        words = keys.split()
        return sum(self.type.width(word) if word == "or" else self._cap_width(word) for word in words) + (
            self.inset * max(0, len(words) - 1)
        )

    def _cap_width(self, word: str) -> int:
        return max(self.type.width(word) + 2 * self.inset, self.type.height)
