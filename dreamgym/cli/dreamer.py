"""`dreamgym dreamer`: its options depend on the model family and the agent's variant."""

from __future__ import annotations

import inspect
import json
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, make_dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import tyro
from gymnasium import spaces

import dreamgym
from dreamgym.agents.dreamer_config import DreamerConfig, dreamer_v1, dreamer_v2, dreamer_v3
from dreamgym.cli.train import peek
from dreamgym.core.spaces import is_image
from dreamgym.errors import UnknownName
from dreamgym.online import OnlineConfig, train_online
from dreamgym.online.run import make_env
from dreamgym.registry import MODELS

VARIANTS: dict[str, Callable[[], DreamerConfig]] = {
    "small": DreamerConfig,
    "v1": dreamer_v1,
    "v2": dreamer_v2,
    "v2_continuous": partial(dreamer_v2, discrete=False),
    "v3": dreamer_v3,
}
SMALL: dict[str, dict[str, Any]] = {
    "rssm": {"deter_dim": 128, "hidden_dim": 128, "groups": 8, "classes": 8, "reconstruction_weight": 100.0}
}
"""What differs from a family's own defaults where there are no pictures, on one core. A vector's squared error is small
beside the latent's nats, which would otherwise not tell a pole's angle of 0.1."""


@dataclass(kw_only=True)
class DreamerOptions:
    """Learn a world model of an environment and a policy in its imagination, together, while acting in it.

    Killed at any moment, it goes on from its last checkpoint when the same command is given again; all finished
    episodes are kept. The dream, its policy, the recordings and the logs are then in the folder.
    """

    env: str
    """A Gymnasium id, or module:function of a function that makes an env."""
    out: Path
    """Folder of the dream; episodes go to its folder `data`, checkpoints and logs to `training`."""
    family: Annotated[str, tyro.conf.arg(name="model")] = "rssm"
    """Family of world models that are learned in one stage."""
    variant: Literal["small", "v1", "v2", "v2_continuous", "v3"] = "small"
    """Whose agent: Dreamer V3's in a size and at rates for one core, or a paper's with its defaults."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print JSON."""
    run: Annotated[OnlineConfig, tyro.conf.arg(name="")] = field(default_factory=OnlineConfig)


def dreamer(arguments: Sequence[str]) -> int:
    """Learn a world model of an environment and a policy in its imagination, together, while acting in it."""
    options = parse(arguments)
    result = train_online(
        options.env,
        options.out,
        family=options.family,
        model=options.config,
        agent=options.agent,
        config=options.run,
        card={
            "command": shlex.join(["dreamgym", "dreamer", *arguments]),
            "versions": {"dreamgym": dreamgym.__version__, "torch": str(torch.__version__)},
        },
    )
    if options.json:
        figures = {"steps": result.steps, "updates": result.updates, "score": dict(result.score)}
        print(json.dumps({"folder": str(result.folder), **figures, "seconds": result.seconds}))
        return 0
    print(f"{result.steps:,} real steps, {result.updates:,} updates: mean return {result.score['mean']:.1f} "
          f"+- {result.score['std']:.1f} over {result.score['episodes']} episodes")  # fmt: skip
    print(f"{result.folder} holds the dream and its policy. Next: dreamgym eval {result.folder}")
    return 0


def parse(arguments: Sequence[str]) -> Any:
    """Return `DreamerOptions` with the family's `config` and the variant's `agent`.

    Raises:
        UnknownName: if there is no such family or variant.
    """
    family, variant = peek(arguments, "--model") or "rssm", peek(arguments, "--variant") or "small"
    if variant not in VARIANTS:
        raise UnknownName("variant", variant, VARIANTS)
    config = default_model(family, peek(arguments, "--env"))
    fields: list[Any] = [
        ("config", Annotated[type(config), tyro.conf.arg(name="model")], field(default=config)),
        ("agent", DreamerConfig, field(default=VARIANTS[variant]())),
    ]
    options = make_dataclass("Options", fields, bases=(DreamerOptions,), kw_only=True)
    return tyro.cli(
        options, prog="dreamgym dreamer", description=inspect.cleandoc(str(DreamerOptions.__doc__)),
        args=list(arguments),
    )  # fmt: skip


def default_model(family: str, env: str | None) -> Any:
    """Return the config of a family of world models, small if an env (a Gymnasium id) shows no pictures.

    Raises:
        UnknownName: if there is no such family.
    """
    config_class = MODELS.load(family).config_class
    if env is not None:
        with make_env(env) as made:
            seen = made.observation_space
        if any(is_image(part) for part in (seen.values() if isinstance(seen, spaces.Dict) else [seen])):
            return config_class()
    return config_class(**SMALL.get(family, {}))
