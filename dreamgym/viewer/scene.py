"""Draws a session: its pictures, what is said of them, and the panel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pygame

from dreamgym.envs.vector_env import render_fps
from dreamgym.viewer.colours import BACKGROUND, FAINT, PANEL, RECORDING, TEXT, side_colour
from dreamgym.viewer.help import Help
from dreamgym.viewer.layout import NAMES, Layout, Place, Rect, arrange
from dreamgym.viewer.session import HISTORY, RATES, TEMPERATURES, Pane, Report, Session
from dreamgym.viewer.widgets import (
    HeatMap,
    Look,
    Range,
    Strip,
    draw_chip,
    draw_slider,
    share_at,
    track_of,
)

SHOWN, FADING = 4.0, 0.6  # seconds that a message is shown, and that it fades
ENDINGS = {"terminated": "", "truncated": "time is up", "diverged": "the dream left the finite numbers"}
FIELDS = {"return": "earned"}  # strips that are called otherwise than what a `Report` calls them
FIGURES = {"reward": "{:+.2f}", "return": "{:.0f}", "termination": "{:.3f}", "disagreement": "{:.2f}"}
PIXEL_ART = 200  # pixels: larger pictures are no grid of squares


@dataclass(frozen=True)
class Marks:
    """What the window knows and the session does not."""

    pictures: float = 0.0
    """A second."""
    driving: bool = False
    """A person is at the wheel now."""
    recording: float | None = None
    """Seconds recorded, or None."""
    help: bool = False


class Scene:
    """Draws a session on any surface, and says what lies under the mouse.

    Args:
        session: what is shown.
        scale: of type; by default it follows the surface.
    """

    layout: Layout

    def __init__(self, session: Session, scale: float | None = None) -> None:
        self.session = session
        self._scale = scale
        self._look: Look | None = None
        self._help = Help()
        self._heat_map = HeatMap()
        self._strips = {name: Strip() for name in ("reward", "return", "termination", "disagreement")}
        self._said, self._age = "", 0.0
        self._key: object = None
        self._kind = ""
        self._absent: dict[str, set[str]] = {}
        self._values: dict[str, np.ndarray] = {}
        self._last: Report | None = None

    @property
    def ranges(self) -> dict[str, Range]:
        """What the sliders choose from."""
        usual = render_fps(self.session.dream)
        return {"temperature": Range(*TEMPERATURES, 1.0, 0.05), "rate": Range(*RATES, usual, 1.0, even=False)}

    def draw(self, surface: pygame.Surface, marks: Marks, seconds: float = 0.0) -> None:
        """Draw everything.

        Args:
            surface: is filled.
            marks: what the session does not know.
            seconds: since the last picture; messages fade.
        """
        panes = self.session.panes()
        self._collect(panes[0].kind)
        layout = self._arrange(surface.get_size(), panes)
        surface.fill(BACKGROUND)
        for place, pane, number in zip(layout.places, panes, range(1, len(panes) + 1), strict=True):
            self._draw_pane(surface, place, pane, number)
        surface.fill(PANEL, layout.panel)
        for name, rect in layout.widgets.items():
            self._widgets[name](surface, rect, marks)
        self._draw_message(surface, layout.message, seconds)
        if marks.help:
            self._help.draw(surface, self.look, self.session.keys)

    @property
    def look(self) -> Look:
        """Type and measures of the last picture."""
        assert self._look is not None, "nothing has been drawn"
        return self._look

    def widget_at(self, point: tuple[int, int]) -> str:
        """Return what lies there: a row's name; of the row "state" the chip "driver", "pause" or "record"; or ""."""
        for name, rect in self.layout.widgets.items():
            if name in self.ranges and rect.holds(point):
                return name if track_of(rect, self.look).holds(point) else ""
            if rect.holds(point):
                chips = self._chips(rect) if name == "state" else {}
                return next((chip for chip, place in chips.items() if place.holds(point)), "" if chips else name)
        return ""

    def value_at(self, name: str, x: int) -> float:
        """Return what a slider is set to with its knob under the mouse."""
        return self.ranges[name].value(share_at(self.layout.widgets[name], self.look, x))

    def _collect(self, kind: str) -> None:
        """Take over what the strips show, if a step was made."""
        history = self.session.history
        self._kind = kind
        if not history:
            self._last, self._values = None, {}
        elif history[-1] is not self._last:
            self._last = history[-1]
            for name in self._strips:
                found = [getattr(report, FIELDS.get(name, name)) for report in history]
                self._values[name] = np.array([value for value in found if value is not None], float)
            self._absent[kind] = {name for name, values in self._values.items() if not len(values)}

    def _arrange(self, size: tuple[int, int], panes: list[Pane]) -> Layout:
        absent = set(self._absent.get(self._kind, {"disagreement"}))
        if len(self.session.variants) < 2:
            absent.add("variant")
        pictures = tuple((pane.picture.shape[1], pane.picture.shape[0]) for pane in panes)
        key = size, pictures, frozenset(absent)
        if key != self._key:
            self._key = key
            self.layout = arrange(size, pictures, [name for name in NAMES if name not in absent], self._scale)
            if self._look is None or self._look.scale != self.layout.scale:
                self._look = Look(self.layout.scale)
        return self.layout

    def _draw_pane(self, surface: pygame.Surface, place: Place, pane: Pane, number: int) -> None:
        look, caption = self.look, place.caption
        picture = pane.picture // 3 if pane.over else pane.picture
        small = pygame.surfarray.make_surface(picture.swapaxes(0, 1))
        crisp = max(picture.shape[:2]) <= PIXEL_ART or place.picture.width % picture.shape[1] == 0
        scale = pygame.transform.scale if crisp else pygame.transform.smoothscale
        surface.blit(scale(small, place.picture[2:]), place.picture[:2])
        baseline = caption.top + look.body.ascent
        seconds = f"{pane.steps / render_fps(self.session.dream):.1f} s"
        space = look.px(8)
        right = look.body.write_figures(surface, seconds, place.picture.right, baseline, FAINT) - space
        right = look.body.write_figures(surface, f"{pane.earned:.0f}", right - space, baseline) - space
        if right - caption.left > caption.width // 2:
            right = look.body.write(surface, "return", right, baseline, FAINT, right=True) - space
        kind = f"future {number}" if pane.kind == "future" else pane.kind
        left = look.body.write(surface, kind, place.picture.left, baseline, side_colour(pane.kind)) + space
        if pane.kind != "future":
            look.body.write(surface, look.body.shorten(pane.name, right - left), left, baseline, FAINT)
        if pane.over:
            self._draw_ending(surface, place.picture, ENDINGS[pane.over])

    def _draw_ending(self, surface: pygame.Surface, rect: Rect, reason: str) -> None:
        look, middle = self.look, rect.left + rect.width // 2
        type_ = look.large if look.large.width("episode over") < 0.8 * rect.width else look.small
        for text, lettering, colour, down in (("episode over", type_, TEXT, 0), (reason, look.small, FAINT, 20)):
            drawn = lettering.render(lettering.shorten(text, rect.width), colour)
            top = rect.top + (rect.height - type_.height) // 2 + look.px(down) * (type_.height + 6) // 20
            surface.blit(drawn, (middle - drawn.get_width() // 2, top))

    @property
    def _widgets(self) -> dict[str, Callable[[pygame.Surface, Rect, Marks], None]]:
        return {
            "state": self._draw_state,
            "temperature": self._draw_temperature,
            "rate": self._draw_rate,
            "variant": self._draw_variant,
            **{name: self._strip_drawer(name) for name in self._strips},
            "latent": lambda surface, rect, marks: self._heat_map.draw(
                surface, self.look, rect, "latent state", self.session.latent
            ),
            "foot": self._draw_foot,
        }

    def _chips(self, rect: Rect) -> dict[str, Rect]:
        gap, names = self.look.px(6), ("driver", "pause", "record")
        edges = [rect.left + i * (rect.width + gap) // 3 for i in range(4)]
        return {
            name: Rect(left, rect.top, right - gap - left, rect.height)
            for name, left, right in zip(names, edges[:-1], edges[1:], strict=True)
        }

    def _draw_state(self, surface: pygame.Surface, rect: Rect, marks: Marks) -> None:
        session, chips = self.session, self._chips(rect)
        policy = session.actor is not None and not session.person and not marks.driving
        nobody = session.actor is None and not marks.driving
        driver = "policy" if policy else "nobody" if nobody else "you"
        draw_chip(surface, self.look, chips["driver"], driver, driver == "you")
        paused = session.clock.paused
        draw_chip(surface, self.look, chips["pause"], "paused" if paused else "pause", paused)
        if marks.recording is None:
            draw_chip(surface, self.look, chips["record"], "record", False)
        else:
            minutes, seconds = divmod(int(marks.recording), 60)
            draw_chip(surface, self.look, chips["record"], f"{minutes}:{seconds:02}", True, RECORDING)

    def _draw_temperature(self, surface: pygame.Surface, rect: Rect, marks: Marks) -> None:
        span, value = self.ranges["temperature"], self.session.temperature
        alive = self.session.side != "real"
        draw_slider(
            surface, self.look, rect, "temperature", f"{value:.2f}", span.share(value), span.share(span.usual), alive
        )

    def _draw_rate(self, surface: pygame.Surface, rect: Rect, marks: Marks) -> None:
        span, value = self.ranges["rate"], self.session.rate
        draw_slider(
            surface, self.look, rect, "steps a second", f"{value:.1f}", span.share(value), span.share(span.usual), True
        )

    def _draw_variant(self, surface: pygame.Surface, rect: Rect, marks: Marks) -> None:
        session = self.session
        name = session.variant or session.variants[0]
        look, baseline = self.look, rect.top + self.look.body.ascent
        end = look.body.write(surface, "variant", rect.left, baseline, FAINT) + look.px(8)
        text = look.body.shorten(name, rect.right - end)
        look.body.write(surface, text, rect.right, baseline, TEXT, right=True)

    def _strip_drawer(self, name: str) -> Callable[[pygame.Surface, Rect, Marks], None]:
        label = {"termination": "chance of ending"}.get(name, name)
        bounds = (0.0, 1.0) if name == "termination" else None

        def draw(surface: pygame.Surface, rect: Rect, marks: Marks) -> None:
            values = self._values.get(name, np.empty(0))
            figure = FIGURES[name].format(values[-1]) if len(values) else ""
            colour = side_colour(self._kind)
            self._strips[name].draw(surface, self.look, rect, label, figure, values, bounds, colour, HISTORY)

        return draw

    def _draw_foot(self, surface: pygame.Surface, rect: Rect, marks: Marks) -> None:
        look, baseline = self.look, rect.top + self.look.small.ascent
        left = rect.left + look.small.figures_width("000")
        look.small.write_figures(surface, f"{marks.pictures:.0f}", left, baseline, FAINT)
        end = look.small.write(surface, "keys", rect.right, baseline, FAINT, right=True)
        end = look.small.write(surface, "h", end - look.px(5), baseline, TEXT, right=True)
        wide = left + look.px(17) + look.small.width("pictures a second") <= end
        look.small.write(surface, "pictures a second" if wide else "a second", left + look.px(5), baseline, FAINT)

    def _draw_message(self, surface: pygame.Surface, rect: Rect, seconds: float) -> None:
        session = self.session
        if session.message != self._said:
            self._said, self._age = session.message, 0.0
        if not self._said:
            return
        self._age += seconds
        if self._age > SHOWN + FADING:
            session.message = self._said = ""
            return
        look = self.look
        drawn = look.body.render(look.body.shorten(self._said, rect.width), TEXT)
        alpha = int(255 * min(1.0, (SHOWN + FADING - self._age) / FADING))
        drawn.set_alpha(alpha)
        surface.blit(drawn, (rect.left + (rect.width - drawn.get_width()) // 2, rect.top))
        drawn.set_alpha(255)
