"""`dreamgym demo`: train a policy inside a dream, then see what it is worth in the real environment."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3 import PPO
from tqdm import tqdm

from dreamgym.bridges.sb3 import export_policy
from dreamgym.bridges.sb3_ppo import Progress, train_ppo
from dreamgym.core.kept import Kept
from dreamgym.core.threads import use_threads
from dreamgym.core.wrapper import WrapSpec
from dreamgym.envs.twin import make_real
from dreamgym.envs.vector_env import DreamVectorEnv, render_fps
from dreamgym.errors import DreamgymError, InvalidArgument, MissingExtra, NotDecodable
from dreamgym.evaluation.learning_curve import draw_curve
from dreamgym.evaluation.policies import PolicyActor, PolicyLike
from dreamgym.evaluation.side_by_side import draw, play_both
from dreamgym.evaluation.transfer import dream_episodes, evaluate
from dreamgym.evaluation.video import write_video
from dreamgym.hub import POLICY, LoadedDream, load

CHECKS = 20  # points of the learning curve
PEAK = "promises above {} a decision, more than reality pays, count against it"
TRAINED = "trained"  # the policy of this run, beside "random" and "shipped"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a demo trains; the card's table `policy_training` replaces these."""

    decisions: int = 2_000_000
    """Of all lanes together."""
    lanes: int = 512
    horizon: int = 64
    """Decisions after which a dream begins anew."""
    peak: float | None = None
    """Of the tent reward; None is the dream's own reward."""
    demo_minutes: float = 4.0
    """Training stops then, if it is not done before."""

    @property
    def wrap(self) -> WrapSpec:
        """The wrappers of the dream, as `train_ppo` takes them."""
        return [] if self.peak is None else [("tent", {"peak": self.peak})]


def demo(
    dream: str = "DreamCarRacing-v0",
    variant: str | None = None,
    out: str | Path = "runs/demo",
    seed: int = 0,
    episodes: int = 20,
    minutes: float | None = None,
    decisions: int | None = None,
    workers: int = 2,
    progress: bool = True,
) -> dict[str, Any]:
    """Return what a policy that is trained now, inside a dream, earns there and in the real env, and its rivals.

    Writes into `out`: `policy.safetensors`, `demo.json`, `learning_curve.png` and `video.mp4` (`.gif` without ffmpeg).
    Killed at any moment, the same call goes on with the training from a minute before.

    Args:
        dream: a registered dream's id, or a folder that `dreamgym train` wrote.
        variant: which of a registered dream's variants.
        out: folder of what is written.
        seed: of training; episode i is seeded with this plus i.
        episodes: how many each policy plays on each side.
        minutes: of training at most; by default the card's.
        decisions: of training at most; by default the card's.
        workers: processes that play the real episodes.
        progress: tell on stderr how it goes.

    Raises:
        UnknownName: if there is no such dream or variant.
        InvalidArgument: if a count or time is not positive.
        MissingExtra: if the real env needs a package that is not installed; told before the training.
    """
    begin = time.perf_counter()
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # no window is opened, so no display is needed
    loaded, out = load(dream, variant), Path(out)
    plan = make_plan(loaded.card, minutes, decisions)
    say = _say if progress else _be_silent
    with use_threads():
        speed = {"real": real_speed(dream, variant), "dream": dream_speed(loaded, plan.lanes)}
        out.mkdir(parents=True, exist_ok=True)  # not before it is known that the real env is there
        say(f"training PPO in {plan.lanes} dreams of {dream}; the real environment is not touched meanwhile")
        if plan.peak is not None:
            say(f"{PEAK.format(plan.peak)}, so that a dream return that is too good comes down again")
        policy = out / POLICY
        # another dream's does not stand in the way
        keep = Kept(out / f"policy.{loaded.model_sha256[:8]}-{seed}.unfinished", episodes=episodes)
        if keep.path.exists():
            say(f"found {keep.path}: going on where that training was interrupted")
        training = _train(dream, variant, plan, seed, episodes, policy, progress, keep)
        rivals: dict[str, PolicyLike] = {
            "random": "random",
            **({"shipped": "shipped"} if loaded.ships_policy else {}),
            TRAINED: policy,
        }
        scores = {}
        for name, spec in rivals.items():
            say(f"scoring {name}: {episodes} dreamed and {episodes} real episodes")
            scores[name] = evaluate(
                dream, spec, episodes=episodes, seed=seed, variant=variant, num_workers=workers,
                progress=progress and sys.stderr.isatty(),
            )  # fmt: skip
        figures: dict[str, Any] = {
            "dream": dream,
            "variant": variant,
            "seed": seed,
            "episodes": episodes,
            "training": training,
            "policies": scores,
            "steps_per_second": {**speed, "ratio": speed["dream"] / speed["real"], "lanes": plan.lanes},
            "files": {"policy": str(policy)},
            "notices": [],
        }
        say("drawing")
        _draw(figures, loaded, out)
    figures["files"]["figures"] = str(out / "demo.json")
    figures["seconds"] = time.perf_counter() - begin
    temporary = out / ".demo.json.tmp"
    temporary.write_text(json.dumps(figures, indent=2) + "\n")
    temporary.replace(out / "demo.json")
    keep.remove()
    return figures


def make_plan(card: Mapping[str, Any], minutes: float | None, decisions: int | None) -> Plan:
    """Return how to train in a dream with this card.

    Raises:
        InvalidArgument: if `minutes` or `decisions` is not positive.
    """
    table = {name: value for name, value in card.get("policy_training", {}).items() if name in Plan.__annotations__}
    for name, value in (("minutes", minutes), ("decisions", decisions)):
        if value is not None and not value > 0:
            raise InvalidArgument(f"{name} is {value}; expected more than 0.")
    given = {"demo_minutes": minutes, "decisions": decisions}
    return Plan(**{**table, **{name: value for name, value in given.items() if value is not None}})


def _train(
    dream: str, variant: str | None, plan: Plan, seed: int, episodes: int, path: Path, progress: bool, keep: Kept
) -> dict[str, Any]:
    """Train until the plan's decisions or minutes are used up, write the policy, and return how it went."""
    loaded = load(dream, variant)
    limit = 60 * plan.demo_minutes
    curve: list[dict[str, float]] = keep.notes
    interval = 0.2 if sys.stderr.isatty() else 20.0
    with tqdm(
        total=plan.decisions, unit=" decisions", unit_scale=True, mininterval=interval, disable=not progress
    ) as bar:

        def check(algorithm: PPO, decisions: int) -> None:
            actor = PolicyActor(export_policy(algorithm, loaded))
            outcomes = dream_episodes(dream, actor, range(seed, seed + episodes), variant)
            mean = float(np.mean([outcome.total_reward for outcome in outcomes]))
            curve.append({"decisions": decisions, "dream_return": mean, "seconds": keep.seconds})
            bar.set_postfix_str(f"dream return {mean:.1f}", refresh=False)

        def follow(algorithm: PPO, row: Progress) -> bool:
            elapsed = keep.seconds
            affordable = min(plan.decisions, int(row.decisions * limit / elapsed))
            if row.decisions >= affordable * (len(curve) + 1) / CHECKS:
                check(algorithm, row.decisions)
            bar.total = max(affordable, row.decisions)
            bar.update(row.decisions - bar.n)
            return elapsed < limit

        algorithm, rows = train_ppo(
            loaded, decisions=plan.decisions, lanes=plan.lanes, horizon=plan.horizon, wrap=plan.wrap, seed=seed,
            progress=follow, keep=keep,
        )  # fmt: skip
        seconds = keep.seconds
        decisions = rows[-1].decisions
        if not curve or curve[-1]["decisions"] < decisions:
            check(algorithm, decisions)
    export_policy(algorithm, loaded, path)
    return {
        "decisions": decisions,
        "seconds": seconds,
        "decisions_per_second": decisions / seconds,
        "lanes": plan.lanes,
        "horizon": plan.horizon,
        "peak": plan.peak,
        "curve": curve,
    }


def _draw(figures: dict[str, Any], loaded: LoadedDream, out: Path) -> None:
    """Write the plot and the video, or a notice instead of each that cannot be made."""
    files, scores = figures["files"], figures["policies"]
    try:
        training = figures["training"]
        points = [(point["decisions"], point["dream_return"]) for point in training["curve"]]
        points.insert(0, (0, scores["random"]["dream"]["mean"]))  # what has learned nothing
        real = {name: score["real"]["mean"] for name, score in scores.items()}
        title = f"PPO inside {loaded.name}"
        if training["peak"] is not None:
            title += f"\n{PEAK.format(training['peak'])}"
        files["learning_curve"] = str(draw_curve(points, real, out / "learning_curve.png", title))
    except MissingExtra as missing:
        figures["notices"].append(str(missing))
    returns = scores[TRAINED]["real"]["returns"]
    typical = figures["seed"] + int(np.argsort(returns)[len(returns) // 2])  # the episode of median return
    try:
        sides = play_both(figures["dream"], files["policy"], variant=figures["variant"], seed=typical)
        fps = render_fps(loaded)
        files["video"] = str(write_video(draw(sides, fps), out / "video", fps))
        figures["video_seed"] = typical
    except (MissingExtra, NotDecodable) as missing:
        figures["notices"].append(str(missing))


def dream_speed(loaded: LoadedDream, lanes: int, seconds: float = 0.5) -> float:
    """Return decisions of all lanes of a dream in a second of one core, as the training steps them: features, torch."""
    env = DreamVectorEnv(loaded, lanes, observation="features", output="torch", autoreset_mode="SameStep")
    env.reset(seed=0)
    action = torch.as_tensor(env.action_space.sample())
    env.step(action)  # the first step prepares the weights
    begin, steps = time.process_time(), 0
    while time.process_time() - begin < seconds:
        env.step(action)
        steps += lanes
    return steps / (time.process_time() - begin)


def real_speed(dream: str, variant: str | None = None, seconds: float = 0.5) -> float:
    """Return decisions of the real env in a second of one core: pixels, random actions, resets not counted.

    Raises:
        DreamgymError: if the real env needs a package that is not installed.
    """
    try:
        env = make_real(dream, variant=variant)
    except MissingExtra as missing:
        raise DreamgymError(
            f"{missing}. A demo compares the dream with it; `dreamgym train-policy {dream} --out my.safetensors` "
            "works without it, as does `dreamgym demo --dream DreamDodge-v0`."
        ) from missing
    env.action_space.seed(0)
    spent, steps, over = 0.0, 0, True
    while spent < seconds:
        if over:
            env.reset(seed=steps)
        action, begin = env.action_space.sample(), time.process_time()
        _, _, terminated, truncated, _ = env.step(action)
        spent += time.process_time() - begin
        steps, over = steps + 1, terminated or truncated
    env.close()
    return steps / spent


def print_demo(figures: Mapping[str, Any]) -> None:
    """Print for people what `demo` returned."""
    from dreamgym.cli.output import print_table

    dream, training, speed, files = (figures[name] for name in ("dream", "training", "steps_per_second", "files"))
    print(f"\n{dream}: mean return of {figures['episodes']} episodes on each side, seeds from {figures['seed']}")
    rows = []
    for name, score in figures["policies"].items():
        real, gap = score["real"], score["dream"]["mean"] - score["real"]["mean"]
        numbers = score["dream"]["mean"], real["mean"], real["std"], real["min"]
        rows.append([name, *(f"{number:.1f}" for number in numbers), f"{gap:+.1f}"])
    print_table(["policy", "dream", "real", "std", "worst", "dream - real"], rows)
    print(
        f"The policy trained now learned from {training['decisions']:,} dreamed decisions in "
        f"{training['seconds'] / 60:.1f} minutes and never saw the real environment.\n"
        f"Decisions in a second of one core: {speed['dream']:,.0f} in the dream ({speed['lanes']} lanes, features), "
        f"{speed['real']:,.0f} in the real environment: {speed['ratio']:,.0f} times as many."
    )
    print(f"Written in {figures['seconds'] / 60:.1f} minutes: {', '.join(files.values())}")
    for notice in figures["notices"]:
        print(f"Left out: {notice}")
    print("\nNext:")
    steps = {
        f"dreamgym eval {dream} --policy {files['policy']} --seed 1000": "score it on other episodes",
        f"dreamgym train-policy {dream} --out longer.safetensors": "train for longer",
        "dreamgym collect --help": "make a dream of an environment of yours",
    }
    print_table(None, [[command, purpose] for command, purpose in steps.items()])


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def _be_silent(text: str) -> None:
    pass
