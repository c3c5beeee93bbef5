"""`dreamgym watch`: a policy in a grid of dreams."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from dreamgym.cli.output import print_json, print_table


def watch(
    dream: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="ID")],
    policy: str = "shipped",
    variant: str | None = None,
    temperatures: tuple[float, ...] = (0.1, 0.6, 1.0, 1.5),
    lanes: int = 4,
    seed: int = 0,
    steps: int = 250,
    video: Path | None = None,
    json: bool = False,
) -> int:
    """Watch a policy in a grid of dreams: each row another temperature, each column another future of one moment.

    Args:
        dream: id of a registered dream (see `dreamgym list`), or a folder that `dreamgym train` wrote.
        policy: shipped, random, constant:0,0,0 (an action's numbers), cycle:1x25,2x25 (choices, how often each), or a
            policy's file.
        variant: which variant of a registered dream; by default its first.
        temperatures: one for each row.
        lanes: dreams in a row.
        seed: of the moment in which all of them begin, and of what follows.
        steps: at most.
        video: write this file instead of opening a window.
        json: print JSON.
    """
    import torch

    from dreamgym.viewer.screen import check_pygame
    from dreamgym.viewer.watch import watch as watch_dreams

    check_pygame()
    torch.set_num_threads(1)  # a few lanes are too small to be shared out
    earned = watch_dreams(
        dream, variant=variant, policy=policy, temperatures=temperatures, lanes=lanes, seed=seed, steps=steps,
        video=video,
    )  # fmt: skip
    if json:
        print_json({"temperatures": list(temperatures), "returns": earned})
        return 0
    numbers = [f"future {i + 1}" for i in range(lanes)]
    rows = [[f"{warm:g}", *(f"{x:.1f}" for x in row)] for warm, row in zip(temperatures, earned, strict=True)]
    print_table(["temperature", *numbers], rows)
    return 0
