"""The `dreamgym` command: one function a subcommand, each importing what it needs when it runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import gymnasium as gym
import tyro

from dreamgym.cli.collect import collect
from dreamgym.cli.output import print_json, print_table
from dreamgym.cli.overview import print_overview
from dreamgym.cli.play import play
from dreamgym.cli.report import report
from dreamgym.cli.watch import watch
from dreamgym.errors import DreamgymError, UnknownName
from dreamgym.registry import import_target

T = TypeVar("T")
Dream = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="ID")]


def list_(json: bool = False) -> int:
    """List the dreams, models, wrappers, planners and bridges that are registered.

    Args:
        json: print JSON.
    """
    from dreamgym.cli.listing import listing, print_listing

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
    probes: bool = False,
    json: bool = False,
) -> int:
    """Score a policy in a dream and in the real environment, episode beside episode.

    Where the real environment is not installed, the dream is scored all the same, and what is missing is named.

    Args:
        dream: id of a registered dream (see `dreamgym list`), or a folder that `dreamgym train` wrote.
        policy: shipped, random, constant:0,0,0 (an action's numbers), cycle:1x25,2x25 (choices, how often each), or a
            policy's file.
        side: where to play.
        episodes: how many episodes on each side.
        seed: episode i is seeded with this plus i.
        variant: which variant of a registered dream; by default its first.
        workers: processes that play the real episodes.
        probes: score policies of which everybody knows what they must earn, such as doing nothing, instead of one.
        json: print JSON.
    """
    from dreamgym.envs.twin import why_no_real
    from dreamgym.evaluation.probes import probes as score_probes
    from dreamgym.evaluation.transfer import evaluate
    from dreamgym.hub import load

    missing = why_no_real(load(dream, variant)) if side == "both" else ""
    if missing:
        side = "dream"
    options: dict[str, Any] = {
        "side": side,
        "episodes": episodes,
        "seed": seed,
        "variant": variant,
        "num_workers": workers,
        "progress": sys.stderr.isatty() and not json,
    }
    scored = score_probes(dream, **options) if probes else {policy: evaluate(dream, policy, **options)}
    if missing:
        print(f"Not measured: the real env. {missing}.", file=sys.stderr)
    if json:
        print_json(scored if probes else scored[policy])
        return 0
    print(f"{dream}, {episodes} episodes from seed {seed}")
    print_table(
        ["policy", "side", "mean return", "std", "min", "max", "a decision", "terminated"],
        [row for name, figures in scored.items() for row in _score_rows(name, figures)],
    )
    return 0


def _score_rows(name: str, figures: dict[str, dict[str, Any]]) -> list[list[str]]:
    """Return a row for each side, and one for what the dream promises too much."""
    keys = ("mean", "std", "min", "max", "reward_per_decision")
    rows = [["", side, *(f"{f[key]:.2f}" for key in keys), f"{f['ended']:.0%}"] for side, f in figures.items()]
    if len(figures) == 2:
        gap, each = (figures["dream"][key] - figures["real"][key] for key in ("mean", "reward_per_decision"))
        rows.append(["", "dream - real", f"{gap:+.2f}", "", "", "", f"{each:+.2f}", ""])
    return [[name, *rows[0][1:]], *rows[1:]]


def demo(
    dream: str = "DreamCarRacing-v0",
    variant: str | None = None,
    out: Path = Path("runs/demo"),
    seed: int = 0,
    episodes: int = 20,
    minutes: float | None = None,
    decisions: int | None = None,
    workers: int = 2,
    json: bool = False,
) -> int:
    """Train a policy inside a dream, score it in the real environment, and draw a video and a plot.

    Killed at any moment, it goes on with the training from a minute before when the same command is given again.

    Args:
        dream: id of a registered dream, e.g. DreamDodge-v0 (a minute), or a folder that `dreamgym train` wrote.
        variant: which variant of a registered dream; by default its first.
        out: folder of the policy, video, plot and figures.
        seed: of the training; episode i is seeded with this plus i.
        episodes: how many each policy plays on each side.
        minutes: of training at most; by default the dream's own choice.
        decisions: of training at most, all dreams together; by default the dream's own choice.
        workers: processes that play the real episodes.
        json: print JSON.
    """
    from dreamgym.demo import demo as run_demo
    from dreamgym.demo import print_demo

    figures = run_demo(dream, variant, out, seed, episodes, minutes, decisions, workers, progress=not json)
    print_json(figures) if json else print_demo(figures)
    return 0


def bench(
    dream: Dream = "untrained",
    variant: str | None = None,
    lanes: tuple[int, ...] = (1, 64, 256, 1024, 4096),
    seconds: float = 0.5,
    device: str = "cpu",
    precision: Literal["fp32", "bf16"] = "fp32",
    memory: bool = False,
    training: bool = False,
    planning: bool = False,
    json: bool = False,
) -> int:
    """Measure how fast a dream steps, beside the limit of its arithmetic and beside the real environment.

    Every figure is taken in this one run, on one thread, in turns with the others. "limit" are the bare matrix products
    of a step; a GPU also reports compiled stepping and a captured CUDA graph.

    Args:
        dream: id of a dream or a folder; untrained is a model of the 2018 CarRacing sizes.
        variant: which variant of a registered dream; by default its first.
        lanes: numbers of dreams stepped together.
        seconds: how long each figure is measured.
        device: cpu or cuda.
        precision: bf16 also measures the step in bfloat16 and how far it drifts from float32 over 100 steps.
        memory: also show that memory grows with lanes alone, and time and memory not with the length of a run.
        training: also measure how fast the model is trained, and rollouts of 15 steps with gradients for an agent.
        planning: also measure how long CEM plans for 1, 16 and 256 envs at once; takes minutes.
        json: print JSON.
    """
    from dreamgym.bench.report import print_bench
    from dreamgym.bench.run import run as run_bench

    figures = run_bench(dream, variant, lanes, seconds, device, precision, memory, training, planning)
    print_json(figures) if json else print_bench(figures)
    return 0


def publish(
    source: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DREAM")],
    out: Path,
    id: str,
    policy: str = "shipped",
    command: tyro.conf.UseAppendAction[tuple[str, ...]] = (),
    remark: str = "",
    decisions: int = 2_000_000,
    horizon: int = 64,
    peak: Annotated[float | None, tyro.conf.arg(metavar="FLOAT")] = None,
    demo_minutes: float = 4.0,
    render_fps: float = 15.0,
    episodes: int = 20,
    seed: int = 900_000,
    workers: int = 1,
    json: bool = False,
) -> int:
    """Score a trained dream and its policy on fresh seeds and write a folder that can be shipped, with its card.

    Args:
        source: folder that `dreamgym train` wrote.
        out: folder to be shipped; an older dream there is replaced.
        id: under which it is registered.
        policy: shipped for the one in the dream's folder, or a policy's file.
        command: a command that made it, for the card; give all of them in order.
        remark: what else the card should say of them.
        decisions: of PPO in this dream, for the demo.
        horizon: decisions after which a dream begins anew while PPO trains.
        peak: of the tent reward that PPO trains with; by default the dream's own reward.
        demo_minutes: after which the demo's training stops.
        render_fps: pictures a second at which the dream looks like the real thing.
        episodes: how many score the policy and each probe, on each side.
        seed: episode i is seeded with this plus i; no choice may have been made on these.
        workers: processes that play the real episodes.
        json: print JSON: the card.
    """
    from dreamgym.publish import publish as write

    training = {"decisions": decisions, "horizon": horizon, "demo_minutes": demo_minutes}
    card = write(
        source, out, id=id, policy=policy, commands=command, remark=remark, render_fps=render_fps, episodes=episodes,
        seed=seed, policy_training=training if peak is None else {**training, "peak": peak}, num_workers=workers,
    )  # fmt: skip
    if json:
        print_json(card)
        return 0
    scores = {"shipped": card["scores"], **card["probes"]}
    print_table(
        ["policy", "side", "mean return", "std", "min", "max", "a decision", "terminated"],
        [row for name, figures in scores.items() for row in _score_rows(name, figures)],
    )
    print(f"{out} can be shipped: register_dream({id!r}, ...)")
    return 0


def doctor(json: bool = False) -> int:
    """Report versions, device, threads and display, and what will go wrong on this machine.

    Args:
        json: print JSON.
    """
    from dreamgym.doctor import main

    return main(json=json)


def completion(shell: Annotated[Literal["bash", "zsh", "fish"], tyro.conf.Positional]) -> int:
    """Print what makes a shell complete commands, options and dreams: source <(dreamgym completion bash).

    Args:
        shell: which one; fish reads it as `dreamgym completion fish | source`.
    """
    from dreamgym.cli.completion import script

    print(script(shell, run, {name: _first_line(function) for name, function in COMMANDS.items()}), end="")
    return 0


def train(arguments: list[str]) -> int:
    """Train a world model on recorded experience and save it as a dream."""
    from dreamgym.cli.train import train

    return train(arguments)


def train_policy(arguments: list[str]) -> int:
    """Train a policy inside a dream, by PPO, Dreamer or evolution."""
    from dreamgym.cli.policy import PolicyOptions, train_policy

    return train_policy(parse(PolicyOptions, "train-policy", arguments))


def dreamer(arguments: list[str]) -> int:
    """Learn a world model of an environment and a policy in its imagination, together, while acting in it."""
    from dreamgym.cli.dreamer import dreamer

    return dreamer(arguments)


def plan(arguments: list[str]) -> int:
    """Plan in a dream and act in the real environment: no policy, a new plan at every step."""
    from dreamgym.cli.plan import plan

    return plan(arguments)


def improve(arguments: list[str]) -> int:
    """Improve a dream and its policy together: train inside, record outside, repeat."""
    from dreamgym.cli.improve import run

    return run(arguments)


COMMANDS: dict[str, Callable[..., int]] = {
    "list": list_,
    "play": play,
    "watch": watch,
    "demo": demo,
    "collect": collect,
    "train": train,
    "train-policy": train_policy,
    "dreamer": dreamer,
    "eval": eval_,
    "plan": plan,
    "improve": improve,
    "report": report,
    "bench": bench,
    "publish": publish,
    "doctor": doctor,
    "completion": completion,
}
# their options are in libraries that the others do not import
OWN_PARSER = ("train", "train-policy", "dreamer", "plan", "improve")


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 if all is well, 1 if the doctor found a problem, 2 if something is wrong."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        sys.exit(run(arguments))
    except BrokenPipeError:  # `dreamgym ... | head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except (DreamgymError, OSError, gym.error.Error) as error:
        print("error:", " ".join(str(error).split()), file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)


def run(arguments: list[str]) -> int:
    """Return the exit status of one command."""
    if not arguments:
        print_overview(_first_line(sys.modules["dreamgym"]))
        return 0
    if arguments[0] in ("-h", "--help"):
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
    return COMMANDS[name](rest) if name in OWN_PARSER else parse(COMMANDS[name], name, rest)


def parse(options: Callable[..., T], name: str, arguments: list[str]) -> T:
    """Return what tyro makes of a command's arguments: a dataclass, or what a function returns."""
    return tyro.cli(options, prog=f"dreamgym {name}", args=arguments, config=(tyro.conf.FlagCreatePairsOff,))


def _first_line(documented: Any) -> str:
    return str(documented.__doc__).splitlines()[0]
