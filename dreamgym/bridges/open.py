"""What bridges share: lanes opened as a library needs them, with what it cannot take refused, and their step."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode
from torch import Tensor

from dreamgym.core.codec import check_action, encode_action
from dreamgym.envs.open import Model
from dreamgym.envs.simulator import Outcome, parse_autoreset_mode
from dreamgym.envs.vector_env import DreamVectorEnv
from dreamgym.errors import InvalidArgument, InvalidArgumentType, StepBeforeReset, UnsupportedSpace

MODES = {  # mode -> what a library does that needs it
    AutoresetMode.NEXT_STEP: "resets a lane in the step after the one that ends it",
    AutoresetMode.SAME_STEP: "resets a lane in the step that ends it",
    AutoresetMode.DISABLED: "resets lanes itself",
}


def open_envs(
    model: Model | DreamVectorEnv,
    num_envs: int | None,
    mode: AutoresetMode,
    library: str,
    *,
    tensors: bool = True,
    **kwargs: Any,
) -> DreamVectorEnv:
    """Return lanes of a dream in the mode that a library needs.

    Args:
        model: what `DreamVectorEnv` takes, or a `DreamVectorEnv`, which is checked and returned.
        num_envs: the number of lanes; None is one, or those of the given env.
        mode: what the library needs.
        library: its name, for messages.
        tensors: the library takes tensors only.
        **kwargs: the caller's options of `DreamVectorEnv`; `observation` is "features" and `output` "torch" by default.

    Raises:
        InvalidArgument: if another mode, output or device is asked for, or options are given beside an existing env.
        InvalidArgumentType: if `model` is another env, or a wrapper around one.
        UnsupportedSpace: if actions are integers that do not start at 0.
    """
    if isinstance(model, (gym.Env, gym.vector.VectorEnv)) and not isinstance(model, DreamVectorEnv):
        raise InvalidArgumentType(
            f"model is a {type(model).__name__}; expected a dream's id, folder or LoadedDream, or a DreamVectorEnv "
            "without wrappers."
        )
    if isinstance(model, DreamVectorEnv):
        if kwargs or num_envs not in (None, model.num_envs):
            raise InvalidArgument(
                f"options {sorted(kwargs) or ['num_envs']} were given beside a DreamVectorEnv of {model.num_envs} "
                "lanes; give them to that env instead."
            )
        _check_mode(model.autoreset_mode, mode, library)
        envs = model
    else:
        _check_mode(kwargs.pop("autoreset_mode", mode), mode, library)
        options = {"observation": "features", "output": "torch", **kwargs}
        _check_device(options.get("device", "cpu"))
        envs = DreamVectorEnv(model, 1 if num_envs is None else num_envs, autoreset_mode=mode, **options)
    if tensors and envs.view.output != "torch":
        raise InvalidArgument(f"output is {envs.view.output!r}; {library} takes tensors: use 'torch'.")
    space = envs.single_action_space
    if isinstance(space, spaces.Discrete) and space.start != 0:
        raise UnsupportedSpace(f"action space {space} starts at {space.start}; {library} needs integers from 0.")
    return envs


@torch.no_grad()
def step_envs(envs: DreamVectorEnv, actions: Any, active: Tensor | None = None) -> tuple[Any, Outcome[Any]]:
    """Return the observations after one step, and what it produced.

    This is `envs.step` without its infos, which most libraries do not read. In mode "SameStep" an outcome's `final`
    holds the states before the lanes that ended were reset, None if none did; `envs.view.observe` shows them.

    Args:
        envs: the lanes.
        actions: of all lanes, in env units.
        active: `[B]` bool, the lanes to be stepped; the others stay as they are. None steps all.

    Raises:
        InvalidAction: if the actions are not a batch of `single_action_space`.
        StepBeforeReset: before the first reset; in mode "Disabled" also if the episode of an active lane has ended.
    """
    space, lanes = envs.single_action_space, envs.lanes
    asleep = lanes.done if active is None else lanes.done & active
    if envs.autoreset_mode is AutoresetMode.DISABLED and asleep.device.type == "cpu" and bool(asleep.any()):
        raise StepBeforeReset(f"the episodes of lanes {asleep.nonzero()[:8, 0].tolist()} have ended; reset them first.")
    action = encode_action(space, check_action(space, actions, envs.num_envs, envs.dream.name))
    lanes, outcome = envs.simulator.step(lanes, action.to(envs.device), active)
    obs = envs.set_state(lanes)
    if envs.render_mode == "human":
        envs.render()
    return obs, outcome


def _check_mode(given: AutoresetMode | str, needed: AutoresetMode, library: str) -> None:
    given = parse_autoreset_mode(given)
    if given is not needed:
        raise InvalidArgument(f"autoreset_mode is {given.value!r}; {library} {MODES[needed]}: use {needed.value!r}.")


def _check_device(device: Any) -> None:
    try:
        torch.empty(0, device=device)
    except (AssertionError, RuntimeError, TypeError) as error:  # torch raises any of them
        known = "cpu, cuda" if torch.cuda.is_available() else "cpu"
        raise InvalidArgument(f"device is {device!r}; expected one that torch finds here: {known}.") from error
