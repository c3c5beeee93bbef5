"""Events become what a player can do; SDL's dummy driver shows the window to nobody."""

import os
from pathlib import Path

import numpy as np
import pygame
import pytest
import torch

from dreamgym.core.tree import leaves
from dreamgym.viewer.layout import SMALLEST
from dreamgym.viewer.recorder import Recorder
from dreamgym.viewer.screen import open_window
from dreamgym.viewer.session import Session
from dreamgym.viewer.window import Window

FRAME = 1 / 50
SIZE = (640, 480)


@pytest.fixture(scope="module")
def native():
    assert os.environ["SDL_VIDEODRIVER"] == "dummy"
    window = open_window("test", SIZE, SMALLEST)
    yield window
    window.destroy()
    pygame.display.quit()


@pytest.fixture
def play(native, tmp_path):
    """Return a function that opens a session in the window."""
    sessions = []

    def begin(dream="DreamCartPole-v0", drove=lambda person: None, **options):
        sessions.append(Session(dream, **options))
        native.size = SIZE
        window = Window(native, sessions[-1], Recorder(), lambda: tmp_path / "play.mp4", drove)
        window.frame(0.0)
        return window, sessions[-1]

    yield begin
    for session in sessions:
        session.close()


def key(window, code, down=True, mod=0, text=""):
    kind = pygame.KEYDOWN if down else pygame.KEYUP
    window.handle(pygame.event.Event(kind, key=code, mod=mod, unicode=text, scancode=0))


def tap(window, code, **options):
    key(window, code, **options)
    key(window, code, down=False)


def mouse(window, kind, point):
    buttons = {"buttons": (1, 0, 0), "rel": (0, 0)} if kind == pygame.MOUSEMOTION else {"button": 1}
    window.handle(pygame.event.Event(kind, pos=point, **buttons))


def frames(window, count):
    for _ in range(count):
        window.frame(FRAME)


def situation(session):
    return [leaf.clone() for leaf in leaves(session.lines[0].world.moment)]


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def done(session):
    """Return the actions of the episode, as they are recorded."""
    episode = session.lines[0].lanes[0].trail.episode()
    return None if episode is None else episode.action


def test_the_road_ahead_goes_to_the_other_side_when_the_car_is_steered(play):
    def road(code):
        window, session = play("DreamCarRacing-v0", seed=3, policy=None)
        key(window, pygame.K_UP)
        frames(window, 40)
        key(window, code)
        frames(window, 20)
        key(window, code, down=False)
        picture = session.panes()[0].picture[:32].astype(int)  # far ahead
        grey = np.ptp(picture, axis=2) < 40
        return np.nonzero(grey)[1].mean()

    assert road(pygame.K_LEFT) > road(pygame.K_RIGHT) + 10


def test_the_real_car_turns_to_the_side_that_is_held(play):
    def angle(code):
        window, session = play("DreamCarRacing-v0", seed=3, policy=None, side="real")
        car = session.lines[0].world._env.unwrapped.car
        key(window, pygame.K_UP)
        frames(window, 40)
        before = car.hull.angle
        key(window, code)
        frames(window, 30)
        key(window, code, down=False)
        key(window, pygame.K_UP, down=False)
        return car.hull.angle - before

    assert angle(pygame.K_LEFT) > 0.1
    assert angle(pygame.K_RIGHT) < -0.1


def test_wasd_drives_as_the_arrows_do(play):
    ends = []
    for code in (pygame.K_LEFT, pygame.K_a):
        window, session = play("DreamCarRacing-v0", seed=3)
        key(window, code)
        frames(window, 30)
        ends.append(situation(session))
    assert same(*ends)


def test_the_shortest_tap_lasts_for_one_step(play):
    window, session = play(policy=None, rate=5.0)
    tap(window, pygame.K_RIGHT)
    frames(window, 12)
    assert done(session)[0] == 1
    key(window, pygame.K_LEFT)
    frames(window, 12)
    assert done(session)[-1] == 0


def test_the_policy_drives_where_no_key_is_held_and_a_person_where_one_is(play):
    seen = []
    window, session = play("DreamPendulum-v0", drove=seen.append)  # which no key ends
    frames(window, 5)
    assert not any(seen)
    key(window, pygame.K_LEFT)
    frames(window, 5)
    assert seen[-5:] == [True] * 5
    key(window, pygame.K_LEFT, down=False)
    frames(window, 5)
    assert seen[-1] is False
    tap(window, pygame.K_m)
    frames(window, 1)
    assert session.person
    assert seen[-1] is True


def test_losing_the_focus_lets_go_of_all_keys(play):
    seen = []
    window, _ = play(drove=seen.append)
    key(window, pygame.K_LEFT)
    frames(window, 2)
    window.handle(pygame.event.Event(pygame.WINDOWFOCUSLOST))
    frames(window, 2)
    assert seen[-2:] == [False, False]
    key(window, pygame.K_LEFT)  # some systems tell a window of keys that are not for it
    frames(window, 2)
    assert seen[-2:] == [False, False]
    window.handle(pygame.event.Event(pygame.WINDOWFOCUSGAINED))
    key(window, pygame.K_LEFT)
    frames(window, 2)
    assert seen[-2:] == [True, True]


def test_space_stops_time_and_a_dot_makes_a_step(play):
    window, session = play()
    tap(window, pygame.K_SPACE, text=" ")
    before = situation(session)
    frames(window, 10)
    assert same(situation(session), before)
    tap(window, pygame.K_PERIOD, text=".")
    assert len(done(session)) == 1
    tap(window, pygame.K_SPACE, text=" ")
    frames(window, 10)
    assert len(done(session)) > 1


def test_backspace_restores_the_exact_state_and_repeats_while_held(play):
    window, session = play()
    states = []
    tap(window, pygame.K_SPACE, text=" ")
    for _ in range(6):
        states.append(situation(session))
        tap(window, pygame.K_PERIOD, text=".")
    for _ in range(4):
        key(window, pygame.K_BACKSPACE, text="\b")
    assert same(situation(session), states[2])
    key(window, pygame.K_BACKSPACE, down=False)


def test_a_key_that_does_not_repeat_is_pressed_once(play):
    window, session = play()
    for _ in range(3):
        key(window, pygame.K_SPACE, text=" ")
    assert session.clock.paused


def test_ctrl_s_keeps_the_moment_to_which_l_returns_and_does_not_brake(play):
    window, session = play("DreamCarRacing-v0")
    frames(window, 10)
    kept = situation(session)
    key(window, pygame.K_s, mod=pygame.KMOD_LCTRL)
    seen = done(session)
    frames(window, 10)
    assert not window._driving
    assert len(done(session)) > len(seen)
    tap(window, pygame.K_l)
    assert same(situation(session), kept)


def test_f_shows_four_futures_and_a_digit_chooses_one(play):
    window, session = play("DreamDodge-v0")
    tap(window, pygame.K_f)
    frames(window, 5)
    assert len(session.panes()) == 4
    tap(window, pygame.K_3, text="3")
    frames(window, 1)
    assert len(session.panes()) == 1
    assert session.message == "this is future 3"


def test_brackets_turn_the_temperature_and_signs_the_rate(play):
    window, session = play()
    for _ in range(3):
        key(window, pygame.K_RIGHTBRACKET, text="]")
    key(window, pygame.K_RIGHTBRACKET, down=False)
    assert session.temperature == pytest.approx(1.15)
    tap(window, pygame.K_LEFTBRACKET, text="[")
    assert session.temperature == pytest.approx(1.10)
    rate = session.rate
    tap(window, pygame.K_MINUS, text="-")
    assert session.rate < rate
    tap(window, pygame.K_PLUS, text="+")
    assert session.rate == rate


def test_the_mouse_drags_a_slider_even_beyond_its_end(play):
    window, session = play()
    rect = window.scene.layout.widgets["temperature"]
    mouse(window, pygame.MOUSEBUTTONDOWN, (rect.left + rect.width // 4, rect.bottom - 4))
    assert 0.4 < session.temperature < 0.7
    mouse(window, pygame.MOUSEMOTION, (rect.right + 50, 5))
    assert session.temperature == 2.0
    mouse(window, pygame.MOUSEBUTTONUP, (rect.right + 50, 5))
    mouse(window, pygame.MOUSEMOTION, (rect.left, rect.bottom - 4))
    assert session.temperature == 2.0


def test_a_click_on_a_chip_is_its_key(play):
    window, session = play()
    state = window.scene.layout.widgets["state"]
    mouse(window, pygame.MOUSEBUTTONDOWN, (state.left + state.width // 2, state.top + 5))
    assert session.clock.paused
    mouse(window, pygame.MOUSEBUTTONDOWN, (state.left + 5, state.top + 5))
    assert session.person


def test_h_shows_the_keys_until_h_escape_or_a_click(play):
    window, _ = play()
    closing = [lambda: tap(window, pygame.K_h), lambda: tap(window, pygame.K_ESCAPE),
               lambda: mouse(window, pygame.MOUSEBUTTONDOWN, (20, 20))]  # fmt: skip
    for close in closing:
        tap(window, pygame.K_h)
        frames(window, 1)
        assert window.help
        close()
        assert not window.help
        assert window.open


@pytest.mark.parametrize("code", [pygame.K_q, pygame.K_ESCAPE])
@pytest.mark.parametrize("mode", [(), (pygame.K_SPACE,), (pygame.K_f,), (pygame.K_TAB,), (pygame.K_r,), (pygame.K_m,)])
def test_every_mode_can_be_quit(play, code, mode):
    window, _ = play()
    for each in mode:
        tap(window, each)
        frames(window, 3)
    assert window.open
    tap(window, code)
    assert not window.open
    window.recorder.close()


def test_closing_the_window_ends_the_loop(play):
    window, _ = play()
    pygame.event.clear()
    pygame.event.post(pygame.event.Event(pygame.WINDOWCLOSE))
    window.run()
    assert not window.open


def test_the_loop_plays_until_it_is_told_to_stop(play):
    window, _ = play()
    window.run(lambda: window.steps >= 3)
    assert window.steps >= 3
    assert window.pictures >= 2


def test_r_records_what_is_shown_though_the_window_changes_its_size(play, native, tmp_path):
    pytest.importorskip("imageio_ffmpeg")
    from films import decode

    window, _ = play()
    tap(window, pygame.K_r)
    frames(window, 20)
    native.size = (700, 500)
    frames(window, 20)
    tap(window, pygame.K_r)
    window.recorder.close()
    (told,) = window.recorder.told
    path = Path(told.removesuffix(" holds the recording"))
    pictures = decode(path)
    assert pictures.shape[1:] == (480, 640, 3)
    assert 22 <= len(pictures) <= 26, "30 a second, of 0.8 seconds"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_written_is_said_and_playing_goes_on(play, tmp_path):
    window, session = play()
    window._new_path = lambda: tmp_path / "file" / "play.mp4"
    (tmp_path / "file").write_text("")
    tap(window, pygame.K_r)
    frames(window, 3)
    assert session.message.startswith("not recording: ")
    assert window.recorder.seconds is None
    assert window.open
