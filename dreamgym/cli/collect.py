"""`dreamgym collect`: episodes of a real environment."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import tyro

from dreamgym.cli.output import print_json, print_table
from dreamgym.errors import InvalidArgument


def collect(
    env: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="ENV")],
    out: Path,
    episodes: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None,
    steps: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None,
    driver: str | None = None,
    policy: str | None = None,
    dream: str | None = None,
    variant: str | None = None,
    noise: tuple[float, ...] = (0.0, 0.1, 0.3),
    random_share: float = 0.05,
    seed: int = 0,
    workers: int = 1,
    ray: bool = False,
    max_episode_steps: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None,
    json: bool = False,
) -> int:
    """Record episodes of a real environment, by scripted drivers or a policy.

    Interrupted at any moment it keeps the finished episodes, and the same command records those that are missing.

    Args:
        env: a Gymnasium id, or module:function of a function that makes an env; Dodge-v0, DoomTakeCover-v0 and
            CarRacing64-v0, which is CarRacing-v3 as its dreams show it, have drivers of their own.
        out: folder of the dataset; a new one, or one to add to (with another seed).
        episodes: how many episodes to record.
        steps: or as many episodes as it takes for this many steps.
        driver: who acts: a name such as random, or shares such as random=0.2,policy=0.8; by default the env's own
            mixture, or the policy if one is given.
        policy: record with a dream's policy, called "policy" among the drivers: shipped, or a policy's file.
        dream: the dream whose features that policy sees: an id or a folder.
        variant: which variant of that dream; by default its first.
        noise: each episode by the policy draws one of these: the standard deviation of noise on its actions in half
            ranges, or the share of random ones if actions are discrete.
        random_share: share of the policy's decisions that random actions take over.
        seed: episode i is seeded with this plus i.
        workers: processes that record.
        ray: let Ray place these processes, on this machine or, where RAY_ADDRESS says so, in a cluster.
        max_episode_steps: cuts longer episodes off; needed for an env without an end.
        json: print JSON.
    """
    from functools import partial

    from dreamgym.data.collect import collect as record

    drivers: dict[str, Any] = {}
    if (policy is None) != (dream is None):
        raise InvalidArgument(f"policy is {policy} and dream is {dream}; give both, or neither.")
    if policy is not None and dream is not None:
        import torch

        from dreamgym.evaluation.driver import PolicyDriver

        torch.set_num_threads(1)
        drivers["policy"] = partial(PolicyDriver, dream, policy, variant, noise, random_share)
        driver = driver or "policy"
    found = record(
        env,
        out,
        episodes=episodes,
        steps=steps,
        driver=parse_shares(driver),
        drivers=drivers,
        seed=seed,
        num_workers=workers,
        max_episode_steps=max_episode_steps,
        progress=sys.stderr.isatty(),
        ray=ray,
    )
    if json:
        print_json(found)
        return 0
    rows = [
        [name, str(row["episodes"]), str(row["steps"]), f"{row['return_mean']:.1f}", f"{row['return_std']:.1f}"]
        for name, row in [*found["drivers"].items(), ("all", found)]
    ]
    print_table(["driver", "episodes", "steps", "mean return", "std"], rows)
    print(f"{out} holds the episodes. Next: dreamgym train --data {out} --out DREAM")
    return 0


def parse_shares(text: str | None) -> str | dict[str, float] | None:
    """Return a driver's name or the shares by name.

    >>> parse_shares("random"), parse_shares("random=0.2,policy=0.8")
    ('random', {'random': 0.2, 'policy': 0.8})

    Raises:
        InvalidArgument: if the text is neither.
    """
    if text is None or "=" not in text:
        return text
    try:
        return {name: float(share) for name, share in (part.split("=") for part in text.split(","))}
    except ValueError as error:
        raise InvalidArgument(f"driver is {text!r}; expected NAME, or NAME=SHARE,NAME=SHARE.") from error
