"""Many lanes of a dream as a Gymnasium vector env: one batched step, on one device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from torch import Tensor

from dreamgym.core.codec import check_action, encode_action
from dreamgym.core.tree import gather, where
from dreamgym.core.wrapper import WrapSpec
from dreamgym.envs.open import Model, lane_seed, make_simulator, open_dream, time_limit
from dreamgym.envs.painters import Painter, make_painter
from dreamgym.envs.simulator import Lanes, Outcome, Simulator
from dreamgym.envs.view import View
from dreamgym.errors import InvalidArgument, InvalidArgumentType, StepBeforeReset
from dreamgym.hub import LoadedDream


class DreamVectorEnv(VectorEnv[Any, Any, Any]):
    """`num_envs` lanes of a dream; lane i is what `DreamEnv` seeded with `seed + i` dreams.

    Args:
        model, variant, observation, output, wrap, starts, termination, device: as in `DreamEnv`.
        num_envs: B, the number of lanes; each costs memory and nothing else does.
        autoreset_mode: an `AutoresetMode` or its name: "NextStep", "SameStep" (SB3, skrl), "Disabled" (`reset_mask`).
        max_episode_steps: the time limit; by default the registered id's or the card's.
        render_mode: "rgb_array" (a tuple of pictures), "human" (a window with all lanes) or None.

    With `output="torch"` rewards, flags, observations and infos are tensors on `device`, and a step on an accelerator
    never makes the host wait.

    Raises:
        UnknownName: if model, variant or wrapper is unknown.
        InvalidArgument: if `num_envs` is not positive or a mode is unknown.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array", "human"], "render_fps": 15}  # noqa: RUF012
    _window: Any = None  # on the class: older Gymnasium closes an env whose constructor refused its arguments

    def __init__(
        self,
        model: Model,
        num_envs: int = 1,
        *,
        variant: str | None = None,
        observation: str = "pixels",
        output: str = "numpy",
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        wrap: WrapSpec = (),
        starts: str = "all",
        termination: str = "draw",
        max_episode_steps: int | None = None,
        device: str = "cpu",
        render_mode: str | None = None,
    ) -> None:
        if num_envs < 1:
            raise InvalidArgument(f"num_envs is {num_envs}; expected at least 1 lane.")
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise InvalidArgument(f"render_mode is {render_mode!r}; expected 'rgb_array', 'human' or None.")
        self.dream = open_dream(model, variant, wrap, device)
        limit = time_limit(model, self.dream) if max_episode_steps is None else max_episode_steps
        self.simulator: Simulator[Any] = make_simulator(self.dream, starts, limit, autoreset_mode, termination)
        self.view = View(self.dream.model, observation, output)
        self.num_envs = num_envs
        self.single_observation_space = self.view.space
        self.single_action_space = self.dream.model.action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.autoreset_mode = self.simulator.autoreset_mode  # TorchRL reads the attribute
        self.metadata = {
            **self.metadata, "autoreset_mode": self.autoreset_mode, "render_fps": round(render_fps(self.dream)),
        }  # fmt: skip
        self.render_mode = render_mode
        self.device = torch.device(device)
        self._lanes: Lanes[Any] | None = None

    @classmethod
    def branch(
        cls, dream: LoadedDream, lanes: Lanes[Any], lane: int, num_envs: int, seed: int | None,
        view: View, simulator: Simulator[Any], kwargs: Mapping[str, Any],
    ) -> DreamVectorEnv:  # fmt: skip
        """Return a vector env whose lanes stand where one lane of another env stands; see `fork`."""
        options = {
            "observation": view.observation,
            "output": view.output,
            "termination": simulator.termination,
            "max_episode_steps": simulator.max_episode_steps,
            "device": str(lanes.seed.device),
            **kwargs,
        }
        env = cls(replace(dream, starts=simulator.starts), num_envs, **options)
        env.reset(seed=seed)
        env._lanes = simulator.fork(lanes, lane, env.lanes.seed)
        return env

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin new episodes and return all observations.

        Args:
            seed: an int seeds lane i with `seed + i`; a list seeds each lane, None in it lets the lane go on.
            options: `{"reset_mask": [B] bool array}` resets only these lanes; the others are what they were.

        Raises:
            InvalidArgument, InvalidArgumentType: if the mask or the list of seeds does not fit the lanes.
        """
        mask = self._check_mask((options or {}).get("reset_mask"))  # not popped: wrappers above read it too
        seeds = self._check_seeds(seed)
        super().reset(seed=seeds[0] if isinstance(seed, (int, np.integer)) else None)
        with torch.no_grad():
            if self._lanes is None:
                drawn = self.np_random.integers(2**62, size=self.num_envs)
                first = [int(d) if s is None else s for s, d in zip(seeds, drawn, strict=True)]
                self._lanes = self.simulator.begin(torch.tensor(first, device=self.device))
            else:
                self._lanes = self._again(self._lanes, mask, seeds)
            if self.render_mode == "human":
                self.render()
            return self.view.observe(self._lanes.state), {}

    @torch.no_grad()
    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Dream one step of every lane; what happens at an episode's end is the autoreset mode's.

        Raises:
            InvalidAction: if the actions are not a batch of `single_action_space`.
            StepBeforeReset: before the first reset; in mode "Disabled" also if a lane's episode has ended.
        """
        lanes, view = self.lanes, self.view
        disabled = self.autoreset_mode is AutoresetMode.DISABLED
        if disabled and lanes.done.device.type == "cpu" and bool(lanes.done.any()):
            ended = lanes.done.nonzero()[:, 0].tolist()
            raise StepBeforeReset(
                f"the episodes of lanes {ended[:8]} have ended; reset them with options['reset_mask']."
            )
        owner = self.spec.id if self.spec is not None else self.dream.name
        actions = check_action(self.single_action_space, actions, self.num_envs, owner)
        self._lanes, outcome = self.simulator.step(
            lanes, encode_action(self.single_action_space, actions).to(self.device)
        )
        obs, info = view.observe(self._lanes.state), infos(outcome, view)
        if outcome.final is not None:
            info = self._final_infos(outcome, info)
        elif view.output == "numpy":
            info = _masked(info, ~view.out(lanes.done))
        reward, terminated, truncated = (view.out(x) for x in (outcome.reward, outcome.terminated, outcome.truncated))
        if view.output == "numpy":
            reward = reward.astype(np.float64)
        if self.render_mode == "human":
            self.render()
        return obs, reward, terminated, truncated, info

    def render(self) -> tuple[np.ndarray, ...] | None:
        """Return a tuple of `[H, W, 3]` uint8 pictures, one a lane; in mode "human" show them in a window.

        Raises:
            NotDecodable: if the model has no decoder.
        """
        if self.render_mode is None:
            return None
        if self.render_mode == "rgb_array":
            return tuple(self.view.pictures(self.lanes.state, self.painter))
        if self._window is None:
            from dreamgym.envs.window import Window

            self._window = Window(f"{self.dream.name}: {self.num_envs} lanes", self.metadata["render_fps"])
        self._window.show(self.view.pictures(self.lanes.state, self.painter, size=64))
        return None

    def close_extras(self, **kwargs: Any) -> None:
        """Close the window, if there is one."""
        if self._window is not None:
            self._window.close()
            self._window = None

    def get_state(self) -> Lanes[Any]:
        """Return this moment of all lanes, to be given to `set_state`."""
        return self.lanes

    @torch.no_grad()
    def set_state(self, state: Lanes[Any]) -> Any:
        """Go to a moment that `get_state` returned, and return its observations."""
        if len(state.done) != self.num_envs:
            raise InvalidArgument(f"state has {len(state.done)} lanes; this env has {self.num_envs}.")
        self._lanes = state
        return self.view.observe(state.state)

    def fork(self, lane: int, num_envs: int, seed: int | None = None, **kwargs: Any) -> DreamVectorEnv:
        """Return a vector env whose lanes all stand in one lane's moment, each with a future of its own."""
        options = {"autoreset_mode": self.autoreset_mode, **kwargs}
        return self.branch(self.dream, self.lanes, lane, num_envs, seed, self.view, self.simulator, options)

    def call(self, name: str, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Return `name` of every lane: an attribute, or what the method returns (pictures for "render")."""
        value = getattr(self, name)
        if callable(value):
            value = value(*args, **kwargs)
        return value if isinstance(value, tuple) and len(value) == self.num_envs else (value,) * self.num_envs

    def env_is_wrapped(self, *args: Any, **kwargs: Any) -> None:
        """Refuse Stable-Baselines3's wrappers, which ask this first, accept any vector env and break at its reset.

        Raises:
            InvalidArgumentType: always.
        """
        raise InvalidArgumentType(
            f"{type(self).__name__} is a Gymnasium vector env; Stable-Baselines3's wrappers expect a VecEnv: "
            "dreamgym.bridges.sb3.DreamVecEnv(...)."
        )

    def get_attr(self, name: str) -> tuple[Any, ...]:
        """Return an attribute, once for each lane."""
        return self.call(name)

    def set_attr(self, name: str, values: Any) -> None:
        """Set an attribute, which all lanes share.

        Raises:
            InvalidArgument: if `values` is a list that does not give each lane the same value.
        """
        if isinstance(values, (list, tuple)):
            if len(values) != self.num_envs:
                expected = f"one, or the same for each of {self.num_envs} lanes"
                raise InvalidArgument(f"{name} is given {len(values)} values; expected {expected}.")
            if any(value != values[0] for value in values):
                raise InvalidArgument(f"{name} is given the values {', '.join(map(str, values))}; all lanes share one.")
            values = values[0]
        setattr(self, name, values)

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

    def _again(self, lanes: Lanes[Any], mask: Tensor, seeds: list[int | None]) -> Lanes[Any]:
        """Return the masked lanes in a new episode; those that were given a seed begin their first one."""
        lanes = self.simulator.reset(lanes, mask)
        if all(seed is None for seed in seeds):
            return lanes
        reseed = torch.tensor([seed is not None for seed in seeds], device=self.device) & mask
        seed = torch.tensor([seed or 0 for seed in seeds], device=self.device)
        return where(reseed, self.simulator.begin(seed), lanes)

    def _check_mask(self, mask: Any) -> Tensor:
        if mask is None:
            return torch.ones(self.num_envs, dtype=torch.bool, device=self.device)
        if not isinstance(mask, (np.ndarray, Tensor)):
            raise InvalidArgumentType(f"options['reset_mask'] is a {type(mask).__name__}; expected an array of bool.")
        if tuple(mask.shape) != (self.num_envs,):
            raise InvalidArgument(f"options['reset_mask'] has shape {tuple(mask.shape)}; expected ({self.num_envs},).")
        if mask.dtype not in (np.bool_, torch.bool):
            raise InvalidArgumentType(f"options['reset_mask'] has dtype {mask.dtype}; expected bool.")
        on_host = isinstance(mask, np.ndarray) or mask.device.type == "cpu"
        if on_host and not bool(mask.any()):
            raise InvalidArgument("options['reset_mask'] names no lane; expected at least one True.")
        return torch.as_tensor(mask.copy() if isinstance(mask, np.ndarray) else mask, device=self.device)

    def _check_seeds(self, seed: int | Sequence[int | None] | None) -> list[int | None]:
        if seed is None:
            return [None] * self.num_envs
        if isinstance(seed, (int, np.integer)):
            first = lane_seed(seed)
            return [(first + i) % 2**63 for i in range(self.num_envs)]
        if not isinstance(seed, (Sequence, np.ndarray)) or isinstance(seed, str):
            expected = f"an integer, or a list with one or None for each of {self.num_envs} lanes"
            raise InvalidArgumentType(f"seed is {seed!r}; expected {expected}.")
        if len(seed) != self.num_envs:
            raise InvalidArgument(f"seed lists {len(seed)} seeds; expected one for each of {self.num_envs} lanes.")
        return [None if s is None else lane_seed(s) for s in seed]

    def _final_infos(self, outcome: Outcome[Any], info: dict[str, Any]) -> dict[str, Any]:
        """Return SAME_STEP's infos: the last observation and info of each lane that ended, before its reset."""
        ended = outcome.terminated | outcome.truncated
        if self.view.output == "torch":
            return {**info, "final_obs": self.view.observe(outcome.final), "_final_obs": ended}
        mask = self.view.out(ended)
        if not mask.any():
            return _masked(info, ~mask)
        rows = ended.nonzero()[:, 0]
        last = self.view.observe(gather(outcome.final, rows))
        final_obs = np.full(self.num_envs, None, dtype=object)
        for position, row in enumerate(rows.tolist()):
            final_obs[row] = {k: v[position] for k, v in last.items()} if isinstance(last, dict) else last[position]
        final = {
            "final_obs": final_obs,
            "_final_obs": mask,
            "final_info": _masked(info, mask),
            "_final_info": mask.copy(),
        }
        return _masked(info, ~mask) | final


def infos(outcome: Outcome[Any], view: View) -> dict[str, Any]:
    """Return what a step says beside reward and flags, `[B]` each: "termination", "diverged" and the model's own."""
    return {key: view.out(value) for key, value in {**outcome.info, "diverged": outcome.diverged}.items()}


def _masked(info: Mapping[str, np.ndarray], mask: np.ndarray) -> dict[str, Any]:
    """Return the info of the lanes that `mask [B]` names as Gymnasium gives it: zeros elsewhere, `_key` says where."""
    if not mask.any():
        return {}
    shown = {k: np.where(mask.reshape(-1, *[1] * (v.ndim - 1)), v, np.zeros_like(v)) for k, v in info.items()}
    return shown | {f"_{key}": mask.copy() for key in info}


def render_fps(dream: LoadedDream) -> float:
    """Return the pictures a second at which a dream looks like the real thing; 15 where its card does not say."""
    return float(dream.card.get("render_fps", 15))
