"""What all bridges share: lanes in the mode that a library needs, or a refusal that says which; and their step."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import pytest
import torch
from gymnasium.vector import AutoresetMode

from dreamgym.bridges.open import open_envs, step_envs
from dreamgym.envs.vector_env import DreamVectorEnv
from dreamgym.errors import InvalidAction, InvalidArgument, InvalidArgumentType, StepBeforeReset, UnsupportedSpace
from dreamgym.testing import counting_dream

DREAM = counting_dream(lengths=(3, 5, 4, 9))
DISABLED, SAME_STEP = AutoresetMode.DISABLED, AutoresetMode.SAME_STEP


@pytest.mark.parametrize("mode", AutoresetMode)
def test_a_dream_is_opened_in_the_mode_that_the_library_needs(mode: AutoresetMode) -> None:
    envs = open_envs(DREAM, None, mode, "Lib")
    assert (envs.num_envs, envs.autoreset_mode) == (1, mode)
    assert (envs.view.observation, envs.view.output) == ("features", "torch")
    assert open_envs(envs, None, mode, "Lib") is envs
    assert (
        open_envs(DREAM, 3, mode, "Lib", autoreset_mode=mode.value, observation="pixels").view.observation == "pixels"
    )


@pytest.mark.parametrize(
    ("needed", "given", "message"),
    [
        ("NextStep", "SameStep", "Lib resets a lane in the step after the one that ends it: use 'NextStep'"),
        ("SameStep", "NextStep", "Lib resets a lane in the step that ends it: use 'SameStep'"),
        ("Disabled", "NextStep", "Lib resets lanes itself: use 'Disabled'"),
    ],
)
def test_another_mode_is_refused_with_the_right_one_named(needed: str, given: str, message: str) -> None:
    for model, options in ((DREAM, {"autoreset_mode": given}), (DreamVectorEnv(DREAM, autoreset_mode=given), {})):
        with pytest.raises(InvalidArgument, match=f"autoreset_mode is '{given}'; {message}"):
            open_envs(model, None, AutoresetMode(needed), "Lib", **options)


def test_what_a_library_cannot_take_is_refused() -> None:
    envs = DreamVectorEnv(DREAM, 3, autoreset_mode="Disabled")
    with pytest.raises(InvalidArgument, match="output is 'numpy'; Lib takes tensors: use 'torch'"):
        open_envs(envs, None, DISABLED, "Lib")
    assert open_envs(envs, 3, DISABLED, "Lib", tensors=False) is envs
    with pytest.raises(InvalidArgument, match=r"\['device'\] were given beside a DreamVectorEnv of 3 lanes"):
        open_envs(envs, None, DISABLED, "Lib", device="cpu")
    with pytest.raises(InvalidArgument, match=r"\['num_envs'\] were given beside a DreamVectorEnv of 3 lanes"):
        open_envs(envs, 4, DISABLED, "Lib")
    with pytest.raises(InvalidArgument, match="device is 'cuda:99'; expected one that torch finds here: cpu"):
        open_envs(DREAM, 4, DISABLED, "Lib", device="cuda:99")
    with pytest.raises(InvalidArgumentType, match="model is a RecordEpisodeStatistics; expected .* DreamVectorEnv"):
        open_envs(gym.wrappers.vector.RecordEpisodeStatistics(envs), None, DISABLED, "Lib")  # type: ignore[arg-type]
    shifted = counting_dream()
    shifted.model.action_space = gym.spaces.Discrete(3, start=1)
    with pytest.raises(UnsupportedSpace, match="starts at 1; Lib needs integers from 0"):
        open_envs(shifted, None, DISABLED, "Lib")


def test_a_step_is_that_of_the_vector_env() -> None:
    kwargs: Any = {"observation": "features", "output": "torch", "autoreset_mode": "SameStep", "max_episode_steps": 7}
    ours, theirs = DreamVectorEnv(DREAM, 5, **kwargs), DreamVectorEnv(DREAM, 5, **kwargs)
    ours.reset(seed=0)
    theirs.reset(seed=0)
    ends = 0
    for step in range(20):
        action = torch.full((5,), step % 3)
        obs, outcome = step_envs(ours, action)
        expected, reward, terminated, truncated, info = theirs.step(action)
        assert torch.equal(obs, expected)
        assert torch.equal(outcome.reward, reward)
        assert torch.equal(outcome.terminated, terminated)
        assert torch.equal(outcome.truncated, truncated)
        assert (outcome.final is not None) == ("final_obs" in info) == bool((terminated | truncated).any())
        if outcome.final is not None:
            assert torch.equal(ours.view.observe(outcome.final), info["final_obs"])
            ends += 1
    assert ends > 5
    with pytest.raises(InvalidAction, match=r"shape \(4,\); Counting expects \(5,\)"):
        step_envs(ours, torch.zeros(4, dtype=torch.long))


def test_only_active_lanes_are_stepped_and_none_that_has_ended() -> None:
    envs = open_envs(DREAM, 5, DISABLED, "Lib", max_episode_steps=2)
    envs.reset(seed=0)
    ones, some = torch.ones(5, dtype=torch.long), torch.tensor([True, False, True, False, False])
    assert step_envs(envs, ones, some)[0][:, 1].tolist() == [1, 0, 1, 0, 0]
    obs, outcome = step_envs(envs, ones)
    assert obs[:, 1].tolist() == [2, 1, 2, 1, 1]
    assert outcome.truncated.tolist() == some.tolist()
    with pytest.raises(StepBeforeReset, match=r"the episodes of lanes \[0, 2\] have ended; reset them first"):
        step_envs(envs, ones)
    assert step_envs(envs, ones, ~some)[0][:, 1].tolist() == [2, 2, 2, 2, 2]


def test_a_step_before_the_first_reset_is_refused() -> None:
    with pytest.raises(StepBeforeReset, match="no episode has begun"):
        step_envs(open_envs(DREAM, 5, SAME_STEP, "Lib"), torch.ones(5, dtype=torch.long))
