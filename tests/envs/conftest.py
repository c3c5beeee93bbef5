"""A registered dream on disk, for what goes through `gym.make`."""

from collections.abc import Iterator
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from oracle import BUTTONS, counting_dream

from dreamgym.hub import save_dream
from dreamgym.registry import DREAMS, register_dream

CARD = {"id": "DreamCounting-v0", "real": "RealCounting-v0", "max_episode_steps": 6, "render_fps": 30}


class RealCounting(gym.Env):
    """The world that `CountingWorld` dreams: start 7, shown as a picture."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 30}  # noqa: RUF012
    observation_space = spaces.Box(0, 255, (4, 6, 3), np.uint8)
    action_space = BUTTONS

    def __init__(self, render_mode=None):
        self.render_mode = render_mode

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = self.total = 0
        return self._picture(), {}

    def step(self, action):
        self.t, self.total = self.t + 1, self.total + int(action)
        return self._picture(), self.t + action / 10, self.t == 5, False, {}

    def render(self):
        return self._picture()

    def get_keys_to_action(self):
        return {("a",): 1, ("d",): 2}

    def _picture(self):
        return np.broadcast_to(np.array([7, self.t, self.total], np.uint8), (4, 6, 3)).copy()


@pytest.fixture(scope="session")
def dream_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dream of pictures on disk, with a time limit of 6 steps."""
    dream = counting_dream(RealCounting.observation_space, lengths=(0,))
    return save_dream(tmp_path_factory.mktemp("dreams") / "counting", dream.model, dream.starts, CARD)


@pytest.fixture
def dream_id(dream_folder: Path) -> Iterator[str]:
    """The same dream, registered with its real twin."""
    gym.register("RealCounting-v0", entry_point=RealCounting)
    register_dream("DreamCounting-v0", variants={"plain": dream_folder}, real="RealCounting-v0", max_episode_steps=6)
    yield "DreamCounting-v0"
    del gym.registry["DreamCounting-v0"], gym.registry["RealCounting-v0"], DREAMS["DreamCounting-v0"]
