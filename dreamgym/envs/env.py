"""One lane of a dream as a Gymnasium env."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import AutoresetMode

from dreamgym.core.codec import check_action, encode_action
from dreamgym.core.wrapper import WrapSpec
from dreamgym.envs.open import Model, lane_seed, make_simulator, open_dream, time_limit
from dreamgym.envs.painters import Painter, make_painter
from dreamgym.envs.simulator import Lanes
from dreamgym.envs.vector_env import DreamVectorEnv, infos, render_fps
from dreamgym.envs.view import View
from dreamgym.errors import InvalidArgument, StepBeforeReset
from dreamgym.registry import DREAMS


class DreamEnv(gym.Env[Any, Any]):
    """A trained world model that behaves like the environment it was trained on.

    Args:
        model: a registered dream's id, a folder that `dreamgym train` wrote, or a `LoadedDream`.
        variant: which of a registered dream's variants; None is the default one.
        observation: "pixels" for what the real env shows, "features" for what a small policy wants, "both" for a Dict.
        output: "numpy", or "torch" for tensors on `device`.
        wrap: model wrappers, `[(name, kwargs), ...]`, the innermost first.
        starts: begin in "all" recorded situations, or only in those that open an episode ("first").
        termination: "draw" ends the episode with the model's probability, "threshold" where it exceeds 0.5, "never"
            only tells it in the info.
        max_episode_steps: the time limit; by default the registered id's or the card's. `gym.make` replaces that of a
            registered id, and can only shorten that of `DreamEnv-v0`.
        device: where the dream is computed.
        render_mode: "rgb_array" or None; `gym.make` makes "human" of it.

    Raises:
        UnknownName: if model, variant or wrapper is unknown.
        InvalidArgument: if a mode is unknown.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 15}  # noqa: RUF012  Gymnasium's own form

    def __init__(
        self,
        model: Model,
        *,
        variant: str | None = None,
        observation: str = "pixels",
        output: str = "numpy",
        wrap: WrapSpec = (),
        starts: str = "all",
        termination: str = "draw",
        max_episode_steps: int | None = None,
        device: str = "cpu",
        render_mode: str | None = None,
    ) -> None:
        self.dream = open_dream(model, variant, wrap, device)
        limit = time_limit(model, self.dream) if max_episode_steps is None else max_episode_steps
        self.simulator = make_simulator(self.dream, starts, limit, AutoresetMode.DISABLED, termination)
        self.view = View(self.dream.model, observation, output)
        self.observation_space = self.view.space
        self.action_space = self.dream.model.action_space
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise InvalidArgument(f"render_mode is {render_mode!r}; expected 'rgb_array' or None.")
        self.render_mode = render_mode
        self.metadata = {**self.metadata, "render_fps": round(render_fps(self.dream))}  # as play wants it
        self.device = torch.device(device)
        self._lanes: Lanes[Any] | None = None

    @torch.no_grad()
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode and return its first observation.

        Args:
            seed: the same seed dreams the same dream; without one the first reset draws it and later ones go on.
            options: none are known.
        """
        seed = None if seed is None else lane_seed(seed)
        super().reset(seed=seed)
        if self.spec is not None and self.spec.id in DREAMS:
            self.simulator.max_episode_steps = None  # gym.make counts a registered dream's steps itself: TimeLimit
        if seed is not None or self._lanes is None:
            seed = int(self.np_random.integers(2**62)) if seed is None else seed
            self._lanes = self.simulator.begin(torch.tensor([seed], device=self.device))
        else:
            self._lanes = self.simulator.reset(self._lanes, torch.ones_like(self._lanes.done))
        return self._observation(), {}

    @torch.no_grad()
    def step(self, action: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Dream one step.

        Raises:
            InvalidAction: if the action is not one of `action_space`.
            StepBeforeReset: if no episode is running.
        """
        lanes = self.lanes
        if bool(lanes.done[0]):
            raise StepBeforeReset("the episode has ended; call reset() before the next step().")
        owner = self.spec.id if self.spec is not None else self.dream.name
        action = check_action(self.action_space, action, None, owner)
        self._lanes, outcome = self.simulator.step(
            lanes, encode_action(self.action_space, action[None]).to(self.device)
        )
        reward, terminated, truncated = outcome.reward[0], outcome.terminated[0], outcome.truncated[0]
        info = {key: _first(value) for key, value in infos(outcome, self.view).items()}
        if self.view.output == "numpy":
            return self._observation(), float(reward), bool(terminated), bool(truncated), info
        return self._observation(), reward, terminated, truncated, info

    def render(self) -> Any:
        """Return `[H, W, 3]` uint8, the picture of the present state, or None without a render mode.

        Raises:
            NotDecodable: if the model has no decoder.
        """
        return self.view.pictures(self.lanes.state, self.painter)[0] if self.render_mode == "rgb_array" else None

    def get_state(self) -> Lanes[Any]:
        """Return this moment, to be given to `set_state` of any env on the same dream."""
        return self.lanes

    def set_state(self, state: Lanes[Any]) -> Any:
        """Go to a moment that `get_state` returned, and return its observation; what follows is what followed then."""
        if len(state.done) != 1:
            raise InvalidArgument(f"state has {len(state.done)} lanes; DreamEnv has 1.")
        self._lanes = state
        with torch.no_grad():
            return self._observation()

    def fork(self, num_envs: int, seed: int | None = None, **kwargs: Any) -> DreamVectorEnv:
        """Return a vector env whose lanes all stand in this moment, each with a future of its own.

        Args:
            num_envs: how many futures.
            seed: of the futures.
            **kwargs: options of `DreamVectorEnv`; the dream's wrappers and the modes of this env stay.
        """
        return DreamVectorEnv.branch(self.dream, self.lanes, 0, num_envs, seed, self.view, self.simulator, kwargs)

    def get_keys_to_action(self) -> dict[tuple[str | int, ...], Any]:
        """Return which keys mean which action, as the real twin says; `gymnasium.utils.play` reads it.

        Of Box actions it has to be told the one for no key, too: `play(env, noop=np.zeros(3, np.float32))`.
        """
        from dreamgym.envs.twin import keys_to_action

        return keys_to_action(self.dream)

    @cached_property
    def painter(self) -> Painter:
        """What draws the observations for people."""
        return make_painter(self.dream)

    @property
    def lanes(self) -> Lanes[Any]:
        """All that the simulator knows.

        Raises:
            StepBeforeReset: before the first reset.
        """
        if self._lanes is None:
            raise StepBeforeReset("no episode has begun; call reset() first.")
        return self._lanes

    @torch.no_grad()
    def _observation(self) -> Any:
        batch = self.view.observe(self.lanes.state)
        return {key: part[0] for key, part in batch.items()} if isinstance(batch, dict) else batch[0]


def _first(value: Any) -> Any:
    """Return the only row of an info; a bool is Python's, of which Gymnasium's vector envs make bool arrays."""
    return bool(value[0]) if isinstance(value[0], np.bool_) else value[0]
