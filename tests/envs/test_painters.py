"""Observations as pictures for people."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from oracle import PICTURES, counting_dream

import dreamgym  # noqa: F401
from dreamgym.envs.painters import BACKGROUND, BAR, SIDE, make_painter, plot
from dreamgym.hub import load


@pytest.mark.parametrize(("dream_id", "action"), [("DreamCartPole-v0", 1), ("DreamPendulum-v0", np.float32([1.5]))])
def test_a_dream_is_drawn_by_its_real_env(dream_id, action):
    dream = load(dream_id)
    env = gym.make(dream.card["real"], render_mode="rgb_array")
    env.reset(seed=3)
    obs, *_ = env.step(action)
    drawn = make_painter(dream)(obs, action)
    assert drawn.shape == env.render().shape
    assert np.abs(drawn.astype(int) - env.render()).mean() < 1
    elsewhere = obs.copy()
    elsewhere[0] *= -1
    assert np.abs(make_painter(dream)(elsewhere, action).astype(int) - drawn).mean() > 1


def test_a_picture_is_shown_as_it_is():
    picture = PICTURES.sample()
    assert np.array_equal(make_painter(counting_dream(PICTURES))(picture, None), np.broadcast_to(picture, (4, 6, 3)))


def test_of_a_dict_the_picture_is_shown():
    space = spaces.Dict({"speed": spaces.Box(-1, 1, (2,)), "camera": PICTURES})
    picture = PICTURES.sample()
    paint = make_painter(counting_dream(space))
    assert np.array_equal(paint({"speed": np.zeros(2), "camera": picture}, None), np.broadcast_to(picture, (4, 6, 3)))


def test_numbers_are_bars_around_zero():
    picture = plot(np.array([100.0, -100.0, 0.0, np.nan]))
    columns = [(picture[:, SIDE // 20 + round((i + 0.4) * SIDE * 0.9 / 4)] == BAR).all(1) for i in range(4)]
    upper, lower = slice(SIDE // 10, SIDE // 2 - 2), slice(SIDE // 2 + 2, -SIDE // 10)
    assert columns[0][upper].all()
    assert not columns[0][lower].any()
    assert columns[1][lower].all()
    assert not columns[1][upper].any()
    assert not columns[2].any()
    assert not columns[3].any()
    assert tuple(picture[0, 0]) == BACKGROUND


@pytest.mark.parametrize("dream_id", ["DreamCartPole-v0", "DreamPendulum-v0"])
def test_vector_dreams_render(dream_id):
    env = gym.make(dream_id, render_mode="rgb_array")
    env.reset(seed=0)
    before = env.render()
    for _ in range(5):
        env.step(getattr(env.action_space, "high", 1))  # random pushes to both sides may leave a cart where it was
    assert np.abs(env.render().astype(int) - before).max() > 50
    env.close()


@pytest.mark.parametrize("dream_id", ["DreamCartPole-v0", "DreamPendulum-v0"])
def test_on_a_dark_ground_the_same_is_drawn(dream_id):
    dream = load(dream_id)
    obs = np.ones(dream.model.observation_space.shape, np.float32) / 2
    light, dark = (make_painter(dream, dark)(obs, None).astype(int) for dark in (False, True))
    ground = (light == 255).all(-1)
    assert (dark[ground] == BACKGROUND).all()
    black = (light == 0).all(-1)
    assert (dark[black] == 255).all()
    hue = light - light.min(-1, keepdims=True)
    bright = dark.min(-1) > max(BACKGROUND)
    assert np.array_equal((dark - dark.min(-1, keepdims=True))[bright], hue[bright])
