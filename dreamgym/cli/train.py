"""`dreamgym train`: its options depend on the model family, so its parser is made when the family is known."""

from __future__ import annotations

import inspect
import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, make_dataclass
from pathlib import Path
from typing import Annotated, Any

import gymnasium as gym
import torch
import tyro

import dreamgym
from dreamgym.core.starts import make_start_bank
from dreamgym.data.collect import summarize
from dreamgym.data.drivers import is_function
from dreamgym.data.episodes import Dataset
from dreamgym.data.minari import PREFIX, find_data
from dreamgym.errors import InvalidArgument, UnknownName
from dreamgym.hub import LoadedDream, build_model, family_of, load, save_dream
from dreamgym.registry import MODELS
from dreamgym.training import TrainConfig, fit
from dreamgym.training.ranks import is_first_process

TRAINING = "training"
"""Folder inside a dream's folder that holds checkpoints, logs and strips."""


@dataclass(kw_only=True)
class TrainOptions:
    """Train a world model on recorded experience and save it as a dream.

    Killed at any moment, it goes on from its last checkpoint when the same command is given again.
    """

    data: Annotated[tuple[str, ...], tyro.conf.arg(metavar="DATA")]
    """Folders that `dreamgym collect` wrote, or local Minari datasets as minari:ID."""
    out: Path
    """Folder of the dream; checkpoints, logs and pictures go to its folder `training`."""
    family: Annotated[str, tyro.conf.arg(name="model")] = "vae_mdn_rnn"
    """Family of world models; `dreamgym list` shows them."""
    preset: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """Sizes and losses of the family to begin with, such as dreamer_v3-size12m of rssm; --model options change them."""
    source: Annotated[str | None, tyro.conf.arg(name="from", metavar="ID")] = None
    """Dream whose sizes and weights to begin with: an id or a folder."""
    only: tuple[str, ...] = ()
    """Stages to train; the others keep their weights. All by default."""
    resume: bool = True
    """Go on from the newest checkpoint in the folder, if there is one."""
    starts: int = 2000
    """States in the start bank, where dreams begin."""
    starts_data: Annotated[tuple[str, ...], tyro.conf.arg(metavar="DATA")] = ()
    """Recordings that the start bank is filled from; by default all that were trained on. Those of a good policy know
    the situations that a good policy gets into."""
    real: Annotated[str | None, tyro.conf.arg(metavar="ID")] = None
    """Gymnasium id of the real twin; by default the env that was recorded."""
    max_episode_steps: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None
    """Time limit in decisions; by default the recorded env's, or else the longest recorded episode's."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print JSON."""
    run: Annotated[TrainConfig, tyro.conf.arg(name="")] = field(default_factory=TrainConfig)


def train(arguments: Sequence[str]) -> int:
    """Train a world model on recorded experience and save it as a dream."""
    options = parse(arguments)
    dataset = _open(options.data, options.out)
    starts = _open(options.starts_data, options.out) if options.starts_data else dataset
    run = options.run
    torch.manual_seed(run.seed)
    model = build_model(options.family, asdict(options.config), dataset.observation_space, dataset.action_space)
    if options.source is not None:
        _load_weights(model, load(options.source))
    result = fit(
        model,
        dataset,
        options.out / TRAINING,
        stages={name: getattr(options, name) for name in model.stages},
        only=options.only or None,
        resume=options.resume,
        config=run,
    )
    if not is_first_process():
        return 0
    bank = make_start_bank(model, starts.split(run.holdout)[0], options.starts, seed=run.seed)
    figures = {"steps": dict(result.steps), "terms": dict(result.terms), "validation": dict(result.validation)}
    card = {
        "id": options.out.resolve().name,
        **_twin(dataset, options),
        "command": shlex.join(["dreamgym", "train", *arguments]),
        "versions": {"dreamgym": dreamgym.__version__, "torch": str(torch.__version__)},
        "data": {"env": dataset.env_id, **_minari_ids(options.data), **summarize(dataset)},
        "training": figures,
    }
    folder = save_dream(options.out, model, bank, card)
    if options.json:
        print(json.dumps({"folder": str(folder), **figures, "seconds": result.seconds}))
    else:
        print(f"{folder} holds the dream. Next: dreamgym train-policy {folder}; dreamgym eval {folder}")
    return 0


def _open(names: Sequence[str], out: Path) -> Dataset:
    return Dataset([find_data(name, out / TRAINING / "minari") for name in names])


def parse(arguments: Sequence[str]) -> Any:
    """Return `TrainOptions` with the family's `config` and a `StageConfig` for each of its stages.

    Raises:
        UnknownName: if there is no such family, no such preset of it, or no such dream to begin with.
        InvalidArgument: if both a preset and a dream are given.
    """
    family, preset, source = (peek(arguments, option) for option in ("--model", "--preset", "--from"))
    config: Any = None
    if source is not None:
        if preset is not None:
            raise InvalidArgument(f"preset is {preset!r} and from is {source!r}; give one of them, both set the sizes.")
        begun: Any = load(source).model
        family, config = family_of(begun), begun.config
    family = family or TrainOptions.family
    cls = MODELS.load(family)
    config = config or _preset(family, cls, preset)
    fields: list[Any] = [("config", Annotated[type(config), tyro.conf.arg(name="model")], field(default=config))]
    fields += [(name, type(stage), field(default=stage)) for name, stage in cls.stages.items()]
    options = make_dataclass("Options", fields, bases=(TrainOptions,), kw_only=True)
    parsed: Any = tyro.cli(
        options, prog="dreamgym train", description=inspect.cleandoc(str(TrainOptions.__doc__)), args=list(arguments)
    )
    parsed.family = family
    return parsed


def _preset(family: str, cls: Any, name: str | None) -> Any:
    if name is None:
        return cls.config_class()
    presets = getattr(cls, "presets", {})
    if name not in presets:
        raise UnknownName(f"preset of {family}", name, presets)
    return presets[name]()


def peek(arguments: Sequence[str], option: str) -> str | None:
    """Return the value of an option that decides which others there are."""
    for argument, following in zip(arguments, [*arguments[1:], None], strict=True):
        if argument == option:
            return following
        if argument.startswith(f"{option}="):
            return argument.partition("=")[2]
    return None


def _load_weights(model: Any, dream: LoadedDream) -> None:
    for name in ("observation_space", "action_space"):
        theirs, ours = getattr(dream.model, name), getattr(model, name)
        if theirs != ours:
            raise InvalidArgument(f"{dream.name} has {name} {theirs}; the data have {ours}. Train without --from.")
    trained: Mapping[str, Any] = dream.model.state_dict()  # type: ignore[attr-defined]
    parts = {name.partition(".")[0] for name in trained}
    new = {name: weight for name, weight in model.state_dict().items() if name.partition(".")[0] not in parts}
    try:
        model.load_state_dict({**trained, **new})  # a part that the dream lacks begins as drawn
    except RuntimeError as error:
        raise InvalidArgument(
            f"the weights of {dream.name} do not fit other sizes; leave the --model options out. {error}"
        ) from error


def _minari_ids(data: Sequence[str]) -> dict[str, list[str]]:
    """Return what the card says of Minari datasets."""
    ids = [name.removeprefix(PREFIX) for name in data if name.startswith(PREFIX)]
    return {"minari": ids} if ids else {}


def _twin(dataset: Dataset, options: TrainOptions) -> dict[str, Any]:
    """Return what the card says of the real twin and of the time limit."""
    real = options.real
    if real is None and not is_function(dataset.env_id):
        recorded = dataset.env_id.rpartition(":")[2]
        real = recorded if recorded in gym.registry else None
    limit = options.max_episode_steps or (gym.spec(real).max_episode_steps if real else None)
    return {**({"real": real} if real else {}), "max_episode_steps": int(limit or dataset.lengths.max())}
