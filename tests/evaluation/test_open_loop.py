"""Open-loop error and foreseen endings, on a world whose dreams are known by hand."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from oracle import PUSH, TURN, LinearWorld, record_linear_world

from dreamgym.core.wrapper import ModelWrapper
from dreamgym.data.episodes import Dataset, Episode
from dreamgym.data.writer import DatasetWriter
from dreamgym.errors import InvalidArgument
from dreamgym.evaluation.open_loop import open_loop


def exact_world() -> LinearWorld:
    """Return the world that the recordings come from."""
    world = LinearWorld()
    with torch.no_grad():
        for layer in (world.encoder, world.decoder):
            layer.weight.copy_(torch.eye(2))
            layer.bias.zero_()
        world.dynamics.weight.copy_(torch.from_numpy(np.column_stack([TURN, PUSH])))
        world.dynamics.bias.zero_()
        world.reward.weight.copy_(torch.tensor([[1.0, 0.0]]))
        world.reward.bias.zero_()
    return world


class Wrong(ModelWrapper[Any]):
    """The same world with the second number off by 1 after each step, 0.5 too much reward, and a known ending."""

    def step(self, state: Any, action: Any, noise: Any = None, temperature: float = 1.0) -> Any:
        out = self.model.step(state, action, noise, temperature)
        moved = replace(out.state, x=out.state.x + torch.tensor([0.0, 1.0]))
        return replace(out, state=moved, reward=out.reward + 0.5, termination=(out.state.x[:, 0] > 9).float())


def test_a_world_that_is_exact_never_parts_from_its_recordings(tmp_path: Path):
    figures = open_loop(exact_world(), record_linear_world(tmp_path), context=3, horizon=5, windows=16)
    assert figures["error"] == pytest.approx([0] * 5, abs=1e-10)
    assert figures["posterior"] == pytest.approx([0] * 5, abs=1e-10)
    assert figures["reward_error"] == pytest.approx([0] * 5, abs=1e-5)
    assert len(figures["still"]) == 5
    assert min(figures["still"]) > 1e-4


def test_a_wrong_world_parts_step_by_step_and_its_first_errors_are_those_of_one_step(tmp_path: Path):
    figures = open_loop(Wrong(exact_world()), record_linear_world(tmp_path), context=3, horizon=2, windows=16)
    off = np.array([0.0, 1.0])
    after_two = TURN @ off + off
    assert figures["error"] == pytest.approx([0.5, (after_two**2).mean()], rel=1e-4)
    assert figures["posterior"] == pytest.approx([0, 0], abs=1e-10)
    assert figures["reward_error"][0] == pytest.approx(0.5, rel=1e-4)


def ending_episodes(folder: Path, ended: list[bool], last: float) -> Dataset:
    """Return episodes of 4 steps that rest at 0 until their last observation is `(last, 0)`."""
    with DatasetWriter(folder, "Rest-v0", LinearWorld.observation_space, LinearWorld.action_space) as writer:
        for terminated in ended:
            obs = np.zeros((5, 2), np.float32)
            obs[3] = [last / 0.9, 0]
            obs[4] = TURN @ obs[3]
            action, reward = np.zeros((4, 1), np.float32), np.zeros(4, np.float32)
            writer.add(Episode(obs, action, reward, terminated=terminated, truncated=not terminated))
    return Dataset(folder)


def test_endings_are_foreseen_from_the_last_observation_before_them(tmp_path: Path):
    data = ending_episodes(tmp_path / "ended", [True] * 3, 10.0)
    figures = open_loop(Wrong(exact_world()), data, context=2, horizon=2, windows=8)
    assert 8 < figures["steps"] < 32  # some windows begin late
    assert (figures["endings"], figures["expected"]) == (8, 8)
    assert (figures["recall"], figures["false_alarms"]) == (1, 0)
    blind = open_loop(exact_world(), data, context=2, horizon=2, windows=8)
    assert (blind["endings"], blind["expected"], blind["recall"]) == (8, 0, 0)
    going_on = ending_episodes(tmp_path / "went_on", [False] * 3, 10.0)
    figures = open_loop(Wrong(exact_world()), going_on, context=2, horizon=2, windows=8)
    assert figures["false_alarms"] == 8 / figures["steps"]


@pytest.mark.parametrize(("context", "horizon", "told"), [(0, 3, "context is 0"), (2, 0, "horizon 0")])
def test_nothing_seen_or_nothing_dreamed_is_refused(tmp_path: Path, context: int, horizon: int, told: str):
    with pytest.raises(InvalidArgument, match=f"{told}.*expected at least 1 each"):
        open_loop(exact_world(), record_linear_world(tmp_path), context=context, horizon=horizon)


def test_episodes_shorter_than_the_context_are_refused(tmp_path: Path):
    with pytest.raises(InvalidArgument, match="no window has more than 20 steps"):
        open_loop(exact_world(), record_linear_world(tmp_path), context=20, windows=4)
