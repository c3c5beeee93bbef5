"""Sliders, curves, heat maps and type, each pixel where it should be."""

import numpy as np
import pygame
import pytest

from dreamgym.viewer.colours import DREAM, LINE, PANEL, RECORDING, TEXT, mix
from dreamgym.viewer.layout import Rect
from dreamgym.viewer.lettering import KEPT, Lettering, find_font
from dreamgym.viewer.shapes import curve, disc, grid, heat_map, rounded
from dreamgym.viewer.widgets import HeatMap, Look, Range, Strip, draw_chip, draw_slider, share_at, track_of

EVEN, RATIOS = Range(0.1, 2.0, 1.0, 0.05), Range(1.0, 120.0, 12.5, 1.0, even=False)


@pytest.fixture
def surface():
    made = pygame.Surface((300, 200))
    made.fill(PANEL)
    return made


@pytest.fixture(scope="module")
def look():
    return Look(1.0)


def drawn(surface):
    """Return columns and rows between which there is anything."""
    there = (pygame.surfarray.array3d(surface) != PANEL).any(2)
    columns, rows = np.flatnonzero(there.any(1)), np.flatnonzero(there.any(0))
    return columns[0], columns[-1], rows[0], rows[-1]


@pytest.mark.parametrize("span", [EVEN, RATIOS])
def test_a_slider_reaches_both_ends_and_snaps_to_the_usual_value(span):
    assert span.value(0.0) == span.low
    assert span.value(1.0) == span.high
    assert span.value(-3.0) == span.low
    assert span.value(span.share(span.usual) + 0.01) == span.usual
    assert span.share(span.value(0.3)) == pytest.approx(0.3, abs=0.06)


def test_keys_move_a_value_by_steps_and_stop_at_the_usual_one_and_at_the_ends():
    assert EVEN.beside(0.5, 1) == 0.55
    assert EVEN.beside(0.97, 1) == 1.0
    assert EVEN.beside(1.0, 1) == 1.05
    assert EVEN.beside(2.0, 1) == 2.0
    assert RATIOS.beside(12.0, 1) == 12.5
    assert RATIOS.beside(12.5, 1) == 14.0
    assert RATIOS.beside(12.5, -1) == 11.0
    assert RATIOS.beside(2.0, 1) == 3.0
    assert RATIOS.beside(1.0, -1) == 1.0


@pytest.mark.parametrize("span", [EVEN, RATIOS])
def test_every_value_can_be_reached_by_keys_from_every_other(span):
    value, seen = span.low, 0
    while value < span.high and seen < 500:
        before, value, seen = value, span.beside(value, 1), seen + 1
        assert value > before
    assert value == span.high


def test_the_knob_is_drawn_where_the_mouse_finds_it(surface, look):
    rect = Rect(20, 20, 200, 36)
    draw_slider(surface, look, rect, "temperature", "1.00", 0.25, 0.5, True)
    track = track_of(rect, look)
    row = pygame.surfarray.array3d(surface)[:, track.top + track.height // 2]
    (columns,) = np.nonzero((row == TEXT).all(1))
    assert share_at(rect, look, int(columns.mean())) == pytest.approx(0.25, abs=0.01)
    assert drawn(surface)[0] >= rect.left
    assert drawn(surface)[1] < rect.right


def test_a_chip_shows_what_is_on(surface, look):
    rect = Rect(10, 10, 80, 24)
    draw_chip(surface, look, rect, "pause", False)
    assert surface.get_at((14, 22))[:3] == PANEL
    draw_chip(surface, look, rect, "0:12", True, RECORDING)
    assert surface.get_at((14, 22))[:3] == LINE
    pixels = pygame.surfarray.array3d(surface)[rect.left : rect.right, rect.top : rect.bottom]
    assert (pixels == RECORDING).all(2).any()
    assert drawn(surface) == (rect.left, rect.right - 1, rect.top, rect.bottom - 1)


def test_a_curve_ends_at_the_newest_value_and_is_as_long_as_there_are_values():
    picture = pygame.surfarray.array3d(curve(np.array([0.0, 0.0, 1.0, 1.0, 1.0]), (100, 50), 0.0, 1.0, DREAM, 2.0, 100))
    line = (picture == DREAM).all(2)
    assert np.flatnonzero(line[99]).max() < 10, "the newest value, the highest, is at the top right"
    assert not line[:94].any()
    flat = pygame.surfarray.array3d(curve(np.full(100, 0.5), (100, 50), 0.0, 1.0, DREAM, 2.0, 100))
    assert set(np.flatnonzero((flat == DREAM).all(2).all(0))) <= {23, 24, 25, 26}


def test_a_curve_of_no_values_one_value_or_equal_values_is_drawn():
    for values in ([], [3.0], [0.0, 0.0]):
        assert curve(np.array(values), (60, 20), 0.0, 0.0, DREAM, 1.4, 200).get_size() == (60, 20)


def test_a_strip_is_drawn_anew_only_when_its_values_change(surface, look):
    strip, rect = Strip(), Rect(10, 10, 100, 50)

    def draw(values):
        strip.draw(surface, look, rect, "reward", "+1.00", np.array(values), None, DREAM, 50)
        return strip._drawn[1]

    first = draw([1.0, 2.0])
    assert draw([1.0, 2.0]) is first
    assert draw([1.0, 3.0]) is not first


def test_strips_and_heat_maps_stay_in_their_places(surface, look):
    rect = Rect(30, 40, 150, 70)
    Strip().draw(surface, look, rect, "return", "123", np.arange(80.0) - 40, None, DREAM, 50)
    HeatMap().draw(surface, look, rect, "latent", np.linspace(-3, 3, 77))
    left, right, top, bottom = drawn(surface)
    assert left >= rect.left
    assert right < rect.right
    assert top >= rect.top
    assert bottom < rect.bottom


@pytest.mark.parametrize("count", [1, 2, 7, 64, 192, 288, 512, 1536, 5000])
def test_a_heat_map_has_a_field_for_every_number(count):
    size = (224, 120)
    columns, rows = grid(count, size)
    assert rows * columns >= count
    assert (rows - 1) * columns < count
    width, height = heat_map(np.ones(count), size).get_size()
    assert width == size[0]
    assert height <= size[1]


def test_a_heat_map_is_dark_at_zero_and_of_two_hues_around_it():
    colours = pygame.surfarray.array3d(heat_map(np.array([-9.0, 0.0, 9.0, np.nan]), (40, 10)))[[5, 15, 25, 35], 4]
    negative, zero, positive, unknown = colours.astype(int)
    assert tuple(zero) == tuple(unknown) == PANEL
    assert negative[0] > zero[0] + 50
    assert positive[1] > zero[1] + 50


def test_digits_do_not_move_when_others_change(surface):
    type_ = Lettering(16, find_font())
    ends = {type_.write_figures(surface, text, 200, 50) for text in ("11.11", "88.88", "40.19")}
    assert len(ends) == 1
    assert type_.figures_width("11.11") == type_.figures_width("88.88") == 200 - ends.pop()


def test_a_text_is_shortened_to_its_room():
    type_ = Lettering(14, find_font())
    assert type_.shorten("DreamCarRacing-v0", 1000) == "DreamCarRacing-v0"
    short = type_.shorten("DreamCarRacing-v0", 60)
    assert short.endswith("…")
    assert type_.width(short) <= 60
    assert type_.shorten("DreamCarRacing-v0", 3) == ""


def test_rendered_texts_are_kept_but_not_for_ever():
    type_ = Lettering(12, None)
    assert type_.render("pause", TEXT) is type_.render("pause", TEXT)
    for i in range(2 * KEPT):
        type_.render(str(i), TEXT)
    assert len(type_._kept) == KEPT


def test_round_shapes_fill_their_places_and_have_smooth_edges(surface):
    rounded(surface, Rect(10, 10, 40, 20), 6, TEXT)
    disc(surface, (100, 50), 8, TEXT)
    assert surface.get_at((30, 20))[:3] == surface.get_at((100, 50))[:3] == TEXT
    assert surface.get_at((10, 10))[:3] == PANEL, "the corner is cut"
    shades = {tuple(colour) for colour in pygame.surfarray.array3d(surface).reshape(-1, 3)}
    assert len(shades) > 4
    assert drawn(surface) == (10, 107, 10, 57)


def test_colours_are_mixed_by_shares():
    assert mix(PANEL, TEXT, 0.0) == PANEL
    assert mix(PANEL, TEXT, 1.0) == TEXT
