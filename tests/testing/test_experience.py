"""The checker lets true experience pass and finds each way in which a library can spoil it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dreamgym.envs.vector_env import DreamVectorEnv
from dreamgym.testing import Experience, check_experience, counting_dream

LIMIT = 7


def record(mode: str, steps: int = 60) -> Experience:
    """Return what a learner sees that knows its autoreset mode."""
    env = DreamVectorEnv(
        counting_dream(lengths=(3, 5, 4, 9)), 5, observation="features", autoreset_mode=mode, max_episode_steps=LIMIT
    )
    env.action_space.seed(0)
    obs, _ = env.reset(seed=0)
    asleep = np.zeros(5, bool)
    rows = []
    for _ in range(steps):
        action = env.action_space.sample()
        after, reward, terminated, truncated, info = env.step(action)
        last = after.copy()
        for lane in np.flatnonzero(info.get("_final_obs", [])):
            last[lane] = info["final_obs"][lane]
        rows.append((obs, action, reward, terminated, truncated, last, ~asleep))
        asleep = (terminated | truncated) & (mode == "NextStep")
        obs = after
    names = ("obs", "action", "reward", "terminated", "truncated", "next_obs", "valid")
    return Experience(**{name: np.stack(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)})


@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
def test_true_experience_passes_and_its_episodes_are_counted(mode: str) -> None:
    seen = record(mode)
    found = check_experience(seen, LIMIT, counting_dream(lengths=(3, 5, 4, 9)).model.config)
    assert found.terminated == seen.terminated.sum() > 10
    assert found.truncated == seen.truncated.sum() > 3
    assert len(found.lengths) == found.terminated + found.truncated  # each was seen from its first step
    assert set(found.lengths) == {3, 4, 5, LIMIT}
    triangle = found.lengths * (found.lengths + 1) / 2
    assert ((found.returns > triangle - 1e-4) & (found.returns < triangle + 0.2 * found.lengths + 1e-4)).all()


def end_of(seen: Experience) -> tuple[int, int]:
    """Return step and lane of some episode's end, not the last."""
    step, lane = np.argwhere((seen.terminated | seen.truncated)[:-2])[3]
    return int(step), int(lane)


def spoil(name: str, seen: Experience) -> Experience:
    """Return experience with one fault of this name."""
    step, lane = end_of(seen)
    if name == "an end that got lost":
        return replace(seen, terminated=np.zeros_like(seen.terminated), truncated=np.zeros_like(seen.truncated))
    if name == "merged flags":
        done = seen.terminated | seen.truncated
        return replace(seen, terminated=done, truncated=np.zeros_like(done))
    if name == "a last observation after the reset":
        assert seen.next_obs is not None
        next_obs = seen.next_obs.copy()
        next_obs[step, lane] = seen.obs[step + 1, lane]
        return replace(seen, next_obs=next_obs)
    if name == "an action one step late":
        return replace(seen, action=np.roll(seen.action, 1, axis=0))
    if name == "a reward one step late":
        return replace(seen, reward=np.roll(seen.reward, 1, axis=0))
    if name == "lanes in another order":
        obs = seen.obs.copy()
        obs[1::2] = obs[1::2, ::-1]
        return replace(seen, obs=obs)
    assert name == "a step that was dropped"
    assert seen.valid is not None
    valid = seen.valid.copy()
    valid[step - 1, lane] = False
    return replace(seen, valid=valid)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("an end that got lost", "terminated is False; the world made it True|truncated is False"),
        ("merged flags", "terminated is True; the world made it False"),
        ("a last observation after the reset", "the next observation is"),
        ("an action one step late", "the reward is|the observation is"),
        ("a reward one step late", "the reward is"),
        ("lanes in another order", "the observation is|the first observation of an episode is"),
        ("a step that was dropped", "the observation is"),
    ],
)
def test_each_fault_is_found(fault: str, message: str) -> None:
    with pytest.raises(AssertionError, match=rf"lane \d, step \d+: ({message})"):
        check_experience(spoil(fault, record("SameStep")), LIMIT, counting_dream(lengths=(3, 5, 4, 9)).model.config)


def test_fake_steps_of_next_step_mode_are_found_unless_they_are_masked() -> None:
    with pytest.raises(AssertionError, match="lane 0, step"):
        check_experience(
            replace(record("NextStep"), valid=None), LIMIT, counting_dream(lengths=(3, 5, 4, 9)).model.config
        )


def test_a_limit_that_is_also_a_length_is_refused() -> None:
    with pytest.raises(AssertionError, match="an episode of 5 steps ends in two ways"):
        check_experience(record("SameStep"), 5)
