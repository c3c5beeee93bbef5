"""A policy in a grid of dreams: every row another temperature, every column another future of the same moment."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pygame
import torch

from dreamgym.envs.open import open_dream
from dreamgym.envs.painters import make_painter
from dreamgym.envs.vector_env import render_fps
from dreamgym.errors import InvalidArgument
from dreamgym.evaluation.policies import PolicyLike, make_policy
from dreamgym.evaluation.video import Video
from dreamgym.hub import LoadedDream
from dreamgym.viewer.colours import BACKGROUND, DREAM, FAINT, TEXT
from dreamgym.viewer.layout import magnify
from dreamgym.viewer.lettering import Lettering, find_font
from dreamgym.viewer.recorder import frame_of
from dreamgym.viewer.screen import open_window
from dreamgym.viewer.worlds import DreamWorld

TEMPERATURES = (0.1, 0.6, 1.0, 1.5)
CELL, GAP, LABEL = 176, 12, 64  # pixels
FPS = 25.0  # pictures a second, about


class Row:
    """Some futures of one moment at one temperature, in each of which the policy acts by what it sees there.

    Args:
        start: the moment; it stays as it is.
        lanes: how many futures.
        temperature: of these dreams.
        seed: of the futures: the same in every row, so that only the temperature differs.
    """

    def __init__(self, start: DreamWorld, lanes: int, temperature: float, seed: int) -> None:
        self.world = start.fork(lanes, seed)
        self.world.temperature = temperature
        self.earned = np.zeros(lanes)
        self.over = np.zeros(lanes, bool)

    def step(self, actions: np.ndarray) -> None:
        """Go on by one step."""
        for i, moment in enumerate(self.world.step_each(actions)):
            if not self.over[i]:
                self.earned[i] += moment.reward
                self.over[i] = moment.terminated or moment.truncated


def watch(
    model: str | LoadedDream,
    *,
    variant: str | None = None,
    policy: PolicyLike = "shipped",
    temperatures: Sequence[float] = TEMPERATURES,
    lanes: int = 4,
    seed: int = 0,
    steps: int = 250,
    video: str | Path | None = None,
) -> list[list[float]]:
    """Show a policy in a grid of dreams, in a window or as a video, and return what it earned, row by row.

    Args:
        model: a registered dream's id, a folder, or a `LoadedDream`.
        variant: of a registered dream.
        policy: as for `evaluate`.
        temperatures: one for each row.
        lanes: futures in a row.
        seed: of the moment in which all dreams begin, and of their futures.
        steps: at most; fewer if all dreams have ended, or the window is closed.
        video: a file to write instead of opening a window.

    Raises:
        InvalidArgument: if there is nothing to show.
        NoDisplay: if no window can open.
        NotWritable: if the video cannot be written.
    """
    if not temperatures or lanes < 1 or steps < 1:
        raise InvalidArgument(
            f"temperatures are {tuple(temperatures)}, lanes {lanes}, steps {steps}; expected at least one of each."
        )
    dream = open_dream(model, variant, (), "cpu")
    start = DreamWorld(dream)
    start.reset(seed)
    rows = [Row(start, lanes, temperature, seed) for temperature in temperatures]
    rate = render_fps(dream)
    between = max(1, round(FPS / rate))
    pictures = frames(dream, rows, policy, steps, between)
    if video is None:
        _show(pictures, f"{dream.name}: {len(rows) * lanes} dreams", rate * between)
    else:
        with Video(video, rate * between) as file:
            for picture in pictures:
                file.add(picture)
    return [row.earned.tolist() for row in rows]


def frames(
    dream: LoadedDream, rows: Sequence[Row], policy: PolicyLike, steps: int, between: int
) -> Iterator[np.ndarray]:
    """Yield pictures `[H, W, 3]` uint8, so many for each step, until all dreams have ended."""
    actor, canvas = make_policy(policy, dream), Canvas(dream)
    actor.reset(range(len(rows) * rows[0].world.lanes))
    for _ in range(steps):
        features = np.concatenate([row.world.features() for row in rows])
        actions = np.split(actor.act(torch.from_numpy(features)), len(rows))
        for i in range(between):
            yield canvas.draw(rows, actions, i / between)
        for row, chosen in zip(rows, actions, strict=True):
            row.step(chosen)
        if all(row.over.all() for row in rows):
            break
    yield canvas.draw(rows, actions, 0.0)


class Canvas:
    """Draws the grid.

    Args:
        dream: what is shown.
    """

    def __init__(self, dream: LoadedDream) -> None:
        pygame.font.init()
        font = find_font()
        self._name, self._paint = dream.name, make_painter(dream, dark=True)
        self._body, self._large = Lettering(15, font), Lettering(18, font)

    def draw(self, rows: Sequence[Row], actions: Sequence[np.ndarray], phase: float) -> np.ndarray:
        """Return the picture when a share `phase` of the next step has passed."""
        drawn = [self._row(row, chosen, phase) for row, chosen in zip(rows, actions, strict=True)]
        height, width = drawn[0][0].shape[:2]
        cell = magnify((width, height), (CELL, CELL))
        line, columns = self._body.height + GAP // 2, len(drawn[0])
        size = GAP + LABEL + columns * (cell[0] + GAP), 3 * line + len(rows) * (cell[1] + line + GAP)
        surface = pygame.Surface((size[0] + size[0] % 2, size[1] + size[1] % 2))  # video wants even sides
        surface.fill(BACKGROUND)
        baseline = GAP + self._large.ascent
        left = self._large.write(surface, self._name, GAP + LABEL, baseline, DREAM)
        note = "rows: temperature, columns: futures of one moment"
        if left + 2 * GAP + self._body.width(note) < size[0]:
            self._body.write(surface, note, size[0] - GAP, baseline, FAINT, right=True)
        for y, (row, pictures) in enumerate(zip(rows, drawn, strict=True)):
            top = 2 * line + GAP + y * (cell[1] + line + GAP)
            self._large.write_figures(
                surface, f"{row.world.temperature:g}", LABEL - GAP // 2, top + cell[1] // 2 + self._large.ascent // 2
            )
            for x, picture in enumerate(pictures):
                left = GAP + LABEL + x * (cell[0] + GAP)
                shown = pygame.surfarray.make_surface((picture // 3 if row.over[x] else picture).swapaxes(0, 1))
                scale = pygame.transform.scale if cell[0] >= width else pygame.transform.smoothscale
                surface.blit(scale(shown, cell), (left, top))
                under = top + cell[1] + self._body.ascent + 2
                colour = FAINT if row.over[x] else TEXT
                self._body.write_figures(surface, f"{row.earned[x]:.0f}", left + cell[0], under, colour)
                if row.over[x]:
                    self._body.write(surface, "over", left, under, FAINT)
        return frame_of(surface)

    def _row(self, row: Row, actions: np.ndarray, phase: float) -> list[np.ndarray]:
        now = row.world.observations()
        seen = row.world.between_each(actions, phase) if phase else now
        return [self._paint(now[i] if row.over[i] else seen[i], action) for i, action in enumerate(actions)]


def _show(pictures: Iterator[np.ndarray], title: str, fps: float) -> None:
    """Show pictures in a window until they end or it is closed."""
    first = next(pictures)
    window, clock = open_window(title, first.shape[1::-1], first.shape[1::-1]), pygame.time.Clock()
    try:
        for picture in chain([first], pictures):
            pygame.surfarray.blit_array(window.get_surface(), picture.swapaxes(0, 1))
            window.flip()
            clock.tick(fps)
            if any(_closes(event) for event in pygame.event.get()):
                break
    finally:
        window.destroy()
        pygame.display.quit()


def _closes(event: Any) -> bool:
    return event.type == pygame.QUIT or (event.type == pygame.KEYDOWN and event.key in (pygame.K_q, pygame.K_ESCAPE))
