"""`dreamgym publish`: a trained dream with its policy, scores and probes, as a folder to be shipped."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dreamgym.evaluation.probes import probes
from dreamgym.hub import POLICY, load, load_policy, save_dream, write_card

KEPT = ("mean", "std", "min", "max", "episodes", "reward_per_decision", "ended")
"""What the card keeps of the figures of some episodes; the seeds give back the rest."""


def publish(
    source: str | Path,
    out: str | Path,
    *,
    id: str,
    policy: str | Path = "shipped",
    commands: Sequence[str] = (),
    remark: str = "",
    policy_training: dict[str, Any] | None = None,
    render_fps: float = 15,
    episodes: int = 20,
    seed: int = 900_000,
    num_workers: int = 1,
) -> dict[str, Any]:
    """Return the card of the dream that was written to `out`.

    Args:
        source: folder of a trained dream.
        out: the folder to be shipped; only the dream's own files go there.
        id: under which the dream is registered.
        policy: its policy: a file, or "shipped" for the one in `source`.
        commands: the shell commands that made it, in order.
        remark: what else should be known of them.
        policy_training: the options of `train_ppo` that suit it, for `dreamgym demo`.
        render_fps: pictures a second at which it looks like the real thing.
        episodes: of each score.
        seed: of the first scored episode; no choice may have been made on these.
        num_workers: processes that play real episodes.
    """
    dream = load(source)
    chosen = load_policy(policy, dream)
    path = Path(source) / POLICY if str(policy) == "shipped" else Path(policy)
    ours = ("files", "command", "scores", "probes", "report")
    about = {name: value for name, value in dream.card.items() if name not in ours}
    card = {
        **about,
        "id": id,
        "render_fps": render_fps,
        "commands": list(commands),
        **({"remark": remark} if remark else {}),
        "policy_training": {**(policy_training or {}), "weights": chosen.num_weights()},
    }
    folder = save_dream(out, dream.model, dream.starts, card, policy=path)
    scored = probes(folder, episodes=episodes, seed=seed, num_workers=num_workers)
    figures = {
        name: {side: {key: row[key] for key in KEPT} for side, row in sides.items()} for name, sides in scored.items()
    }
    card = {**card, "seed": seed, "scores": figures.pop("shipped"), "probes": figures}
    write_card(folder, card)
    return card
