"""The real CarRacing twin against Gymnasium's env, and its drivers against what they promise."""

from __future__ import annotations

import copy
import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest

import dreamgym  # noqa: F401  registers the env
from dreamgym.errors import MissingExtra
from dreamgym.real import car_drivers
from dreamgym.real.car_racing import DRIVERS, MIXTURE, make, shrink

pytest.importorskip("Box2D")


def blank(size=64):
    return np.zeros((size, size, 3), np.uint8)


def area_average(image, size):
    """Return the area average, one output pixel at a time: repeat each pixel so that boxes fall on whole pixels."""
    fine = image.repeat(size, 0).repeat(size, 1).astype(np.float64)
    side = image.shape[0]
    out = np.empty((size, size, 3))
    for row in range(size):
        for column in range(size):
            box = fine[row * side : (row + 1) * side, column * side : (column + 1) * side]
            out[row, column] = box.mean((0, 1))
    return out


@pytest.fixture(scope="module")
def env():
    made = make()
    yield made
    made.close()


def test_shrinking_is_the_area_average_of_each_pixel():
    image = np.random.default_rng(0).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    assert np.abs(shrink(image) - area_average(image, 8)).max() <= 0.5


def test_shrinking_keeps_white_white_and_96_becomes_64():
    white = np.full((96, 96, 3), 255, np.uint8)
    assert np.array_equal(shrink(white), np.full((64, 64, 3), 255, np.uint8))


def test_decisions_equal_the_stock_env_with_its_frames_skipped(env):
    from gymnasium.envs.box2d.car_racing import CarRacing

    stock, rng = CarRacing(), np.random.default_rng(0)
    obs, _ = env.reset(seed=7)
    assert np.array_equal(obs, shrink(stock.reset(seed=7)[0]))
    for _ in range(25):
        action = rng.uniform([-0.4, 0.5, 0.0], [0.4, 1.0, 0.1]).astype(np.float32)
        frames = [stock.step(action) for _ in range(4)]
        obs, reward, terminated, truncated, info = env.step(action)
        assert np.array_equal(obs, shrink(frames[-1][0]))
        assert reward == sum(frame[1] for frame in frames)
        assert (terminated, truncated, info) == frames[-1][2:]
    stock.close()


def test_an_end_inside_a_decision_stops_it_and_shows_its_own_frame(env):
    from gymnasium.envs.box2d.car_racing import PLAYFIELD, CarRacing

    stock, action = CarRacing(), np.array([0.0, 0.0, 0.0], np.float32)
    for world in (stock, env):
        world.reset(seed=7)
        car = world.unwrapped.car
        shift = PLAYFIELD - 0.25 - car.hull.position[1]  # the car starts nearly along +y
        for body in car.drawlist:  # 0.25 units inside the edge, rolling out at 0.1 a frame: out in the third
            body.position = (body.position[0], body.position[1] + shift)
            body.linearVelocity = car.hull.GetWorldVector((0.0, 5.0))
        for wheel in car.wheels:
            wheel.omega = 5.0 / wheel.wheel_rad
    frames = [stock.step(action)]
    while not frames[-1][2]:
        frames.append(stock.step(action))
    assert 1 < len(frames) < 4
    obs, reward, terminated, truncated, info = env.step(action)
    assert (terminated, truncated, info) == (True, False, {"lap_finished": False})
    assert np.array_equal(obs, shrink(frames[-1][0]))
    assert reward == sum(frame[1] for frame in frames)
    stock.close()


def test_the_end_of_a_lap_is_truncated_and_not_terminated(env):
    env.reset(seed=3)
    world = env.unwrapped
    for tile in world.road:
        tile.road_visited = tile.idx != 5  # the whole lap is driven but for one tile just ahead
    world.tile_visited_count = len(world.track) - 1
    for _ in range(30):
        _, _, terminated, truncated, info = env.step(np.array([0.0, 1.0, 0.0]))
        if terminated or truncated:
            break
    assert (terminated, truncated, info["lap_finished"]) == (False, True, True)


def test_the_time_limit_counts_decisions():
    short = gym.make("CarRacing64-v0", max_episode_steps=3)
    short.reset(seed=0)
    ends = [short.step(np.zeros(3, np.float32))[2:4] for _ in range(3)]
    assert ends == [(False, False), (False, False), (False, True)]


def test_the_spaces_are_64_pixels_and_the_actions_of_car_racing(env):
    obs, _ = env.reset(seed=0)
    assert env.observation_space.contains(obs)
    assert env.observation_space.shape == (64, 64, 3)
    assert env.action_space.low.tolist() == [-1.0, 0.0, 0.0]
    assert env.action_space.high.tolist() == [1.0, 1.0, 1.0]


def test_a_seed_fixes_the_episode_and_another_seed_is_another_track(env):
    def play(seed):
        env.reset(seed=seed)
        return [env.step(np.array([0.1, 1.0, 0.0], np.float32))[0] for _ in range(5)][-1], env.unwrapped.track

    (first, track), (second, again), (_, other) = play(0), play(0), play(1)
    assert np.array_equal(first, second)
    assert track == again
    assert track != other


def test_rgb_array_is_the_large_picture_and_leaves_the_observations_alone(env):
    filmed = make(render_mode="rgb_array")
    filmed.reset(seed=0)
    env.reset(seed=0)
    action = np.array([0.0, 1.0, 0.0], np.float32)
    for _ in range(3):
        assert np.array_equal(filmed.step(action)[0], env.step(action)[0])
        picture = filmed.render()
    assert picture.shape == (400, 600, 3)
    assert filmed.metadata["render_fps"] == 12  # 12.5, but Gymnasium's play wants an integer
    assert env.render() is None


def test_importing_the_module_imports_neither_box2d_nor_pygame():
    code = "import sys, dreamgym.real.car_racing; print([m for m in ('Box2D', 'pygame') if m in sys.modules])"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"


def test_a_missing_box2d_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "Box2D", None)
    for name in ("gymnasium.envs.box2d.car_racing", "dreamgym.real.car_pixels"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    with pytest.raises(MissingExtra, match=r'the real CarRacing needs Box2D: pip install "dreamgym\[box2d\]"'):
        make()


def test_the_mixture_names_every_driver_and_sums_to_one():
    assert MIXTURE.keys() == DRIVERS.keys()
    assert sum(MIXTURE.values()) == pytest.approx(1.0)


@pytest.mark.parametrize("name", DRIVERS)
def test_a_driver_gives_valid_actions_that_its_rng_repeats(env, name):
    def drive(seed):
        obs, _ = env.reset(seed=0)
        driver, actions = DRIVERS[name](), []
        driver.reset(env, np.random.default_rng(seed))
        for step in range(40):
            actions.append(driver.act(obs))
            if step % 4 == 0:  # moves the car now and then; the drivers' own physics is not the matter here
                obs = env.step(actions[-1])[0]
        return np.array(actions)

    actions = drive(1)
    assert all(env.action_space.contains(action) for action in actions)
    assert np.array_equal(actions, drive(1))
    if name != "idle":
        assert not np.array_equal(actions, drive(2))


def test_idle_does_nothing_and_brake_ends_braking(env):
    env.reset(seed=0)
    for name, last in (("idle", 0.0), ("brake", 0.2)):
        driver = DRIVERS[name]()
        driver.reset(env, np.random.default_rng(0))
        actions = np.array([driver.act(blank()) for _ in range(40)])
        assert actions[-1, 2] >= last
        assert (actions[-1, :2] == 0).all()


def test_pursuit_knows_only_what_the_picture_has_shown_of_the_next_nine_tiles(env):
    obs, _ = env.reset(seed=0)
    driver = car_drivers.Pursuit((95.0, 95.0), faults=False)
    driver.reset(env, np.random.default_rng(0))
    hull, road = env.unwrapped.car.hull, np.array([tile[2:4] for tile in env.unwrapped.track])
    shown = np.zeros(len(road), bool)
    for step in range(100):
        local = np.array([hull.GetLocalPoint(tile) for tile in road.tolist()])
        pixels = local * 16.2 + (500, 200)  # of the 1000 x 800 canvas, whose lowest 100 rows are the status bar
        pictured = ((pixels >= (0, 100)) & (pixels <= (1000, 800))).all(1)
        nearest = np.argmin(np.where(pictured, np.linalg.norm(local, axis=1), np.inf))
        shown |= pictured & ((np.arange(len(road)) - nearest) % len(road) < 9)
        blinkered = copy.copy(driver)
        blinkered._road = np.where(shown[:, None], road, local.sum() + 7.0)  # the rest may be anywhere
        action = driver.act(obs)
        assert np.array_equal(blinkered.act(obs), action)
        obs = env.step(np.array([1.0, 1.0, 0.0]) if 60 <= step < 75 else action)[0]  # a spin, off the road


def test_pursuit_sees_no_tile_outside_the_picture_however_the_car_is_turned(env):
    env.reset(seed=0)
    driver = car_drivers.Pursuit(faults=False)
    driver.reset(env, np.random.default_rng(0))
    counts = set()
    for angle in np.linspace(0.0, 2.0 * np.pi, 24):
        env.unwrapped.car.hull.angle = angle
        pixels = driver.visible_road() * 16.2 + (500, 200)
        assert ((pixels >= (0, 100)) & (pixels <= (1000, 800))).all()
        counts.add(len(pixels))
    assert min(counts) < 4  # turned round it sees little
    assert max(counts) == 9


def test_pursuit_without_faults_drives_the_road(env):
    obs, _ = env.reset(seed=1)
    driver = car_drivers.Pursuit((90.0, 90.0), faults=False)
    driver.reset(env, np.random.default_rng(0))
    score = 0.0
    for _ in range(60):
        obs, reward, terminated, _, _ = env.step(driver.act(obs))
        score += reward
    assert not terminated
    assert score > 150.0
