"""The real side of a dream: the environment that it was learned from, with the dream's spaces and encoding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym

from dreamgym.envs.open import Model, open_dream
from dreamgym.envs.view import OBSERVATIONS
from dreamgym.errors import ForeignDream, InvalidArgument, InvalidObservation
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


def real_id(dream: LoadedDream) -> str:
    """Return the Gymnasium id of a dream's real twin, as its card names it.

    Raises:
        ForeignDream: if the card names none, or names a module to import: a card never chooses what is run.
    """
    name = dream.card.get("real")
    if not name or ":" in str(name):
        raise ForeignDream(f"the card of {dream.name} says real = {name!r}; expected the id of a registered env.")
    return str(name)


def keys_to_action(dream: LoadedDream) -> dict[tuple[str, ...], Any]:
    """Return which keys mean which action, as the real env says.

    Raises:
        InvalidArgument: if it does not say.
    """
    spec = gym.spec(real_id(dream))
    assert spec.entry_point is not None
    entry = (
        gym.envs.registration.load_env_creator(spec.entry_point)
        if isinstance(spec.entry_point, str)
        else spec.entry_point
    )
    module = Path(str(getattr(entry, "__module__", "")))
    keys = getattr(__import__(str(module), fromlist=["KEYS"]), "KEYS", None) or getattr(entry, "KEYS", None)
    if keys is None:
        raise InvalidArgument(f"{spec.id} does not say which keys mean which action.")
    return dict(keys)
