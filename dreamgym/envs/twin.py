"""The real side of a dream: the environment that it was learned from, with the dream's spaces and encoding."""

from __future__ import annotations

import contextlib
import importlib
from types import ModuleType
from typing import Any

import gymnasium as gym

from dreamgym.envs.keys import combinations, default_keys
from dreamgym.envs.open import Model, open_dream
from dreamgym.envs.view import OBSERVATIONS
from dreamgym.errors import ForeignDream, InvalidArgument, InvalidObservation, MissingExtra
from dreamgym.hub import LoadedDream
from dreamgym.registry import import_target

_FEATURES = "dreamgym.wrappers.feature_observation:FeatureObservation"


def make_real(
    model: Model,
    *,
    variant: str | None = None,
    observation: str = "pixels",
    render_mode: str | None = None,
    device: str = "cpu",
) -> gym.Env[Any, Any]:
    """Return the real environment of a dream, so that one policy runs unchanged in both.

    Args:
        model: a registered dream's id, a folder that `dreamgym train` wrote, or a `LoadedDream`.
        variant: which of a registered dream's variants.
        observation: "pixels"; or "features" or "both", which filter the real observations through the model.
        render_mode: of the real env.
        device: where the model computes features.

    Raises:
        InvalidArgument: if `observation` is no mode.
        InvalidObservation: if the real env's spaces are not the dream's.
        MissingExtra: if the real env needs a package that is not installed.
    """
    if observation not in OBSERVATIONS:
        raise InvalidArgument(f"observation is {observation!r}; expected one of {', '.join(map(repr, OBSERVATIONS))}.")
    dream = open_dream(model, variant, (), device)
    env = gym.make(real_id(dream), render_mode=render_mode)
    for name in ("observation_space", "action_space"):
        ours, real = getattr(dream.model, name), getattr(env, name)
        if ours != real:
            raise InvalidObservation(f"{real_id(dream)} has {name} {real}; {dream.name} was trained on {ours}.")
    return env if observation == "pixels" else import_target(_FEATURES)(env, dream.model, observation)


def why_no_real(dream: LoadedDream) -> str:
    """Return why a dream's real twin cannot be made on this machine; "" if it can."""
    try:
        make_real(dream).close()
    except (MissingExtra, ForeignDream, gym.error.Error) as error:
        return " ".join(str(error).split()).rstrip(".")
    return ""


def real_id(dream: LoadedDream) -> str:
    """Return the Gymnasium id of a dream's real twin, as its card names it.

    Raises:
        ForeignDream: if the card names none, or names a module to import: a card never chooses what is run.
    """
    name = dream.card.get("real")
    if not name or ":" in str(name):
        raise ForeignDream(f"the card of {dream.name} says real = {name!r}; expected the id of a registered env.")
    return str(name)


def real_module(dream: LoadedDream) -> ModuleType:
    """Return the module that makes a dream's real twin; it may say more than the env, its `KEYS` and `PROBES`."""
    entry_point = gym.spec(real_id(dream)).entry_point
    return importlib.import_module(
        entry_point.partition(":")[0] if isinstance(entry_point, str) else str(getattr(entry_point, "__module__", ""))
    )


def keys_to_action(dream: LoadedDream, idle: bool = False) -> dict[tuple[str | int, ...], Any]:
    """Return which keys mean which action, in the form that `gymnasium.utils.play` reads: codes in ascending order.

    They are what the real twin's module calls `KEYS`, or what the env itself says, or else those that are usual for
    such an action space (`default_keys`).

    Args:
        dream: whose keys.
        idle: whether to return `()` too, what is done while no key is held, where it is known; `play` refuses it.

    Raises:
        InvalidArgument: if neither says and no keys are usual.
    """
    keys = getattr(real_module(dream), "KEYS", None)
    if keys is None:
        with contextlib.closing(gym.make(real_id(dream))) as env:
            if env.has_wrapper_attr("get_keys_to_action"):
                keys = env.get_wrapper_attr("get_keys_to_action")()
    if keys is None:
        try:
            keys = default_keys(dream.model.action_space)
        except InvalidArgument as error:
            raise InvalidArgument(f"{real_id(dream)} does not say which keys mean which action, and {error}") from None
    return {held: action for held, action in combinations(keys).items() if held or idle}
