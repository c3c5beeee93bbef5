"""The real TakeCover twin against VizDoom's own env, and its drivers against what they promise."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch

import dreamgym
from dreamgym.core.model import SequenceBatch
from dreamgym.data.collect import collect
from dreamgym.errors import InvalidAction, InvalidArgument, MissingExtra, StepBeforeReset
from dreamgym.models.rssm import Rssm
from dreamgym.models.rssm_sizes import take_cover
from dreamgym.models.vae_mdn_rnn import VaeMdnRnn, doom
from dreamgym.real import take_cover_drivers
from dreamgym.real.take_cover import DRIVERS, MIXTURE, ROWS, SIZES, make, open_game, shrink

SCREEN = np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)


def area_average(image, height, width):
    """Return the area average: every pixel repeated so that boxes fall on whole pixels."""
    fine = image.repeat(height, 0).repeat(width, 1).astype(np.float64)
    rows, columns = image.shape[:2]
    return fine.reshape(height, rows, width, columns, -1).mean((1, 3))


@pytest.mark.parametrize("size", SIZES.values())
def test_shrinking_is_the_area_average_of_each_pixel(size):
    shrunk = shrink(SCREEN[ROWS], size)
    assert shrunk.shape == (*size, 3)
    assert np.abs(shrunk - area_average(SCREEN[ROWS], *size)).max() <= 0.5


def test_shrinking_keeps_white_white():
    assert (shrink(np.full((128, 320, 3), 255, np.uint8), (32, 128)) == 255).all()


def test_importing_the_module_does_not_import_vizdoom():
    code = "import sys, dreamgym.real.take_cover; print('vizdoom' in sys.modules)"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "False"


def test_a_missing_vizdoom_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "vizdoom", None)
    with pytest.raises(MissingExtra, match=r'the real TakeCover needs vizdoom: pip install "dreamgym\[doom\]"'):
        gym.make("DoomTakeCover-v0")


@pytest.mark.parametrize(("options", "message"), [
    ({"render_mode": "human"}, "render_mode is 'human'; TakeCover has 'rgb_array' or None"),
    ({"size": "tall"}, "size is 'tall'; expected one of 'wide', 'square'"),
])  # fmt: skip
def test_what_there_is_not_is_refused(options, message):
    with pytest.raises(InvalidArgument, match=message):
        make(**options)


def test_the_mixture_names_every_driver_and_sums_to_one():
    assert MIXTURE.keys() == DRIVERS.keys()
    assert sum(MIXTURE.values()) == pytest.approx(1.0)


def drive(name, seed, steps=200):
    driver = DRIVERS[name]()
    driver.reset(None, np.random.default_rng(seed))
    return [driver.act(None) for _ in range(steps)]


@pytest.mark.parametrize("name", DRIVERS)
def test_a_driver_is_blind_valid_and_repeated_by_its_rng(name):
    assert set(drive(name, 1)) <= {0, 1, 2}
    assert drive(name, 1) == drive(name, 1)
    assert len({tuple(drive(name, seed)) for seed in range(8)}) > 4


def test_a_sweep_without_noise_turns_after_its_period():
    for seed in range(20):
        driver = take_cover_drivers.Sweep((0.0,))
        driver.reset(None, np.random.default_rng(seed))
        actions = np.array([driver.act(None) for _ in range(300)])
        turns = np.flatnonzero(np.diff(actions))
        assert set(actions) == {1, 2}
        assert len(set(np.diff(turns))) == 1
        assert 8 <= np.diff(turns)[0] <= 32


def test_idle_ends_up_standing_and_holds_last_as_long_as_they_may():
    assert all(set(drive("idle", seed)[31:]) == {0} for seed in range(20))
    changes = [np.diff(np.flatnonzero(np.diff(drive("random", seed)))) for seed in range(20)]
    assert min(map(np.min, changes)) == 1
    assert np.mean(np.concatenate(changes)) < np.mean(np.diff(np.flatnonzero(np.diff(drive("segments", 0, 2000)))))


def test_both_families_see_it_and_a_dream_fits_into_12_mib():
    for size, model, config in (("wide", Rssm, take_cover()), ("square", VaeMdnRnn, doom())):
        space = gym.spaces.Box(0, 255, (*SIZES[size], 3), np.uint8)
        made = model(config, space, gym.spaces.Discrete(3))
        batch = SequenceBatch(
            obs=torch.rand(2, 3, 3, *SIZES[size]), action=torch.eye(3)[torch.tensor([[0, 1], [2, 0]])],
            reward=torch.full((2, 2), 4.0), terminated=torch.tensor([[0.0, 1.0], [0.0, 0.0]]),
            mask=torch.ones(2, 2), is_first=torch.ones(2, dtype=torch.bool),
        )  # fmt: skip
        assert torch.isfinite(made.loss(batch, next(iter(made.stages)))[0])
        assert 2 * sum(x.numel() for x in made.parameters()) < 12 * 2**20  # float16


@pytest.fixture(scope="module")
def env():
    pytest.importorskip("vizdoom")
    made = make("rgb_array")
    yield made
    made.close()


def test_decisions_equal_the_stock_env_with_a_frame_skip_of_4(env, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # the stock env leaves _vizdoom.ini where it is made
    from vizdoom import gymnasium_wrapper  # noqa: F401  registers it

    stock = gym.make("VizdoomTakeCover-v1", frame_skip=4)
    deaths = 0
    for seed in (0, 1, None):  # unseeded, both go on with the generator of the last seed
        obs, _ = env.reset(seed=seed)
        screen = stock.reset(seed=seed)[0]["screen"]
        rng, terminated = np.random.default_rng(0), False
        while not terminated:
            assert np.array_equal(env.render(), screen)
            assert np.array_equal(obs, shrink(screen[ROWS], (32, 128)))
            before, action = obs, int(rng.integers(3))
            obs, reward, terminated, truncated, info = env.step(action)
            theirs, *rest = stock.step(action)
            screen = theirs["screen"]
            assert [reward, terminated, truncated, info] == rest
        assert not screen.any()  # the stock env has nothing to show for a death
        assert np.array_equal(obs, before)
        deaths += 1
    assert deaths == 3
    stock.close()


def test_a_decision_pays_a_tic_each_and_the_limit_is_2100_tics(env):
    limited = gym.make("DoomTakeCover-v0")
    assert limited.spec.max_episode_steps * 4 == 2100
    assert limited.observation_space.shape == (32, 128, 3)
    short = gym.make("DoomTakeCover64-v0", max_episode_steps=2)
    short.reset(seed=0)
    assert [short.step(0)[1:4] for _ in range(2)] == [(4.0, False, False), (4.0, False, True)]
    for made in (limited, short, short):  # closing twice does no harm
        made.close()


def test_right_is_right(env):
    def walked(action):
        env.reset(seed=0)
        for _ in range(12):
            obs = env.step(action)[0]
        return obs.mean(2).astype(float)

    def shift(a, b):
        return min(range(-30, 31), key=lambda s: np.abs(np.roll(a, s, 1) - b)[8:16, 32:96].mean())

    stays = walked(0)
    assert shift(stays, walked(1)) < 0 < shift(stays, walked(2))  # what is ahead moves to the other side


def test_a_step_needs_an_episode_and_an_action(env):
    fresh = make()
    with pytest.raises(StepBeforeReset, match="no episode is under way"):
        fresh.step(0)
    with pytest.raises(StepBeforeReset, match="render was called"):
        fresh.render()
    fresh.close()
    env.reset(seed=0)
    with pytest.raises(InvalidAction, match="action is 3; DoomTakeCover expects 0"):
        env.step(3)


def test_no_game_outlives_the_workers_that_record(tmp_path, env):
    def games():
        found = subprocess.run(["ps", "-ww", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout
        return {line.split()[0] for line in found.splitlines() if "vizdoom" in line and "-iwad" in line}

    before = games()
    assert before  # ours runs
    collect("DoomTakeCover-v0", tmp_path, episodes=2, driver="random", num_workers=2, max_episode_steps=3)
    for _ in range(50):
        if games() <= before:
            break
        time.sleep(0.1)
    assert games() <= before


def test_opening_a_game_leaves_nothing_in_the_working_folder(monkeypatch, tmp_path):
    pytest.importorskip("vizdoom")
    monkeypatch.chdir(tmp_path)
    open_game().close()
    assert list(Path().iterdir()) == []


PROBES = {
    "nothing": lambda step, lanes: np.zeros(lanes, int),
    "sweep": lambda step, lanes: np.full(lanes, 1 + step // 25 % 2),
    "random": lambda step, lanes: np.random.default_rng(step).integers(3, size=lanes),
}
SWEEP = 770
"""Tics of the sweep in 1,300 games, ± 14: dreamgym eval DreamDoomTakeCover-v0 --policy cycle:1x25,2x25 --side real
--episodes 500 --seed 9300000, and --episodes 800 --seed 9500000."""


def dreamed_tics(player, temperature=1.0, lanes=100):
    """Return how long dreams from episode starts last on average if `PROBES[player]` plays."""
    wrap = [("temperature", {"temperature": temperature})]
    envs = gym.make_vec("DreamDoomTakeCover-v0", num_envs=lanes, observation="features", starts="first", wrap=wrap)
    envs.reset(seed=9_300_000)
    tics, alive = np.zeros(lanes), np.ones(lanes, bool)
    for step in range(525):
        _, reward, dead, over, _ = envs.step(PROBES[player](step, lanes))
        tics += alive * reward
        alive &= ~(dead | over)
    return tics.mean()


@pytest.mark.parametrize("player", ["nothing", "random"])
def test_who_stands_still_or_acts_at_random_dies_in_the_dream_as_soon_as_in_the_game(player):
    real = dreamgym.load("DreamDoomTakeCover-v0").card["probes"][player]["real"]["mean"]
    assert dreamed_tics(player) == pytest.approx(real, rel=0.2)


def test_who_stands_still_lives_on_in_a_cold_dream():
    assert dreamed_tics("nothing", temperature=0.1) > 5 * dreamed_tics("nothing")


def test_the_sweep_lives_far_longer_in_the_dream_too_but_not_much_longer_than_in_the_game():
    lived = dreamed_tics("sweep", lanes=1600)
    assert lived > 3 * dreamed_tics("nothing")
    assert lived == pytest.approx(SWEEP, rel=0.2)  # measured over 2,100 dreams: 0.15 ± 0.03


def test_the_shipped_policy_looks_and_lives_longer_in_the_game_than_the_sweep_that_does_not():
    pytest.importorskip("vizdoom")
    scores = dreamgym.evaluate("DreamDoomTakeCover-v0", side="real", episodes=12, seed=9_400_000)["real"]
    assert scores["mean"] > dreamgym.load("DreamDoomTakeCover-v0").card["probes"]["sweep"]["real"]["mean"]
