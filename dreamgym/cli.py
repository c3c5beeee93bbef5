"""The `dreamgym` command: one function a subcommand, each importing what it needs when it runs."""

from __future__ import annotations

import json as json_format
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

import gymnasium as gym
import tyro

from dreamgym.errors import DreamgymError, UnknownName
from dreamgym.registry import import_target

Dream = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="ID")]


def list_(json: bool = False) -> int:
    """List the dreams, models, wrappers and bridges that are registered.

    Args:
        json: print JSON.
    """
    from dreamgym.listing import listing, print_listing

    found = listing()
    print_json(found) if json else print_listing(found)
    return 0


def eval_(
    dream: Dream,
    policy: str = "shipped",
    side: Literal["both", "real", "dream"] = "both",
    episodes: int = 20,
    seed: int = 0,
    variant: str | None = None,
    workers: int = 1,
    json: bool = False,
) -> int:
    """Score a policy in a dream and in the real environment, episode beside episode.

    Args:
        dream: id of a registered dream (see `dreamgym list`), or a folder that `dreamgym train` wrote.
        policy: shipped, random, constant:0,0,0 (an action's numbers), or a policy's file.
        side: where to play.
        episodes: how many episodes on each side.
        seed: episode i is seeded with this plus i.
        variant: which variant of a registered dream; by default its first.
        workers: processes that play the real episodes.
        json: print JSON.
    """
    from dreamgym.evaluation.transfer import evaluate

    bar = sys.stderr.isatty() and not json
    figures = evaluate(
        dream, policy, side=side, episodes=episodes, seed=seed, variant=variant, num_workers=workers, progress=bar
    )
    if json:
        print_json(figures)
        return 0
    print(f"{dream}, policy {policy}, {episodes} episodes from seed {seed}")
    rows = [
        [
            name,
            *(f"{row[key]:.2f}" for key in ("mean", "std", "min", "max", "reward_per_decision")),
            f"{row['ended']:.0%}",
        ]
        for name, row in figures.items()
    ]
    if side == "both":
        gap, each = (figures["dream"][key] - figures["real"][key] for key in ("mean", "reward_per_decision"))
        rows.append(["dream - real", f"{gap:+.2f}", "", "", "", f"{each:+.2f}", ""])
    print_table(["return", "mean", "std", "min", "max", "a decision", "terminated"], rows)
    return 0


def doctor(json: bool = False) -> int:
    """Report versions, device, threads and display, and what will go wrong on this machine.

    Args:
        json: print JSON.
    """
    from dreamgym.doctor import main

    return main(json=json)


COMMANDS: dict[str, Callable[..., int]] = {"list": list_, "eval": eval_, "doctor": doctor}


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 if all is well, 1 if the doctor found a problem, 2 if something is wrong."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        sys.exit(run(arguments))
    except (DreamgymError, OSError, gym.error.Error) as error:
        print("error:", " ".join(str(error).split()), file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)


def run(arguments: list[str]) -> int:
    """Return the exit status of one command."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(f"usage: dreamgym COMMAND ...\n\n{_first_line(sys.modules['dreamgym'])}\n")
        print_table(None, [[name, _first_line(function)] for name, function in COMMANDS.items()])
        print("\ndreamgym COMMAND --help explains a command.")
        return 0
    name, *rest = arguments
    if name == "--version":
        print(import_target("dreamgym:__version__"))
        return 0
    if name not in COMMANDS:
        raise UnknownName("command", name, COMMANDS)
    return tyro.cli(COMMANDS[name], prog=f"dreamgym {name}", args=rest, config=(tyro.conf.FlagCreatePairsOff,))


def print_json(value: Any) -> None:
    """Print a value for scripts."""
    print(json_format.dumps(value, default=str))


def print_table(header: list[str] | None, rows: list[list[str]]) -> None:
    """Print rows in columns; the first is flush left, as are columns of words, and numbers are flush right."""
    table = [header, *rows] if header else rows
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    right = [all(_is_number(row[i]) for row in rows) for i in range(len(table[0]))]
    for row in table:
        cells = [
            f"{cell:>{width}}" if r else f"{cell:{width}}" for cell, width, r in zip(row, widths, right, strict=True)
        ]
        print("  " + "  ".join(cells).rstrip())


def _first_line(documented: Any) -> str:
    return str(documented.__doc__).splitlines()[0]


def _is_number(cell: str) -> bool:
    return not cell or cell.strip("+-%.0123456789,") == ""
