"""`dreamgym plan`: its options depend on the planner, so its parser is made when the planner is known."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, make_dataclass
from typing import Annotated, Any

import torch
import tyro
from tqdm import tqdm

from dreamgym.cli.output import print_json, print_table
from dreamgym.cli.policy import parse_wrap
from dreamgym.cli.train import peek
from dreamgym.envs.open import open_dream
from dreamgym.errors import InvalidArgument
from dreamgym.evaluation.lockstep import play_in_lockstep
from dreamgym.evaluation.transfer import summarize
from dreamgym.planners.mpc import ModelPredictiveControl
from dreamgym.registry import PLANNERS


@dataclass(kw_only=True)
class PlanOptions:
    """Plan in a dream, act in the real environment: a new plan at every step, of which the first action is done."""

    dream: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="ID")]
    """Id of a registered dream (see `dreamgym list`), or a folder that `dreamgym train` wrote."""
    planner: str = "cem"
    """Who plans; `dreamgym list` shows the planners."""
    variant: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """Which variant of a registered dream; by default its first."""
    wrap: tuple[str, ...] = ()
    """Model wrappers, the innermost first, e.g. temperature:temperature=1.15"""
    episodes: int = 5
    """Real episodes."""
    seed: int = 0
    """Episode i is seeded with this plus i."""
    lanes: int = 1
    """Episodes played at once: a tree search, which imagines few lanes each, then costs less for each of them."""
    warm: bool = True
    """Begin each plan with the last step's."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print JSON."""


def plan(arguments: Sequence[str]) -> int:
    """Plan in a dream, act in the real environment: a new plan at every step, of which the first action is done."""
    options = parse(arguments)
    for name, least in (("episodes", 1), ("lanes", 1), ("seed", 0)):
        if getattr(options, name) < least:
            raise InvalidArgument(f"{name} is {getattr(options, name)}; expected at least {least}.")
    torch.set_num_threads(1)  # as everywhere that episodes are compared: sums in another order are other plans
    dream = open_dream(options.dream, options.variant, parse_wrap(options.wrap), "cpu")
    planner = PLANNERS.load(options.planner)(options.config)
    seeds = range(options.seed, options.seed + options.episodes)
    shown = sys.stderr.isatty() and not options.json
    with tqdm(unit="decision", disable=not shown, leave=False) as bar:
        mpc = ModelPredictiveControl(dream.model, planner, options.warm, lambda made: bar.update(len(made.actions)))
        outcomes = play_in_lockstep(dream, mpc, seeds, options.lanes)
    figures = {
        "dream": options.dream,
        "planner": options.planner,
        "config": asdict(options.config),
        "real": summarize(outcomes),
        "lanes": options.lanes,
        "decisions": mpc.decisions,
        "seconds_per_decision": mpc.seconds / mpc.decisions,
        "imagined_steps_per_second": mpc.imagined / mpc.seconds,
        "decisions_without_a_finite_plan": mpc.blind,
    }
    print_json(figures) if options.json else _print(figures)
    return 0


def parse(arguments: Sequence[str]) -> Any:
    """Return `PlanOptions` with the planner's `config`, whose settings are options beside the others.

    Raises:
        UnknownName: if there is no such planner.
    """
    cls = PLANNERS.load(peek(arguments, "--planner") or PlanOptions.planner)
    default = cls.config_class()
    fields: list[Any] = [("config", Annotated[type(default), tyro.conf.arg(name="")], field(default=default))]
    options = make_dataclass("Options", fields, bases=(PlanOptions,), kw_only=True)
    description = inspect.cleandoc(str(PlanOptions.__doc__))
    return tyro.cli(options, prog="dreamgym plan", description=description, args=list(arguments))


def _print(figures: dict[str, Any]) -> None:
    real = figures["real"]
    print(f"{figures['dream']}, {figures['planner']}, {real['episodes']} real episodes")
    print_table(
        ["planner", "mean return", "std", "worst", "best", "a decision", "terminated"],
        [
            [
                figures["planner"],
                *(f"{real[key]:.2f}" for key in ("mean", "std", "min", "max", "reward_per_decision")),
                f"{real['ended']:.0%}",
            ]
        ],
    )
    print(
        f"{1e3 * figures['seconds_per_decision']:.1f} ms of planning a decision, {figures['lanes']} at once; "
        f"{figures['imagined_steps_per_second']:,.0f} imagined steps/s"
    )
    if blind := figures["decisions_without_a_finite_plan"]:
        print(f"{blind} of {figures['decisions']} decisions without a finite plan: the last plan went on, or idle")
