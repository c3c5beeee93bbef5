"""`gymnasium.utils.play`, which people know, on dreams and on our real environments."""

import gymnasium as gym
import numpy as np
import pygame
import pytest
from gymnasium.utils.play import play

import dreamgym  # noqa: F401

LEFT = 1073741904


@pytest.mark.parametrize(
    ("env_id", "key", "noop", "action"),
    [
        ("DreamCarRacing-v0", LEFT, np.zeros(3, np.float32), [-0.4, 0, 0]),
        ("CarRacing64-v0", LEFT, np.zeros(3, np.float32), [-0.4, 0, 0]),
        ("DreamDodge-v0", ord("a"), 0, 1),
        ("DreamCartPole-v0", LEFT, 1, 0),
        ("DreamPendulum-v0", LEFT, np.zeros(1, np.float32), [-2]),
    ],
)
def test_gymnasiums_own_play_plays_them(env_id, key, noop, action, monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    done = []

    def look(before, after, taken, reward, terminated, truncated, info):
        done.append(taken)
        if len(done) == 2:
            pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=key))
        if len(done) == 4:
            pygame.event.post(pygame.event.Event(pygame.QUIT))

    play(gym.make(env_id, render_mode="rgb_array"), callback=look, noop=noop, fps=200, seed=0)
    assert np.array_equal(done[0], noop)
    assert np.allclose(done[-1], action)
