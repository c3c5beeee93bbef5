"""A dream that is cut off: when, in which flag, and what counts."""

from typing import Any

import numpy as np
import pytest
import torch
from dreamgym.wrappers.horizon import Horizon
from gymnasium.vector import AutoresetMode

from dreamgym.core.wrapper import WrapSpec
from dreamgym.envs.open import open_dream
from dreamgym.envs.vector_env import DreamVectorEnv
from dreamgym.errors import InvalidArgument
from dreamgym.testing.counting import counting_dream, counting_world
from dreamgym.testing.experience import Experience, check_experience

MODES = list(AutoresetMode)


def make(mode: Any, wrap: WrapSpec, num_envs: int = 2, limit: int | None = None, **kwargs: Any) -> DreamVectorEnv:
    dream = open_dream(counting_dream(**kwargs), None, wrap, "cpu")
    return DreamVectorEnv(dream, num_envs, autoreset_mode=mode, max_episode_steps=limit, observation="features")


def flags(env: DreamVectorEnv, steps: int) -> tuple[list[bool], list[bool]]:
    """Return the first lane's `terminated` and `truncated`; DISABLED's lanes are reset where they ended."""
    terminated, truncated = [], []
    for _ in range(steps):
        *_, ended, cut, _ = env.step(np.ones(env.num_envs, int))
        terminated.append(bool(ended[0]))
        truncated.append(bool(cut[0]))
        if env.autoreset_mode is AutoresetMode.DISABLED and (ended | cut).any():
            env.reset(options={"reset_mask": ended | cut})
    return terminated, truncated


@pytest.mark.parametrize("mode", MODES)
def test_it_truncates_each_episode_at_the_horizon_and_terminates_none(mode: AutoresetMode) -> None:
    env = make(mode, [("horizon", {"horizon": 3})], lengths=(0,))
    env.reset(seed=0)
    terminated, truncated = flags(env, 12)
    assert not any(terminated)
    period = 4 if mode is AutoresetMode.NEXT_STEP else 3  # that mode spends a step on the reset
    assert truncated == [i % period == 2 for i in range(12)]


@pytest.mark.parametrize("mode", MODES)
def test_it_does_what_a_time_limit_does(mode: AutoresetMode) -> None:
    ours = make(mode, [("horizon", {"horizon": 4})], hazard=0.2)
    theirs = make(mode, [], limit=4, hazard=0.2)
    assert np.array_equal(ours.reset(seed=1)[0], theirs.reset(seed=1)[0])
    for _ in range(40):
        a, b = ours.step(np.ones(2, int)), theirs.step(np.ones(2, int))
        assert all(np.array_equal(x, y) for x, y in zip(a[:4], b[:4], strict=True))
        assert ("final_obs" in a[4]) == ("final_obs" in b[4])
        over = a[2] | a[3]
        if "final_obs" in a[4]:
            assert all(np.array_equal(a[4]["final_obs"][i], b[4]["final_obs"][i]) for i in np.flatnonzero(over))
        if mode is AutoresetMode.DISABLED and over.any():
            for env in (ours, theirs):
                env.reset(options={"reset_mask": over})


@pytest.mark.parametrize("mode", MODES)
def test_an_ending_at_the_horizon_is_both_and_one_before_it_begins_the_count_anew(mode: AutoresetMode) -> None:
    env = make(mode, [("horizon", {"horizon": 3})], lengths=(3,))
    env.reset(seed=0)
    assert flags(env, 3) == ([False, False, True], [False, False, True])
    env = make(mode, [("horizon", {"horizon": 3})], lengths=(2,))
    env.reset(seed=0)
    terminated, truncated = flags(env, 12)
    assert sum(terminated) == (4 if mode is AutoresetMode.NEXT_STEP else 6)
    assert not any(truncated)


def test_the_experience_of_cut_dreams_is_whole() -> None:
    env = make("NextStep", [("horizon", {"horizon": 7})], num_envs=3, lengths=(3, 5, 9, 0))
    obs, rng, rows, last = env.reset(seed=0)[0], np.random.default_rng(0), [], np.zeros(3, bool)
    for _ in range(60):
        action = rng.integers(3, size=3)
        after, reward, terminated, truncated, _ = env.step(action)
        rows.append((obs, action, reward, terminated, truncated, after, ~last))
        obs, last = after, terminated | truncated
    names = ("obs", "action", "reward", "terminated", "truncated", "next_obs", "valid")
    seen = Experience(**{name: np.stack(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)})
    found = check_experience(seen, 7, counting_dream(lengths=(3, 5, 9, 0)).model.config)  # type: ignore[arg-type]
    assert found.truncated > 0
    assert found.terminated > 0


def test_the_earliest_cut_is_the_one() -> None:
    for wrap, limit, expected in (
        ([("horizon", {"horizon": 5})], 2, 2),
        ([("horizon", {"horizon": 2})], 5, 2),
        ([("horizon", {"horizon": 2}), ("horizon", {"horizon": 4})], None, 2),
        ([("horizon", {"horizon": 4}), ("horizon", {"horizon": 2})], None, 2),
    ):
        env = make("NextStep", wrap, limit=limit, lengths=(0,))
        env.reset(seed=0)
        assert flags(env, 5)[1].index(True) == expected - 1


def test_steps_count_from_what_was_really_seen() -> None:
    model = Horizon(counting_world(), 3)
    state, action = model.initial(2), torch.eye(3)[:2]
    for _ in range(2):
        state = model.step(state, action).state
    assert state.steps.tolist() == [2, 2]
    later = torch.zeros(2, dtype=torch.bool)
    assert model.observe(state, action, torch.zeros(2, 4), later).steps.tolist() == [0, 0]
    cuts = []
    for _ in range(3):
        out = model.step(state, action)
        state, cuts = out.state, [*cuts, out.truncated.tolist()]
    assert cuts == [[True, True]] * 3, "what goes on beyond the horizon stays cut"


def test_a_lane_that_diverges_is_cut_and_begins_its_count_anew() -> None:
    env = make("SameStep", [("horizon", {"horizon": 3})], num_envs=1, lengths=(0,), diverge_above=1.5)
    env.reset(seed=0)
    infos = [env.step(np.ones(1, int)) for _ in range(4)]
    assert [bool(step[3][0]) for step in infos] == [False, True, False, True]
    assert env.lanes.state.steps.tolist() == [0]


@pytest.mark.parametrize("bad", [0, -1, 2.5, True, "far"])
def test_a_horizon_that_is_no_number_of_steps_is_refused(bad: Any) -> None:
    with pytest.raises(InvalidArgument, match=f"horizon is {bad!r}; expected a whole number of at least 1 step"):
        Horizon(counting_world(), bad)
