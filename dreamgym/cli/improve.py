"""`dreamgym improve`: train the policy in the dream, record with it, train the world model further, repeat."""

from __future__ import annotations

import inspect
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, make_dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from dreamgym.cli.output import print_table
from dreamgym.cli.policy import parse_wrap
from dreamgym.errors import UnknownName
from dreamgym.hub import load
from dreamgym.improve import ImproveConfig, improve
from dreamgym.training import TrainConfig


@dataclass(frozen=True, kw_only=True)
class Settings(ImproveConfig):
    """What each round does."""

    wrap: tuple[str, ...] = ()  # type: ignore[assignment]
    """Model wrappers for the policy's training, the innermost first, e.g. tent:peak=4.2"""


@dataclass(kw_only=True)
class ImproveOptions:
    """Improve a dream and its policy together, in rounds, each with its score in the dream and in the real environment.

    A round trains a policy in the newest dream, scores it, records with it and trains the world model further on all
    the data. Interrupted, the same command goes on where it stopped. The best round is copied to the folder `best`.
    """

    dream: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="ID")]
    """The dream to begin with: an id or a folder."""
    data: tuple[Path, ...]
    """The datasets that it was learned from."""
    out: Path
    """Folder that gets a folder for each round."""
    only: tuple[str, ...] = ()
    """Stages of the world model to train further; all by default."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print JSON: the rounds."""
    settings: Annotated[Settings, tyro.conf.arg(name="")] = field(default_factory=Settings)
    train: TrainConfig = field(default_factory=TrainConfig)


def run(arguments: Sequence[str]) -> int:
    """Improve a dream and its policy together and return the exit status."""
    dream = arguments[0] if arguments and not arguments[0].startswith("-") else None
    stages = load(dream).model.stages if dream is not None else {}  # type: ignore[attr-defined]
    extra = [(name, type(stage), field(default=stage)) for name, stage in stages.items()]
    about = (
        inspect.cleandoc(str(ImproveOptions.__doc__)) + "\n\nGive ID first: each stage of its model has options too."
    )
    options: Any = tyro.cli(
        make_dataclass("Options", extra, bases=(ImproveOptions,), kw_only=True),
        prog="dreamgym improve",
        description=about,
        args=list(arguments),
    )
    for name in options.only:
        if name not in stages:
            raise UnknownName("stage", name, stages)
    values = {item.name: getattr(options.settings, item.name) for item in fields(ImproveConfig)}
    rounds = improve(
        options.dream,
        options.data,
        options.out,
        stages={name: getattr(options, name) for name in stages if name in (options.only or stages)},
        config=ImproveConfig(**{**values, "wrap": parse_wrap(options.settings.wrap)}),
        train=options.train,
        progress=not options.json,
    )
    if options.json:
        print(json.dumps({"rounds": [asdict(row) for row in rounds], "best": str(options.out / "best")}))
        return 0
    rows = [
        [str(r.number), str(r.steps), f"{r.dream_score:.1f}", f"{r.real_score:.1f}", f"{r.real_std:.1f}"]
        for r in rounds
    ]
    print_table(["round", "decisions", "dream", "real", "std"], rows)
    print(f"{options.out / 'best'} holds the best round. Next: dreamgym eval {options.out / 'best'} --seed 900000")
    return 0
