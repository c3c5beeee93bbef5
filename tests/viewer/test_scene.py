"""What is drawn of a session; no window is opened."""

from dataclasses import replace

import numpy as np
import pygame
import pytest

from dreamgym.viewer.colours import BACKGROUND, DREAM, PANEL, REAL, RECORDING
from dreamgym.viewer.scene import FADING, SHOWN, Marks, Scene
from dreamgym.viewer.session import Session

SIZE, PLAIN = (1280, 800), Marks(50.0)


@pytest.fixture(scope="module")
def session():
    made = Session("DreamDodge-v0", seed=1)
    yield made
    made.close()


@pytest.fixture
def scene(session):
    session.reset(1)
    session.message = ""
    return Scene(session)


def draw(scene, marks=PLAIN, seconds=0.0, size=SIZE):
    surface = pygame.Surface(size)
    scene.draw(surface, marks, seconds)
    return surface


def pixels(surface, rect):
    return pygame.surfarray.array3d(surface)[rect.left : rect.right, rect.top : rect.bottom]


def shows(surface, rect, colour):
    return bool((pixels(surface, rect) == colour).all(2).any())


def test_a_picture_is_drawn_pixel_by_pixel(scene, session):
    surface = draw(scene)
    (place,), (pane,) = scene.layout.places, session.panes()
    factor = place.picture.width // 64
    assert factor > 5
    seen = pixels(surface, place.picture).swapaxes(0, 1)
    assert np.array_equal(seen, pane.picture.repeat(factor, 0).repeat(factor, 1))
    assert shows(surface, place.caption, DREAM)


def test_what_surrounds_the_picture_is_dark(scene):
    surface = draw(scene)
    assert surface.get_at((2, 2))[:3] == BACKGROUND
    assert surface.get_at((scene.layout.panel.left + 2, 2))[:3] == PANEL


def test_reality_has_its_own_colour_in_caption_and_strips():
    session = Session("DreamCartPole-v0", side="both", seed=1)
    scene = Scene(session)
    for _ in range(10):
        session.advance(0.05)
    surface = draw(scene)
    real, dream = scene.layout.places
    assert shows(surface, real.caption, REAL)
    assert not shows(surface, real.caption, DREAM)
    assert shows(surface, dream.caption, DREAM)
    assert shows(surface, scene.layout.widgets["reward"], REAL)
    assert not shows(surface, scene.layout.panel, DREAM)
    session.close()


def test_four_futures_have_four_pictures(scene, session):
    session.fork()
    draw(scene)
    assert len(scene.layout.places) == 4
    session.fork()
    draw(scene)
    assert len(scene.layout.places) == 1


def test_an_ended_episode_is_dimmed(scene, session, monkeypatch):
    bright = pixels(draw(scene), scene.layout.places[0].picture).mean()
    (pane,) = session.panes()
    monkeypatch.setattr(session, "panes", lambda: [replace(pane, over="truncated")])
    dim = pixels(draw(scene), scene.layout.places[0].picture)
    assert dim.mean() < 0.6 * bright
    assert dim.max() > 200, "it says so in bright letters"


def test_a_message_fades_and_is_cleared(scene, session):
    session.message = "this is the dream"
    fresh = pixels(draw(scene), scene.layout.message).max()
    assert fresh > 200
    assert pixels(draw(scene, seconds=0.99 * SHOWN), scene.layout.message).max() == fresh
    assert pixels(draw(scene, seconds=0.7 * FADING), scene.layout.message).max() < 0.6 * fresh
    draw(scene, seconds=FADING)
    assert session.message == ""
    assert (pixels(draw(scene), scene.layout.message) == BACKGROUND).all()


def test_a_recording_has_a_red_mark(scene):
    state = scene.layout.widgets["state"] if draw(scene) else None
    assert not shows(draw(scene), state, RECORDING)
    assert shows(draw(scene, Marks(50.0, recording=75.0)), state, RECORDING)


def test_pausing_and_driving_light_their_chips(scene, session):
    calm = draw(scene)
    driving = draw(scene, Marks(50.0, driving=True))
    session.pause()
    paused = draw(scene)
    session.pause()
    chips = scene._chips(scene.layout.widgets["state"])
    assert (pixels(calm, chips["driver"]) != pixels(driving, chips["driver"])).any()
    assert (pixels(calm, chips["pause"]) != pixels(paused, chips["pause"])).any()
    assert (pixels(calm, chips["record"]) == pixels(paused, chips["record"])).all()


def test_strips_grow_with_the_steps_and_are_empty_in_a_new_episode(scene, session):
    def ink():
        return (pixels(draw(scene), scene.layout.widgets["reward"]) == DREAM).all(2).sum()

    assert ink() == 0
    for _ in range(20):
        session.advance(0.1)
    some = ink()
    assert some > 0
    session.reset(1)
    assert ink() == 0


def test_only_a_model_that_disagrees_has_that_strip(scene, session):
    session.advance(0.1)
    draw(scene)
    assert "disagreement" not in scene.layout.widgets
    car = Session("DreamCarRacing-v0")
    scene = Scene(car)
    car.advance(0.2)
    draw(scene)
    assert "disagreement" in scene.layout.widgets
    car.reset()
    draw(scene)
    assert "disagreement" in scene.layout.widgets, "the panel must not jump between episodes"
    car.close()


def test_the_mouse_finds_sliders_and_chips(scene):
    draw(scene)
    widgets = scene.layout.widgets
    slider = widgets["temperature"]
    assert scene.widget_at((slider.left + 5, slider.bottom - 5)) == "temperature"
    assert scene.widget_at((slider.left + 5, slider.top + 1)) == ""
    assert scene.widget_at((widgets["state"].left + 3, widgets["state"].top + 3)) == "driver"
    assert scene.widget_at((widgets["state"].right - 3, widgets["state"].top + 3)) == "record"
    assert scene.widget_at((widgets["foot"].left, widgets["foot"].top)) == "foot"
    assert scene.widget_at((5, 5)) == ""
    assert scene.value_at("temperature", slider.left) == 0.1
    assert scene.value_at("temperature", slider.right) == 2.0


@pytest.mark.parametrize("size", [(480, 360), (700, 1200), (2560, 1600)], ids=str)
@pytest.mark.parametrize("shown", [False, True])
def test_every_size_can_be_drawn_with_and_without_help(scene, size, shown):
    surface = draw(scene, Marks(50.0, help=shown), size=size)
    lit = (pygame.surfarray.array3d(surface) != BACKGROUND).any(2)
    assert lit.mean() > 0.3


def test_the_help_darkens_the_window_and_goes_away(scene):
    plain, helped, again = draw(scene), draw(scene, Marks(50.0, help=True)), draw(scene)
    panel = scene.layout.panel
    assert pixels(helped, panel).mean() < pixels(plain, panel).mean()
    assert (pygame.surfarray.array3d(plain) == pygame.surfarray.array3d(again)).all()
